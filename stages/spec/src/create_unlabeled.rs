//! Parameters of `create_unlabeled`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Inputs;
use crate::kind::{Invalid, Output, Stage};

/// Writes every record of the training files once, in an order whose every prefix follows the class
/// distribution as closely as possible (FixMatch `create_unlabeled.py`, spec/fixmatch.md 2.4); or, with
/// `imbalance`, a long-tailed part of them (CADR's version of it, spec/cadr.md 2.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUnlabeled {
    /// The TFRecord files to read, in this order.
    pub train: Inputs,
    /// Treats all classes as equally frequent, which the originals do for STL-10.
    #[serde(default)]
    pub uniform: bool,
    /// Makes a long tail: records that would break it are left out. (CADR does so where the path of
    /// its target has the letters IT or BT; its published sets named LT are whole.)
    #[serde(default)]
    pub imbalance: Option<Imbalance>,
}

/// A long tail of records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Imbalance {
    /// λ: the first class is λ times as frequent as the last; below 1 the tail is reversed, and the
    /// last class is the most frequent.
    pub lambda: f64,
    /// After each record that is read, at most Σ ceil(size · share) records are written. What is made in the
    /// end depends on it hardly at all: 1 is enough.
    pub size: u64,
}

impl Imbalance {
    /// Refuses what is no long tail.
    pub fn check(&self) -> Result<(), Invalid> {
        if !(self.lambda.is_finite() && self.lambda > 0.0) {
            let message = "expected a ratio above 0, such as 50, or 0.02 for the reverse";
            return Err(Invalid::at("imbalance.lambda", message));
        }
        if self.size == 0 {
            return Err(Invalid::at(
                "imbalance.size",
                "expected 1 or more; 0 would write nothing",
            ));
        }
        Ok(())
    }
}

impl Stage for CreateUnlabeled {
    const NAME: &'static str = "create_unlabeled";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("unlabeled", "unlabel.tfrecord"),
            Output::new("indexes", "unlabel.json"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        self.imbalance.as_ref().map_or(Ok(()), Imbalance::check)
    }
}
