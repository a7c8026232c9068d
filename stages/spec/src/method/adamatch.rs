//! AdaMatch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::optimizer::{Optimizer, Sgd};
use crate::recipe::{Length, Recipe};

/// FixMatch for unlabeled images of another distribution than the labeled ones: a threshold relative to
/// the confidence on labeled images, pseudo-labels aligned to their classes, and logits of the labeled
/// images between those with their own batch statistics and those with the statistics of all (Berthelot
/// et al. 2022, arXiv 2106.04732; defaults of its code for semi-supervised learning).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adamatch {
    /// τ: the threshold is this share of the mean confidence on weakly augmented labeled images.
    pub confidence: f64,
    /// Multiplies pseudo-labels by the ratio of the two distributions of classes.
    pub align: bool,
    /// Random logit interpolation; it costs a second pass over the labeled images.
    pub interpolate: bool,
    /// Weight of the unlabeled term at the end of its warm-up, which is half the run.
    pub wu: f64,
    /// Unlabeled images per labeled image in a batch.
    pub uratio: usize,
}

impl Default for Adamatch {
    fn default() -> Self {
        Self {
            confidence: 0.9,
            align: true,
            interpolate: true,
            wu: 1.0,
            uratio: 3,
        }
    }
}

impl Settings for Adamatch {
    fn check(&self) -> Result<(), Invalid> {
        check::share("confidence", self.confidence)?;
        check::weight("wu", self.wu)?;
        check::ratio("uratio", self.uratio)
    }

    fn recipe(&self) -> Recipe {
        Recipe {
            optimizer: Optimizer::Sgd(Sgd {
                weight_decay: 0.001,
                ..Sgd::default()
            }),
            length: Length::Kimg(8192),
            ..Recipe::momentum("d.d.rac")
        }
    }
}
