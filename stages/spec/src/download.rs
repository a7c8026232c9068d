//! Parameters of `download`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Input;
use crate::kind::{Invalid, Output, Stage, Variable};

/// Fetches a dataset's official archive and writes it as TFRecord files with PNG images
/// (spec/fixmatch.md 2.1 and 2.2), or generates the built-in `shapes` dataset.
///
/// An archive comes from its public address, from a mirror (the parameter `mirror`, or the
/// environment variable REMATCH_MIRROR: an http(s) address or a folder), or from a local `file`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Which dataset.
    pub dataset: Dataset,
    /// Which of the official archives to read; the originals read the MATLAB one. All hold the same
    /// images in the same order.
    #[serde(default)]
    pub layout: Layout,
    /// Where official archives lie under their official names: an http(s) address or a folder.
    #[serde(default)]
    pub mirror: Option<String>,
    /// The archive itself, as a local file.
    #[serde(default)]
    pub file: Option<Input>,
    /// The archive's checksum, `md5:…` or `sha256:…`. Without it an archive from the public address
    /// must be the official one, and one from elsewhere that is not gets a warning.
    #[serde(default)]
    pub checksum: Option<String>,
    /// For generated datasets: the seed of every image.
    #[serde(default)]
    pub seed: u64,
    /// For generated datasets: how many training images.
    #[serde(default = "train_images")]
    pub train_images: u64,
    /// For generated datasets: how many test images.
    #[serde(default = "test_images")]
    pub test_images: u64,
}

fn train_images() -> u64 {
    10_000
}
fn test_images() -> u64 {
    2_000
}

/// Datasets that rematch can make available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// CIFAR-10: 50,000 training and 10,000 test images, 32×32, 10 classes.
    Cifar10,
    /// Made by rematch itself: 32×32 colour images of ten shapes on cluttered backgrounds.
    Shapes,
}

/// Layouts of the official CIFAR archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `cifar-10-matlab.tar.gz`.
    #[default]
    Matlab,
    /// `cifar-10-python.tar.gz`.
    Python,
    /// `cifar-10-binary.tar.gz`.
    Binary,
}

impl Layout {
    /// File name of the CIFAR-10 archive in this layout.
    pub fn cifar10_archive(self) -> &'static str {
        match self {
            Self::Matlab => "cifar-10-matlab.tar.gz",
            Self::Python => "cifar-10-python.tar.gz",
            Self::Binary => "cifar-10-binary.tar.gz",
        }
    }
}

/// The environment variable that names a mirror.
pub const MIRROR: &str = "REMATCH_MIRROR";

/// Whether a mirror is reached over the network.
pub fn is_address(mirror: &str) -> bool {
    mirror.starts_with("http://") || mirror.starts_with("https://")
}

impl Stage for Download {
    const NAME: &'static str = "download";
    // 1: first
    const VERSION: u32 = 1;
    const RESUMES: bool = true;
    const ENVIRONMENT: &'static [&'static str] = &[MIRROR];

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("train", "train.tfrecord"),
            Output::new("test", "test.tfrecord"),
        ]
    }

    /// A folder mirror becomes `file`: then the archive's content is part of the key. An address
    /// stays `mirror` and is itself part of the key.
    fn read_environment(&mut self, variable: Variable) {
        if self.dataset == Dataset::Shapes || self.file.is_some() {
            return;
        }
        let mirror = self
            .mirror
            .take()
            .or_else(|| variable(MIRROR).filter(|m| !m.is_empty()));
        match mirror {
            Some(mirror) if !is_address(&mirror) => {
                let folder = mirror.trim_end_matches('/');
                self.file = Some(Input::Path(format!(
                    "{folder}/{}",
                    self.layout.cifar10_archive()
                )));
            }
            mirror => self.mirror = mirror,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        if let Some(checksum) = &self.checksum {
            let digits = match checksum.split_once(':') {
                Some(("md5", digits)) if digits.len() == 32 => digits,
                Some(("sha256", digits)) if digits.len() == 64 => digits,
                _ => "?",
            };
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                let message = "expected `md5:` and 32 hexadecimal digits, or `sha256:` and 64";
                return Err(Invalid::at("checksum", message));
            }
        }
        if self.dataset == Dataset::Shapes {
            if self.file.is_some() || self.mirror.is_some() || self.checksum.is_some() {
                return Err(Invalid::at(
                    "dataset",
                    "`shapes` is generated; it takes no `file`, `mirror` or `checksum`",
                ));
            }
            if self.train_images < 10
                || self.test_images < 10
                || self.train_images.max(self.test_images) > 10_000_000
            {
                return Err(Invalid::at(
                    "train_images",
                    "expected 10 to 10,000,000 images",
                ));
            }
        }
        Ok(())
    }
}
