//! CADR: class-aware propensity, class-aware imputation, and both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::{Length, Recipe};

/// FixMatch for labels that are missing not at random, such as long-tailed ones of balanced images
/// (spec/cadr.md 6). With `cap`, `cai` and `cadr` off it is FixMatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the original's switches, by their names"
)]
pub struct Cadr {
    /// Weighs labeled images by the inverse of an estimated class prior.
    pub cap: bool,
    /// A lower threshold for pseudo-labels of rare classes.
    pub cai: bool,
    /// Adds the term that makes the two doubly robust; without `cap` it does nothing (spec/cadr.md 6.3).
    pub cadr: bool,
    /// Estimates the prior from the running one; otherwise it is the mean of the batch (spec/cadr.md 6.2).
    pub cap_ema: bool,
    /// μ: share of the running prior that stays at each step.
    pub cap_mu: f64,
    /// β: threshold τ_k = τ·(π_k/max π)^β.
    pub cai_beta: f64,
    /// What the weights of the prior's estimate are clipped to.
    pub upper: f64,
    /// Where the weight of a labeled image enters.
    pub weighting: Weighting,
    /// τ: pseudo-labels count where the highest probability is at least this.
    pub confidence: f64,
    /// Weight of the unlabeled term.
    pub wu: f64,
    /// Unlabeled images per labeled image in a batch.
    pub uratio: usize,
}

/// Where the weight of a labeled image enters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Inside the logarithm, −log(ω·softmax(z)_y), as the published code: ω does not change the gradient
    /// of the labeled images, and acts through the prior alone (spec/cadr.md 6.3, trap 6).
    #[default]
    Inside,
    /// As a factor, −ω·log softmax(z)_y, as the paper describes it. ω is a constant then, and the term of
    /// `cadr` takes the imputed losses −ω̂·log softmax(z)_ŷ away.
    Outside,
}

impl Default for Cadr {
    fn default() -> Self {
        Self {
            cap: true,
            cai: true,
            cadr: true,
            cap_ema: true,
            cap_mu: 0.99,
            cai_beta: 0.5,
            upper: 5.0,
            weighting: Weighting::Inside,
            confidence: 0.95,
            wu: 1.0,
            uratio: 7,
        }
    }
}

impl Settings for Cadr {
    fn check(&self) -> Result<(), Invalid> {
        check::share("cap_mu", self.cap_mu)?;
        check::weight("cai_beta", self.cai_beta)?;
        check::positive("upper", self.upper)?;
        check::share("confidence", self.confidence)?;
        check::weight("wu", self.wu)?;
        check::ratio("uratio", self.uratio)
    }

    fn recipe(&self) -> Recipe {
        Recipe {
            length: Length::Kimg(8192),
            ..Recipe::momentum("d.d.ctac")
        }
    }
}
