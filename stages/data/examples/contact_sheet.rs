//! Writes a PNG with examples of the generated dataset `shapes`, one row per class:
//! `cargo run -p rematch-data --example contact_sheet -- OUT.png [SEED]`.

use std::path::Path;
use std::process::ExitCode;

use rematch_data::image::Shape;
use rematch_data::shapes::{self, CLASSES, NAMES, Part, SHAPE};
use rematch_data::{fs, png};

/// Images in a row.
const COLUMNS: usize = 24;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let (Some(path), seed) = (
        arguments.get(1),
        arguments.get(2).and_then(|s| s.parse().ok()).unwrap_or(0),
    ) else {
        eprintln!("usage: contact_sheet OUT.png [SEED]");
        return ExitCode::from(2);
    };
    let (images, labels) = shapes::images(seed, Part::Train, 0, COLUMNS * CLASSES);
    let sheet = Shape {
        height: SHAPE.height * CLASSES,
        width: SHAPE.width * COLUMNS,
        channels: 3,
    };
    let mut pixels = vec![0; sheet.bytes()];
    let mut column = [0; CLASSES];
    for (image, label) in images.chunks_exact(SHAPE.bytes()).zip(labels) {
        let row = usize::from(label);
        for (y, line) in image.chunks_exact(SHAPE.width * 3).enumerate() {
            let start = ((row * SHAPE.height + y) * sheet.width + column[row] * SHAPE.width) * 3;
            pixels[start..start + line.len()].copy_from_slice(line);
        }
        column[row] += 1;
    }
    if let Err(error) = fs::write(Path::new(path), png::encode(sheet, &pixels)) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    println!("{path}: rows are {}", NAMES.join(", "));
    ExitCode::SUCCESS
}
