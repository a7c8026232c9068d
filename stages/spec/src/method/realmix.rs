//! RealMix.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tsa::Tsa;
use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// MixMatch for unlabeled images that may be of other classes: the least certain ones can be left out,
/// and easy labeled ones, too (spec/realmix.md 7 to 9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Realmix {
    /// β: images are mixed by λ ~ Beta(β, β).
    pub beta: f64,
    /// Weight of the unlabeled term after its warm-up.
    pub w_match: f64,
    /// Labeled images, in units of 1024, over which that weight grows from 0.
    pub warmup_kimg: f64,
    /// T: the guessed labels are sharpened to p^{1/T}.
    pub temperature: f64,
    /// Training signal annealing: over the run, more and more of the labeled images that the network is
    /// sure of count (spec/realmix.md 8).
    pub tsa: Tsa,
    /// What its threshold is compared with.
    pub tsa_rule: TsaRule,
    /// ρ: leaves out that share of the unlabeled images of each batch, those with the lowest highest
    /// probability, and one more, as the original does (spec/realmix.md 9). Left out: all count.
    pub percent_mask: Option<f64>,
}

/// Which labeled images training signal annealing keeps: those with a class of the label whose
/// probability is below …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TsaRule {
    /// … its share in the label times the threshold, as meant.
    #[default]
    Fixed,
    /// … its logit times the threshold, or any class beside the label with a positive logit, as the
    /// published code: nearly every image (spec/realmix.md, trap 9).
    Compat,
}

impl Default for Realmix {
    fn default() -> Self {
        Self {
            beta: 0.75,
            w_match: 75.0,
            warmup_kimg: 1024.0,
            temperature: 0.5,
            tsa: Tsa::No,
            tsa_rule: TsaRule::Fixed,
            percent_mask: None,
        }
    }
}

impl Settings for Realmix {
    fn check(&self) -> Result<(), Invalid> {
        check::positive("beta", self.beta)?;
        check::weight("w_match", self.w_match)?;
        check::positive("warmup_kimg", self.warmup_kimg)?;
        check::positive("temperature", self.temperature)?;
        match self.percent_mask {
            Some(share) if !(0.0..1.0).contains(&share) => Err(Invalid::at(
                "percent_mask",
                "expected a share from 0 up to, not including, 1",
            )),
            _ => Ok(()),
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam("d.d.d", 0.02)
    }
}
