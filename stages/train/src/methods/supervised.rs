//! Labeled images alone: the baseline.

use rematch_spec::method::Supervised as Settings;

use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{mean, one_hot, soft_cross_entropy};

/// Cross-entropy on weakly augmented labeled images, with smoothed labels (spec/fixmatch.md 7.10).
#[derive(Debug)]
pub struct Supervised(pub Settings);

impl Method for Supervised {
    fn views(&self) -> Views {
        Views::LABELED
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let [x] = step.student.together([&batch.x[0]]);
        let classes = x.size()[1];
        let labels = one_hot(&batch.y, classes);
        let smooth = &labels - (&labels - 1.0 / classes as f64) * self.0.smoothing;
        Loss::new().term("xe", 1.0, mean(&soft_cross_entropy(&x, &smooth)))
    }
}
