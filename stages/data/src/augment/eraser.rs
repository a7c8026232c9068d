//! Random erasing as RealMix's third-party numpy code does it (spec/realmix.md 4.2): with some
//! probability a rectangle of one random grey.

use crate::image::Shape;
use crate::rng::Stream;

/// Share of the image that a rectangle takes.
const AREA: [f64; 2] = [0.02, 0.4];
/// Height by width, before both are cut to whole pixels.
const RATIO: [f64; 2] = [0.3, 1.0 / 0.3];
/// Rectangles that do not fit are drawn anew, this often: there are images so narrow that none fits.
const TRIES: usize = 1000;

/// Where the draws come from: a [`Stream`], and in the tests numpy's generator, which the original used.
pub trait Draws {
    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64;
    /// Uniform over 0..n.
    fn below(&mut self, n: usize) -> usize;
}

impl Draws for Stream {
    fn uniform(&mut self) -> f64 {
        Self::uniform(self)
    }
    fn below(&mut self, n: usize) -> usize {
        Self::below(self, n as u64) as usize
    }
}

/// A rectangle inside an image, and its value in every channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    value: u8,
}

impl Erasure {
    /// Draws whether there is one, with probability `p`, and which.
    pub fn draw(p: f64, shape: Shape, draws: &mut impl Draws) -> Option<Self> {
        let within = |[low, high]: [f64; 2], share: f64| low + (high - low) * share;
        if draws.uniform() > p {
            return None;
        }
        for _ in 0..TRIES {
            let area = within(AREA, draws.uniform()) * shape.pixels() as f64;
            let ratio = within(RATIO, draws.uniform());
            let (width, height) = (
                (area / ratio).sqrt() as usize,
                (area * ratio).sqrt() as usize,
            );
            let (left, top) = (draws.below(shape.width), draws.below(shape.height));
            if left + width <= shape.width && top + height <= shape.height {
                let value = within([0.0, 255.0], draws.uniform()) as u8;
                return Some(Self {
                    left,
                    top,
                    width,
                    height,
                    value,
                });
            }
        }
        None
    }

    /// Fills the rectangle.
    pub fn apply(self, shape: Shape, pixels: &mut [u8]) {
        let stride = shape.width * shape.channels;
        let columns = self.left * shape.channels..(self.left + self.width) * shape.channels;
        for row in pixels
            .chunks_exact_mut(stride)
            .skip(self.top)
            .take(self.height)
        {
            row[columns.clone()].fill(self.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mt19937::Mt19937;
    use crate::rng::Purpose;
    use crate::testing::shared;
    use serde_json::Value;

    impl Draws for Mt19937 {
        fn uniform(&mut self) -> f64 {
            Self::uniform(self)
        }
        fn below(&mut self, n: usize) -> usize {
            self.bounded(n as u32 - 1) as usize
        }
    }

    const CIFAR: Shape = Shape {
        height: 32,
        width: 32,
        channels: 3,
    };

    /// The array of that name in an `.npz` of bytes.
    fn array(npz: &[u8], name: &str) -> Vec<u8> {
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(npz)).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(
            &mut archive.by_name(&format!("{name}.npy")).unwrap(),
            &mut bytes,
        )
        .unwrap();
        let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
        bytes.split_off(10 + header)
    }

    #[test]
    fn rectangles_are_the_originals() {
        let (Some(facts), Some(npz)) = (
            shared("golden/augment/random_eraser.json"),
            shared("golden/augment/random_eraser.npz"),
        ) else {
            return;
        };
        let facts: Value = serde_json::from_slice(&std::fs::read(facts).unwrap()).unwrap();
        let npz = std::fs::read(npz).unwrap();
        let (images, outputs) = (array(&npz, "images"), array(&npz, "out"));
        let cases = facts.as_array().unwrap();
        assert_eq!(cases.len(), 16);
        for (n, case) in cases.iter().enumerate() {
            let number = |name: &str| case[name].as_u64().unwrap() as usize;
            let mut pixels = images[number("image") * 3072..][..3072].to_vec();
            let p = case["p"].as_f64().unwrap();
            let erasure = Erasure::draw(p, CIFAR, &mut Mt19937::new(number("np_seed") as u32));
            assert_eq!(erasure.is_some(), case["erased"].as_bool().unwrap(), "{n}");
            if let Some(erasure) = erasure {
                let expected = Erasure {
                    left: number("left"),
                    top: number("top"),
                    width: number("width"),
                    height: number("height"),
                    value: number("fill_u8") as u8,
                };
                assert_eq!(erasure, expected, "{n}");
                erasure.apply(CIFAR, &mut pixels);
            }
            assert!(pixels == outputs[n * 3072..][..3072], "{n}");
        }
    }

    #[test]
    fn an_image_in_which_nothing_fits_stays_and_takes_no_time() {
        let shape = Shape {
            height: 1,
            width: 5000,
            channels: 1,
        };
        let mut stream = Stream::new(1, Purpose::named("test"), 0, 0);
        let mut pixels = vec![7; 5000];
        for _ in 0..20 {
            if let Some(erasure) = Erasure::draw(1.0, shape, &mut stream) {
                erasure.apply(shape, &mut pixels);
            }
        }
        assert_eq!(pixels, [7; 5000]);
    }

    #[test]
    fn three_in_ten_images_are_erased() {
        let mut stream = Stream::new(1, Purpose::named("test"), 0, 0);
        let erased = (0..10_000).filter(|_| Erasure::draw(0.3, CIFAR, &mut stream).is_some());
        // Five standard deviations.
        assert!((2770..3230).contains(&erased.count()));
    }
}
