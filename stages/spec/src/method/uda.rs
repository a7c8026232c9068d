//! Unsupervised data augmentation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tsa::Tsa;
use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// Sharpened predictions of weakly augmented images, where the network is confident, are what it must
/// predict of strongly augmented ones; labeled images that it already knows can be left out
/// (spec/fixmatch.md 7.2). The defaults are those of the comparison in FixMatch's code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Uda {
    /// Weight of the unlabeled term.
    pub wu: f64,
    /// Weight of the entropy of predictions of weakly augmented images.
    pub we: f64,
    /// Predictions count where the highest probability, before sharpening, is at least this.
    pub confidence: f64,
    /// μ: unlabeled images per labeled image in a batch.
    pub uratio: usize,
    /// T: targets are softmax(logits/T).
    pub temperature: f64,
    /// Training-signal annealing: how the probability of the true class, above which a labeled image is
    /// left out, rises from 1/K to 1.
    pub tsa: Tsa,
    /// It gets there after 2^`tsa_pos` labeled images per 1024 of the run, or per 1024 of the first
    /// 16,777,216: at 10 the annealing lasts the whole run, at 8 a quarter of it.
    pub tsa_pos: u32,
}

impl Default for Uda {
    fn default() -> Self {
        Self {
            wu: 1.0,
            we: 0.0,
            confidence: 0.95,
            uratio: 7,
            temperature: 1.0,
            tsa: Tsa::No,
            tsa_pos: 8,
        }
    }
}

impl Settings for Uda {
    fn check(&self) -> Result<(), Invalid> {
        check::weight("wu", self.wu)?;
        check::weight("we", self.we)?;
        check::share("confidence", self.confidence)?;
        check::ratio("uratio", self.uratio)?;
        check::positive("temperature", self.temperature)?;
        if self.tsa_pos > 30 {
            return Err(Invalid::at("tsa_pos", "expected 0 to 30"));
        }
        Ok(())
    }

    fn recipe(&self) -> Recipe {
        Recipe::momentum("d.d.rac")
    }
}
