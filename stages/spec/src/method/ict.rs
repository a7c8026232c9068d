//! Interpolation consistency training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// Of a mix of two unlabeled images the network must say the mix of what its moving average says of each
/// (spec/fixmatch.md 7.8). The published script makes a second view of each unlabeled image (`d.d.d`) and
/// does not look at it; here there is one, `d.d`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ict {
    /// β: how much of an image comes from itself is the larger part of a split drawn from Beta(β, β).
    pub beta: f64,
    /// Weight of the unlabeled term after the warm-up.
    pub consistency_weight: f64,
    /// Share of the run that the warm-up takes; 0: none.
    pub warmup_pos: f64,
}

impl Default for Ict {
    fn default() -> Self {
        Self {
            beta: 0.5,
            consistency_weight: 50.0,
            warmup_pos: 0.4,
        }
    }
}

impl Settings for Ict {
    fn check(&self) -> Result<(), Invalid> {
        check::positive("beta", self.beta)?;
        check::weight("consistency_weight", self.consistency_weight)?;
        check::share("warmup_pos", self.warmup_pos)
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam("d.d", 0.02)
    }
}
