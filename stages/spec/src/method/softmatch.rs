//! SoftMatch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// FixMatch with a weight in place of the threshold: a Gaussian of the confidence, cut off above its mean
/// (Chen et al. 2023, arXiv 2301.10921).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Softmatch {
    /// m: share of the Gaussian's mean and variance that stays at each step.
    pub ema: f64,
    /// The Gaussian's deviation is that of the confidences divided by this.
    pub n_sigma: f64,
    /// Weighs by probabilities that are aligned to the uniform distribution; pseudo-labels are not.
    pub align: bool,
    /// Weight of the unlabeled term.
    pub wu: f64,
    /// Unlabeled images per labeled image in a batch.
    pub uratio: usize,
}

impl Default for Softmatch {
    fn default() -> Self {
        Self {
            ema: 0.999,
            n_sigma: 2.0,
            align: true,
            wu: 1.0,
            uratio: 7,
        }
    }
}

impl Settings for Softmatch {
    fn check(&self) -> Result<(), Invalid> {
        check::share("ema", self.ema)?;
        check::positive("n_sigma", self.n_sigma)?;
        check::weight("wu", self.wu)?;
        check::ratio("uratio", self.uratio)
    }

    fn recipe(&self) -> Recipe {
        Recipe::momentum("d.d.rac")
    }
}
