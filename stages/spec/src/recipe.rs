//! How the runs of a method are trained where the pipeline says nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::optimizer::{Adam, Optimizer, Schedule};

/// Everything of a run but the method and the images. Each method has its published one
/// ([`Settings::recipe`](crate::method::Settings::recipe)), and every field is a parameter of `train`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Augmentation of labeled images and of each view of unlabeled ones.
    pub augment: String,
    /// What a pixel's value is before it enters the network.
    pub normalize: Option<Normalize>,
    /// The network.
    pub network: Network,
    /// B: labeled images per step.
    pub batch: usize,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Learning rate over the run.
    pub schedule: Schedule,
    /// Decay of the moving average of the weights.
    pub ema: f64,
    /// Whether the moving average covers batch norm's running statistics; otherwise the averaged
    /// network uses those of the trained one.
    pub ema_statistics: bool,
    /// How long to train.
    pub length: Length,
}

impl Recipe {
    /// That of the FixMatch code's momentum methods (spec/fixmatch.md 6 and 7.0); `augment` in its
    /// grammar.
    pub fn momentum(augment: &str) -> Self {
        Self {
            augment: augment.to_owned(),
            normalize: None,
            network: Network::default(),
            batch: 64,
            optimizer: Optimizer::default(),
            schedule: Schedule::Cosine,
            ema: 0.999,
            ema_statistics: false,
            length: Length::default(),
        }
    }

    /// That of its Adam methods (spec/fixmatch.md 6, optimizer B), with their weight decay.
    pub fn adam(augment: &str, weight_decay: f64) -> Self {
        Self {
            optimizer: Optimizer::Adam(Adam {
                weight_decay,
                ..Adam::default()
            }),
            schedule: Schedule::Constant,
            ..Self::momentum(augment)
        }
    }
}

/// A length of training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Optimizer steps.
    Steps(u64),
    /// Labeled images seen, in units of 1024.
    Kimg(u64),
}

impl Length {
    /// In steps of `batch` labeled images.
    pub fn steps(self, batch: usize) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Kimg(kimg) => kimg.saturating_mul(1024).div_ceil(batch.max(1) as u64),
        }
    }
}

impl Default for Length {
    /// 2^20 steps at batch 64 (spec/fixmatch.md 1).
    fn default() -> Self {
        Self::Kimg(65536)
    }
}

/// (x − mean)/std per channel, x from 0 to 1, in place of the originals' scale from −1 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// One number per channel.
    pub mean: Vec<f64>,
    /// One number per channel, above 0.
    pub std: Vec<f64>,
}
