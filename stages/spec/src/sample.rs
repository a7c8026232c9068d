//! Parameters of `sample`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Inputs;
use crate::kind::{Invalid, Output, Stage};

/// Keeps a random part of the records, in their order and as they are: give either `count` or
/// `fraction`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The records to choose from: TFRecord files, or virtual copies, in this order.
    pub records: Inputs,
    /// How many to keep; with `per_class`, of each class.
    #[serde(default)]
    pub count: Option<u64>,
    /// Which share to keep, above 0 and up to 1, rounded to whole records; with `per_class`, of each
    /// class.
    #[serde(default)]
    pub fraction: Option<f64>,
    /// Seed of the choice.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Chooses within each class, so that the classes keep their shares (`fraction`) or become equally
    /// frequent (`count`).
    #[serde(default)]
    pub per_class: bool,
}

fn seed() -> u64 {
    1
}

impl Stage for Sample {
    const NAME: &'static str = "sample";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("records", "records.tfrecord"),
            Output::new("indexes", "indexes.json"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        match (self.count, self.fraction) {
            (Some(0), None) => Err(Invalid::at("count", "expected at least 1 record")),
            (Some(_), None) => Ok(()),
            (None, Some(part)) if part > 0.0 && part <= 1.0 => Ok(()),
            (None, Some(_)) => Err(Invalid::at(
                "fraction",
                "expected a share above 0 and up to 1",
            )),
            (Some(_), Some(_)) => Err(Invalid::at(
                "fraction",
                "`count` already says how many records to keep; leave one of them out",
            )),
            (None, None) => Err(Invalid::at(
                "",
                "missing `count`; give `count: 1000`, or `fraction: 0.1`",
            )),
        }
    }
}
