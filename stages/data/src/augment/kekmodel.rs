//! RandAugment as kekmodel/FixMatch-pytorch does it, for comparison with the PyTorch
//! re-implementations that descend from it (spec/four_methods.md).
//!
//! It differs from the original in its ranges (enhancers never exceed 1, posterizing keeps 4 to 7
//! bits, moves are a share of the width), in its cutout (17 pixels wide, grey 127, its corner
//! clamped before its size is added), and in that what it uncovers stays black.

use std::ops::Range;

use crate::image::{Canvas, Shape};
use crate::rng::Stream;

use super::{GREY, Op, POOL};

/// Two operations at magnitudes 1 to 9, each applied with probability ½, then the cutout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kekmodel;

/// Side that the cutout is asked for; it paints one pixel more in each direction.
const SIDE: f64 = 16.0;

impl Kekmodel {
    /// Augments the image on the canvas.
    pub fn apply(self, canvas: &mut Canvas, stream: &mut Stream) {
        for _ in 0..2 {
            let op = POOL[stream.below(POOL.len() as u64) as usize];
            let magnitude = 1 + stream.below(9) as u8;
            if stream.bool() {
                let negative = stream.bool();
                Self::op(op, magnitude, negative, canvas);
            }
        }
        let shape = canvas.shape();
        let x = stream.uniform() * shape.width as f64;
        let y = stream.uniform() * shape.height as f64;
        let (rows, columns) = Self::cutout(shape, x, y);
        canvas.fill(rows, columns, GREY);
    }

    /// One operation of the pool at magnitude v of 10, negative where that means anything. Invert
    /// and Cutout are not in the pool and do nothing.
    pub fn op(op: Op, v: u8, negative: bool, canvas: &mut Canvas) {
        let whole = |max: i32| i32::from(v) * max / 10;
        let share = |max: f64| f64::from(v) * max / 10.0;
        let sign = if negative { -1 } else { 1 };
        let factor = (share(0.9) + 0.05) as f32;
        let slope = share(0.3) * f64::from(sign);
        let pixels = |side: usize| (slope * side as f64).trunc();
        let Shape { height, width, .. } = canvas.shape();
        match op {
            Op::Identity | Op::Invert | Op::Cutout => {}
            Op::AutoContrast => canvas.autocontrast(),
            Op::Equalize => canvas.equalize(),
            Op::Rotate => canvas.rotate(sign * whole(30)),
            Op::Solarize => canvas.solarize(256 - whole(256)),
            Op::Color => canvas.color(factor),
            Op::Contrast => canvas.contrast(factor),
            Op::Brightness => canvas.brightness(factor),
            Op::Sharpness => canvas.sharpness(factor),
            Op::ShearX => canvas.shear_x(slope),
            Op::ShearY => canvas.shear_y(slope),
            Op::TranslateX => canvas.translate_x(pixels(width)),
            Op::TranslateY => canvas.translate_y(pixels(height)),
            Op::Posterize => canvas.posterize(4 + whole(4)),
        }
    }

    /// Rows and columns of the cutout around a point.
    pub fn cutout(shape: Shape, x: f64, y: f64) -> (Range<usize>, Range<usize>) {
        let span = |at: f64, size: usize| {
            let first = (at - SIDE / 2.0).max(0.0);
            // The last row and column are painted as well.
            let last = (first + SIDE).min(size as f64);
            first as usize..last as usize + 1
        };
        (span(y, shape.height), span(x, shape.width))
    }
}
