//! Training-signal annealing, as UDA and RealMix have it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the threshold above which a labeled image is left out grows from 1/K to 1, by r, the share that is done
/// (spec/fixmatch.md 7.2, spec/realmix.md 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tsa {
    /// No labeled image is left out.
    #[default]
    #[serde(alias = "none")]
    No,
    /// A straight line, r.
    Linear,
    /// Slow at first: e^{5(r−1)}.
    Exp,
    /// Fast at first: 1 − e^{−5r}.
    Log,
}

impl Tsa {
    /// How far it has come, from 0 to 1 as r goes there; none where it is off.
    pub fn rise(self, r: f64) -> Option<f64> {
        match self {
            Self::No => None,
            Self::Linear => Some(r),
            Self::Exp => Some((5.0 * (r - 1.0)).exp()),
            Self::Log => Some(1.0 - (-5.0 * r).exp()),
        }
    }
}
