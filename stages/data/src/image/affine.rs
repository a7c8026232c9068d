//! Affine maps with nearest-neighbour sampling; what they uncover is black.

use std::sync::OnceLock;

use super::Canvas;

/// (a, b, c, d, e, f): the target pixel at (x, y) shows the source at (ax + by + c, dx + ey + f),
/// in pixels from the top left corner, x to the right; pixel centres lie at halves.
pub type Matrix = [f64; 6];

impl Canvas {
    /// Applies an affine map. Sides up to 32767 pixels are as in Pillow.
    pub fn affine(&mut self, matrix: Matrix) {
        let [_, b, _, d, _, _] = matrix;
        if b == 0.0 && d == 0.0 {
            // Pillow takes another path with other rounding here.
            self.scale(matrix, self.shape.height, self.shape.width);
        } else if self.shape.channels == 3 {
            self.walk::<3>(matrix);
        } else {
            self.walk::<1>(matrix);
        }
    }

    /// Moves each row by `slope` pixels per row, the top edge staying.
    pub fn shear_x(&mut self, slope: f64) {
        self.affine([1.0, slope, 0.0, 0.0, 1.0, 0.0]);
    }

    /// Moves each column by `slope` pixels per column, the left edge staying.
    pub fn shear_y(&mut self, slope: f64) {
        self.affine([1.0, 0.0, 0.0, slope, 1.0, 0.0]);
    }

    /// Moves the content `by` pixels to the left.
    pub fn translate_x(&mut self, by: f64) {
        self.affine([1.0, 0.0, by, 0.0, 1.0, 0.0]);
    }

    /// Moves the content `by` pixels up.
    pub fn translate_y(&mut self, by: f64) {
        self.affine([1.0, 0.0, 0.0, 0.0, 1.0, by]);
    }

    /// Turns the image about its centre, counter-clockwise.
    pub fn rotate(&mut self, degrees: i32) {
        let degrees = degrees.rem_euclid(360);
        let (height, width) = (self.shape.height, self.shape.width);
        match degrees {
            0 => {}
            180 => self.turn(height, width, |y, x| (height - 1 - y, width - 1 - x)),
            90 if height == width => self.turn(height, width, |y, x| (x, width - 1 - y)),
            270 if height == width => self.turn(height, width, |y, x| (height - 1 - x, y)),
            _ => {
                let [cos, sin, minus_sin] = cosine_and_sines(degrees);
                let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
                let c = cos * -x + sin * -y + 0.0 + x;
                let f = minus_sin * -x + cos * -y + 0.0 + y;
                self.affine([cos, sin, c, minus_sin, cos, f]);
            }
        }
    }

    /// A map without shear, to an image of another size. The source position is summed up from
    /// pixel to pixel, as in Pillow.
    pub(super) fn scale(&mut self, [a, _, c, _, e, f]: Matrix, height: usize, width: usize) {
        let (source_height, source_width, channels) =
            (self.shape.height, self.shape.width, self.shape.channels);
        let inside = |at: f64, size: usize| {
            if at >= 0.0 && (at as usize) < size {
                at as usize
            } else {
                usize::MAX
            }
        };
        self.columns.clear();
        let mut at = c + a * 0.5;
        for _ in 0..width {
            self.columns.push(inside(at, source_width));
            at += a;
        }
        self.shape.height = height;
        self.shape.width = width;
        self.spare.clear();
        self.spare.resize(height * width * channels, 0);
        let tracked = !self.holes.is_empty();
        self.spare_holes.clear();
        self.spare_holes
            .resize(if tracked { height * width } else { 0 }, 1);
        let mut at = f + e * 0.5;
        for row in 0..height {
            let source_row = inside(at, source_height);
            at += e;
            if source_row == usize::MAX {
                continue;
            }
            let source =
                &self.pixels[source_row * source_width * channels..][..source_width * channels];
            let target = &mut self.spare[row * width * channels..][..width * channels];
            if channels == 3 {
                let (source, target) = (source.as_chunks::<3>().0, target.as_chunks_mut::<3>().0);
                copy_columns(source, target, &self.columns);
            } else {
                copy_columns(source, target, &self.columns);
            }
            if tracked {
                let source = &self.holes[source_row * source_width..][..source_width];
                copy_columns(
                    source,
                    &mut self.spare_holes[row * width..][..width],
                    &self.columns,
                );
            }
        }
        self.swap();
        std::mem::swap(&mut self.holes, &mut self.spare_holes);
    }

