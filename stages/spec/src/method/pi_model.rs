//! Pi-model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;

/// What the network says of one view of an image, it must say of another (spec/fixmatch.md 7.5). The label
/// smoothing of the published script is never used there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PiModel {
    /// Weight of the unlabeled term after the warm-up.
    pub consistency_weight: f64,
    /// Share of the run that the warm-up takes; 0: none.
    pub warmup_pos: f64,
}

impl Default for PiModel {
    fn default() -> Self {
        Self {
            consistency_weight: 10.0,
            warmup_pos: 0.4,
        }
    }
}

impl Settings for PiModel {
    fn check(&self) -> Result<(), Invalid> {
        check::weight("consistency_weight", self.consistency_weight)?;
        check::share("warmup_pos", self.warmup_pos)
    }
}
