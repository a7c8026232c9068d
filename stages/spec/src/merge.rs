//! Parameters of `merge`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Inputs;
use crate::kind::{Output, Stage};

/// Writes the records of several files into one, one file after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// TFRecord files, or virtual copies, in this order.
    pub records: Inputs,
}

impl Stage for Merge {
    const NAME: &'static str = "merge";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![Output::new("records", "records.tfrecord")]
    }
}
