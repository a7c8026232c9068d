//! RealMix's offline augmentation: how one copy of an image is made (spec/realmix.md 4.2).

use rematch_spec::augment_copies::{AugmentCopies, Augmentation};

use crate::image::{Shape, colour};
use crate::rng::{Purpose, Stream};

use super::Weak;
use super::eraser::Erasure;

/// Probability that a copy is erased in part.
const ERASED: f64 = 0.3;

/// How copies are made. Copy `c` of image `i` depends on the seed, `c`, `i` and that image alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CopyView {
    augment: Augmentation,
    seed: u64,
    wrap: bool,
    drawn_once: bool,
    weak: Weak,
}

/// An augmentation that cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Padding by reflection needs more pixels than it adds.
    #[error("images of {0}×{1} pixels are too small to pad by {2} reflected ones")]
    Small(usize, usize, usize),
    /// There is no hue without colour.
    #[error("`color` needs images of three channels, and these have one")]
    Grey,
    /// What the original does with probability 0.3.
    #[error(
        "the one draw for all copies said to erase, and there the original fails; take another `seed`, or leave `drawn_once` out"
    )]
    Fails,
}

/// Room for an image in floats and one in bytes.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    floats: Vec<[f32; 3]>,
    bytes: Vec<u8>,
}

impl CopyView {
    const PURPOSE: Purpose = Purpose::named("augment copies");
    const ONCE: Purpose = Purpose::named("augment copies once");

    /// For images of `shape`.
    ///
    /// # Errors
    /// Images that the augmentation does not fit.
    pub fn new(params: &AugmentCopies, shape: Shape) -> Result<Self, Unusable> {
        let (mirror, shift) = match params.augment {
            Augmentation::Cifar10 | Augmentation::Color => (true, 4),
            Augmentation::Svhn => (false, 4),
            Augmentation::Stl10 => (true, 12),
            Augmentation::Cutout => (false, 0),
        };
        if shape.side() <= shift {
            return Err(Unusable::Small(shape.height, shape.width, shift));
        }
        if params.augment == Augmentation::Color && shape.channels != 3 {
            return Err(Unusable::Grey);
        }
        let seed = params.seed;
        if params.drawn_once && Stream::new(seed, Self::ONCE, 0, 0).uniform() <= ERASED {
            return Err(Unusable::Fails);
        }
        Ok(Self {
            augment: params.augment,
            seed,
            wrap: params.wrap,
            drawn_once: params.drawn_once,
            weak: Weak {
                mirror,
                shift,
                ..Weak::default()
            },
        })
    }

    /// Writes a copy of image `index` to `out`; both are HWC and of `shape`.
    pub fn render(
        &self,
        copy: u32,
        index: u32,
        shape: Shape,
        source: &[u8],
        scratch: &mut Scratch,
        out: &mut [u8],
    ) {
        let (copy, index) = (u64::from(copy), u64::from(index));
        let mut stream = Stream::new(self.seed, Self::PURPOSE, copy, index);
        match self.augment {
            Augmentation::Cutout => {
                out.copy_from_slice(source);
                if !self.drawn_once
                    && let Some(erasure) = Erasure::draw(ERASED, shape, &mut stream)
                {
                    erasure.apply(shape, out);
                }
            }
            Augmentation::Color => {
                let shift = self.weak.draw(&mut stream);
                self.recolour(source, scratch, &mut stream);
                shift.apply(shape, &scratch.bytes, out);
            }
            Augmentation::Cifar10 | Augmentation::Svhn | Augmentation::Stl10 => {
                self.weak.draw(&mut stream).apply(shape, source, out);
            }
        }
    }

