//! Balancing a dataset by repetition, and the random views that repeated images come as
//! (spec/realmix.md 2.3).
//!
//! A view is what Keras' `ImageDataGenerator` makes of rotation by up to 40°, shifts by up to 0.2 of a side,
//! shear by up to 0.2°, zoom by up to 0.2 and mirroring, with bilinear sampling and the edge pixels
//! repeated outside.

use crate::image::Image;
use crate::mt19937::Mt19937;
use crate::rng::{Purpose, Stream};

/// What the draws of views are for.
const VIEW: Purpose = Purpose::named("balanced copy");
/// Seed of the shuffle and, as published, of every view.
const SEED: u32 = 1;
/// Most rotation either way, in degrees.
const ROTATION: f64 = 40.0;
/// Most shift either way, as a part of the side.
const SHIFT: f64 = 0.2;
/// Most shear either way, in degrees.
const SHEAR: f64 = 0.2;
/// Most zoom either way.
const ZOOM: f64 = 0.2;

/// A record of a balanced set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Which image.
    pub image: usize,
    /// 0 for the image itself, from 1 on for its copies.
    pub copy: u64,
}

/// Picks about `total` records, the same number of each of `classes` classes, class by class: images in
/// an order shuffled by numpy's generator, each followed by its copies, until the class is full.
pub fn balance(labels: &[i64], classes: usize, total: u64) -> Vec<Pick> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (image, label) in labels.iter().enumerate() {
        members[*label as usize].push(image);
    }
    let each = total.div_ceil(classes.max(1) as u64);
    let mut random = Mt19937::new(SEED);
    let mut picks = Vec::new();
    for images in &mut members {
        random.shuffle(images);
        let versions = each.div_ceil(images.len().max(1) as u64).max(1);
        let of_image = |&image: &usize| (0..versions).map(move |copy| Pick { image, copy });
        picks.extend(images.iter().flat_map(of_image).take(each as usize));
    }
    picks
}

/// Numbers that say how an image is turned, moved, sheared, zoomed and mirrored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Rotation in degrees.
    rotation: f64,
    /// Shift of rows and columns, as parts of the sides.
    shift: [f64; 2],
    /// Shear in degrees.
    shear: f64,
    /// Zoom of rows and columns.
    zoom: [f64; 2],
    mirror: bool,
}

impl View {
    /// Draws the view of a copy of an image.
    pub fn of(image: u64, copy: u64) -> Self {
        let mut stream = Stream::new(u64::from(SEED), VIEW, copy, image);
        Self::draw(|| stream.uniform())
    }

    /// The one that all copies are with the published code.
    pub fn published() -> Self {
        let mut random = Mt19937::new(SEED);
        Self::draw(|| random.uniform())
    }

    /// In Keras' order.
    fn draw(mut uniform: impl FnMut() -> f64) -> Self {
        let mut around = |middle: f64, most: f64| middle - most + 2.0 * most * uniform();
        Self {
            rotation: around(0.0, ROTATION),
            shift: [around(0.0, SHIFT), around(0.0, SHIFT)],
            shear: around(0.0, SHEAR),
            zoom: [around(1.0, ZOOM), around(1.0, ZOOM)],
            mirror: uniform() < 0.5,
        }
    }

