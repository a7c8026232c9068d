//! The operations of AutoAugment and RandAugment at whole magnitudes, as google-research/fixmatch
//! applies them (spec/fixmatch.md 4.6): on an image with an alpha channel, here the holes.

use crate::image::Canvas;
use crate::rng::Stream;

use super::{Cutout, GREY};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Nothing.
    Identity,
    /// Stretch channels to the full range.
    AutoContrast,
    /// Even out histograms.
    Equalize,
    /// Turn by ±3m degrees.
    Rotate,
    /// Invert values from 256 − 25.6m.
    Solarize,
    /// Saturation 0.18m + 0.1.
    Color,
    /// Contrast 0.18m + 0.1.
    Contrast,
    /// Brightness 0.18m + 0.1.
    Brightness,
    /// Sharpness 0.18m + 0.1.
    Sharpness,
    /// Shear by ±0.03m.
    ShearX,
    /// Move by ±m pixels.
    TranslateX,
    /// Move by ±m pixels.
    TranslateY,
    /// Keep 4 − 0.4m bits.
    Posterize,
    /// Shear by ±0.03m.
    ShearY,
    /// Invert all values; AutoAugment only.
    Invert,
    /// Hole of side 2m; AutoAugment only.
    Cutout,
}

/// What RandAugment draws from, in the original's order.
pub const POOL: [Op; 14] = [
    Op::Identity,
    Op::AutoContrast,
    Op::Equalize,
    Op::Rotate,
    Op::Solarize,
    Op::Color,
    Op::Contrast,
    Op::Brightness,
    Op::Sharpness,
    Op::ShearX,
    Op::TranslateX,
    Op::TranslateY,
    Op::Posterize,
    Op::ShearY,
];

impl Op {
    /// Applies the operation at magnitude m of 10; larger ones go on along the same line. Signs and
    /// places are drawn from `stream`.
    pub fn apply(self, magnitude: u8, canvas: &mut Canvas, stream: &mut Stream) {
        let m = i32::from(magnitude);
        let signed = |v: f64, stream: &mut Stream| if stream.bool() { -v } else { v };
        let whole = |v: i32, stream: &mut Stream| if stream.bool() { -v } else { v };
        // The order of operations decides the last bit, here and in the slope.
        let factor = (f64::from(m) * 1.8 / 10.0 + 0.1) as f32;
        let slope = f64::from(m) * 0.3 / 10.0;
        // These convert to RGB and back, after which no pixel is transparent.
        if matches!(
            self,
            Self::AutoContrast | Self::Equalize | Self::Invert | Self::Posterize | Self::Solarize
        ) {
            canvas.close_holes();
        }
        match self {
            Self::Identity => {}
            Self::AutoContrast => canvas.autocontrast(),
            Self::Equalize => canvas.equalize(),
            Self::Invert => canvas.invert(),
            Self::Rotate => canvas.rotate(whole(3 * m, stream)),
            Self::Posterize => canvas.posterize(4 - 4 * m / 10),
            Self::Solarize => canvas.solarize(256 - 256 * m / 10),
            Self::Color => canvas.color(factor),
            Self::Contrast => canvas.contrast(factor),
            Self::Brightness => canvas.brightness(factor),
            Self::Sharpness => canvas.sharpness(factor),
            Self::ShearX => canvas.shear_x(signed(slope, stream)),
            Self::ShearY => canvas.shear_y(signed(slope, stream)),
            Self::TranslateX => canvas.translate_x(f64::from(whole(m, stream))),
            Self::TranslateY => canvas.translate_y(f64::from(whole(m, stream))),
            Self::Cutout => Cutout::Pixels(2 * usize::from(magnitude)).apply(canvas, stream),
        }
    }
}

/// The value that a stored byte has after the original converted it to −1..1 in float32 and back to
/// a byte by truncation: values 1 to 47 lose 1 (spec/fixmatch.md 4.6, trap 14).
pub(super) fn truncated() -> [u8; 256] {
    let mut table = [0; 256];
    for (v, entry) in (0..=u8::MAX).zip(&mut table) {
        let x = f32::from(v) * (2.0 / 255.0) - 1.0;
        *entry = ((x * 0.5 + 0.5) * 255.0) as u8;
    }
    table
}

/// Shows every hole as [`GREY`].
pub(super) fn grey_holes(pixels: &mut [u8], holes: &[u8], channels: usize) {
    for (pixel, hole) in pixels.chunks_exact_mut(channels).zip(holes) {
        if *hole == 1 {
            pixel.fill(GREY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conversion_takes_one_from_1_to_47() {
        for (v, converted) in (0..=u8::MAX).zip(truncated()) {
            assert_eq!(
                converted,
                if (1..48).contains(&v) { v - 1 } else { v },
                "{v}"
            );
        }
    }
}
