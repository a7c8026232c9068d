//! Image files as users have them, PNG, JPEG, BMP and WebP, to 8-bit grey or RGB by stated rules. What a
//! file is, its first bytes say; its name does not matter.
//!
//! - Palettes become colours, 16 bits their upper 8, fewer than 8 bits are spread over 0 to 255.
//! - Grey to RGB repeats the value; RGB to grey is Pillow's L = (19595 R + 38470 G + 7471 B + 32768) >> 16.
//! - CMYK becomes RGB as Pillow does it, (255 − C)(255 − K) / 255, also where Adobe stored it inverted.
//! - Colour profiles and gamma are ignored, and an animation is its first picture, as in Pillow.
//! - JPEG follows libjpeg's integer transform and smooth upsampling; a value may differ by a level or two.

use std::io::Cursor;

use ::image::codecs::{bmp::BmpDecoder, webp::WebPDecoder};
use ::image::metadata::Orientation;
use ::image::{ColorType, DynamicImage, GrayImage, ImageDecoder, Limits, RgbImage};
use rematch_spec::images::{Alpha, Channels};

use super::{Image, Shape};
use crate::png;

mod jpeg;

/// Most pixels of an image that is believed; where Pillow refuses to open one, too.
pub const MOST_PIXELS: u64 = 178_956_970;
/// Longest file that is believed.
pub const LONGEST_FILE: u64 = 1 << 29;
/// Most memory that decoding may take beside the pixels.
const MEMORY: u64 = 1 << 30;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// Baseline and progressive JPEG.
    Jpeg,
    /// Windows bitmap.
    Bmp,
    /// WebP, lossy and lossless.
    WebP,
}

/// Bytes that [`Format::of`] needs to see.
pub const SIGNATURE: usize = 12;

impl Format {
    /// What a file is, by its first bytes.
    pub fn of(file: &[u8]) -> Option<Self> {
        match file {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(Self::WebP),
            // Then comes the file's size, and 4 bytes that nothing uses.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(Self::Bmp),
            _ => None,
        }
    }

    /// Whether a file's name ends as those of images do, in either case.
    pub fn named(name: &str) -> bool {
        let Some((stem, ending)) = name.rsplit_once('.') else {
            return false;
        };
        let known = ["png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "webp"];
        !stem.is_empty() && known.iter().any(|known| ending.eq_ignore_ascii_case(known))
    }
}

/// A file that cannot be read as an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of the formats.
    #[error("it is no PNG, JPEG, BMP or WebP file")]
    Format,
    /// It ends early.
    #[error("it is cut off")]
    Cut,
    /// It is damaged, or uses what nothing here reads.
    #[error("{0}")]
    Damaged(String),
    /// It is larger than any image that is believed.
    #[error("it has {0}×{1} pixels; at most {MOST_PIXELS} are read")]
    Large(u64, u64),
}

/// What to make of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Grey or colour.
    pub channels: Channels,
    /// What becomes of transparency.
    pub alpha: Alpha,
    /// Turns pictures as their EXIF data says a viewer should; otherwise they stay as they are stored.
    pub upright: bool,
}

/// An image as its file has it: 1 (grey), 2 (and alpha), 3 (RGB) or 4 (and alpha) bytes a pixel.
pub(crate) struct Stored {
    pub height: usize,
    pub width: usize,
    pub samples: usize,
    pub data: Vec<u8>,
    /// EXIF data, where there is any.
    pub exif: Option<Vec<u8>>,
}

impl Stored {
    /// The image without its transparency, grey or colour as it is.
    pub fn plain(self) -> Image {
        let channels = if self.samples < 3 { 1 } else { 3 };
        let mut data = self.data;
        if self.samples != channels {
            let pixels = data.chunks_exact(self.samples);
            data = pixels.flat_map(|p| &p[..channels]).copied().collect();
        }
        let shape = Shape {
            height: self.height,
            width: self.width,
            channels,
        };
        Image { shape, data }
    }
}

/// Decodes an image file as it is: grey or colour, without its transparency.
pub fn decode_plain(file: &[u8]) -> Result<Image, Error> {
    Ok(stored(file)?.plain())
}

/// Decodes an image file.
pub fn decode(file: &[u8], rules: Rules) -> Result<Image, Error> {
    let stored = stored(file)?;
    let exif = stored.exif.as_deref().filter(|_| rules.upright);
    let orientation = exif.and_then(Orientation::from_exif_chunk);
    let image = apply(stored, rules);
    Ok(match orientation {
        Some(orientation) => turn(image, orientation),
        None => image,
    })
}

