//! Labeled images alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;

/// Cross-entropy on weakly augmented labeled images and nothing else: the baseline that every
/// semi-supervised method must beat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Supervised {
    /// s: label smoothing, l − s·(l − 1/K) of a one-hot label l (spec/fixmatch.md 7.10).
    pub smoothing: f64,
}

impl Settings for Supervised {
    const UNLABELED: bool = false;

    fn check(&self) -> Result<(), Invalid> {
        check::share("smoothing", self.smoothing)
    }
}
