//! Parameters of `relabel`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class::{Class, Names};
use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Stage};

/// Gives records other labels; images and order stay: give either `map` or `value`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Relabel {
    /// TFRecord files, or virtual copies, in this order.
    pub records: Inputs,
    /// The new label of every class that there is.
    #[serde(default)]
    pub map: Option<BTreeMap<String, Class>>,
    /// One label for all records. The originals mark unlabeled records with 0.
    #[serde(default)]
    pub value: Option<Class>,
    /// Names of the classes, `${dataset.classes}`; needed where classes are given by name.
    #[serde(default)]
    pub names: Option<Input>,
}

impl Stage for Relabel {
    const NAME: &'static str = "relabel";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![Output::new("records", "records.tfrecord")]
    }

    fn check(&self) -> Result<(), Invalid> {
        match (&self.map, &self.value) {
            (Some(_), Some(_)) => Err(Invalid::at(
                "value",
                "`map` already says what becomes of labels; leave one of them out",
            )),
            (None, None) => Err(Invalid::at(
                "",
                "missing `map`; give `map: {2: 0, 3: 1}`, or `value: 0`",
            )),
            (Some(map), None) if map.is_empty() => {
                Err(Invalid::at("map", "expected at least one class"))
            }
            (_, Some(Class::Number(value))) if *value < 0 => {
                Err(Invalid::at("value", "classes count from 0"))
            }
            // With names the numbers are known only when the job runs.
            (Some(map), None) if self.names.is_none() => Names::default().map(map, "map").map(drop),
            _ => Ok(()),
        }
    }
}