fn stored(file: &[u8]) -> Result<Stored, Error> {
    let stored = match Format::of(file).ok_or(Error::Format)? {
        Format::Png => png::decode_stored(file).map_err(|error| match error {
            png::Error::Large(width, height) => Error::Large(width.into(), height.into()),
            other => Error::Damaged(other.to_string()),
        })?,
        Format::Jpeg => jpeg::decode(file)?,
        Format::Bmp => other(BmpDecoder::new(Cursor::new(file)))?,
        Format::WebP => other(WebPDecoder::new(Cursor::new(file)))?,
    };
    if stored.height * stored.width == 0 {
        return Err(Error::Damaged("it has no pixels".into()));
    }
    Ok(stored)
}

/// Refuses an image of too many pixels, before memory is taken for them.
fn check_size(width: u64, height: u64) -> Result<(), Error> {
    if width.saturating_mul(height) > MOST_PIXELS {
        return Err(Error::Large(width, height));
    }
    Ok(())
}

/// Reads what the `image` crate decodes.
fn other<D: ImageDecoder>(decoder: ::image::ImageResult<D>) -> Result<Stored, Error> {
    let mut decoder = decoder.map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into())?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MEMORY);
    decoder.set_limits(limits).map_err(damaged)?;
    let samples = match decoder.color_type() {
        ColorType::L8 => 1,
        ColorType::La8 => 2,
        ColorType::Rgb8 => 3,
        ColorType::Rgba8 => 4,
        other => return Err(Error::Damaged(format!("{other:?} pixels are not read"))),
    };
    // Damaged EXIF data is no reason to lose a picture.
    let exif = decoder.exif_metadata().ok().flatten();
    let mut data = vec![0; width as usize * height as usize * samples];
    decoder.read_image(&mut data).map_err(damaged)?;
    Ok(Stored {
        height: height as usize,
        width: width as usize,
        samples,
        data,
        exif,
    })
}

fn damaged(error: ::image::ImageError) -> Error {
    match error {
        ::image::ImageError::IoError(error)
            if error.kind() == std::io::ErrorKind::UnexpectedEof =>
        {
            Error::Cut
        }
        other => Error::Damaged(other.to_string()),
    }
}

/// Applies the rules on colour and transparency.
fn apply(stored: Stored, rules: Rules) -> Image {
    let channels = rules.channels.count();
    let shape = Shape {
        height: stored.height,
        width: stored.width,
        channels,
    };
    if stored.samples == channels {
        return Image {
            shape,
            data: stored.data,
        };
    }
    let mut data = Vec::with_capacity(shape.bytes());
    let background = rules.alpha.background();
    for pixel in stored.data.chunks_exact(stored.samples) {
        let (colour, alpha) = match pixel {
            [v] => ([*v; 3], 255),
            [v, alpha] => ([*v; 3], *alpha),
            [r, g, b] => ([*r, *g, *b], 255),
            [r, g, b, alpha, ..] => ([*r, *g, *b], *alpha),
            [] => continue,
        };
        let seen = match background {
            Some(ground) => colour.map(|value| over(value, alpha, ground)),
            None => colour,
        };
        match rules.channels {
            Channels::Rgb => data.extend_from_slice(&seen),
            Channels::Grey => data.push(grey(seen)),
        }
    }
    Image { shape, data }
}

/// A value over a background, rounded as Pillow rounds when it pastes through a mask.
fn over(value: u8, alpha: u8, ground: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(value) * alpha + u32::from(ground) * (255 - alpha) + 128;
    ((sum + (sum >> 8)) >> 8) as u8
}

/// Pillow's L of a colour; equal values stay what they are.
fn grey([r, g, b]: [u8; 3]) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 32768) >> 16) as u8
}

/// Turns and mirrors as EXIF data says.
fn turn(image: Image, orientation: Orientation) -> Image {
    let (width, height) = (image.shape.width as u32, image.shape.height as u32);
    let colour = image.shape.channels == 3;
    let dynamic = if colour {
        RgbImage::from_raw(width, height, image.data).map(DynamicImage::from)
    } else {
        GrayImage::from_raw(width, height, image.data).map(DynamicImage::from)
    };
    let mut dynamic = dynamic.expect("as many bytes as the shape says");
    dynamic.apply_orientation(orientation);
    Image {
        shape: Shape {
            height: dynamic.height() as usize,
            width: dynamic.width() as usize,
            channels: image.shape.channels,
        },
        data: dynamic.into_bytes(),
    }
}
