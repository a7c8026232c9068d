//! FlexMatch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// FixMatch with a threshold per class that is lower where fewer images have been learned: curriculum
/// pseudo-labels (spec/four_methods.md 5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Flexmatch {
    /// τ: an image counts as learned where the highest probability is at least this; thresholds are
    /// τ·M(β_k).
    pub confidence: f64,
    /// Weight of the unlabeled term.
    pub wu: f64,
    /// μ: unlabeled images per labeled image in a batch.
    pub uratio: usize,
    /// While most images are not learned yet, β_k counts against their number in place of that of the
    /// class learned best.
    pub warmup: bool,
    /// M.
    pub mapping: Mapping,
}

/// From β_k, how far a class is learned, 0 to 1, to the share of τ that is its threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// ln(β + 1)/ln 2.
    Concave,
    /// β.
    Linear,
    /// β/(2 − β).
    #[default]
    Convex,
}

impl Default for Flexmatch {
    fn default() -> Self {
        Self {
            confidence: 0.95,
            wu: 1.0,
            uratio: 7,
            warmup: true,
            mapping: Mapping::Convex,
        }
    }
}

impl Settings for Flexmatch {
    fn check(&self) -> Result<(), Invalid> {
        check::share("confidence", self.confidence)?;
        check::weight("wu", self.wu)?;
        check::ratio("uratio", self.uratio)
    }

    fn recipe(&self) -> Recipe {
        Recipe::momentum("d.d.rac")
    }
}
