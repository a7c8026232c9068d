//! Batches, made ahead of the steps that need them by a thread of their own (and rayon's pool).
//!
//! What is in the batch of a step is a function of the run's seed and the step; so is how it is
//! augmented, except that CTAugment's policies depend on what it had learned [`AHEAD`] steps before.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rematch_data::augment::{self, Augment, CtAugment, Policy, Strong, View};
use rematch_data::child::StageError;
use rematch_data::image::Shape;
use rematch_data::image_set::ImageSet;
use rematch_data::rng::{Purpose, Stream};
use rematch_spec::recipe::Recipe;
use tch::{Kind, Tensor};

use crate::data::Data;
use crate::method::{Batch, Views};
use crate::scale::Scale;
use crate::shim;

/// How many batches are ordered before the step that takes the first. The originals order four, so
/// their policies lag behind by about as much (spec/fixmatch.md 4.2).
pub const AHEAD: u64 = 4;

/// Images of the originals' shuffle buffer.
const SHUFFLE: usize = 8192;

/// In which order a set is gone through.
///
/// The originals repeat the set without end and shuffle through a buffer of 8192 images, so the
/// epochs of a small set blend: a batch may hold an image twice and lack another. Here the set is
/// taken in rounds: as many copies of it as make 8192 images, at least one, in an order drawn from
/// the seed and the round.
#[derive(Debug)]
pub struct Order {
    seed: u64,
    purpose: Purpose,
    size: usize,
    copies: usize,
    round: Option<u64>,
    order: Vec<u32>,
}

impl Order {
    /// Of a set of `size` images, at least one.
    pub fn new(seed: u64, purpose: Purpose, size: usize) -> Self {
        let copies = SHUFFLE.div_ceil(size.max(1)).max(1);
        Self {
            seed,
            purpose,
            size: size.max(1),
            copies,
            round: None,
            order: Vec::new(),
        }
    }

    /// The `n`-th image of training.
    fn at(&mut self, n: u64) -> usize {
        let length = (self.size * self.copies) as u64;
        let (round, place) = (n / length, (n % length) as usize);
        if self.round != Some(round) {
            self.order.clear();
            self.order
                .extend((0..length as usize).map(|i| (i % self.size) as u32));
            Stream::new(self.seed, self.purpose, round, 0).shuffle(&mut self.order);
            self.round = Some(round);
        }
        self.order[place] as usize
    }

    /// The images of the batch of a step.
    pub fn batch(&mut self, step: u64, count: usize) -> Vec<usize> {
        let first = step * count as u64;
        (first..first + count as u64).map(|n| self.at(n)).collect()
    }
}

/// How each view is made.
#[derive(Debug)]
pub struct Pipeline {
    seed: u64,
    batch: usize,
    ratio: usize,
    labeled: Vec<View>,
    unlabeled: Vec<View>,
    /// The labeled images again, each with a policy to learn from; where CTAugment is used.
    probe: Option<View>,
}

impl Pipeline {
    /// For a recipe; `dataset` is the name that decides what `d` and `aa` mean.
    pub fn new(
        recipe: &Recipe,
        dataset: &str,
        views: Views,
        shape: Shape,
        seed: u64,
    ) -> Result<Self, StageError> {
        let unusable = |e: augment::AugmentError| StageError::usage(format!("augment: {e}"));
        let augment = Augment::parse(&recipe.augment, views.unlabeled).map_err(unusable)?;
        let labeled = augment
            .labeled_views(dataset, shape, views.labeled)
            .map_err(unusable)?;
        let unlabeled = augment
            .unlabeled_views(dataset, shape, views.unlabeled)
            .map_err(unusable)?;
        let learns = |view: &View| matches!(view.strong, Strong::CtAugment { .. });
        let probe = labeled.iter().chain(&unlabeled).any(learns);
        let probe = probe.then_some(View {
            weak: labeled[0].weak,
            strong: Strong::CtAugment { cutout: false },
            as_first: false,
        });
        Ok(Self {
            seed,
            batch: recipe.batch,
            ratio: views.ratio,
            labeled,
            unlabeled,
            probe,
        })
    }

    /// Whether CTAugment is used.
    pub fn learns(&self) -> bool {
        self.probe.is_some()
    }

    /// The policies of the probes of a step; they do not depend on what was learned.
    pub fn probes(&self, step: u64, cta: &CtAugment) -> Vec<Policy> {
        cta.probes(self.seed, step, 0, self.batch)
    }
}

/// An order for the batch of a step, with what CTAugment knows at the time.
#[derive(Clone, Debug)]
pub struct Request {
    /// The step.
    pub step: u64,
    /// Where CTAugment is used.
    pub cta: Option<Arc<CtAugment>>,
}

/// Views as bytes.
#[derive(Debug)]
pub struct Images {
    /// N×H×W×C.
    bytes: Tensor,
    /// N×H×W, 1 where a pixel is mid-grey, which no byte can say.
    holes: Option<Tensor>,
}