    /// A general map, in Pillow's 16-bit fixed point.
    fn walk<const C: usize>(&mut self, [a, b, c, d, e, f]: Matrix) {
        let (height, width) = (self.shape.height, self.shape.width);
        let fixed = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
        let (right, down) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
        let start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
        self.spare.resize(self.pixels.len(), 0);
        let tracked = !self.holes.is_empty();
        self.spare_holes.resize(self.holes.len(), 0);
        let source = self.pixels.as_chunks::<C>().0;
        let target = self.spare.as_chunks_mut::<C>().0;
        for (row, line) in target.chunks_exact_mut(width.max(1)).enumerate() {
            let row = row as i64;
            let [mut x, mut y] = [start[0] + row * down[0], start[1] + row * down[1]];
            for (column, pixel) in line.iter_mut().enumerate() {
                // Negative positions become huge ones.
                let (sx, sy) = ((x >> 16) as usize, (y >> 16) as usize);
                let at = if sx < width && sy < height {
                    sy * width + sx
                } else {
                    usize::MAX
                };
                *pixel = source.get(at).copied().unwrap_or([0; C]);
                if tracked {
                    self.spare_holes[row as usize * width + column] =
                        self.holes.get(at).copied().unwrap_or(1);
                }
                x += right[0];
                y += right[1];
            }
        }
        self.swap();
        std::mem::swap(&mut self.holes, &mut self.spare_holes);
    }

    /// Swaps left and right.
    pub fn mirror(&mut self) {
        let (height, width) = (self.shape.height, self.shape.width);
        self.turn(height, width, |y, x| (y, width - 1 - x));
    }

    /// Swaps rows and columns.
    pub fn transpose(&mut self) {
        self.turn(self.shape.width, self.shape.height, |y, x| (x, y));
    }

    /// Gives every pixel (row, column) of an image of `height` × `width` the one at `from`.
    fn turn(&mut self, height: usize, width: usize, from: impl Fn(usize, usize) -> (usize, usize)) {
        let (stride, channels) = (self.shape.width, self.shape.channels);
        self.spare.clear();
        self.spare_holes.clear();
        for row in 0..height {
            for column in 0..width {
                let (y, x) = from(row, column);
                let at = y * stride + x;
                self.spare
                    .extend_from_slice(&self.pixels[at * channels..(at + 1) * channels]);
                self.spare_holes.extend(self.holes.get(at));
            }
        }
        self.shape.height = height;
        self.shape.width = width;
        self.swap();
        std::mem::swap(&mut self.holes, &mut self.spare_holes);
    }
}

fn copy_columns<T: Copy>(source: &[T], target: &mut [T], columns: &[usize]) {
    for (target, column) in target.iter_mut().zip(columns) {
        if let Some(pixel) = source.get(*column) {
            *target = *pixel;
        }
    }
}

/// cos, sin and −sin of the inverse rotation, rounded to 15 decimals as Pillow does.
fn cosine_and_sines(degrees: i32) -> [f64; 3] {
    static ALL: OnceLock<Vec<[f64; 3]>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        // Decimal rounding through text, which is exact; Python's round() does the same.
        let round = |v: f64| format!("{v:.15}").parse().unwrap_or(v);
        (0..360)
            .map(|degrees| {
                let angle = -f64::from(degrees).to_radians();
                [round(angle.cos()), round(angle.sin()), round(-angle.sin())]
            })
            .collect()
    });
    all[degrees as usize]
}
