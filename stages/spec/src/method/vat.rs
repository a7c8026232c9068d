//! Virtual adversarial training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// A small change of an unlabeled image that moves the prediction most must not move it
/// (spec/fixmatch.md 7.7). The label smoothing of the published script is never used there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Vat {
    /// Weight of the unlabeled term after the warm-up.
    pub vat: f64,
    /// ε: length of the change, over all numbers of an image from −1 to 1.
    pub vat_eps: f64,
    /// ξ: length of the random change at which the direction is looked for. At the published value
    /// float32 rounds most of it away, and in bf16 nothing is left of it: raise it there.
    pub vat_xi: f64,
    /// Weight of the entropy of predictions of unlabeled images; it has no warm-up.
    pub entmin_weight: f64,
    /// Share of the run that the warm-up takes; 0: none.
    pub warmup_pos: f64,
}

impl Default for Vat {
    fn default() -> Self {
        Self {
            vat: 0.3,
            vat_eps: 6.0,
            vat_xi: 1e-6,
            entmin_weight: 0.06,
            warmup_pos: 0.4,
        }
    }
}

impl Settings for Vat {
    fn check(&self) -> Result<(), Invalid> {
        check::weight("vat", self.vat)?;
        check::positive("vat_eps", self.vat_eps)?;
        check::positive("vat_xi", self.vat_xi)?;
        check::weight("entmin_weight", self.entmin_weight)?;
        check::share("warmup_pos", self.warmup_pos)
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam("d.d", 0.02)
    }
}
