//! Parameters of `export`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Stage};

/// Writes records in a format that other programs read. `convert` and `import` read what it writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The record files to write, one after the other.
    pub records: Inputs,
    /// The format.
    pub to: Format,
    /// Names of the classes, a JSON file `{"0": "airplane", …}`: names of folders, lines of `batches.meta.txt`.
    #[serde(default)]
    pub classes: Option<Input>,
}

/// What `export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `folder`: a folder of images, `CLASS/NUMBER.png`, NUMBER counting records from 0. Where a class has no name
    /// its label is the folder's. `classes`: which folder is which class.
    Folders,
    /// `binary`, a file like CIFAR-10's `data_batch_1.bin`: for each image a byte of label, then the red, green
    /// and blue plane. Only 32×32 colour images with labels 0 to 255. `meta`: the class names, one a line.
    CifarBinary,
    /// `images`, uint8 [N, height, width, channels], and `labels`, int64 [N]. Only images of one size.
    Npy,
    /// `records`: one TFRecord file, the records as they are.
    Tfrecord,
}

impl Stage for Export {
    const NAME: &'static str = "export";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        match self.to {
            Format::Folders => vec![
                Output::new("folder", "images"),
                Output::new("classes", "classes.json"),
            ],
            Format::CifarBinary => vec![
                Output::new("binary", "data.bin"),
                Output::new("meta", "batches.meta.txt"),
            ],
            Format::Npy => vec![
                Output::new("images", "images.npy"),
                Output::new("labels", "labels.npy"),
            ],
            Format::Tfrecord => vec![Output::new("records", "records.tfrecord")],
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.classes.is_some() && matches!(self.to, Format::Npy | Format::Tfrecord) {
            let message = "this format has no place for names of classes; leave it out";
            return Err(Invalid::at("classes", message));
        }
        Ok(())
    }
}
