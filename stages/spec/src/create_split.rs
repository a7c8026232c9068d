//! Parameters of `create_split`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Stage};

/// Picks the labeled records of a split (FixMatch `create_split.py`, spec/fixmatch.md 2.5): classes
/// take turns by their frequency, records within a class are shuffled by numpy's generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSplit {
    /// The TFRecord files to read, in this order.
    pub train: Inputs,
    /// Seed of the shuffle; 0 does not shuffle at all.
    pub seed: u32,
    /// How many records to pick.
    pub size: u64,
    /// Treats all classes as equally frequent, which the originals do for STL-10.
    #[serde(default)]
    pub uniform: bool,
    /// STL-10's own file of ten label sets, a line each. Where exactly 1,000 records are to be picked,
    /// the line number `seed`, counted from 0, is the split, as in the originals; `train` must then
    /// begin with STL-10's training records. Other sizes are drawn as ever.
    #[serde(default)]
    pub folds: Option<Input>,
}

impl Stage for CreateSplit {
    const NAME: &'static str = "create_split";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("labeled", "label.tfrecord"),
            Output::new("indexes", "label.json"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.size == 0 {
            return Err(Invalid::at(
                "size",
                "a split needs at least 1 labeled record, found 0",
            ));
        }
        Ok(())
    }
}
