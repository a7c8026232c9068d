//! MixUp of labeled images alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::recipe::Recipe;

/// Of a mix of two labeled images the network must say the mix of their labels (spec/fixmatch.md 7.10; also
/// RealMix's supervised baseline, spec/realmix.md 11). With CTAugment (`cta_fsmixup`) it is `augment: cta.d`;
/// the large networks for CIFAR-10 and CIFAR-100 have `network: {resnet: {filters: 135}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FsMixup {
    /// β: how much of an image comes from itself is the larger part of a split drawn from Beta(β, β).
    pub beta: f64,
}

impl Default for FsMixup {
    fn default() -> Self {
        Self { beta: 0.5 }
    }
}

impl Settings for FsMixup {
    const UNLABELED: bool = false;

    fn check(&self) -> Result<(), Invalid> {
        check::positive("beta", self.beta)
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam("d.d", 0.002)
    }
}
