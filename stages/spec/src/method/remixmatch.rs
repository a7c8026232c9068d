//! ReMixMatch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// MixMatch whose guesses are aligned with the distribution of the classes and teach strongly augmented
/// views, and which learns to tell rotations (spec/fixmatch.md 7.4).
///
/// FixMatch's code has it twice. The default is the one of the paper's tables, with CTAugment on labeled
/// images as well (`cta_remixmatch`), trained like the methods that it is compared with: the learning rate
/// 0.002 and weight decay 0.02 that its script has were left from Adam. The other one
/// (`remixmatch_no_cta`) is `redux: swap` with `augment: d.d.d`.
///
/// ReMixMatch's own paper has 8 strong views (`k: 8`) and Adam, `optimizer: {adam: {weight_decay: 0.02}}`,
/// `schedule: constant`; with 40 labels `k: 1`, `w_rot: 2`, `warmup_kimg: 8192` (spec/four_methods.md 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Remixmatch {
    /// β: how much of an image comes from itself is the larger part of a split drawn from Beta(β, β).
    pub beta: f64,
    /// Strong views of each unlabeled image, beside the weak one.
    pub k: usize,
    /// Weight of the cross-entropy of the first strong view before it is mixed, after the warm-up.
    pub w_kl: f64,
    /// Weight of the unlabeled term after the warm-up.
    pub w_match: f64,
    /// Weight of telling rotations. They are those of the square in the middle of an image that is not one.
    pub w_rot: f64,
    /// Whose prediction is the guess of a view.
    pub redux: Redux,
    /// Whether guesses are aligned with the distribution of the classes.
    pub use_dm: bool,
    /// Whether the unlabeled term is cross-entropy, rather than the squared error of probabilities.
    pub use_xe: bool,
    /// Length of the warm-up, in units of 1024 labeled images; 0: none.
    pub warmup_kimg: u64,
    /// T: labels are the aligned guess to the power 1/T, rescaled.
    pub temperature: f64,
    /// How frequent each class is among the unlabeled images, if that is known; rescaled to sum 1. Otherwise
    /// it is followed on the labeled batches.
    pub p_unlabeled: Option<Vec<f64>>,
}

/// Whose prediction is the guess of a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Redux {
    /// The weak view's, for all.
    #[default]
    #[serde(alias = "1st")]
    First,
    /// The average over all views, for all.
    Mean,
    /// The next view's; for the last the weak one's.
    Swap,
}

impl Default for Remixmatch {
    fn default() -> Self {
        Self {
            beta: 0.75,
            k: 1,
            w_kl: 0.5,
            w_match: 1.5,
            w_rot: 0.5,
            redux: Redux::First,
            use_dm: true,
            use_xe: true,
            warmup_kimg: 1024,
            temperature: 0.5,
            p_unlabeled: None,
        }
    }
}

impl Settings for Remixmatch {
    fn check(&self) -> Result<(), Invalid> {
        check::positive("beta", self.beta)?;
        check::views("k", self.k)?;
        check::weight("w_kl", self.w_kl)?;
        check::weight("w_match", self.w_match)?;
        check::weight("w_rot", self.w_rot)?;
        check::positive("temperature", self.temperature)?;
        match &self.p_unlabeled {
            Some(shares) => check::distribution("p_unlabeled", shares),
            None => Ok(()),
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe::momentum("cta.d.cta")
    }
}
