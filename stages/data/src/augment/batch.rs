//! Batches of views.

use rayon::prelude::*;

use crate::image::{Canvas, Shape};
use crate::rng::{Purpose, Stream};

use super::op::grey_holes;
use super::{Crop, CtOp, Policy, Strong, Weak};

/// How a view of an image is made: the weak augmentation first, then the strong one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Mirror and shift.
    pub weak: Weak,
    /// What follows.
    pub strong: Strong,
    /// Takes the weak draws of the first unlabeled view, so that both show the same.
    pub as_first: bool,
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
        assert_eq!(
            out.len(),
            count * shape.bytes(),
            "room for {count} images of {shape:?}"
        );
        let policies = if matches!(self.strong, Strong::CtAugment { .. }) {
            count
        } else {
            0
        };
        assert_eq!(
            batch.policies.len(),
            policies,
            "CTAugment's policies for {count} images"
        );
        // Enough images to be worth a thread's while.
        let out = out
            .par_chunks_exact_mut(shape.bytes())
            .enumerate()
            .with_min_len(16);
        match holes {
            Some(holes) => {
                assert_eq!(
                    holes.len(),
                    count * shape.pixels(),
                    "room for holes of {count} images of {shape:?}"
                );
                out.zip(holes.par_chunks_exact_mut(shape.pixels()))
                    .for_each_init(Canvas::new, |canvas, ((i, out), holes)| {
                        self.render(batch, i, canvas, out);
                        if canvas.holes().is_empty() {
                            holes.fill(0);
                        } else {
                            holes.copy_from_slice(canvas.holes());
                        }
                    });
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
        let weak = if self.as_first {
            Batch::unlabeled(0)
        } else {
            batch.purpose
        };
        let mut stream = Stream::new(batch.seed, weak, batch.step, position);
        let source = if self.weak.crop {
            canvas.load(batch.shape, source);
            Crop::draw(batch.shape, &mut stream).apply(canvas);
            canvas.pixels()
        } else {
            source
        };
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
            Strong::Cutout => CtOp::Cutout.apply([1.0, 0.0], canvas, &mut stream),
            Strong::FeatMatch(policy) => policy.apply(canvas, &mut stream),
            Strong::ImageNet(policy) => policy.apply(canvas, &mut stream),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{Augment, CtAugment, GREY};

    const SHAPE: Shape = Shape {
        height: 32,
        width: 32,
        channels: 3,
    };

    /// Ten images of noise from 130 up, which no value of is [`GREY`].
    fn images(shape: Shape) -> Vec<u8> {
        let mut stream = Stream::new(7, Purpose::named("images"), 0, 0);
        (0..10 * shape.bytes())
            .map(|i| 130 + (i % 97) as u8 + stream.below(20) as u8)
            .collect()
    }

    fn views(text: &str) -> Vec<View> {
        Augment::parse(text, 2)
            .unwrap()
            .unlabeled_views("cifar10", SHAPE, 2)
            .unwrap()
    }

    fn batch<'a>(images: &'a [u8], indices: &'a [usize], policies: &'a [Policy]) -> Batch<'a> {
        let (seed, step, first) = (3, 5, 0);
        Batch {
            images,
            shape: SHAPE,
            indices,
            seed,
            purpose: Batch::unlabeled(1),
            step,
            first,
            policies,
        }
    }

    #[test]
    fn a_strong_view_for_imagenet_shows_the_part_that_the_weak_one_shows() {
        let images = images(SHAPE);
        let indices: Vec<usize> = (0..10).collect();
        let views = views("crop.crop.cropra");
        let first = Batch {
            purpose: Batch::unlabeled(0),
            ..batch(&images, &indices, &[])
        };
        let (weak, _) = fill(&views[0], &first);
        let (strong, _) = fill(&views[1], &batch(&images, &indices, &[]));
        let same = weak
            .chunks(SHAPE.bytes())
            .zip(strong.chunks(SHAPE.bytes()))
            .filter(|(weak, strong)| weak == strong)
            .count();
        // Neither operation is applied to a quarter of them.
        assert!((1..10).contains(&same), "{same}");
        let (labeled, _) = fill(&views[0], &batch(&images, &indices, &[]));
        assert_ne!(labeled, weak);
    }

    fn fill(view: &View, batch: &Batch) -> (Vec<u8>, Vec<u8>) {
        let mut out = vec![0; batch.indices.len() * batch.shape.bytes()];
        let mut holes = vec![9; batch.indices.len() * batch.shape.pixels()];
        view.fill(batch, &mut out, Some(&mut holes));
        (out, holes)
    }

    #[test]
    fn views_never_change() {
        let images = images(SHAPE);
        let indices: Vec<usize> = (0..100).map(|i| i * 7 % 10).collect();
        let crcs = [
            "d.d.x",
            "d.d.d",
            "d.d.rac",
            "d.d.r3_9_25",
            "d.d.aac",
            "d.d.ctac",
            "d.d.kekmodel",
            "mz.mz.mz",
            "mz.mz.featmatch",
        ]
        .map(|text| {
            let view = &views(text)[1];
            let cta = matches!(view.strong, Strong::CtAugment { .. });
            let policies = CtAugment::default().policies(3, 5, 0, if cta { 100 } else { 0 });
            let (out, holes) = fill(view, &batch(&images, &indices, &policies));
            let mut crc = crc32fast::Hasher::new();
            crc.update(&out);
            crc.update(&holes);
            crc.finalize()
        });
        // All but aac and ctac: computed with Pillow 9.5.0 from the spec, written again in Python with
        // numpy's Philox, the last two by tests/make_featmatch_views.py. Those two are this code's own.
        assert_eq!(
            crcs,
            [
                1456035449, 3752182518, 180106692, 4265731318, 3048163631, 2113047138, 432611773,
                185611385, 2617317758
            ]
        );
    }

    #[test]
    fn neither_threads_nor_processes_change_a_batch() {
        let images = images(SHAPE);
        let indices: Vec<usize> = (0..100).map(|i| i * 3 % 10).collect();
        let view = &views("d.d.rac")[1];
        let whole = fill(view, &batch(&images, &indices, &[]));
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            assert_eq!(
                pool.install(|| fill(view, &batch(&images, &indices, &[]))),
                whole
            );
        }
        let second = fill(
            view,
            &Batch {
                first: 40,
                ..batch(&images, &indices[40..], &[])
            },
        );
        assert_eq!(second.0, whole.0[40 * SHAPE.bytes()..]);
        assert_eq!(second.1, whole.1[40 * SHAPE.pixels()..]);
    }

    #[test]
    fn seed_step_purpose_and_position_each_change_a_view() {
        let images = images(SHAPE);
        let indices = [4; 40];
        let view = &views("d.d.ra")[1];
        let base = batch(&images, &indices, &[]);
        let all = [
            fill(view, &base).0,
            fill(view, &Batch { seed: 4, ..base }).0,
            fill(view, &Batch { step: 6, ..base }).0,
            fill(
                view,
                &Batch {
                    purpose: Batch::unlabeled(0),
                    ..base
                },
            )
            .0,
            fill(view, &Batch { first: 40, ..base }).0,
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
        assert_ne!(
            all[0][..SHAPE.bytes()],
            all[0][SHAPE.bytes()..2 * SHAPE.bytes()]
        );
    }

    #[test]
    fn without_a_mask_holes_are_grey_and_with_one_they_are_the_same_pixels() {
        let images = images(SHAPE);
        let indices: Vec<usize> = (0..10).collect();
        let view = View {
            weak: Weak::default(),
            ..views("d.d.rac")[1].clone()
        };
        let batch = batch(&images, &indices, &[]);
        let (pixels, holes) = fill(&view, &batch);
        let mut grey = vec![0; pixels.len()];
        view.fill(&batch, &mut grey, None);
        let count: usize = holes.iter().map(|hole| usize::from(*hole)).sum();
        // Each cutout has 64 to 256 pixels.
        assert!(count >= 640, "{count}");
        for (i, hole) in holes.iter().enumerate() {
            let at = 3 * i..3 * i + 3;
            assert_eq!(
                grey[at.clone()],
                if *hole == 1 {
                    [GREY; 3]
                } else {
                    pixels[at].try_into().unwrap()
                }
            );
        }
    }

    #[test]
    fn weak_views_have_no_holes_and_show_the_source() {
        let images = images(SHAPE);
        let (out, holes) = fill(&View::default(), &batch(&images, &[2, 9], &[]));
        assert_eq!(out[..3072], images[2 * 3072..3 * 3072]);
        assert_eq!(out[3072..], images[9 * 3072..]);
        assert_eq!(holes, [0; 2048]);
    }

    #[test]
    fn a_probe_shows_the_crop_of_the_weak_view_of_its_purpose() {
        let images = images(SHAPE);
        let indices = [1; 20];
        let identity = vec![Policy::default(); 20];
        let weak = fill(&views("d.d.d")[0], &batch(&images, &indices, &[]));
        let probe = fill(&views("d.d.cta")[1], &batch(&images, &indices, &identity));
        assert_eq!(weak, probe);
        // FixMatch's cutout: 16 pixels of 127, half of them lost at worst in each direction.
        let cut = fill(&views("d.d.ctac")[1], &batch(&images, &indices, &identity)).0;
        let grey = cut
            .as_chunks::<3>()
            .0
            .iter()
            .filter(|pixel| **pixel == [GREY; 3])
            .count();
        assert!((20 * 64..=20 * 256).contains(&grey), "{grey}");
    }

    #[test]
    fn images_of_any_size_and_of_one_channel_work() {
        for (height, width, channels) in
            [(96, 96, 3), (28, 28, 1), (33, 17, 3), (3, 5, 1), (1, 1, 3)]
        {
            let shape = Shape {
                height,
                width,
                channels,
            };
            let images = images(shape);
            for text in [
                "d.d.d",
                "d.d.rac",
                "d.d.r4_15_75",
                "d.d.aac",
                "d.d.ctac",
                "d.d.kekmodel",
                "mz.mz.featmatch",
            ] {
                let view = &Augment::parse(text, 2)
                    .unwrap()
                    .unlabeled_views("cifar10", shape, 2)
                    .unwrap()[1];
                let indices = [3; 60];
                let cta = matches!(view.strong, Strong::CtAugment { .. });
                let policies = CtAugment::default().probes(3, 5, 0, if cta { 60 } else { 0 });
                let out = fill(
                    view,
                    &Batch {
                        shape,
                        ..batch(&images, &indices, &policies)
                    },
                )
                .0;
                assert!(out.iter().any(|v| *v != 0));
            }
        }
    }
}
