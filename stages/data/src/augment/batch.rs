//! Batches of views.

use rayon::prelude::*;

use crate::image::{Canvas, Shape};
use crate::rng::{Purpose, Stream};

use super::op::grey_holes;
use super::{CtOp, Policy, Strong, Weak};

/// How a view of an image is made: the weak augmentation first, then the strong one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Mirror and shift.
    pub weak: Weak,
    /// What follows.
    pub strong: Strong,
}

/// Which images a batch is made of, and what its random draws depend on.
///
/// The weak draws of an image depend on seed, purpose, step and position alone; so a weak view and a
/// strong one of one purpose show the same crop, as CTAugment's probes do of the labeled batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Every image of the dataset, one after the other, HWC.
    pub images: &'a [u8],
    /// The shape of each.
    pub shape: Shape,
    /// The images of the batch, by position in the dataset.
    pub indices: &'a [usize],
    /// The run's seed.
    pub seed: u64,
    /// Which view this is; see [`Batch::LABELED`] and [`Batch::unlabeled`].
    pub purpose: Purpose,
    /// The training step.
    pub step: u64,
    /// The position of the first image in the whole batch of the step: not 0 where several
    /// processes share a batch, which then is the same for any number of processes.
    pub first: u64,
    /// CTAugment's policies, one per image; empty for all other views.
    pub policies: &'a [Policy],
}

/// What sets the draws of the strong part apart from those of the weak one.
const STRONG: u64 = 1;

impl Batch<'_> {
    /// Purpose of the labeled view.
    pub const LABELED: Purpose = Purpose::named("labeled");

    /// Purpose of the n-th unlabeled view.
    pub const fn unlabeled(n: u64) -> Purpose {
        Purpose::named("unlabeled").nth(n)
    }
}

impl View {
    /// Writes the views of a batch to `out`, N×H×W×C, on rayon's current thread pool. The result
    /// does not depend on the number of threads.
    ///
    /// `holes`, N×H×W, gets 1 where a pixel is mid-grey (see the [module](super)) and 0 elsewhere;
    /// without it such pixels are [`GREY`](super::GREY). Ask for it where
    /// [`Strong::makes_holes`] says so.
    ///
    /// # Panics
    /// Where a buffer has not the length that `batch` asks for, an index is beyond the dataset, or
    /// CTAugment is to work without a policy for each image: mistakes of the caller.
    pub fn fill(&self, batch: &Batch, out: &mut [u8], holes: Option<&mut [u8]>) {
        let (count, shape) = (batch.indices.len(), batch.shape);
        assert!(shape.bytes() > 0, "images of {shape:?} have no pixels");
        assert_eq!(out.len(), count * shape.bytes(), "room for {count} images of {shape:?}");
        let policies = if matches!(self.strong, Strong::CtAugment { .. }) { count } else { 0 };
        assert_eq!(batch.policies.len(), policies, "CTAugment's policies for {count} images");
        // Enough images to be worth a thread's while.
        let out = out.par_chunks_exact_mut(shape.bytes()).enumerate().with_min_len(16);
        match holes {
            Some(holes) => {
                assert_eq!(holes.len(), count * shape.pixels(), "room for holes of {count} images of {shape:?}");
                out.zip(holes.par_chunks_exact_mut(shape.pixels())).for_each_init(
                    Canvas::new,
                    |canvas, ((i, out), holes)| {
                        self.render(batch, i, canvas, out);
                        if canvas.holes().is_empty() {
                            holes.fill(0);
                        } else {
                            holes.copy_from_slice(canvas.holes());
                        }
                    },
                );
            }
            None => out.for_each_init(Canvas::new, |canvas, (i, out)| {
                self.render(batch, i, canvas, out);
                grey_holes(out, canvas.holes(), shape.channels);
            }),
        }
    }

    /// Makes the i-th view of a batch.
    fn render(&self, batch: &Batch, i: usize, canvas: &mut Canvas, out: &mut [u8]) {
        let bytes = batch.shape.bytes();
        let source = &batch.images[batch.indices[i] * bytes..][..bytes];
        let position = batch.first + i as u64;
        let mut stream = Stream::new(batch.seed, batch.purpose, batch.step, position);
        self.weak.draw(&mut stream).apply(batch.shape, source, out);
        if self.strong == Strong::None {
            return;
        }
        canvas.load(batch.shape, out);
        let strong = batch.purpose.nth(STRONG);
        let mut stream = Stream::new(batch.seed, strong, batch.step, position);
        match &self.strong {
            Strong::None => {}
            Strong::RandAugment(policy) => policy.apply(canvas, &mut stream),
            Strong::AutoAugment(policy) => policy.apply(canvas, &mut stream),
            Strong::Kekmodel(policy) => policy.apply(canvas, &mut stream),
            Strong::CtAugment { cutout } => {
                batch.policies[i].apply(canvas, &mut stream);
                if *cutout {
                    CtOp::Cutout.apply([1.0, 0.0], canvas, &mut stream);
                }
            }
        }
        out.copy_from_slice(canvas.pixels());
    }
}
