//! Published numbers, from a data file beside the pipelines:
//!
//! ```yaml
//! source: FixMatch (arXiv 2001.07685), Table 2
//! measure: error            # or accuracy; in percent
//! cells:
//!   - {at: {method: fixmatch_ra, dataset: cifar10, labels: 40}, mean: 13.81, std: 3.37}
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::cell::label;
use crate::error::StageError;
use crate::fs;

/// A file of published numbers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Where they were published, for the table's foot.
    pub source: String,
    /// What they are.
    measure: Measure,
    cells: Vec<PublishedCell>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Measure {
    Error,
    Accuracy,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedCell {
    at: BTreeMap<String, Value>,
    mean: f64,
    #[serde(default)]
    std: Option<f64>,
    /// For readers of the file: compared with an independent copy.
    #[serde(default, rename = "checked")]
    _checked: bool,
}

/// A published number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation, where one was given.
    pub std: Option<f64>,
}

impl Published {
    /// Reads a YAML or JSON file.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        serde_yaml::from_str(&fs::read_to_string(path)?).map_err(|error| {
            let error = StageError::failed(format!(
                "{} holds no published numbers: {error}",
                path.display()
            ));
            error.help("pipelines/fixmatch/table2.yaml shows the form of such a file")
        })
    }

    /// The number for a cell: every name of its `at` must be an axis here with the same label. As an
    /// error rate or an accuracy, whichever is asked for.
    pub fn find(&self, at: &BTreeMap<&str, String>, error: bool) -> Option<Number> {
        let fits = |cell: &&PublishedCell| {
            cell.at.iter().all(|(axis, value)| {
                at.get(axis.as_str())
                    .is_some_and(|l| l.eq_ignore_ascii_case(&label(value)))
            })
        };
        let cell = self.cells.iter().find(fits)?;
        let same = (self.measure == Measure::Error) == error;
        Some(Number {
            mean: if same { cell.mean } else { 100.0 - cell.mean },
            std: cell.std,
        })
    }
}
