//! CTAugment's 19 operations, and what their levels mean (spec/fixmatch.md 4.8).

use crate::image::{Canvas, Filter};
use crate::rng::Stream;

use super::super::GREY;

/// An operation of CTAugment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CtOp {
    /// Blend with the stretched image.
    Autocontrast,
    /// Blend with the blurred image.
    Blur,
    /// Factor 0.1 to 2.
    Brightness,
    /// Factor 0.1 to 2.
    Color,
    /// Factor 0.1 to 2.
    Contrast,
    /// A square of up to half the side, grey 127.
    Cutout,
    /// Blend with the equalized image.
    Equalize,
    /// Blend with the inverted image.
    Invert,
    /// Nothing; it has no level.
    Identity,
    /// 1 to 8 bits.
    Posterize,
    /// Zoom in by up to a quarter at each side; the second level picks the filter.
    Rescale,
    /// −45 to 45 degrees.
    Rotate,
    /// Factor 0.1 to 2.
    Sharpness,
    /// −0.3 to 0.3.
    ShearX,
    /// −0.3 to 0.3.
    ShearY,
    /// Blend with the smoothed image.
    Smooth,
    /// Threshold 0 to 255.
    Solarize,
    /// −0.3 to 0.3 *pixels*, which moves nothing (spec/fixmatch.md, trap 13); kept because it is one
    /// of the 19 that are drawn.
    TranslateX,
    /// As [`TranslateX`](Self::TranslateX).
    TranslateY,
}

impl CtOp {
    /// All operations, in the original's order.
    pub const ALL: [Self; 19] = [
        Self::Autocontrast,
        Self::Blur,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Cutout,
        Self::Equalize,
        Self::Invert,
        Self::Identity,
        Self::Posterize,
        Self::Rescale,
        Self::Rotate,
        Self::Sharpness,
        Self::ShearX,
        Self::ShearY,
        Self::Smooth,
        Self::Solarize,
        Self::TranslateX,
        Self::TranslateY,
    ];

    /// The original's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autocontrast => "autocontrast",
            Self::Blur => "blur",
            Self::Brightness => "brightness",
            Self::Color => "color",
            Self::Contrast => "contrast",
            Self::Cutout => "cutout",
            Self::Equalize => "equalize",
            Self::Invert => "invert",
            Self::Identity => "identity",
            Self::Posterize => "posterize",
            Self::Rescale => "rescale",
            Self::Rotate => "rotate",
            Self::Sharpness => "sharpness",
            Self::ShearX => "shear_x",
            Self::ShearY => "shear_y",
            Self::Smooth => "smooth",
            Self::Solarize => "solarize",
            Self::TranslateX => "translate_x",
            Self::TranslateY => "translate_y",
        }
    }

    /// For each argument, into how many bins its levels fall.
    pub fn bins(self) -> &'static [usize] {
        match self {
            Self::Identity => &[],
            Self::Posterize => &[8],
            Self::Rescale => &[17, 6],
            _ => &[17],
        }
    }

    /// Applies the operation at levels from 0 to 1; the place of a cutout is drawn from `stream`,
    /// rows first.
    pub fn apply(self, levels: [f64; 2], canvas: &mut Canvas, stream: &mut Stream) {
        let level = levels[0];
        let factor = (0.1 + 1.9 * level) as f32;
        let slope = (2.0 * level - 1.0) * 0.3;
        match self {
            Self::Identity => {}
            Self::Autocontrast => canvas.blend(level as f32, Canvas::autocontrast),
            Self::Equalize => canvas.blend(level as f32, Canvas::equalize),
            Self::Invert => canvas.blend(level as f32, Canvas::invert),
            Self::Blur => canvas.blend(level as f32, Canvas::blur),
            Self::Smooth => canvas.blend(level as f32, Canvas::smooth),
            Self::Brightness => canvas.brightness(factor),
            Self::Color => canvas.color(factor),
            Self::Contrast => canvas.contrast(factor),
            Self::Sharpness => canvas.sharpness(factor),
            Self::Cutout => {
                let shape = canvas.shape();
                let row = stream.below(shape.height as u64) as usize;
                let column = stream.below(shape.width as u64) as usize;
                Self::cutout(canvas, level, row, column);
            }
            Self::Posterize => canvas.posterize(1 + (level * 7.999) as i32),
            Self::Rescale => rescale(canvas, level, levels[1]),
            Self::Rotate => canvas.rotate(((2.0 * level - 1.0) * 45.0).round_ties_even() as i32),
            Self::ShearX => canvas.shear_x(slope),
            Self::ShearY => canvas.shear_y(slope),
            Self::Solarize => canvas.solarize((level * 255.999) as i32),
            Self::TranslateX => canvas.translate_x(slope),
            Self::TranslateY => canvas.translate_y(slope),
        }
    }

    /// The cutout of a level around a pixel.
    pub fn cutout(canvas: &mut Canvas, level: f64, row: usize, column: usize) {
        let side = 1 + (level * canvas.shape().side() as f64 * 0.499) as usize;
        let half = side / 2;
        canvas.fill(
            row.saturating_sub(half)..row + half,
            column.saturating_sub(half)..column + half,
            GREY,
        );
    }
}

fn rescale(canvas: &mut Canvas, level: f64, filter: f64) {
    const FILTERS: [Filter; 6] = [
        Filter::Lanczos,
        Filter::Bicubic,
        Filter::Bilinear,
        Filter::Box,
        Filter::Hamming,
        Filter::Nearest,
    ];
    let shape = canvas.shape();
    let scale = level * 0.25;
    let near = |size: usize| (scale * size as f64).round_ties_even() as i64;
    let far = |size: usize| (size as f64 * (1.0 - scale)).round_ties_even() as i64;
    canvas.crop(
        near(shape.width),
        near(shape.height),
        far(shape.width),
        far(shape.height),
    );
    let filter = FILTERS[((filter * 5.99) as usize).min(5)];
    canvas.resize(shape.height, shape.width, filter);
}
