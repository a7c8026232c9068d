//! From image files to images that all have one shape: reading, decoding, resizing.

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;

use rematch_spec::images::Resize;

use super::file::{self, LONGEST_FILE, Rules};
use super::{Canvas, Image, fit};
use crate::fs;

/// What happens to every image of a dataset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intake {
    /// Colours and transparency.
    pub rules: Rules,
    /// Pixels a side of the square that every image becomes, and how; without it images keep their size.
    pub square: Option<(usize, Resize)>,
}

/// An image file that gives no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// It is no image, or a damaged one.
    #[error("{0}: {1}")]
    Image(String, file::Error),
    /// It is longer than any image that is believed.
    #[error("{0}: it has more than {LONGEST_FILE} bytes")]
    Long(String),
}

thread_local! {
    static CANVAS: RefCell<Canvas> = RefCell::default();
}

impl Intake {
    /// Reads an image from a file.
    pub fn read(&self, path: &Path) -> Result<Image, Error> {
        let mut bytes = Vec::new();
        let file = fs::open(path)?;
        let read = file.take(LONGEST_FILE + 1).read_to_end(&mut bytes);
        let length = read.map_err(fs::at("read", path))?;
        if length as u64 > LONGEST_FILE {
            return Err(Error::Long(path.display().to_string()));
        }
        let image = self.decode(&bytes);
        image.map_err(|error| Error::Image(path.display().to_string(), error))
    }

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
