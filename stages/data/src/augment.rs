//! Augmentation: what is drawn at random, and in which order operations follow each other.
//!
//! - [`Weak`]: mirror and shift;
//! - [`RandAugment`] and [`AutoAugment`] as google-research/fixmatch does them, over the same
//!   [`Op`]s; [`Kekmodel`], RandAugment as kekmodel/FixMatch-pytorch does it; [`FeatMatch`]'s;
//! - [`Crop`] and [`ImageNet`], weak and strong, of FixMatch's ImageNet part;
//! - [`CtAugment`]: learns which strengths the network still recognises;
//! - [`Augment`]: the `d.d.rac` grammar, which gives each view of an image its [`View`];
//! - [`View::fill`]: batches of views, in parallel;
//! - [`CopyView`]: RealMix's copies, made once and trained on as they are.
//!
//! # Mid-grey holes
//!
//! After RandAugment and AutoAugment the originals set every pixel that a geometric operation or
//! the cutout left empty to 0.0 on their scale of −1..1. No byte means that: 127 becomes −0.0039
//! and 128 becomes 0.0039. So these views come with a mask of holes, one byte per pixel, and the
//! device sets masked pixels to 0 after it has scaled the bytes: exactly the original's values. In
//! the bytes themselves a hole that comes from a cutout is [`GREY`]; a caller that asks for no mask
//! gets [`GREY`] in every hole, 0.5/127.5 off.
//!
//! CTAugment's cutout is 127 in the original as well, and what its geometric operations uncover is
//! black; kekmodel's and FeatMatch's views are the same in this, and it is 128 in those for ImageNet. They have
//! no holes.

mod autoaugment;
mod batch;
mod copy;
mod ctaugment;
mod eraser;
mod featmatch;
mod grammar;
mod imagenet;
mod kekmodel;
mod op;
mod randaugment;
mod weak;

pub use autoaugment::AutoAugment;
pub use batch::{Batch, View};
pub use copy::{CopyView, Scratch, Unusable};
pub use ctaugment::{Choice, CtAugment, CtOp, Policy};
pub use featmatch::{FeatMatch, FeatMatchOp};
pub use grammar::{Augment, AugmentError, Token};
pub use imagenet::{Crop, ImageNet, ImageNetOp};
pub use kekmodel::Kekmodel;
pub use op::{Op, POOL};
pub use randaugment::{Cutout, Magnitude, RandAugment};
pub use weak::Weak;

/// What a hole is filled with where no mask goes along.
pub const GREY: u8 = 127;

/// What is done to an image after its weak augmentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strong {
    /// Nothing: a weak view.
    #[default]
    None,
    /// `ra`, `rac`, `racN`, `rN_M_C`.
    RandAugment(RandAugment),
    /// `aa`, `aac`.
    AutoAugment(AutoAugment),
    /// `cta`, `ctac`: the policies of the [`Batch`], then, if `cutout`, a cutout of half the side,
    /// as FixMatch's strong views have it (spec/fixmatch.md 4.8).
    CtAugment {
        /// Whether the cutout follows.
        cutout: bool,
    },
    /// `cut`: that cutout alone.
    Cutout,
    /// `kekmodel`.
    Kekmodel(Kekmodel),
    /// `featmatch`.
    FeatMatch(FeatMatch),
    /// `cropra`.
    ImageNet(ImageNet),
}

impl Strong {
    /// Whether views come with a mask of mid-grey holes.
    pub fn makes_holes(&self) -> bool {
        matches!(self, Self::RandAugment(_) | Self::AutoAugment(_))
    }
}
