//! FixMatch and its ablations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// Pseudo-labels of weakly augmented images, where the network is confident, teach strongly augmented
/// ones (spec/fixmatch.md 7.1). Its published ablations are options: here, and `augment`, `optimizer`
/// and `schedule` of `train` (spec/fixmatch.md 8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fixmatch {
    /// τ: pseudo-labels count where the highest probability is at least this.
    pub confidence: f64,
    /// λ_u: weight of the unlabeled term.
    pub wu: f64,
    /// μ: unlabeled images per labeled image in a batch.
    pub uratio: usize,
    /// T: pseudo-labels come from softmax(logits/T) (ablation `sharpen`).
    pub temperature: f64,
    /// Soft pseudo-labels softmax(logits/T), with the mask of the unsharpened ones (ablation
    /// `sharpen_conditional_consistency`).
    pub soft: bool,
    /// Who makes the pseudo-labels.
    pub guess: Guess,
}

/// Who makes pseudo-labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guess {
    /// The network that learns.
    #[default]
    Student,
    /// Its moving average, with running batch-norm statistics (ablation `meanteacher`).
    Teacher,
    /// Its moving average, with the batch's statistics (ablation `meanteacher_train`).
    TeacherTraining,
}

impl Default for Fixmatch {
    fn default() -> Self {
        Self {
            confidence: 0.95,
            wu: 1.0,
            uratio: 7,
            temperature: 1.0,
            soft: false,
            guess: Guess::Student,
        }
    }
}

impl Settings for Fixmatch {
    fn check(&self) -> Result<(), Invalid> {
        check::share("confidence", self.confidence)?;
        check::weight("wu", self.wu)?;
        check::ratio("uratio", self.uratio)?;
        check::positive("temperature", self.temperature)
    }

    fn recipe(&self) -> Recipe {
        Recipe::momentum("d.d.ctac")
    }
}
