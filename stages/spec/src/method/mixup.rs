//! MixUp of labeled and of unlabeled images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// Of a mix of two images the network must say the mix of their labels; what it says of an unlabeled
/// image is its label (spec/fixmatch.md 7.9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mixup {
    /// β: how much of an image comes from itself is the larger part of a split drawn from Beta(β, β).
    pub beta: f64,
}

impl Default for Mixup {
    fn default() -> Self {
        Self { beta: 0.5 }
    }
}

impl Settings for Mixup {
    fn check(&self) -> Result<(), Invalid> {
        check::positive("beta", self.beta)
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam("d.d", 0.02)
    }
}
