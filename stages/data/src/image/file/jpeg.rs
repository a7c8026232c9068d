//! JPEG files.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Error, Stored, check_size};

/// Most scans of a progressive image that are believed; encoders make some ten. Each costs a pass
/// over all pixels, however few bytes it has.
const MOST_SCANS: usize = 100;

/// Decodes a JPEG file to grey or RGB.
pub(super) fn decode(file: &[u8]) -> Result<Stored, Error> {
    if !is_whole(file) {
        return Err(Error::Cut);
    }
    // Strictness would refuse what cameras and ImageNet have, such as stray bytes between segments.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(MOST_SCANS);
    let damaged = |error: zune_jpeg::errors::DecodeErrors| Error::Damaged(error.to_string());
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_size(width as u64, height as u64)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if grey {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let data = decoder.decode().map_err(damaged)?;
    let samples = if grey { 1 } else { 3 };
    if data.len() != width * height * samples {
        return Err(Error::Damaged("its pixels are not all there".into()));
    }
    Ok(Stored {
        height,
        width,
        samples,
        data,
        exif: decoder.exif().cloned(),
    })
}

/// Whether the image's end is there: the decoder would fill up what is missing. Within the data of a
/// scan, 0xff is never followed by the code of a marker, so what comes last decides.
fn is_whole(file: &[u8]) -> bool {
    let scan_or_end = |pair: &&[u8]| matches!(pair, [0xff, 0xda | 0xd9]);
    let last = file.windows(2).rfind(scan_or_end);
    last.is_some_and(|pair| pair[1] == 0xd9)
}
