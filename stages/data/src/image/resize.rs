//! Cropping, and resizing with Pillow's six filters.

use std::f64::consts::PI;

use super::Canvas;

/// How a resized pixel is made of source pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The source pixel at the centre.
    Nearest,
    /// Mean of the covered pixels.
    Box,
    /// Triangle of radius 1.
    Bilinear,
    /// Hamming window of radius 1.
    Hamming,
    /// Cubic of radius 2, a = −½.
    Bicubic,
    /// Windowed sinc of radius 3.
    Lanczos,
}

impl Filter {
    /// Radius in source pixels at scale 1.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| {
            if x == 0.0 {
                1.0
            } else {
                (x * PI).sin() / (x * PI)
            }
        };
        let r = x.abs();
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - r).max(0.0),
            Self::Hamming if r == 0.0 => 1.0,
            Self::Hamming if r >= 1.0 => 0.0,
            Self::Hamming => sinc(r) * (0.54 + 0.46 * (r * PI).cos()),
            Self::Bicubic if r < 1.0 => (1.5 * r - 2.5) * r * r + 1.0,
            Self::Bicubic if r < 2.0 => ((r - 5.0) * r + 8.0) * r * -0.5 + 2.0,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}

/// Room for the weights of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    exact: Vec<f64>,
    weights: Vec<i32>,
    /// For each target position: first source position, and where its weights begin and end.
    windows: Vec<(usize, usize, usize)>,
}

/// Bits behind the point of a weight: 32 less 8 for the value and 2 for sums beyond the range.
const BITS: u32 = 22;

impl Scratch {
    /// Weights for `target` positions over `source` ones.
    fn prepare(&mut self, filter: Filter, source: usize, target: usize) {
        self.weights.clear();
        self.windows.clear();
        let scale = source as f64 / target as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        for i in 0..target {
            let centre = (i as f64 + 0.5) * scale;
            // The casts cut negative positions to 0.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(source);
            self.exact.clear();
            let at = |j: usize| (j as f64 - centre + 0.5) * (1.0 / stretch);
            self.exact
                .extend((first..end).map(|j| filter.weight(at(j))));
            let sum: f64 = self.exact.iter().sum();
            let begin = self.weights.len();
            for weight in &self.exact {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                // Rounded to the nearest, halves away from zero; the cast truncates.
                self.weights
                    .push((weight * f64::from(1 << BITS) + 0.5_f64.copysign(weight)) as i32);
            }
            self.windows.push((first, begin, self.weights.len()));
        }
    }

    /// One target value: weights times the values at `first`, `first + stride`…
    fn value(
        &self,
        window: (usize, usize, usize),
        values: &[u8],
        offset: usize,
        stride: usize,
    ) -> u8 {
        let (first, begin, end) = window;
        let mut sum = 1_i32 << (BITS - 1);
        for (weight, j) in self.weights[begin..end].iter().zip(first..) {
            sum += weight * i32::from(values[offset + j * stride]);
        }
        (sum >> BITS).clamp(0, 255) as u8
    }
}

impl Canvas {
    /// Cuts out rows `top..bottom` and columns `left..right`; what lies outside the image is black.
    /// Nothing happens where that is empty.
    pub fn crop(&mut self, left: i64, top: i64, right: i64, bottom: i64) {
        if right > left && bottom > top {
            let matrix = [1.0, 0.0, left as f64, 0.0, 1.0, top as f64];
            self.scale(matrix, (bottom - top) as usize, (right - left) as usize);
        }
    }

    /// Resizes the image: first along rows, rounded to bytes, then along columns, as Pillow did up to
    /// version 12 (13 takes columns first where the height shrinks much more than the width). Holes are
    /// not tracked afterwards. Nothing happens where a side is 0.
    pub fn resize(&mut self, height: usize, width: usize, filter: Filter) {
        let (rows, columns, channels) = (self.shape.height, self.shape.width, self.shape.channels);
        if (height, width) == (rows, columns) || height * width * rows * columns == 0 {
            return;
        }
        self.holes.clear();
        if filter == Filter::Nearest {
            let (a, e) = (columns as f64 / width as f64, rows as f64 / height as f64);
            return self.scale([a, 0.0, 0.0, 0.0, e, 0.0], height, width);
        }
        if width != columns {
            self.resize.prepare(filter, columns, width);
            self.spare.clear();
            for row in self.pixels.chunks_exact(columns * channels) {
                for window in &self.resize.windows {
                    let value = |c| self.resize.value(*window, row, c, channels);
                    self.spare.extend((0..channels).map(value));
                }
            }
            self.swap();
        }
        if height != rows {
            self.resize.prepare(filter, rows, height);
            self.spare.clear();
            let stride = width * channels;
            for window in &self.resize.windows {
                let value = |i| self.resize.value(*window, &self.pixels, i, stride);
                self.spare.extend((0..stride).map(value));
            }
            self.swap();
        }
        self.shape.height = height;
        self.shape.width = width;
    }
}