    /// Brightness, hue, saturation, contrast, in this order; then to bytes, cut and not rounded as in the
    /// original. Mirror and crop move pixels only, so they may follow.
    fn recolour(&self, source: &[u8], scratch: &mut Scratch, stream: &mut Stream) {
        let mut uniform = |low: f64, high: f64| (low + (high - low) * stream.uniform()) as f32;
        let floats = &mut scratch.floats;
        floats.clear();
        let pixels = source.as_chunks::<3>().0;
        floats.extend(pixels.iter().map(|pixel| pixel.map(f32::from)));
        colour::brightness(floats, uniform(-0.1, 0.1));
        colour::hue(floats, uniform(-0.5, 0.5));
        colour::saturation(floats, uniform(0.1, 3.0));
        colour::contrast(floats, uniform(0.5, 1.5));
        let byte = |value: f32| {
            if self.wrap {
                value as i32 as u8
            } else {
                value as u8
            }
        };
        scratch.bytes.clear();
        let values = floats.as_flattened().iter();
        scratch.bytes.extend(values.map(|value| byte(*value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rematch_spec::input::Input;

    const CIFAR: Shape = Shape {
        height: 32,
        width: 32,
        channels: 3,
    };

    fn params(augment: Augmentation) -> AugmentCopies {
        AugmentCopies {
            records: Input::Path(String::new()),
            copies: 1,
            augment,
            seed: 1,
            r#virtual: false,
            wrap: false,
            drawn_once: false,
        }
    }

    fn copies(params: &AugmentCopies, source: &[u8], n: u32) -> Vec<Vec<u8>> {
        let view = CopyView::new(params, CIFAR).unwrap();
        let mut scratch = Scratch::default();
        let copy = |index| {
            let mut out = vec![0; source.len()];
            view.render(3, index, CIFAR, source, &mut scratch, &mut out);
            out
        };
        (0..n).map(copy).collect()
    }

    /// Every pixel tells its row and column.
    fn grid() -> Vec<u8> {
        let pixels = (0..1024_usize).map(|n| [(n / 32) as u8, (n % 32) as u8, 7]);
        pixels.flatten().collect()
    }

    #[test]
    fn crops_reach_as_far_as_they_are_padded_and_only_svhn_is_never_mirrored() {
        for (augment, reach, mirrors) in [
            (Augmentation::Cifar10, 4, true),
            (Augmentation::Svhn, 4, false),
            (Augmentation::Stl10, 12, true),
        ] {
            let all = copies(&params(augment), &grid(), 2000);
            // A row and a column behind the reflected ones tell how far the window moved.
            let row = |copy: &[u8]| i32::from(copy[16 * 96]) - 16;
            let farthest = all.iter().map(|copy| row(copy).abs()).max();
            assert_eq!(farthest, Some(reach), "{augment:?}");
            let falls = |copy: &[u8]| copy[16 * 96 + 16 * 3 + 1] > copy[16 * 96 + 17 * 3 + 1];
            let mirrored = all.iter().filter(|copy| falls(copy)).count();
            let expected = if mirrors { 880..1120 } else { 0..1 };
            assert!(expected.contains(&mirrored), "{augment:?}: {mirrored}");
        }
    }

    #[test]
    fn colours_stop_at_the_ends_unless_they_are_to_wrap_around() {
        let source: Vec<u8> = (0..3072_u32)
            .map(|n| (n.wrapping_mul(2654435761) >> 13) as u8)
            .collect();
        let stopped = copies(&params(Augmentation::Color), &source, 40).concat();
        let wrapping = AugmentCopies {
            wrap: true,
            ..params(Augmentation::Color)
        };
        let wrapped = copies(&wrapping, &source, 40).concat();
        let different: Vec<_> = stopped
            .iter()
            .zip(&wrapped)
            .filter(|(a, b)| a != b)
            .collect();
        assert!(different.len() > 1000, "{}", different.len());
        assert!(
            different
                .iter()
                .all(|(stopped, _)| matches!(stopped, 0 | 255))
        );
    }

    #[test]
    fn wrapped_values_are_the_originals() {
        // Measured, spec/realmix.md 13, trap 7.
        assert_eq!([-3.7_f32, 300.0].map(|v| v as i32 as u8), [253, 44]);
    }

    #[test]
    fn one_draw_for_all_copies_changes_none_of_them_or_fails() {
        let fails = |seed| {
            let once = AugmentCopies {
                drawn_once: true,
                seed,
                ..params(Augmentation::Cutout)
            };
            let unusable = CopyView::new(&once, CIFAR).err();
            if unusable.is_none() {
                assert!(
                    copies(&once, &grid(), 20)
                        .iter()
                        .all(|copy| *copy == grid())
                );
            }
            assert!(matches!(unusable, None | Some(Unusable::Fails)));
            unusable.is_some()
        };
        let failing = (0..1000).filter(|seed| fails(*seed)).count();
        assert!((227..373).contains(&failing), "{failing}");
        let erased = copies(&params(Augmentation::Cutout), &grid(), 1000);
        let erased = erased.iter().filter(|copy| **copy != grid()).count();
        assert!((227..373).contains(&erased), "{erased}");
    }

    #[test]
    fn images_that_do_not_fit_are_refused() {
        let small = Shape {
            height: 12,
            width: 40,
            channels: 3,
        };
        let stl10 = CopyView::new(&params(Augmentation::Stl10), small);
        assert_eq!(stl10, Err(Unusable::Small(12, 40, 12)));
        assert!(CopyView::new(&params(Augmentation::Color), small).is_ok());
        let grey = Shape {
            channels: 1,
            ..CIFAR
        };
        assert_eq!(
            CopyView::new(&params(Augmentation::Color), grey),
            Err(Unusable::Grey)
        );
        assert!(CopyView::new(&params(Augmentation::Cifar10), grey).is_ok());
    }
}
