//! Cropping, and resizing with Pillow's six filters.

use std::f64::consts::PI;
use std::ops::Range;

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
    /// One row of sums.
    sums: Vec<i32>,
}

/// Bits behind the point of a weight: 32 less 8 for the value and 2 for sums beyond the range.
const BITS: u32 = 22;
/// One half, for rounding.
const HALF: i32 = 1 << (BITS - 1);

impl Scratch {
    /// Weights for the positions `wanted` of `target` ones over `source` ones.
    fn prepare(&mut self, filter: Filter, source: usize, target: usize, wanted: Range<usize>) {
        self.weights.clear();
        self.windows.clear();
        let scale = source as f64 / target as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        for i in wanted {
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

    /// The source positions that any of the windows covers.
    fn reach(&self) -> Range<usize> {
        let end = |(first, begin, end): &(usize, usize, usize)| first + end - begin;
        let first = self.windows.iter().map(|window| window.0).min();
        first.unwrap_or(0)..self.windows.iter().map(end).max().unwrap_or(0)
    }

    /// Appends one target row for each row of `columns` pixels of `C` channels.
    fn along_rows<const C: usize>(&self, source: &[u8], columns: usize, target: &mut Vec<u8>) {
        for row in source.as_chunks::<C>().0.chunks_exact(columns) {
            for &(first, begin, end) in &self.windows {
                let mut sums = [HALF; C];
                for (weight, pixel) in self.weights[begin..end].iter().zip(&row[first..]) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += weight * i32::from(*value);
                    }
                }
                target.extend_from_slice(&sums.map(byte));
            }
        }
    }

    /// Appends the target rows; source rows have `stride` bytes, and `source` starts at row `top`.
    fn along_columns(&mut self, source: &[u8], stride: usize, top: usize, target: &mut Vec<u8>) {
        for &(first, begin, end) in &self.windows {
            self.sums.clear();
            self.sums.resize(stride, HALF);
            let rows = source[(first - top) * stride..].chunks_exact(stride);
            for (weight, row) in self.weights[begin..end].iter().zip(rows) {
                for (sum, value) in self.sums.iter_mut().zip(row) {
                    *sum += weight * i32::from(*value);
                }
            }
            target.extend(self.sums.iter().map(|sum| byte(*sum)));
        }
    }
}

/// A weighted sum as a value.
fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
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
        self.resize_part(height, width, filter, 0..height, 0..width);
    }

    /// The part `rows` × `columns` of the image resized to `height` × `width`: the same bytes as
    /// [`resize`](Self::resize) and a crop, without computing the rest, however large that would be.
    ///
    /// # Panics
    /// Where the part lies outside.
    pub fn resize_part(
        &mut self,
        height: usize,
        width: usize,
        filter: Filter,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        assert!(rows.end <= height && columns.end <= width, "a part outside");
        let (old_rows, old_columns) = (self.shape.height, self.shape.width);
        if height * width * old_rows * old_columns == 0 || rows.is_empty() || columns.is_empty() {
            return;
        }
        if filter == Filter::Nearest || (height, width) == (old_rows, old_columns) {
            if (height, width) != (old_rows, old_columns) {
                self.holes.clear();
                let (a, e) = (
                    old_columns as f64 / width as f64,
                    old_rows as f64 / height as f64,
                );
                self.scale([a, 0.0, 0.0, 0.0, e, 0.0], height, width);
            }
            if (rows.len(), columns.len()) != (height, width) {
                let edge = |n: usize| n as i64;
                self.crop(
                    edge(columns.start),
                    edge(rows.start),
                    edge(columns.end),
                    edge(rows.end),
                );
            }
            return;
        }
        self.holes.clear();
        let channels = self.shape.channels;
        // Rows that no target row looks at need no work.
        self.resize.prepare(filter, old_rows, height, rows.clone());
        let needed = if height == old_rows {
            rows.clone()
        } else {
            self.resize.reach()
        };
        let stride = old_columns * channels;
        let source = &self.pixels[needed.start * stride..needed.end * stride];
        self.spare.clear();
        if width == old_columns {
            for row in source.chunks_exact(stride) {
                let part = columns.start * channels..columns.end * channels;
                self.spare.extend_from_slice(&row[part]);
            }
        } else {
            self.resize
                .prepare(filter, old_columns, width, columns.clone());
            if channels == 3 {
                self.resize
                    .along_rows::<3>(source, old_columns, &mut self.spare);
            } else {
                self.resize
                    .along_rows::<1>(source, old_columns, &mut self.spare);
            }
        }
        self.swap();
        if height != old_rows {
            self.resize.prepare(filter, old_rows, height, rows.clone());
            self.spare.clear();
            self.resize.along_columns(
                &self.pixels,
                columns.len() * channels,
                needed.start,
                &mut self.spare,
            );
            self.swap();
        }
        self.shape.height = rows.len();
        self.shape.width = columns.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Shape;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_part_is_what_a_crop_of_the_whole_would_be(
            (old_rows, old_columns, height, width) in (1usize..20, 1usize..20, 1usize..20, 1usize..20),
            corners: [u8; 4],
            colour: bool,
            nearest: bool,
        ) {
            let channels = if colour { 3 } else { 1 };
            let shape = Shape { height: old_rows, width: old_columns, channels };
            let pixels: Vec<u8> = (0..shape.bytes()).map(|i| (i * i * 31 % 251) as u8).collect();
            let part = |n: usize, a: u8, b: u8| {
                let start = usize::from(a) % n;
                start..start + 1 + usize::from(b) % (n - start)
            };
            let rows = part(height, corners[0], corners[1]);
            let columns = part(width, corners[2], corners[3]);
            let filter = if nearest { Filter::Nearest } else { Filter::Lanczos };
            let (mut whole, mut direct) = (Canvas::new(), Canvas::new());
            whole.load(shape, &pixels);
            whole.resize(height, width, filter);
            whole.crop(
                columns.start as i64,
                rows.start as i64,
                columns.end as i64,
                rows.end as i64,
            );
            direct.load(shape, &pixels);
            direct.resize_part(height, width, filter, rows, columns);
            prop_assert_eq!(direct.image(), whole.image());
        }
    }
}
