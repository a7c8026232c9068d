//! FreeMatch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// FixMatch whose thresholds, one per class, are what the network's confidence is anyway, with a term
/// for guesses of all classes (Wang et al. 2023, arXiv 2205.07246). The defaults are those of its
/// CIFAR runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Freematch {
    /// λ: share of thresholds and class statistics that stays at each step.
    pub ema: f64,
    /// w_u: weight of the unlabeled term.
    pub wu: f64,
    /// w_f: weight of the fairness term.
    pub wf: f64,
    /// μ: unlabeled images per labeled image in a batch.
    pub uratio: usize,
}

impl Default for Freematch {
    fn default() -> Self {
        Self {
            ema: 0.999,
            wu: 1.0,
            wf: 0.001,
            uratio: 7,
        }
    }
}

impl Settings for Freematch {
    fn check(&self) -> Result<(), Invalid> {
        check::share("ema", self.ema)?;
        check::weight("wu", self.wu)?;
        check::weight("wf", self.wf)?;
        check::ratio("uratio", self.uratio)
    }

    fn recipe(&self) -> Recipe {
        Recipe::momentum("d.d.rac")
    }
}
