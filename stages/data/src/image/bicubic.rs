//! Affine maps with cubic interpolation; what they uncover is black.

use super::Canvas;
use super::affine::Matrix;

/// The cubic through `at[1]` and `at[2]`, `d` of the way between them: the kernel with a = −1 that
/// Pillow's transformations have, not the a = −½ of its [`Filter::Bicubic`](super::Filter::Bicubic).
/// The order of operations decides the last bit.
#[inline]
fn cubic(at: [f64; 4], d: f64) -> f64 {
    let first = -at[0] + at[2];
    let second = 2.0 * (at[0] - at[1]) + at[2] - at[3];
    let third = -at[0] + at[1] - at[2] + at[3];
    at[1] + d * (first + d * (second + d * third))
}

impl Canvas {
    /// Applies an affine map, as [`affine`](Self::affine) with Pillow's `BICUBIC`. Holes are not
    /// tracked afterwards.
    pub fn affine_bicubic(&mut self, matrix: Matrix) {
        self.holes.clear();
        self.spare.resize(self.pixels.len(), 0);
        if self.shape.channels == 3 {
            self.sample::<3>(matrix);
        } else {
            self.sample::<1>(matrix);
        }
        self.swap();
    }

    fn sample<const C: usize>(&mut self, [a, b, c, d, e, f]: Matrix) {
        let (height, width) = (self.shape.height, self.shape.width);
        let source = self.pixels.as_chunks::<C>().0;
        let target = self.spare.as_chunks_mut::<C>().0;
        for (row, line) in target.chunks_exact_mut(width.max(1)).enumerate() {
            let y = row as f64 + 0.5;
            for (column, pixel) in line.iter_mut().enumerate() {
                let x = column as f64 + 0.5;
                let (x, y) = (a * x + b * y + c, d * x + e * y + f);
                let inside = x >= 0.0 && x < width as f64 && y >= 0.0 && y < height as f64;
                *pixel = if inside {
                    around(source, height, width, y - 0.5, x - 0.5)
                } else {
                    [0; C]
                };
            }
        }
    }
}

/// The value between the pixels around a point. Beyond its edges an image goes on as it ends.
fn around<const C: usize>(
    source: &[[u8; C]],
    height: usize,
    width: usize,
    y: f64,
    x: f64,
) -> [u8; C] {
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = (y - top, x - left);
    let place = |first: f64, n: usize| -> [usize; 4] {
        std::array::from_fn(|i| (first as isize + i as isize - 1).clamp(0, n as isize - 1) as usize)
    };
    let (rows, columns) = (place(top, height), place(left, width));
    let mut sums = [[0.0; 4]; C];
    for (i, row) in rows.into_iter().enumerate() {
        let pixels = columns.map(|column| source[row * width + column]);
        for (channel, sums) in sums.iter_mut().enumerate() {
            sums[i] = cubic(pixels.map(|pixel| f64::from(pixel[channel])), right);
        }
    }
    // The cast truncates, and cuts to 0..=255.
    sums.map(|sums| cubic(sums, down) as u8)
}
