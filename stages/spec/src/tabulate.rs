//! Parameters of `tabulate`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::{Collection, Input};
use crate::kind::{Output, Stage};

/// Mean ± standard deviation of results over an axis, with rows and columns by the other axes, beside
/// published numbers where there are any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tabulate {
    /// The results, usually `${accuracy[*].stats}`: JSON files with numbers.
    pub results: Collection,
    /// The axis (or axes) to average over.
    #[serde(default = "seed")]
    pub over: Names,
    /// The axes that make rows; every axis that is in neither `columns` nor `over` where left out.
    #[serde(default)]
    pub rows: Option<Names>,
    /// The axes that make columns.
    #[serde(default)]
    pub columns: Option<Names>,
    /// Which number of each result to show, a member of the JSON; `last20` is the originals' protocol.
    #[serde(default = "last20")]
    pub value: String,
    /// Shows 100 − value, as tables of error rates do.
    #[serde(default)]
    pub error: bool,
    /// Digits after the point.
    #[serde(default = "two")]
    pub digits: u8,
    /// A file with published numbers to show beside ours (docs/tables.md has its form).
    #[serde(default)]
    pub published: Option<Input>,
    /// What selects among the published numbers where it is no axis of the results:
    /// `{method: fixmatch_ra, dataset: cifar10}`.
    #[serde(default)]
    pub published_at: BTreeMap<String, Value>,
    /// Title of the table.
    #[serde(default)]
    pub title: Option<String>,
}

/// One name, or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Names {
    /// The names as a slice.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

fn seed() -> Names {
    Names::One("seed".into())
}
fn last20() -> String {
    "last20".into()
}
fn two() -> u8 {
    2
}

impl Stage for Tabulate {
    const NAME: &'static str = "tabulate";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("text", "table.txt").shown(),
            Output::new("markdown", "table.md"),
            Output::new("csv", "table.csv"),
            Output::new("json", "table.json"),
            Output::new("latex", "table.tex"),
        ]
    }
}
