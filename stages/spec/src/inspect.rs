//! Parameters of `inspect`, and the facts that it and the command of that name find.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Stage};

/// Looks at records: how many, which sizes, classes, means and deviations of the channels, images that
/// occur more than once, and a contact sheet with some images of each class. `rematch inspect FILE` does the
/// same without a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inspect {
    /// The record files to look at, as one set.
    pub records: Inputs,
    /// Names of the classes, a JSON file `{"0": "airplane", …}`.
    #[serde(default)]
    pub classes: Option<Input>,
    /// What the contact sheet shows.
    #[serde(default)]
    pub sheet: Sheet,
}

/// Which images a contact sheet shows, and how large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// At most this many classes, one a row, the lowest labels.
    #[serde(default = "rows")]
    pub rows: u16,
    /// Images of each class.
    #[serde(default = "columns")]
    pub columns: u16,
    /// How many times an image is enlarged; images too large for the sheet are shrunk.
    #[serde(default = "scale")]
    pub scale: u8,
    /// 0 shows the first images of each class, any other seed a random choice.
    #[serde(default)]
    pub seed: u64,
}

fn rows() -> u16 {
    100
}
fn columns() -> u16 {
    10
}
fn scale() -> u8 {
    2
}

impl Default for Sheet {
    fn default() -> Self {
        Self {
            rows: rows(),
            columns: columns(),
            scale: scale(),
            seed: 0,
        }
    }
}

impl Stage for Inspect {
    const NAME: &'static str = "inspect";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("report", "report.txt").shown(),
            Output::new("facts", "facts.json"),
            Output::new("sheet", "sheet.png"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        for (name, value) in [("rows", self.sheet.rows), ("columns", self.sheet.columns)] {
            if !(1..=1000).contains(&value) {
                return Err(Invalid::at(
                    format!("sheet.{name}"),
                    format!("expected 1 to 1000, found {value}"),
                ));
            }
        }
        if !(1..=16).contains(&self.sheet.scale) {
            let message = format!("expected 1 to 16, found {}", self.sheet.scale);
            return Err(Invalid::at("sheet.scale", message));
        }
        Ok(())
    }
}

/// What is in a set of records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// How many records.
    pub records: u64,
    /// How many different sizes of images.
    pub sizes: u64,
    /// The most frequent sizes, at most 100.
    pub most_frequent_sizes: Vec<Size>,
    /// The classes by label.
    pub classes: Vec<Class>,
    /// Pixel statistics, apart for grey and colour images.
    pub pixels: Vec<Pixels>,
    /// Images with equal pixels.
    pub duplicates: Duplicates,
}

/// Images of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Rows.
    pub height: u64,
    /// Columns.
    pub width: u64,
    /// 1 (grey) or 3 (colour).
    pub channels: u64,
    /// How many records.
    pub records: u64,
}

/// Records of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Class {
    /// The label.
    pub label: i64,
    /// Its name, where names are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many records.
    pub records: u64,
}

/// Mean and standard deviation over all pixels, scaled to 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pixels {
    /// 1 (grey) or 3 (colour).
    pub channels: u64,
    /// How many records.
    pub records: u64,
    /// Of each channel.
    pub mean: Vec<f64>,
    /// Of each channel, divisor N.
    pub std: Vec<f64>,
}

/// Images that occur more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Duplicates {
    /// Different images that occur more than once.
    pub images: u64,
    /// Records beyond the first of each image.
    pub records: u64,
    /// Images that occur with more than one label.
    pub conflicting: u64,
}
