//! DASO.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::optimizer::Schedule;
use crate::recipe::{Length, Recipe};

/// FixMatch for long-tailed classes: the classifier's pseudo-labels are blended with those of the most
/// similar class of labeled features, the more, the more often the class is guessed (Oh et al. 2022,
/// arXiv 2106.05682; defaults of its code on CIFAR-10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Daso {
    /// τ: pseudo-labels count where the highest blended probability is at least this.
    pub confidence: f64,
    /// Weight of the unlabeled term.
    pub wu: f64,
    /// Weight of the semantic alignment term.
    pub wa: f64,
    /// Unlabeled images per labeled image in a batch.
    pub uratio: usize,
    /// L: features that are remembered per class.
    pub queue: i64,
    /// T_proto: semantic pseudo-labels are softmax(similarity/T_proto).
    pub proto_temperature: f64,
    /// T_dist: the distribution m of pseudo-labels blends as m^{1/T_dist}; the paper takes 1.5 where
    /// labeled and unlabeled images are equally long-tailed, and 0.3 otherwise.
    pub dist_temperature: f64,
    /// Steps over which pseudo-labels are counted to estimate m.
    pub dist_steps: u64,
    /// Steps of plain FixMatch at the start.
    pub pretrain_steps: u64,
}

impl Default for Daso {
    fn default() -> Self {
        Self {
            confidence: 0.95,
            wu: 1.0,
            wa: 1.0,
            uratio: 2,
            queue: 256,
            proto_temperature: 0.05,
            dist_temperature: 1.5,
            dist_steps: 100,
            pretrain_steps: 5000,
        }
    }
}

impl Settings for Daso {
    fn check(&self) -> Result<(), Invalid> {
        check::share("confidence", self.confidence)?;
        check::weight("wu", self.wu)?;
        check::weight("wa", self.wa)?;
        check::ratio("uratio", self.uratio)?;
        check::positive("proto_temperature", self.proto_temperature)?;
        check::positive("dist_temperature", self.dist_temperature)?;
        if !(1..=100_000).contains(&self.queue) {
            return Err(Invalid::at(
                "queue",
                "expected 1 to 100000 features per class",
            ));
        }
        if self.dist_steps == 0 {
            return Err(Invalid::at("dist_steps", "expected at least 1 step"));
        }
        Ok(())
    }

    fn recipe(&self) -> Recipe {
        Recipe {
            schedule: Schedule::Constant,
            ema_statistics: true,
            length: Length::Steps(250_000),
            ..Recipe::momentum("d.d.rac")
        }
    }
}
