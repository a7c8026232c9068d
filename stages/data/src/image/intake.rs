//! From image files to images that all have one shape: decoding, resizing.

use std::cell::RefCell;

use rematch_spec::images::Resize;

use super::file::{self, Rules};
use super::{Canvas, Image, fit};

/// What happens to every image of a dataset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intake {
    /// Colours and transparency.
    pub rules: Rules,
    /// Pixels a side of the square that every image becomes, and how; without it images keep their size.
    pub square: Option<(usize, Resize)>,
}

thread_local! {
    static CANVAS: RefCell<Canvas> = RefCell::default();
}

impl Intake {
    /// Makes an image of a file's bytes.
    pub fn decode(&self, file: &[u8]) -> Result<Image, file::Error> {
        let image = file::decode(file, self.rules)?;
        let Some((size, resize)) = self.square else {
            return Ok(image);
        };
        if (image.shape.height, image.shape.width) == (size, size) {
            return Ok(image);
        }
        Ok(CANVAS.with_borrow_mut(|canvas| {
            canvas.take(image);
            fit::square(canvas, size, resize);
            canvas.image()
        }))
    }
}
