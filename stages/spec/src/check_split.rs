//! Parameters of `check_split`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Stage};

/// Checks a split by the content of its images: whether the labeled and unlabeled records come from the training
/// set with their labels, what labeled, unlabeled and test set share, how the classes are balanced, and whether
/// the JSON beside a split says what is in the records. (The originals' script of that name cannot run,
/// spec/fixmatch.md 13, trap 36.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSplit {
    /// The records that the split was made of, in the order in which its stage read them.
    pub train: Inputs,
    /// The labeled records.
    pub labeled: Inputs,
    /// The unlabeled records.
    #[serde(default)]
    pub unlabeled: Option<Inputs>,
    /// The test records.
    #[serde(default)]
    pub test: Option<Inputs>,
    /// The JSON beside the labeled records: `{"distribution": […], "label": [positions…]}`.
    #[serde(default)]
    pub labeled_indexes: Option<Input>,
    /// The JSON beside the unlabeled records: `{"distribution": […], "indexes": [positions…]}`, or `"unlabel"` in its
    /// place.
    #[serde(default)]
    pub unlabeled_indexes: Option<Input>,
    /// Names of the classes, a JSON file `{"0": "airplane", …}`.
    #[serde(default)]
    pub classes: Option<Input>,
    /// Fails where something is wrong, after writing the report; otherwise that is a warning.
    #[serde(default)]
    pub strict: bool,
}

impl Stage for CheckSplit {
    const NAME: &'static str = "check_split";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("report", "report.txt").shown(),
            Output::new("facts", "facts.json"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.unlabeled_indexes.is_some() && self.unlabeled.is_none() {
            let message = "there are no `unlabeled` records to check it against";
            return Err(Invalid::at("unlabeled_indexes", message));
        }
        Ok(())
    }
}
