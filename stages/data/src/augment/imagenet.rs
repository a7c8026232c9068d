//! The augmentation of FixMatch's ImageNet part (spec/fixmatch.md 11): a random part of the image as the
//! weak one, and RandAugment with its own pool and levels on top. Its views have no mid-grey holes: what
//! a geometric operation uncovers is 128 at once, and later operations see that.

use crate::image::{Canvas, Filter, Shape};
use crate::rng::Stream;

/// Which part of an image is shown, in place of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Share of the image that the part covers, least and most.
const AREA: (f64, f64) = (0.08, 1.0);
/// Its width over its height, least and most.
const ASPECT: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
/// How often a part is drawn before the middle is taken.
const TRIES: usize = 10;
/// Side of the middle, as a share of the shorter side; also that of the published evaluation.
const MIDDLE: f64 = 0.875;

impl Crop {
    /// Draws a part: an aspect, then a height among those whose area fits, as TensorFlow's
    /// `sample_distorted_bounding_box`; the middle where ten of them do not fit.
    pub fn draw(shape: Shape, stream: &mut Stream) -> Self {
        let between = |(least, most): (f64, f64), u: f64| least + u * (most - least);
        let pixels = shape.pixels() as f64;
        for _ in 0..TRIES {
            let aspect = between(ASPECT, stream.uniform());
            let rows = |share: f64| (share * pixels / aspect).sqrt().round() as usize;
            let most = rows(AREA.1).min(shape.height).max(1);
            let least = rows(AREA.0).clamp(1, most);
            let height = least + stream.below((most - least + 1) as u64) as usize;
            let width = (height as f64 * aspect).round() as usize;
            let share = (height * width) as f64 / pixels;
            if width == 0 || width > shape.width || share < AREA.0 || share > AREA.1 {
                continue;
            }
            let top = stream.below((shape.height - height + 1) as u64) as usize;
            let left = stream.below((shape.width - width + 1) as u64) as usize;
            return Self {
                top,
                left,
                height,
                width,
            };
        }
        Self::middle(shape)
    }

    /// The square in the middle.
    pub fn middle(shape: Shape) -> Self {
        let side = ((MIDDLE * shape.side() as f64) as usize).max(1);
        Self {
            top: (shape.height - side).div_ceil(2),
            left: (shape.width - side).div_ceil(2),
            height: side,
            width: side,
        }
    }

    /// Shows the part in the size of the whole, by bicubic interpolation.
    pub fn apply(self, canvas: &mut Canvas) {
        let Shape { height, width, .. } = canvas.shape();
        let end = |first: usize, length: usize| (first + length) as i64;
        let (right, bottom) = (end(self.left, self.width), end(self.top, self.height));
        canvas.crop(self.left as i64, self.top as i64, right, bottom);
        canvas.resize(height, width, Filter::Bicubic);
    }
}

/// Two operations, each applied with probability ½, at one of eleven levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageNet;

/// An operation at level ℓ, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageNetOp {
    /// Stretch channels to the full range.
    AutoContrast,
    /// Even out histograms.
    Equalize,
    /// Invert all values.
    Invert,
    /// Turn by ±30ℓ degrees.
    Rotate,
    /// Keep ⌊4ℓ⌋ bits.
    Posterize,
    /// Invert values from ⌊256ℓ⌋.
    Solarize,
    /// Saturation 1.8ℓ + 0.1.
    Color,
    /// Contrast 1.8ℓ + 0.1.
    Contrast,
    /// Brightness 1.8ℓ + 0.1.
    Brightness,
    /// Sharpness 1.8ℓ + 0.1.
    Sharpness,
    /// Shear by ±0.3ℓ.
    ShearX,
    /// Shear by ±0.3ℓ.
    ShearY,
    /// Move by ±100ℓ pixels, whatever the size of the image.
    TranslateX,
    /// Move by ±100ℓ pixels, whatever the size of the image.
    TranslateY,
    /// Add ⌊110ℓ⌋ to values below 128.
    SolarizeAdd,
    /// Nothing.
    Identity,
}

/// What is uncovered.
const FILL: u8 = 128;
/// Levels are multiples of a tenth.
const TENTHS: u64 = 10;

impl ImageNet {
    /// Augments the image on the canvas.
    pub fn apply(self, canvas: &mut Canvas, stream: &mut Stream) {
        for _ in 0..2 {
            let op = ImageNetOp::ALL[stream.below(ImageNetOp::ALL.len() as u64) as usize];
            let tenths = stream.below(TENTHS + 1) as u8;
            if stream.bool() {
                op.apply(tenths, stream.bool(), canvas);
            }
        }
    }
}

impl ImageNetOp {
    /// All of them, in the specification's order.
    pub const ALL: [Self; 16] = [
        Self::AutoContrast,
        Self::Equalize,
        Self::Invert,
        Self::Rotate,
        Self::Posterize,
        Self::Solarize,
        Self::Color,
        Self::Contrast,
        Self::Brightness,
        Self::Sharpness,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::SolarizeAdd,
        Self::Identity,
    ];

