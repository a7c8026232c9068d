//! Parameters of `create_unlabeled`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Inputs;
use crate::kind::{Output, Stage};

/// Writes every record of the training files once, in an order whose every prefix follows the class
/// distribution as closely as possible (FixMatch `create_unlabeled.py`, spec/fixmatch.md 2.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUnlabeled {
    /// The TFRecord files to read, in this order.
    pub train: Inputs,
    /// Treats all classes as equally frequent, which the originals do for STL-10.
    #[serde(default)]
    pub uniform: bool,
}

impl Stage for CreateUnlabeled {
    const NAME: &'static str = "create_unlabeled";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("unlabeled", "unlabel.tfrecord"),
            Output::new("indexes", "unlabel.json"),
        ]
    }
}
