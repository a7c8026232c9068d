//! Parameters of `extract_accuracy`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Input;
use crate::kind::{Output, Stage};

/// The median of the last 1, 10, 20 and 50 accuracies in a run's TensorBoard files, as the originals'
/// `stats/accuracy.json` (spec/fixmatch.md 10). Also reads runs that TensorFlow wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtractAccuracy {
    /// A run: a folder with event files in it, or in `tf/` below it.
    pub run: Input,
    /// The scalar to read: `accuracy`, or `accuracy/GM` for CADR's `stats/GM.json`.
    #[serde(default = "accuracy")]
    pub tag: String,
    /// Adds `best_valid`: the value of the scalar at the report with the highest `accuracy/valid`, the first
    /// of them where several are equal. That is what the checkpoint with the best validation accuracy scores,
    /// as FeatMatch reports DomainNet (spec/featmatch.md 8). The originals' file does not have it.
    #[serde(default)]
    pub best_valid: bool,
}

fn accuracy() -> String {
    "accuracy".into()
}

impl Stage for ExtractAccuracy {
    const NAME: &'static str = "extract_accuracy";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![Output::new("stats", "accuracy.json")]
    }
}
