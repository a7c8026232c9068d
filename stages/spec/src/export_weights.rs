//! Parameters of `export_weights`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Input;
use crate::kind::{Output, Program, Stage};
use crate::predict::{Weights, Which};

/// Writes a trained network for others: a safetensors file with the names and the layout that a PyTorch
/// module of the same structure gives its state, and a description of the network in its metadata.
/// `docs/load_in_pytorch.py` loads one and classifies images with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportWeights {
    /// A run, `${train.run}`.
    pub run: Input,
    /// Which of its checkpoints.
    #[serde(default)]
    pub checkpoint: Which,
    /// Which of its weights.
    #[serde(default)]
    pub weights: Weights,
}

impl Stage for ExportWeights {
    const NAME: &'static str = "export_weights";
    // 1: first
    const VERSION: u32 = 1;
    const PROGRAM: Program = Program::Trainer;

    fn outputs(&self) -> Vec<Output> {
        vec![Output::new("weights", "weights.safetensors")]
    }
}
