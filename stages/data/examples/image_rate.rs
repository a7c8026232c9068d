//! How many image files one core turns into records' images in a second of CPU time.
//!
//!     image_rate FOLDER WORK SIZE SECONDS
//!
//! WORK is `decode`, `encode` (of decoded images), or `all`: decode, shorter side to SIZE, centre crop,
//! encode. Prints images, CPU seconds and bytes out as JSON.

use std::path::Path;

use rematch_data::image::file::Rules;
use rematch_data::image::intake::Intake;
use rematch_data::image::{Image, file};
use rematch_data::{folder, png};
use rematch_spec::images::Resize;
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, path, work, size, seconds] = &words[..] else {
        panic!("image_rate FOLDER WORK SIZE SECONDS");
    };
    let path = Path::new(path);
    let listing = folder::list(path, &[], || Ok(())).expect("a folder of images");
    let read = |image: &std::path::PathBuf| std::fs::read(path.join(image)).expect("a file");
    let files: Vec<Vec<u8>> = listing.images.iter().map(read).collect();
    let decode = |file: &Vec<u8>| file::decode(file, Rules::default()).expect("an image");
    let decoded: Vec<Image> = if work == "encode" {
        files.iter().map(decode).collect()
    } else {
        Vec::new()
    };
    let size = size.parse().expect("a size");
    let intake = Intake {
        square: Some((size, Resize::Crop)),
        ..Intake::default()
    };
    let limit: f64 = seconds.parse().expect("seconds");
    let start = cpu_time();
    let (mut images, mut bytes) = (0, 0);
    while cpu_time() - start < limit {
        let n = images % files.len();
        bytes += match work.as_str() {
            "decode" => decode(&files[n]).data.len(),
            "encode" => png::encode(decoded[n].shape, &decoded[n].data).len(),
            _ => {
                let image = intake.decode(&files[n]).expect("an image");
                png::encode(image.shape, &image.data).len()
            }
        };
        images += 1;
    }
    let took = cpu_time() - start;
    println!("{{\"images\": {images}, \"cpu\": {took}, \"bytes\": {bytes}}}");
}

/// Seconds of CPU time that this process has used.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
