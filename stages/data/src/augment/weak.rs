//! The weak augmentation: mirror and shift (spec/fixmatch.md 4.4, spec/featmatch.md 4).

use rematch_spec::datasets::{self, Name};

use crate::image::{Border, Shape, Shift};
use crate::rng::Stream;

/// How far weak augmentation may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weak {
    /// First of all show a random part of the image in the size of the whole ([`Crop`](super::Crop)).
    pub crop: bool,
    /// Mirror left and right, with probability ½.
    pub mirror: bool,
    /// w: pad by w pixels and cut the old size out anywhere, offsets uniform in 0..=2w.
    pub shift: usize,
    /// What the padding shows.
    pub border: Border,
}

impl Weak {
    /// Mirror and shift by an eighth of the width: 4 pixels of 32, 12 of 96, as the originals.
    pub fn mirror_and_shift(shape: Shape) -> Self {
        Self {
            mirror: true,
            ..Self::shift(shape)
        }
    }

    /// Shift by an eighth of the width, without mirror.
    pub fn shift(shape: Shape) -> Self {
        Self {
            shift: shape.width / 8,
            ..Self::default()
        }
    }

    /// FeatMatch's: mirror and shift by a sixteenth of the width, 2 pixels of 32, with black outside
    /// (spec/featmatch.md 4).
    pub fn mirror_and_shift_into_zeros(shape: Shape) -> Self {
        Self {
            mirror: true,
            shift: shape.width / 16,
            border: Border::Zero,
            ..Self::default()
        }
    }

    /// That of FixMatch's ImageNet part: a random part, and mirror (spec/fixmatch.md 11).
    pub fn crop() -> Self {
        Self {
            crop: true,
            mirror: true,
            ..Self::default()
        }
    }

    /// The default of a dataset, as the table of datasets has it (spec/fixmatch.md 3.1): no mirror for
    /// digits, which have a direction; mirror and shift for those that it does not know.
    pub fn of_dataset(dataset: &str, shape: Shape) -> Self {
        match Name::find(dataset).map(|name| name.dataset().weak) {
            Some(datasets::Weak::S) => Self::shift(shape),
            Some(datasets::Weak::Ms) | None => Self::mirror_and_shift(shape),
        }
    }

    /// Draws mirror, rows, columns, in this order; nothing is drawn for what is off. The part that is shown
    /// is drawn before.
    pub fn draw(self, stream: &mut Stream) -> Shift {
        let mirror = self.mirror && stream.bool();
        let mut offset = || match self.shift {
            0 => 0,
            w => stream.below(2 * w as u64 + 1) as isize - w as isize,
        };
        Shift {
            mirror,
            down: offset(),
            right: offset(),
            border: self.border,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    #[test]
    fn every_offset_and_both_sides_come_up_equally_often() {
        let mut stream = Stream::new(1, Purpose::named("test"), 0, 0);
        let weak = Weak::of_dataset(
            "cifar10",
            Shape {
                height: 32,
                width: 32,
                channels: 3,
            },
        );
        let (mut down, mut right, mut mirrored) = ([0; 9], [0; 9], 0);
        for _ in 0..9000 {
            let shift = weak.draw(&mut stream);
            down[(shift.down + 4) as usize] += 1;
            right[(shift.right + 4) as usize] += 1;
            mirrored += u32::from(shift.mirror);
        }
        // Five standard deviations.
        assert!(
            down.iter().chain(&right).all(|n| (850..1150).contains(n)),
            "{down:?} {right:?}"
        );
        assert!((4260..4740).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn datasets_have_the_published_defaults() {
        let of = |name, width| {
            Weak::of_dataset(
                name,
                Shape {
                    height: width,
                    width,
                    channels: 3,
                },
            )
        };
        assert_eq!(
            of("cifar100", 32),
            Weak {
                mirror: true,
                shift: 4,
                ..Weak::default()
            }
        );
        assert_eq!(
            of("svhn_noextra", 32),
            Weak {
                mirror: false,
                shift: 4,
                ..Weak::default()
            }
        );
        assert_eq!(
            of("stl10", 96),
            Weak {
                mirror: true,
                shift: 12,
                ..Weak::default()
            }
        );
    }

    #[test]
    fn featmatch_shifts_by_a_sixteenth_into_black() {
        // spec/featmatch.md 4: 2 pixels of 32, 5 of 84, 8 of 128.
        for (width, shift) in [(32, 2), (84, 5), (128, 8)] {
            let weak = Weak::mirror_and_shift_into_zeros(Shape {
                height: width,
                width,
                channels: 3,
            });
            let (mirror, border) = (true, Border::Zero);
            assert_eq!(
                weak,
                Weak {
                    mirror,
                    shift,
                    border,
                    ..Weak::default()
                }
            );
        }
    }
}
