//! Images of 8-bit channels, and the operations on them that augmentation needs, each equal to
//! Pillow's to the last bit (spec/fixmatch.md 4.5). Pillow means versions 9.5 to 12, which agree.
//!
//! - [`Shape`], [`Image`]: height × width × channels, rows first, channels last (HWC);
//! - [`Canvas`]: an image being worked on, with the buffers that the operations need, so that none
//!   of them allocates once the canvas has seen its largest image;
//! - one file per family of operations: `table` (per value), `blend`, `filter` (per
//!   neighbourhood), `affine`, `bicubic`, `resize`, `paint`, `weak` (mirror and shift);
//! - [`file`]: files of images, [`fit`] and [`intake`]: how they become images of one size.
//! - [`colour`]: TensorFlow's operations on floats.
//!
//! Here is no randomness: what is drawn is drawn in [`crate::augment`].

mod affine;
mod bicubic;
mod blend;
pub mod colour;
pub mod file;
mod filter;
pub mod fit;
pub mod intake;
mod paint;
mod resize;
mod table;
mod weak;

pub use resize::Filter;
pub use weak::{Border, Shift};

/// Height, width and channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
}

impl Shape {
    /// Pixels of an image.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Bytes of an image.
    pub fn bytes(self) -> usize {
        self.pixels() * self.channels
    }

    /// The shorter side.
    pub fn side(self) -> usize {
        self.height.min(self.width)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            height,
            width,
            channels,
        } = self;
        write!(f, "{height}×{width}×{channels}")
    }
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its shape.
    pub shape: Shape,
    /// `shape.bytes()` bytes, HWC.
    pub data: Vec<u8>,
}

impl Image {
    /// The pixels of an image that must have this shape.
    ///
    /// # Errors
    /// Another shape, in words.
    pub fn pixels_of(self, shape: Shape) -> Result<Vec<u8>, String> {
        if self.shape == shape {
            return Ok(self.data);
        }
        Err(format!(
            "an image of {} among images of {shape}",
            self.shape
        ))
    }
}

/// An image that is worked on in place.
///
/// A canvas may track *holes*: pixels that no pixel of the source covers. It stands for the alpha
/// channel that google-research/fixmatch adds for RandAugment; a hole still has a colour, and
/// operations see it.
#[derive(Clone, Debug)]
pub struct Canvas {
    shape: Shape,
    pixels: Vec<u8>,
    /// One byte per pixel, 1 for a hole; empty while holes are not tracked.
    holes: Vec<u8>,
    /// Where an operation that cannot work in place writes; then swapped with `pixels`.
    spare: Vec<u8>,
    spare_holes: Vec<u8>,
    /// What a blend starts from.
    kept: Vec<u8>,
    /// Sums of columns in filters.
    sums: Vec<u16>,
    /// Source columns in affine maps.
    columns: Vec<usize>,
    resize: resize::Scratch,
}

impl Default for Canvas {
    fn default() -> Self {
        Self::new()
    }
}

impl Canvas {
    /// An empty canvas.
    pub fn new() -> Self {
        Self {
            shape: Shape {
                height: 0,
                width: 0,
                channels: 1,
            },
            pixels: Vec::new(),
            holes: Vec::new(),
            spare: Vec::new(),
            spare_holes: Vec::new(),
            kept: Vec::new(),
            sums: Vec::new(),
            columns: Vec::new(),
            resize: resize::Scratch::default(),
        }
    }

    /// Puts an image on the canvas; holes are not tracked.
    ///
    /// # Panics
    /// Where `data` is not as long as `shape` says, or the shape has neither 1 nor 3 channels.
    pub fn load(&mut self, shape: Shape, data: &[u8]) {
        assert!(
            matches!(shape.channels, 1 | 3),
            "an image has 1 or 3 channels, not {}",
            shape.channels
        );
        assert_eq!(data.len(), shape.bytes(), "bytes of an image of {shape:?}");
        self.shape = shape;
        self.pixels.clear();
        self.pixels.extend_from_slice(data);
        self.holes.clear();
    }

    /// Puts an image on the canvas, as [`load`](Self::load) does, and keeps its memory.
    ///
    /// # Panics
    /// Where its data is not as long as its shape says.
    pub fn take(&mut self, image: Image) {
        assert_eq!(image.data.len(), image.shape.bytes(), "bytes of an image");
        self.shape = image.shape;
        self.pixels = image.data;
        self.holes.clear();
    }

    /// The shape of the image on the canvas.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The pixels, HWC.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// One byte per pixel, 1 for a hole; empty where holes are not tracked.
    pub fn holes(&self) -> &[u8] {
        &self.holes
    }

    /// A copy of the image.
    pub fn image(&self) -> Image {
        Image {
            shape: self.shape,
            data: self.pixels.clone(),
        }
    }

    /// From now on, what [`affine`](Self::affine) and its like uncover is a hole. There is none yet.
    pub fn track_holes(&mut self) {
        self.holes.clear();
        self.holes.resize(self.shape.pixels(), 0);
    }

    /// Makes every hole an ordinary pixel of the colour it has.
    pub fn close_holes(&mut self) {
        self.holes.fill(0);
    }

    /// Gives every hole the colour `value`, and tracks holes no longer.
    pub fn fill_holes(&mut self, value: u8) {
        let pixels = self.pixels.chunks_exact_mut(self.shape.channels);
        for (pixel, hole) in pixels.zip(&self.holes) {
            if *hole == 1 {
                pixel.fill(value);
            }
        }
        self.holes.clear();
    }

    /// The pixels, and room for as many others.
    fn source_and_target(&mut self) -> (&[u8], &mut [u8]) {
        self.spare.resize(self.pixels.len(), 0);
        (&self.pixels, &mut self.spare)
    }

    fn swap(&mut self) {
        std::mem::swap(&mut self.pixels, &mut self.spare);
    }
}