impl Images {
    /// Of bytes, N×H×W×C.
    pub fn new(bytes: &[u8], count: usize, shape: Shape) -> Self {
        let size = [count, shape.height, shape.width, shape.channels].map(|n| n as i64);
        Self {
            bytes: Tensor::from_data_size(bytes, &size, Kind::Uint8),
            holes: None,
        }
    }

    /// The first `count` of them beside each other, HWC.
    fn strip(&self, count: usize) -> (Shape, Vec<u8>) {
        let size: Vec<usize> = self.bytes.size().iter().map(|n| *n as usize).collect();
        let shape = Shape {
            height: size[1],
            width: size[2],
            channels: size[3],
        };
        let count = count.min(size[0]);
        let first = self.bytes.narrow(0, 0, count as i64);
        let strip = first.permute([1, 0, 2, 3]).contiguous();
        let mut pixels = vec![0; count * shape.bytes()];
        strip.copy_data_u8(&mut pixels, count * shape.bytes());
        let width = count * shape.width;
        (Shape { width, ..shape }, pixels)
    }

    /// N×C×H×W on the device of `like`, channels last in memory; bytes 0 to 255 as −1 to 1, and then
    /// as `scale` says.
    pub fn on(&self, like: &Tensor, scale: &Scale) -> Result<Tensor, shim::Error> {
        let bytes = shim::upload(&self.bytes, like)?;
        let mut x = bytes.to_kind(Kind::Float) * (2.0 / 255.0) - 1.0;
        if let Some(holes) = &self.holes {
            let holes = shim::upload(holes, like)?;
            x = x.masked_fill(&holes.unsqueeze(-1).to_kind(Kind::Bool), 0.0);
        }
        Ok(scale.apply(x).permute([0, 3, 1, 2]))
    }
}

/// A batch as bytes.
#[derive(Debug)]
pub struct Prepared {
    step: u64,
    x: Vec<Images>,
    y: Tensor,
    u: Vec<Images>,
    index: Tensor,
    probe: Option<Images>,
}

impl Prepared {
    /// The first `count` images of each view beside each other, under a tag.
    pub fn strips(&self, count: usize) -> Vec<(String, Shape, Vec<u8>)> {
        let named = |name: &'static str, views: &[Images]| -> Vec<_> {
            let strips = views.iter().enumerate().map(|(n, images)| {
                let (shape, pixels) = images.strip(count);
                (format!("views/{name}{n}"), shape, pixels)
            });
            strips.collect()
        };
        [named("labeled", &self.x), named("unlabeled", &self.u)].concat()
    }

    /// The batch, and the probes, on the device of `like`.
    pub fn on(&self, like: &Tensor, scale: &Scale) -> Result<(Batch, Option<Tensor>), shim::Error> {
        let all = |views: &[Images]| -> Result<Vec<Tensor>, _> {
            views.iter().map(|images| images.on(like, scale)).collect()
        };
        let batch = Batch {
            x: all(&self.x)?,
            y: shim::upload(&self.y, like)?,
            u: all(&self.u)?,
            index: shim::upload(&self.index, like)?,
        };
        let probe = self.probe.as_ref().map(|images| images.on(like, scale));
        Ok((batch, probe.transpose()?))
    }
}

/// The thread that makes batches.
pub struct Feed<'scope> {
    orders: Option<Sender<Request>>,
    batches: Receiver<Result<Prepared, StageError>>,
    _thread: thread::ScopedJoinHandle<'scope, ()>,
}

impl std::fmt::Debug for Feed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Feed")
    }
}

impl<'scope> Feed<'scope> {
    /// Starts it in `scope`.
    pub fn start<'env>(
        scope: &'scope thread::Scope<'scope, 'env>,
        data: &'env Data,
        pipeline: &'env Pipeline,
    ) -> Self {
        let (orders, inbox) = channel::<Request>();
        let (outbox, batches) = channel();
        let thread = scope.spawn(move || {
            let mut kitchen = Kitchen::new(data, pipeline);
            while let Ok(request) = inbox.recv() {
                if outbox.send(kitchen.prepare(&request)).is_err() {
                    return;
                }
            }
        });
        Self {
            orders: Some(orders),
            batches,
            _thread: thread,
        }
    }

    /// Orders a batch.
    pub fn order(&self, request: Request) {
        // A thread that is gone shows in `next`.
        if let Some(orders) = &self.orders {
            let _ = orders.send(request);
        }
    }

    /// The batch of a step, which must be the next of those ordered.
    pub fn next(&self, step: u64) -> Result<Prepared, StageError> {
        match self.batches.recv() {
            Ok(Ok(prepared)) if prepared.step == step => Ok(prepared),
            Ok(Ok(prepared)) => Err(StageError::failed(format!(
                "the batch of step {} came in place of {step}",
                prepared.step
            ))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StageError::failed(format!(
                "the thread that makes batches ended before step {step}"
            ))),
        }
    }
}

