//! Labeled images alone: the baseline.

use super::{cross_entropy, mean};
use crate::method::{Batch, Loss, Method, Step, Views};

/// Cross-entropy on weakly augmented labeled images.
#[derive(Debug)]
pub struct Supervised;

impl Method for Supervised {
    fn views(&self) -> Views {
        Views::default()
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let [x] = step.student.together([&batch.x]);
        Loss::new().term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
    }
}
