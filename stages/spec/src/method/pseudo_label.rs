//! Pseudo-label.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// Where the network is confident, the class that it finds most probable is the label
/// (spec/fixmatch.md 7.6). The label smoothing of the published script is never used there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PseudoLabel {
    /// Labels count where the highest probability is above this.
    pub threshold: f64,
    /// Weight of the unlabeled term after the warm-up.
    pub consistency_weight: f64,
    /// Share of the run that the warm-up takes; 0: none.
    pub warmup_pos: f64,
    /// Counts the loss of confident images alone, as the paper means it. The published code multiplies
    /// each image's loss with every image's mask, so that all images count, by the share of confident
    /// ones; the published numbers are that code's.
    pub masked: bool,
}

impl Default for PseudoLabel {
    fn default() -> Self {
        Self {
            threshold: 0.95,
            consistency_weight: 1.0,
            warmup_pos: 0.4,
            masked: false,
        }
    }
}

impl Settings for PseudoLabel {
    fn check(&self) -> Result<(), Invalid> {
        check::share("threshold", self.threshold)?;
        check::weight("consistency_weight", self.consistency_weight)?;
        check::share("warmup_pos", self.warmup_pos)
    }

    fn recipe(&self) -> Recipe {
        Recipe::momentum("d.d")
    }
}
