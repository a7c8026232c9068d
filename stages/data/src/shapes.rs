//! The generated dataset `shapes`: 32×32 colour images, each with one of ten figures on a cluttered
//! background. Figure and background differ from image to image in place, size, tilt, colour, texture,
//! light, noise and in what hides a part of the figure, so that a few labels do not tell a class.
//!
//! An image is a pure function of (seed, train or test, index). Only additions, multiplications,
//! divisions and square roots make it, which IEEE 754 fixes to the bit, so it is the same everywhere.

use rayon::prelude::*;

use crate::image::Shape;
use crate::rng::{Purpose, Stream};

mod figure;
mod paint;

pub use figure::{CLASSES, NAMES};
use paint::Painter;

/// Shape of every image.
pub const SHAPE: Shape = Shape {
    height: 32,
    width: 32,
    channels: 3,
};

/// How much images of one class differ. Larger is harder; a supervised network suffers from all of
/// it, consistency between augmented views makes up for some.
struct Difficulty {
    /// Values of the background's and the clutter's colours: least and most, 0 to 1.
    ground: (f64, f64),
    /// Values of the figure's colours.
    figure: (f64, f64),
    /// Half the extent of the figure, in pixels: least and most.
    radius: (f64, f64),
    /// Most distance of the figure's centre from that of the image, in pixels.
    shift: f64,
    /// Most tilt, as the tangent of the angle.
    tilt: f64,
    /// Most stretch of one side against the other.
    stretch: f64,
    /// Least distance of the figure's colour from the background's, 0 to √3.
    contrast: f64,
    /// How strong textures are, 0 to 1.
    texture: f64,
    /// Most patches in the background.
    clutter: u64,
    /// How likely something covers a part of the figure.
    occlusion: f64,
    /// How much darker than the brightest side the darkest one may be, 0 to 1.
    shade: f64,
    /// Most amplitude of the noise of every value, 0 to 1.
    noise: f64,
}

/// Chosen so that, of 10 labels per class and without shifting them about, a small supervised network
/// knows three of four images, and a FixMatch one of the same size nearly all after some 700 steps.
/// Where figures may be darker than the background, both learn either nothing or everything in
/// that time; with more tilt FixMatch takes longer, with less the labels are enough.
const DIFFICULTY: Difficulty = Difficulty {
    ground: (0.0, 0.35),
    figure: (0.6, 1.0),
    radius: (6.5, 10.5),
    shift: 7.0,
    tilt: 0.45,
    stretch: 1.35,
    contrast: 0.3,
    texture: 0.12,
    clutter: 2,
    occlusion: 0.15,
    shade: 0.3,
    noise: 0.06,
};

/// Which images to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those to train on.
    Train,
    /// Those to test with.
    Test,
}

/// `count` images of a part from the `first` on: bytes, count × 32 × 32 × 3, and classes.
///
/// Of every ten in a row each class has one, in random order.
pub fn images(seed: u64, part: Part, first: u64, count: usize) -> (Vec<u8>, Vec<u8>) {
    let mut pixels = vec![0; count * SHAPE.bytes()];
    let labels: Vec<u8> = (first..first + count as u64)
        .map(|index| label(seed, part, index))
        .collect();
    let purpose = part.purpose();
    pixels
        .par_chunks_exact_mut(SHAPE.bytes())
        .zip(&labels)
        .enumerate()
        .for_each(|(n, (out, label))| {
            let stream = Stream::new(seed, purpose, 0, first + n as u64);
            Painter::new(stream).paint(*label, out);
        });
    (pixels, labels)
}

fn label(seed: u64, part: Part, index: u64) -> u8 {
    let classes = CLASSES as u64;
    let mut order: [u8; CLASSES] = std::array::from_fn(|class| class as u8);
    Stream::new(seed, part.purpose(), 1, index / classes).shuffle(&mut order);
    order[(index % classes) as usize]
}

impl Part {
    fn purpose(self) -> Purpose {
        match self {
            Self::Train => Purpose::named("shapes/train"),
            Self::Test => Purpose::named("shapes/test"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::hex;
    use sha2::{Digest, Sha256};

    #[test]
    fn images_depend_on_seed_part_and_index_only() {
        let (all, labels) = images(3, Part::Train, 0, 30);
        let (some, some_labels) = images(3, Part::Train, 10, 5);
        assert_eq!(some, all[10 * 3072..15 * 3072]);
        assert_eq!(some_labels, labels[10..15]);
        assert_ne!(images(4, Part::Train, 0, 30).0, all);
        assert_ne!(images(3, Part::Test, 0, 30).0, all);
    }

    #[test]
    fn every_ten_images_hold_every_class_once() {
        let (_, labels) = images(1, Part::Test, 0, 200);
        for ten in labels.chunks(10) {
            let mut sorted = ten.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<u8>>());
        }
        assert_ne!(labels[..10], labels[10..20]);
    }

    /// The published quickstart table rests on these bytes: when they change on purpose, the version
    /// of `download` must change too.
    #[test]
    fn images_never_change() {
        let (pixels, labels) = images(0, Part::Train, 0, 100);
        let digest = Sha256::new()
            .chain_update(pixels)
            .chain_update(labels)
            .finalize();
        assert_eq!(
            hex(&digest),
            "26b48bd73a9315fcb5a780b4b1b57260abd5243ecf0355ef8aefe3ee8deaeaaf"
        );
    }
}
