//! Parameters of `convert`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::{Input, Inputs};
use crate::kind::{Output, Stage};

/// Makes records of arrays, CIFAR's binary files, or foreign TFRecord files. (`import` reads folders of images,
/// `download` official archives.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    /// What to read.
    pub from: Source,
}

/// What `convert` reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// numpy arrays.
    Npy(Npy),
    /// Files like CIFAR-10's `data_batch_1.bin`: for each 32×32 image a byte of label, then the red, green and
    /// blue plane.
    CifarBinary(Inputs),
    /// TFRecord files whose features have other names.
    Tfrecord(Tfrecord),
}

/// Arrays with images and labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Npy {
    /// uint8 [N, height, width], [N, height, width, 1] or [N, height, width, 3], in C order.
    pub images: Input,
    /// N integers of any type; without it every record gets label 0.
    #[serde(default)]
    pub labels: Option<Input>,
}

/// TFRecord files of Examples with other features than ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tfrecord {
    /// The files, one after the other.
    pub files: Inputs,
    /// The feature with the image file, such as `image/encoded`. A PNG stays the file that it is; JPEG, BMP and
    /// WebP become one, grey where they are grey and otherwise RGB, without their transparency.
    #[serde(default = "image")]
    pub image: String,
    /// The feature with the label, an integer, such as `image/class/label`.
    #[serde(default = "label")]
    pub label: String,
    /// The lowest label, which becomes 0: 1 in files that count classes from 1.
    #[serde(default)]
    pub first_label: i64,
}

fn image() -> String {
    "image".into()
}
fn label() -> String {
    "label".into()
}

impl Stage for Convert {
    const NAME: &'static str = "convert";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![Output::new("records", "records.tfrecord")]
    }
}