impl Drop for Feed<'_> {
    fn drop(&mut self) {
        self.orders = None;
    }
}

/// Makes batches.
struct Kitchen<'a> {
    data: &'a Data,
    pipeline: &'a Pipeline,
    labeled: Order,
    unlabeled: Order,
}

impl<'a> Kitchen<'a> {
    fn new(data: &'a Data, pipeline: &'a Pipeline) -> Self {
        let order = |name, size| Order::new(pipeline.seed, Purpose::named(name), size);
        let labeled = order("labeled order", data.labeled.len());
        let unlabeled = order("unlabeled order", data.unlabeled.len() - data.valid);
        Self {
            data,
            pipeline,
            labeled,
            unlabeled,
        }
    }

    fn prepare(&mut self, request: &Request) -> Result<Prepared, StageError> {
        let Pipeline { batch, ratio, .. } = *self.pipeline;
        let step = request.step;
        let labeled = self.labeled.batch(step, batch);
        let unlabeled: Vec<usize> = match self.pipeline.unlabeled[..] {
            [] => Vec::new(),
            _ => self.unlabeled.batch(step, batch * ratio),
        };
        let index: Vec<i64> = unlabeled.iter().map(|i| *i as i64).collect();
        let unlabeled = unlabeled.into_iter().map(|i| i + self.data.valid).collect();
        let y: Vec<i64> = labeled
            .iter()
            .map(|i| self.data.labeled.labels[*i])
            .collect();
        let render = |view: &View, chosen: &Chosen, purpose, policies: &[Policy]| {
            let from = augment::Batch {
                images: &chosen.images,
                shape: chosen.shape,
                indices: &chosen.indices,
                seed: self.pipeline.seed,
                purpose,
                step,
                first: 0,
                policies,
            };
            fill(view, &from)
        };
        let policies = |view: &View, n: u64, count: usize| match (&view.strong, &request.cta) {
            (Strong::CtAugment { .. }, Some(cta)) => {
                cta.policies(self.pipeline.seed, step, n * count as u64, count)
            }
            _ => Vec::new(),
        };
        let labeled = Chosen::of(&self.data.labeled, labeled)?;
        let unlabeled = Chosen::of(&self.data.unlabeled, unlabeled)?;
        let x = self.pipeline.labeled.iter().zip(0..).map(|(view, n)| {
            let policies = policies(view, LABELED_POLICIES + n, batch);
            render(view, &labeled, labeled_purpose(n), &policies)
        });
        let u = self.pipeline.unlabeled.iter().zip(0..).map(|(view, n)| {
            let policies = policies(view, n, unlabeled.indices.len());
            render(view, &unlabeled, augment::Batch::unlabeled(n), &policies)
        });
        let (x, u) = (x.collect(), u.collect());
        let probe = self
            .pipeline
            .probe
            .as_ref()
            .zip(request.cta.as_ref())
            .map(|(view, cta)| {
                let policies = self.pipeline.probes(step, cta);
                render(view, &labeled, augment::Batch::LABELED, &policies)
            });
        Ok(Prepared {
            step,
            x,
            y: Tensor::from_slice(&y),
            u,
            index: Tensor::from_slice(&index),
            probe,
        })
    }
}

/// Where the draws of labeled images' policies begin, beyond those of any number of unlabeled views.
const LABELED_POLICIES: u64 = 1 << 20;

/// Purpose of the n-th labeled view.
fn labeled_purpose(n: u64) -> Purpose {
    match n {
        0 => augment::Batch::LABELED,
        n => augment::Batch::LABELED.nth(n + 1),
    }
}

/// The images of a batch: in the set's memory, or made for this batch, once for all its views.
struct Chosen<'a> {
    images: Cow<'a, [u8]>,
    shape: Shape,
    /// Where they are among `images`.
    indices: Vec<usize>,
}

impl<'a> Chosen<'a> {
    fn of(set: &'a ImageSet, indices: Vec<usize>) -> Result<Self, StageError> {
        let shape = set.shape();
        Ok(match set.in_memory() {
            Some(images) => Self {
                images: Cow::Borrowed(images),
                shape,
                indices,
            },
            None => Self {
                images: Cow::Owned(set.gather(&indices)?),
                shape,
                indices: (0..indices.len()).collect(),
            },
        })
    }
}

fn fill(view: &View, batch: &augment::Batch) -> Images {
    let (count, shape) = (batch.indices.len(), batch.shape);
    let mut bytes = vec![0; count * shape.bytes()];
    if !view.strong.makes_holes() {
        view.fill(batch, &mut bytes, None);
        return Images::new(&bytes, count, shape);
    }
    let mut holes = vec![0; count * shape.pixels()];
    view.fill(batch, &mut bytes, Some(&mut holes));
    let size = [count, shape.height, shape.width].map(|n| n as i64);
    Images {
        holes: Some(Tensor::from_data_size(&holes, &size, Kind::Uint8)),
        ..Images::new(&bytes, count, shape)
    }
}
