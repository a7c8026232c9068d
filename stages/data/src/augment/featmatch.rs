//! FeatMatch's strong augmentation: two of sixteen operations, each with a strength drawn from a cell
//! of a grid (spec/featmatch.md 4). What geometric operations uncover stays black.

use crate::image::Canvas;
use crate::rng::Stream;

/// N = 2 operations, drawn with replacement, each at a level of 0 to M = 9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatMatch;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeatMatchOp {
    /// Shear by up to ±0.3.
    ShearX,
    /// Shear by up to ±0.3.
    ShearY,
    /// Move by up to ±150/331 of the width.
    TranslateX,
    /// Move by up to ±150/331 of the height.
    TranslateY,
    /// Turn by up to ±30 degrees.
    Rotate,
    /// Mirror left and right.
    Mirror,
    /// Nothing.
    Identity,
    /// Stretch channels to the full range.
    AutoContrast,
    /// Even out histograms.
    Equalize,
    /// Invert values from a threshold of 0 to 256.
    Solarize,
    /// Keep 4 to 8 bits.
    Posterize,
    /// Contrast 0.1 to 1.9.
    Contrast,
    /// Saturation 0.1 to 1.9.
    Color,
    /// Brightness 0.1 to 1.9.
    Brightness,
    /// Sharpness 0.1 to 1.9.
    Sharpness,
    /// Invert all values.
    Invert,
}

/// Cells of a grid.
const CELLS: u64 = 10;

impl FeatMatch {
    /// Augments the image on the canvas.
    pub fn apply(self, canvas: &mut Canvas, stream: &mut Stream) {
        for _ in 0..2 {
            let op = FeatMatchOp::ALL[stream.below(FeatMatchOp::ALL.len() as u64) as usize];
            op.apply(op.draw(stream), canvas);
        }
    }
}

impl FeatMatchOp {
    /// All of them, in the original's order.
    pub const ALL: [Self; 16] = [
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Mirror,
        Self::Identity,
        Self::AutoContrast,
        Self::Equalize,
        Self::Solarize,
        Self::Posterize,
        Self::Contrast,
        Self::Color,
        Self::Brightness,
        Self::Sharpness,
        Self::Invert,
    ];

    /// Ends of its grid, and whether values may be negative as well; none for what has no strength.
    fn grid(self) -> Option<(f64, f64, bool)> {
        Some(match self {
            Self::ShearX | Self::ShearY => (0.0, 0.3, true),
            Self::TranslateX | Self::TranslateY => (0.0, 150.0 / 331.0, true),
            Self::Rotate => (0.0, 30.0, true),
            Self::Solarize => (0.0, 256.0, false),
            Self::Posterize => (4.0, 8.0, false),
            Self::Contrast | Self::Color | Self::Brightness | Self::Sharpness => (0.1, 1.9, false),
            Self::Mirror | Self::Identity | Self::AutoContrast | Self::Equalize | Self::Invert => {
                return None;
            }
        })
    }

    /// Draws a value: level, sign, place in the level's cell. Nothing is drawn for what has none.
    pub fn draw(self, stream: &mut Stream) -> f64 {
        let Some((first, last, signed)) = self.grid() else {
            return 0.0;
        };
        let level = stream.below(CELLS) as f64;
        let sign = if signed && stream.bool() { -1.0 } else { 1.0 };
        let at = |n: f64| sign * (first + n * ((last - first) / CELLS as f64));
        at(level) + (at(level + 1.0) - at(level)) * stream.uniform()
    }

    /// Applies it with that value, in its grid's unit.
    pub fn apply(self, value: f64, canvas: &mut Canvas) {
        match self {
            // The original's shears are each other's: they move columns and rows.
            Self::ShearX => map(canvas, [1.0, value, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY => map(canvas, [1.0, 0.0, 0.0, value, 1.0, 0.0]),
            Self::TranslateX => {
                let pixels = canvas.shape().width as f64 * value;
                map(canvas, [1.0, 0.0, 0.0, 0.0, 1.0, pixels]);
            }
            Self::TranslateY => {
                let pixels = canvas.shape().height as f64 * value;
                map(canvas, [1.0, 0.0, pixels, 0.0, 1.0, 0.0]);
            }
            Self::Rotate => {
                let (sin, cos) = value.to_radians().sin_cos();
                map(canvas, [cos, -sin, 0.0, sin, cos, 0.0]);
            }
            Self::Mirror => canvas.mirror(),
            Self::Identity => {}
            Self::AutoContrast => canvas.autocontrast(),
            Self::Equalize => canvas.equalize(),
            Self::Invert => canvas.invert(),
            // A whole value is below a threshold if it is below the next whole number.
            Self::Solarize => canvas.solarize(value.ceil() as i32),
            Self::Posterize => canvas.posterize(value.round_ties_even() as i32),
            Self::Contrast => canvas.contrast(value as f32),
            Self::Color => canvas.color(value as f32),
            Self::Brightness => canvas.brightness(value as f32),
            Self::Sharpness => canvas.sharpness(value as f32),
        }
    }
}

/// A map about the point that the original takes for the centre, half a pixel off, on the transposed
/// image.
fn map(canvas: &mut Canvas, [a, b, c, d, e, f]: [f64; 6]) {
    canvas.transpose();
    let shape = canvas.shape();
    let (x, y) = (
        shape.width as f64 / 2.0 + 0.5,
        shape.height as f64 / 2.0 + 0.5,
    );
    // offset · matrix · reset, each product summed from left to right.
    let right = a * -x + b * -y + (c + x);
    let down = d * -x + e * -y + (f + y);
    canvas.affine_bicubic([a, b, right, d, e, down]);
    canvas.transpose();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    #[test]
    fn values_fill_their_grid_evenly_on_both_sides() {
        let mut stream = Stream::new(1, Purpose::named("test"), 0, 0);
        let mut cells = [0; 20];
        for _ in 0..20_000 {
            let value = FeatMatchOp::Rotate.draw(&mut stream);
            cells[((value + 30.0) / 3.0) as usize] += 1;
        }
        // Five standard deviations.
        assert!(cells.iter().all(|n| (845..1155).contains(n)), "{cells:?}");
        for op in FeatMatchOp::ALL {
            let Some((first, last, signed)) = op.grid() else {
                assert_eq!(op.draw(&mut stream), 0.0);
                continue;
            };
            for _ in 0..1000 {
                let value = op.draw(&mut stream);
                assert!(signed || value >= 0.0, "{op:?} {value}");
                assert!((first..=last).contains(&value.abs()), "{op:?} {value}");
            }
        }
    }
}