    /// Applies it at a level of so many tenths, negative where that means anything.
    pub fn apply(self, tenths: u8, negative: bool, canvas: &mut Canvas) {
        let whole = |most: i32| most * i32::from(tenths) / 10;
        let level = f64::from(tenths) / 10.0;
        let factor = (level * 1.8 + 0.1) as f32;
        let sign = if negative { -1 } else { 1 };
        let slope = 0.3 * level * f64::from(sign);
        let pixels = f64::from(sign * whole(100));
        match self {
            Self::AutoContrast => canvas.autocontrast(),
            Self::Equalize => canvas.equalize(),
            Self::Invert => canvas.invert(),
            Self::Rotate => uncover(canvas, |canvas| canvas.rotate(sign * whole(30))),
            Self::Posterize => canvas.posterize(whole(4)),
            Self::Solarize => canvas.solarize(whole(256)),
            Self::Color => canvas.color(factor),
            Self::Contrast => canvas.contrast(factor),
            Self::Brightness => canvas.brightness(factor),
            Self::Sharpness => canvas.sharpness(factor),
            Self::ShearX => uncover(canvas, |canvas| canvas.shear_x(slope)),
            Self::ShearY => uncover(canvas, |canvas| canvas.shear_y(slope)),
            Self::TranslateX => uncover(canvas, |canvas| canvas.translate_x(pixels)),
            Self::TranslateY => uncover(canvas, |canvas| canvas.translate_y(pixels)),
            Self::SolarizeAdd => {
                let add = whole(110) as u8;
                canvas.map(|v| if v < 128 { v.saturating_add(add) } else { v });
            }
            Self::Identity => {}
        }
    }
}

/// A geometric operation, after which what it uncovered is [`FILL`].
fn uncover(canvas: &mut Canvas, operation: impl FnOnce(&mut Canvas)) {
    canvas.track_holes();
    operation(canvas);
    canvas.fill_holes(FILL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    const SHAPE: Shape = Shape {
        height: 224,
        width: 224,
        channels: 1,
    };

    /// A canvas of one value.
    fn plain(value: u8) -> Canvas {
        let mut canvas = Canvas::new();
        canvas.load(SHAPE, &vec![value; SHAPE.bytes()]);
        canvas
    }

    #[test]
    fn parts_have_the_published_areas_and_aspects_and_lie_inside() {
        let mut stream = Stream::new(1, Purpose::named("test"), 0, 0);
        let (mut least, mut most) = (f64::MAX, 0.0_f64);
        for _ in 0..2000 {
            let part = Crop::draw(SHAPE, &mut stream);
            assert!(part.top + part.height <= 224 && part.left + part.width <= 224);
            let aspect = part.width as f64 / part.height as f64;
            // Widths are rounded.
            assert!((0.74..1.35).contains(&aspect), "{part:?}");
            let share = (part.width * part.height) as f64 / SHAPE.pixels() as f64;
            assert!((AREA.0..=AREA.1).contains(&share), "{part:?}");
            (least, most) = (least.min(share), most.max(share));
        }
        assert!(least < 0.1 && most > 0.9, "{least} to {most}");
    }

    #[test]
    fn where_no_part_fits_the_middle_is_taken() {
        // Wider than any aspect allows: no part of at least 8 % is there.
        let shape = Shape {
            height: 2,
            width: 200,
            channels: 1,
        };
        let mut stream = Stream::new(1, Purpose::named("test"), 0, 0);
        assert_eq!(Crop::draw(shape, &mut stream), Crop::middle(shape));
        // spec/fixmatch.md 11: side int(0.875·min(h, w)), offset ((dim − side) + 1)//2.
        let middle = Crop::middle(Shape {
            height: 101,
            width: 100,
            channels: 3,
        });
        let expected = Crop {
            top: 7,
            left: 7,
            height: 87,
            width: 87,
        };
        assert_eq!(middle, expected);
    }

    #[test]
    fn a_part_is_shown_in_the_size_of_the_whole() {
        let mut canvas = Canvas::new();
        let columns: Vec<u8> = (0..SHAPE.bytes()).map(|i| (i % 224) as u8).collect();
        canvas.load(SHAPE, &columns);
        let part = Crop {
            top: 10,
            left: 100,
            height: 56,
            width: 56,
        };
        part.apply(&mut canvas);
        assert_eq!(canvas.shape(), SHAPE);
        // A ramp stays a ramp, of a quarter of the slope.
        let row = &canvas.pixels()[224 * 100..][..224];
        assert_eq!((row[2], row[112], row[221]), (100, 128, 155));
    }

    #[test]
    fn values_and_places_are_those_of_the_specification() {
        let value = |op: ImageNetOp, tenths: u8, value: u8| {
            let mut canvas = plain(value);
            op.apply(tenths, false, &mut canvas);
            canvas.pixels()[0]
        };
        // int(4·0.5) = 2 bits; none at all at the lowest levels.
        assert_eq!(value(ImageNetOp::Posterize, 5, 0xff), 0xc0);
        assert_eq!(value(ImageNetOp::Posterize, 2, 0xff), 0);
        // int(256·0.5) = 128.
        assert_eq!(value(ImageNetOp::Solarize, 5, 127), 127);
        assert_eq!(value(ImageNetOp::Solarize, 5, 128), 127);
        assert_eq!(value(ImageNetOp::Solarize, 10, 255), 255);
        // int(110·0.7) = 77.
        assert_eq!(value(ImageNetOp::SolarizeAdd, 7, 100), 177);
        assert_eq!(value(ImageNetOp::SolarizeAdd, 10, 127), 237);
        assert_eq!(value(ImageNetOp::SolarizeAdd, 10, 128), 128);
        // 1.8·0.5 + 0.1 = 1.
        assert_eq!(value(ImageNetOp::Brightness, 5, 90), 90);
        assert_eq!(value(ImageNetOp::Brightness, 0, 90), 9);
        for negative in [false, true] {
            let mut canvas = plain(7);
            ImageNetOp::TranslateX.apply(3, negative, &mut canvas);
            let row = &canvas.pixels()[..224];
            // 100·0.3 pixels.
            let (uncovered, kept) = if negative {
                row.split_at(30)
            } else {
                let (kept, uncovered) = row.split_at(194);
                (uncovered, kept)
            };
            assert!(uncovered.iter().all(|v| *v == FILL) && kept.iter().all(|v| *v == 7));
            assert!(canvas.holes().is_empty());
        }
    }
}
