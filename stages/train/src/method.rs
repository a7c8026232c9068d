//! What a method is: the views it looks at and its loss. The loop, the network, the optimizer and the
//! augmentation are the same for all, and no method knows them.

use rematch_data::child::StageError;
use rematch_data::rng::{Purpose, Stream};
use rematch_spec::method;
use tch::{Device, Tensor};

use crate::batch_norm::Bn;
use crate::evaluate::Set;
use crate::memory::Memory;
use crate::methods;
use crate::network::{Head, Network};

/// A semi-supervised method. Its file reads like the algorithm box of its paper.
pub trait Method: Send + std::fmt::Debug {
    /// What it looks at.
    fn views(&self) -> Views;

    /// Linear layers that it needs beside the classifier, over features of that width; student and
    /// teacher have them both.
    fn heads(&self, _features: i64) -> Vec<Head> {
        Vec::new()
    }

    /// The loss of one batch. Terms are means over the batch; targets are detached. What it remembers
    /// ([`Memory`]) it changes here.
    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss;

    /// How a trained network classifies, N×K.
    fn logits(&self, network: &Network, x: &Tensor) -> Tensor {
        network.logits(x, Bn::Eval)
    }
}

/// The images that a method looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Views {
    /// Views of each labeled image, at least 1. The first is as `augment` says in its first part,
    /// others as in its last.
    pub labeled: usize,
    /// Views of each unlabeled image; 0: labeled images alone. Those beyond the parts of `augment` are
    /// as its last part says.
    pub unlabeled: usize,
    /// Unlabeled images per labeled image.
    pub ratio: usize,
}

impl Views {
    /// One view of each labeled image.
    pub const LABELED: Self = Self {
        labeled: 1,
        unlabeled: 0,
        ratio: 1,
    };

    /// One view of each labeled image, so many of each of as many unlabeled ones.
    pub const fn of_unlabeled(views: usize) -> Self {
        Self {
            unlabeled: views,
            ..Self::LABELED
        }
    }
}

/// What a method is built for.
#[derive(Debug)]
pub struct Setting<'a> {
    /// K.
    pub classes: i64,
    /// B: labeled images per step.
    pub batch: usize,
    /// How many unlabeled images there are to train on.
    pub unlabeled: usize,
    /// Width of the network's features.
    pub features: i64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Where it computes.
    pub device: Device,
    /// Where it remembers.
    pub memory: &'a mut Memory,
}

/// What a loss may use beside the batch.
#[derive(Debug)]
pub struct Step<'a> {
    /// The network that learns.
    pub student: &'a Network,
    /// Its moving average.
    pub teacher: &'a Network,
    /// Steps done before this one.
    pub number: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// B: labeled images per step.
    pub batch: usize,
    /// Seed of the run.
    pub seed: u64,
    /// The labeled training images as they are, without augmentation.
    pub labeled: Option<&'a Set>,
}

impl Step<'_> {
    /// 0 at the start of training, 1 at its end.
    pub fn progress(&self) -> f64 {
        self.number as f64 / self.steps as f64
    }

    /// From 0 at the start to 1 at `share` of the run, in a straight line.
    pub fn ramp_over(&self, share: f64) -> f64 {
        (self.progress() / share).min(1.0)
    }

    /// From 0 at the start to 1 after `images` labeled images, as the originals count time.
    pub fn ramp_over_images(&self, images: f64) -> f64 {
        (self.images() / images).min(1.0)
    }

    /// Labeled images seen before this step.
    pub fn images(&self) -> f64 {
        self.number as f64 * self.batch as f64
    }

    /// Random numbers for a use at this step.
    pub fn stream(&self, purpose: Purpose) -> Stream {
        Stream::new(self.seed, purpose, self.number, 0)
    }
}

/// Images, N×C×H×W from −1 to 1, and labels.
#[derive(Debug)]
pub struct Batch {
    /// The views of the labeled images.
    pub x: Vec<Tensor>,
    /// Their classes, 0 to K−1.
    pub y: Tensor,
    /// The views of the unlabeled images, all of the same ones.
    pub u: Vec<Tensor>,
    /// Which images these are, by their place among those that are trained on.
    pub index: Tensor,
}

/// A sum of weighted terms.
#[derive(Debug, Default)]
pub struct Loss {
    /// Name, weight, value.
    pub terms: Vec<(&'static str, f64, Tensor)>,
    /// Numbers to log beside them, by their tag.
    pub notes: Vec<(String, Tensor)>,
}

impl Loss {
    /// No term yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `weight`·`value`; the value alone is logged as `losses/name`.
    #[must_use]
    pub fn term(mut self, name: &'static str, weight: f64, value: Tensor) -> Self {
        self.terms.push((name, weight, value));
        self
    }

    /// Adds nothing; the value is logged as `monitors/name`, or under `name` itself where that has a
    /// slash.
    #[must_use]
    pub fn note(mut self, name: &str, value: &Tensor) -> Self {
        let tag = if name.contains('/') {
            name.to_owned()
        } else {
            format!("monitors/{name}")
        };
        self.notes.push((tag, value.detach()));
        self
    }

    /// The weighted sum.
    pub fn total(&self) -> Tensor {
        self.terms
            .iter()
            .map(|(_, weight, value)| value * *weight)
            .sum()
    }
}

/// The method that `spec` names.
///
/// # Errors
/// Hyper-parameters that do not fit the data.
pub fn build(spec: &method::Method, setting: &mut Setting) -> Result<Box<dyn Method>, StageError> {
    use method::Method as M;
    let method: Box<dyn Method> = match spec {
        M::Supervised(spec) => Box::new(methods::supervised::Supervised(spec.clone())),
        M::FsMixup(spec) => Box::new(methods::fs_mixup::FsMixup::new(spec, setting)),
        M::PiModel(spec) => Box::new(methods::pi_model::PiModel(spec.clone())),
        M::PseudoLabel(spec) => Box::new(methods::pseudo_label::PseudoLabel(spec.clone())),
        M::MeanTeacher(spec) => Box::new(methods::mean_teacher::MeanTeacher(spec.clone())),
        M::Vat(spec) => Box::new(methods::vat::Vat(spec.clone())),
        M::Ict(spec) => Box::new(methods::ict::Ict(spec.clone())),
        M::Mixup(spec) => Box::new(methods::mixup::Mixup(spec.clone())),
        M::Mixmatch(spec) => Box::new(methods::mixmatch::MixMatch(spec.clone())),
        M::Remixmatch(spec) => Box::new(methods::remixmatch::ReMixMatch::new(spec, setting)?),
        M::Uda(spec) => Box::new(methods::uda::Uda(spec.clone())),
        M::Fixmatch(spec) => Box::new(methods::fixmatch::FixMatch(spec.clone())),
        M::Realmix(spec) => Box::new(methods::realmix::RealMix(spec.clone())),
        M::Cadr(spec) => Box::new(methods::cadr::Cadr::new(spec, setting)),
        M::Featmatch(spec) => Box::new(methods::featmatch::FeatMatch::new(spec, setting)),
        M::Flexmatch(spec) => Box::new(methods::flexmatch::FlexMatch::new(spec, setting)),
        M::Adamatch(spec) => Box::new(methods::adamatch::AdaMatch::new(spec, setting)),
        M::Freematch(spec) => Box::new(methods::freematch::FreeMatch::new(spec, setting)),
        M::Softmatch(spec) => Box::new(methods::softmatch::SoftMatch::new(spec, setting)),
        M::Daso(spec) => Box::new(methods::daso::Daso::new(spec, setting)),
    };
    Ok(method)
}
