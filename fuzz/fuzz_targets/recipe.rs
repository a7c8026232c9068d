//! Recipes of virtual copies, beside a small source.

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use rematch_data::augment::Scratch;
use rematch_data::copies::{Copies, RECIPE, Recipe, SOURCE};
use rematch_data::image::Shape;
use rematch_data::records;

/// A folder with three images of 20×20 pixels.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let shape = Shape {
            height: 20,
            width: 20,
            channels: 3,
        };
        let folder = rematch_fuzz::folder().join("set");
        std::fs::create_dir_all(&folder).expect("a folder");
        let frames = records::encode(shape, &vec![7; 3 * shape.bytes()], &[0, 1, 2]);
        std::fs::write(folder.join(SOURCE), frames).expect("a file");
        folder
    })
}

fuzz_target!(|text: &[u8]| {
    if Recipe::parse(text).is_err() {
        return;
    }
    std::fs::write(folder().join(RECIPE), text).expect("a file");
    if let Ok(copies) = Copies::open(folder(), usize::MAX) {
        let mut out = vec![0; copies.shape().bytes()];
        for n in [0, copies.len() / 2, copies.len() - 1] {
            assert!((0..3).contains(&copies.label(n)));
            copies
                .render(n, &mut Scratch::default(), &mut out)
                .expect("images in memory");
        }
    }
});
