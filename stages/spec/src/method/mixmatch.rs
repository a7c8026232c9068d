//! MixMatch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;

/// The sharpened average of what the network says of several views of an image is its label, and all
/// images are mixed with one another (spec/fixmatch.md 7.3). The defaults are those of the comparison in
/// FixMatch's code. MixMatch's paper has `beta: 0.75`, `w_match: 75` for CIFAR-10, and Adam:
/// `optimizer: {adam: {weight_decay: 0.02}}`, `schedule: constant` (spec/four_methods.md 3.1). With
/// CTAugment (`cta_mixmatch`) it is `augment: cta.d.cta` and `beta: 0.75`; the learning rate 0.002 and weight
/// decay 0.02 of that script were left from Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mixmatch {
    /// β: how much of an image comes from itself is the larger part of a split drawn from Beta(β, β).
    pub beta: f64,
    /// λ_u: weight of the unlabeled term after the warm-up.
    pub w_match: f64,
    /// Length of the warm-up, in units of 1024 labeled images; 0: none.
    pub warmup_kimg: u64,
    /// T: labels are the average to the power 1/T, rescaled.
    pub temperature: f64,
    /// Views of each unlabeled image.
    pub nu: usize,
    /// What is mixed with one λ.
    pub share: Share,
}

/// What is mixed with one λ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Each image, as in the published code.
    #[default]
    Row,
    /// The whole batch, as in most ports to PyTorch (spec/four_methods.md 3.1).
    Batch,
}

impl Default for Mixmatch {
    fn default() -> Self {
        Self {
            beta: 0.5,
            w_match: 100.0,
            warmup_kimg: 1024,
            temperature: 0.5,
            nu: 2,
            share: Share::Row,
        }
    }
}

impl Settings for Mixmatch {
    fn check(&self) -> Result<(), Invalid> {
        check::positive("beta", self.beta)?;
        check::weight("w_match", self.w_match)?;
        check::positive("temperature", self.temperature)?;
        check::views("nu", self.nu)
    }
}
