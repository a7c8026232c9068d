//! What a method is: the views it looks at and its loss. The loop, the network, the optimizer and the
//! augmentation are the same for all, and no method knows them.

use rematch_spec::method;
use tch::Tensor;

use crate::methods;
use crate::network::Network;

/// A semi-supervised method. Its file reads like the algorithm box of its paper.
pub trait Method: Send {
    /// What it looks at.
    fn views(&self) -> Views;

    /// The loss of one batch. Terms are means over the batch; targets are detached.
    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss;
}

/// The images that a method looks at, beside one view of each labeled image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Views of each unlabeled image; the first is the weak one. 0: labeled images alone.
    pub unlabeled: usize,
    /// Unlabeled images per labeled image.
    pub ratio: usize,
    /// Whether the last view gets CTAugment and a cutout where the `augment` parameter names nothing
    /// strong, as in the originals' scripts with CTAugment.
    pub ctaugment: bool,
}

/// What a loss may use beside the batch.
#[derive(Debug)]
pub struct Step<'a> {
    /// The network that learns.
    pub student: &'a Network,
    /// Its moving average.
    pub teacher: &'a Network,
    /// 0 at the start of training, 1 at its end.
    pub progress: f64,
}

/// Images, N×C×H×W from −1 to 1, and labels.
#[derive(Debug)]
pub struct Batch {
    /// The labeled images.
    pub x: Tensor,
    /// Their classes, 0 to K−1.
    pub y: Tensor,
    /// The views of the unlabeled images, all of the same ones.
    pub u: Vec<Tensor>,
}

/// A sum of weighted terms.
#[derive(Debug, Default)]
pub struct Loss {
    /// Name, weight, value.
    pub terms: Vec<(&'static str, f64, Tensor)>,
    /// Numbers to log beside them.
    pub notes: Vec<(&'static str, Tensor)>,
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

    /// Adds nothing; the value is logged as `monitors/name`.
    #[must_use]
    pub fn note(mut self, name: &'static str, value: Tensor) -> Self {
        self.notes.push((name, value.detach()));
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
pub fn build(spec: &method::Method) -> Box<dyn Method> {
    match spec {
        method::Method::Supervised(_) => Box::new(methods::supervised::Supervised),
        method::Method::Fixmatch(settings) => {
            Box::new(methods::fixmatch::FixMatch(settings.clone()))
        }
    }
}