    /// The image seen so.
    pub fn apply(self, image: &Image) -> Image {
        let (height, width, channels) =
            (image.shape.height, image.shape.width, image.shape.channels);
        let (sin, cos) = self.rotation.to_radians().sin_cos();
        let (shear_sin, shear_cos) = self.shear.to_radians().sin_cos();
        let [zoom_rows, zoom_columns] = self.zoom;
        let (down, right) = (self.shift[0] * height as f64, self.shift[1] * width as f64);
        // Rotation · shift · shear · zoom, about the centre: the target pixel at (row, column) shows the
        // source at (a, b; d, e) · (row, column) + (c, f).
        let (a, d) = (cos * zoom_rows, sin * zoom_rows);
        let b = (-cos * shear_sin - sin * shear_cos) * zoom_columns;
        let e = (-sin * shear_sin + cos * shear_cos) * zoom_columns;
        let (y, x) = (height as f64 / 2.0 - 0.5, width as f64 / 2.0 - 0.5);
        let c = cos * down - sin * right + y - a * y - b * x;
        let f = sin * down + cos * right + x - d * y - e * x;
        let mut data = Vec::with_capacity(image.data.len());
        for row in 0..height {
            for column in 0..width {
                let column = if self.mirror {
                    width - 1 - column
                } else {
                    column
                };
                let (row, column) = (row as f64, column as f64);
                let at = [a * row + b * column + c, d * row + e * column + f];
                let [y, x] = [(at[0], height), (at[1], width)]
                    .map(|(at, n)| at.clamp(0.0, n.saturating_sub(1) as f64));
                let (top, left) = (y as usize, x as usize);
                let (bottom, right) = ((top + 1).min(height - 1), (left + 1).min(width - 1));
                let (down, across) = (y - top as f64, x - left as f64);
                for channel in 0..channels {
                    let value = |row: usize, column: usize| {
                        f64::from(image.data[(row * width + column) * channels + channel])
                    };
                    let upper = value(top, left) * (1.0 - across) + value(top, right) * across;
                    let lower =
                        value(bottom, left) * (1.0 - across) + value(bottom, right) * across;
                    // As a 32-bit number first, which is cut down to a byte.
                    data.push((upper * (1.0 - down) + lower * down) as f32 as u8);
                }
            }
        }
        Image {
            shape: image.shape,
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Shape;

    #[test]
    fn the_published_view_is_keras() {
        // Printed by tests/make_keras_view.py.
        let green = [
            [66, 201, 159, 126, 99, 80, 68, 62, 62],
            [118, 226, 181, 145, 116, 94, 79, 72, 70],
            [85, 139, 213, 173, 142, 118, 101, 91, 87],
            [105, 96, 169, 212, 177, 151, 131, 121, 117],
            [161, 102, 110, 210, 198, 193, 172, 162, 157],
            [194, 142, 97, 58, 59, 231, 224, 213, 207],
        ];
        let shape = Shape {
            height: 6,
            width: 9,
            channels: 3,
        };
        let value = |i: usize| {
            let (y, x, c) = (i / 27, i / 3 % 9, i % 3);
            (7 * y * y + 5 * x * x + 60 * c + 3 * x * y) as u8
        };
        let data = (0..shape.bytes()).map(value).collect();
        let seen = View::published().apply(&Image { shape, data });
        let found: Vec<u8> = seen.data.iter().skip(1).step_by(3).copied().collect();
        assert_eq!(found, green.concat());
        let sum: u32 = seen.data.iter().map(|v| u32::from(*v)).sum();
        assert_eq!(sum, 20811);
    }

    #[test]
    fn views_differ_by_image_and_copy_only() {
        assert_eq!(View::of(3, 1), View::of(3, 1));
        assert_ne!(View::of(3, 1), View::of(3, 2));
        assert_ne!(View::of(3, 1), View::of(4, 1));
    }

    #[test]
    fn a_view_of_one_pixel_is_that_pixel() {
        let shape = Shape {
            height: 1,
            width: 1,
            channels: 1,
        };
        let image = Image {
            shape,
            data: vec![9],
        };
        assert_eq!(View::of(0, 1).apply(&image), image);
    }

    #[test]
    fn every_class_gets_as_many_records() {
        // 20 of class 0, 7 of class 1, none of class 2.
        let labels: Vec<i64> = (0..27).map(|n| i64::from(n >= 20)).collect();
        let picks = balance(&labels, 3, 29);
        // spec/realmix.md 3.3: shuffles of 0..20 and then 0..7 from one stream.
        let first = [3, 16, 6, 10, 2, 14, 4, 17, 7, 1];
        let second = [1, 5, 6, 0, 3].map(|n| n + 20);
        let expected = first.map(|image| Pick { image, copy: 0 });
        assert_eq!(picks[..10], expected);
        let expected = second.map(|image| [0, 1].map(|copy| Pick { image, copy }));
        assert_eq!(picks[10..], expected.concat());
        assert_eq!(balance(&[0, 0], 1, 1).len(), 1);
    }
}
