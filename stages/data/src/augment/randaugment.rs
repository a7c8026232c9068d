//! RandAugment as google-research/fixmatch does it (spec/fixmatch.md 4.6).

use std::sync::LazyLock;

use crate::image::Canvas;
use crate::rng::Stream;

use super::op::truncated;
use super::{GREY, POOL};

/// RandAugment: operations drawn from a pool, then a cutout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandAugment {
    /// How many operations, drawn with replacement.
    pub ops: usize,
    /// How strong they are.
    pub magnitude: Magnitude,
    /// The square that is cut out at the end.
    pub cutout: Cutout,
}

/// How strong the operations are, and how often they are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magnitude {
    /// Uniform over 1..M for each operation, which is applied with probability ½.
    Below(u8),
    /// Always M, always applied.
    Fixed(u8),
}

/// A square cut out around a uniformly drawn pixel; what lies outside the image is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutout {
    /// None.
    None,
    /// A side in pixels, whatever the size of the image.
    Pixels(usize),
    /// A side in percent of the shorter side of the image.
    Percent(usize),
}

impl Cutout {
    /// Cuts the square out: rows, then columns are drawn. Nothing is drawn for an empty one.
    pub fn apply(self, canvas: &mut Canvas, stream: &mut Stream) {
        let shape = canvas.shape();
        let half = match self {
            Self::None => 0,
            Self::Pixels(side) => side / 2,
            Self::Percent(percent) => percent * shape.side() / 100 / 2,
        };
        if half > 0 {
            let mut around = |n: usize| {
                let centre = stream.below(n as u64) as usize;
                centre.saturating_sub(half)..centre + half
            };
            let (rows, columns) = (around(shape.height), around(shape.width));
            canvas.punch(rows, columns, GREY);
        }
    }
}

impl RandAugment {
    /// `ra`: two operations, magnitudes 1 to 9, each applied with probability ½.
    pub const RA: Self = Self {
        ops: 2,
        magnitude: Magnitude::Below(10),
        cutout: Cutout::None,
    };
    /// `rac`: the same with a cutout of 16 pixels.
    pub const RAC: Self = Self {
        ops: 2,
        magnitude: Magnitude::Below(10),
        cutout: Cutout::Pixels(16),
    };

    /// Augments the image on the canvas, and marks what is to become mid-grey as holes.
    pub fn apply(&self, canvas: &mut Canvas, stream: &mut Stream) {
        begin(canvas);
        for _ in 0..self.ops {
            let op = POOL[stream.below(POOL.len() as u64) as usize];
            match self.magnitude {
                Magnitude::Below(m) => {
                    let magnitude = 1 + stream.below(u64::from(m.saturating_sub(1))) as u8;
                    if stream.bool() {
                        op.apply(magnitude, canvas, stream);
                    }
                }
                Magnitude::Fixed(m) => op.apply(m, canvas, stream),
            }
        }
        self.cutout.apply(canvas, stream);
    }
}

/// What the original does on the way to Pillow and its alpha channel.
pub(super) fn begin(canvas: &mut Canvas) {
    static TRUNCATED: LazyLock<[u8; 256]> = LazyLock::new(truncated);
    canvas.look_up(&TRUNCATED);
    canvas.track_holes();
}
