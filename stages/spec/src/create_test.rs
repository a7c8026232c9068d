//! Parameters of `create_test`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::create_unlabeled::Imbalance;
use crate::input::Inputs;
use crate::kind::{Invalid, Output, Stage};

/// Writes a test set in class-proportional order, or a long-tailed part of it (CADR `create_test.py`,
/// spec/cadr.md 2.4): as `create_unlabeled` does with training records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTest {
    /// The TFRecord files to read, in this order.
    pub test: Inputs,
    /// Makes a long tail: records that would break it are left out. (CADR does so where the path of
    /// its target has the letters IT.)
    #[serde(default)]
    pub imbalance: Option<Imbalance>,
}

impl Stage for CreateTest {
    const NAME: &'static str = "create_test";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("test", "test.tfrecord"),
            Output::new("indexes", "test.json"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        self.imbalance.as_ref().map_or(Ok(()), Imbalance::check)
    }
}
