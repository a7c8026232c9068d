//! Parameters of `predict`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::images::Resize;
use crate::import::Names;
use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Program, Stage};
use crate::train::Device;

/// Classifies images with a network that `train` left: predictions as `.npy` and CSV and, where the
/// true classes are known, accuracy, per-class figures and the confusion matrix (spec/realmix.md 10,
/// inference).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// A run, `${train.run}`.
    pub run: Input,
    /// Which of its checkpoints.
    #[serde(default)]
    pub checkpoint: Which,
    /// Which of its weights.
    #[serde(default)]
    pub weights: Weights,
    /// TFRecord files, folders of virtual copies, or folders of image files at any depth, in the order of
    /// their paths.
    pub images: Inputs,
    /// A dataset's names of classes, `${dataset.classes}`: shown beside the numbers, and what the class of an
    /// image file is looked up in. Without it image files have no true class.
    #[serde(default)]
    pub classes: Option<Input>,
    /// Where the class of an image file stands.
    #[serde(default)]
    pub names: Names,
    /// How image files become as large as the network's images.
    #[serde(default)]
    pub resize: Resize,
    /// The whitening that the network was trained with, if it was: that of the run's `train`.
    #[serde(default)]
    pub zca: Option<Input>,
    /// Where to compute.
    #[serde(default)]
    #[schemars(extend("x-key" = false))]
    pub device: Device,
}

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The last one.
    #[default]
    Last,
    /// The one with the best accuracy on the validation images.
    Best,
    /// That of a step, if the run kept it.
    Step(u64),
}

/// Which weights of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// The moving average.
    #[default]
    Ema,
    /// Those that were trained.
    Student,
}

impl Stage for Predict {
    const NAME: &'static str = "predict";
    // 1: first
    const VERSION: u32 = 1;
    const PROGRAM: Program = Program::Trainer;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("stats", "stats.json"),
            Output::new("predictions", "predictions.npy"),
            Output::new("probabilities", "probabilities.npy"),
            Output::new("table", "predictions.csv"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.images.0.is_empty() {
            return Err(Invalid::at("images", "expected at least one input"));
        }
        Ok(())
    }
}
