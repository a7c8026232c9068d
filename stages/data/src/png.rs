//! PNG to and from images of bytes, grey (1 channel) or RGB (3).

use ::png::{BitDepth, ColorType, Compression, Decoder, Encoder, Filter, Limits, Transformations};

use crate::image::file::{MOST_PIXELS, Stored};
use crate::image::{Image, Shape};

/// Longest side of an image that is believed.
const LONGEST_SIDE: u32 = 1 << 14;
/// Most memory that decoding one image may take, in bytes; it guards against tiny files that unpack to
/// gigabytes.
const MEMORY: usize = 1 << 30;

/// A PNG that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is damaged or no PNG.
    #[error("damaged PNG: {0}")]
    Damaged(#[from] ::png::DecodingError),
    /// Its palette is none.
    #[error("damaged PNG: a palette of {0} bytes")]
    Palette(usize),
    /// It is larger than any image we handle.
    #[error("a PNG of {0}×{1} pixels; the limit is {LONGEST_SIDE} a side and {MOST_PIXELS} in all")]
    Large(u32, u32),
}

/// Decodes a PNG. Palettes, 16 bits and alpha are turned into 8-bit grey or RGB; alpha is dropped.
pub fn decode(file: &[u8]) -> Result<Image, Error> {
    Ok(decode_stored(file)?.plain())
}

/// Decodes a PNG to 8 bits a channel, with the alpha channel that it has.
pub(crate) fn decode_stored(file: &[u8]) -> Result<Stored, Error> {
    let mut decoder =
        Decoder::new_with_limits(std::io::Cursor::new(file), Limits { bytes: MEMORY });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let (width, height) = (reader.info().width, reader.info().height);
    if width.max(height) > LONGEST_SIDE || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(Error::Large(width, height));
    }
    // png 0.18.1 panics on these (image-rs/image-png, issue 694).
    let palette = reader
        .info()
        .palette
        .as_ref()
        .map_or(0, |palette| palette.len());
    if palette % 3 != 0 {
        return Err(Error::Palette(palette));
    }
    let (color, _) = reader.output_color_type();
    let samples = color.samples();
    let mut data = vec![0; width as usize * height as usize * samples];
    reader.next_frame(&mut data)?;
    // Read on to the end: a damaged tail must not pass.
    reader.finish()?;
    let exif = reader.info().exif_metadata.as_deref();
    Ok(Stored {
        height: height as usize,
        width: width as usize,
        samples,
        data,
        exif: exif.map(<[u8]>::to_vec),
    })
}

/// Encodes one image.
///
/// # Panics
/// Unless `pixels` has `shape.bytes()` bytes and 1 or 3 channels.
pub fn encode(shape: Shape, pixels: &[u8]) -> Vec<u8> {
    assert_eq!(
        pixels.len(),
        shape.bytes(),
        "bytes of an image of {shape:?}"
    );
    let color = match shape.channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        other => panic!("no PNG with {other} channels"),
    };
    let mut out = Vec::with_capacity(pixels.len() + 256);
    let mut encoder = Encoder::new(&mut out, shape.width as u32, shape.height as u32);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    // One fixed filter: a third of the time of choosing per row, and within a few percent in size.
    encoder.set_filter(Filter::Paeth);
    let done = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    done.expect("memory takes every byte");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn rgb(height: usize, width: usize) -> Shape {
        Shape {
            height,
            width,
            channels: 3,
        }
    }

    proptest! {
        #[test]
        fn any_image_survives(height in 1usize..9, width in 1usize..9, colour: bool, seed: [u8; 32]) {
            let channels = if colour { 3 } else { 1 };
            let pixels: Vec<u8> = (0..height * width * channels).map(|i| seed[i % 32].wrapping_mul(i as u8)).collect();
            let shape = Shape { height, width, channels };
            prop_assert_eq!(decode(&encode(shape, &pixels)).unwrap(), Image { shape, data: pixels });
        }

        #[test]
        fn a_damaged_file_is_read_or_refused(place: prop::sample::Index, byte: u8) {
            let mut file = encode(rgb(5, 7), &(0..105).collect::<Vec<u8>>());
            let place = place.index(file.len());
            file[place] = byte;
            let _ = decode(&file);
        }
    }

    /// Two pixels with that palette, which `png::Encoder` would not write.
    fn indexed(palette: &[u8]) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut chunk = |kind: &[u8], data: &[u8]| {
            let body = [kind, data].concat();
            file.extend((data.len() as u32).to_be_bytes());
            file.extend(&body);
            file.extend(crc32fast::hash(&body).to_be_bytes());
        };
        chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0]);
        chunk(b"PLTE", palette);
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&[0, 0, 1]).unwrap();
        chunk(b"IDAT", &packer.finish().unwrap());
        chunk(b"IEND", &[]);
        file
    }

    #[test]
    fn a_palette_of_any_length_is_read_or_refused() {
        assert_eq!(
            decode(&indexed(&[1, 2, 3, 4, 5, 6])).unwrap().data,
            [1, 2, 3, 4, 5, 6]
        );
        for length in 0..1000 {
            let read = decode(&indexed(&vec![7; length]));
            let right = length % 3 == 0 && (3..=768).contains(&length);
            assert_eq!(read.is_ok(), right, "{length}: {read:?}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let file = encode(rgb(4, 4), &(0..48).collect::<Vec<u8>>());
        for length in 0..file.len() {
            assert!(decode(&file[..length]).is_err(), "{length}");
        }
    }
}
