//! Parameters of `import`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::images::{Alpha, Channels, Resize};
use crate::input::Input;
use crate::kind::{Invalid, Output, Stage};

/// Makes a dataset of folders of image files: `train/<class>/…`, `test/<class>/…` and, where there are
/// any, `unlabeled/…`. PNG, JPEG, BMP and WebP are told apart by content; a file counts as an image where
/// its name ends so in either case, or its first bytes say so. Hidden files are left out, others that
/// are no images are left out with a warning, and symbolic links are refused.
///
/// Records stand in the order of the files' paths, which is the order that RealMix's `rename_files.py`
/// numbers them in (spec/realmix.md 2.2); no file is renamed, `sources` says which record is which file,
/// and the name that it would have got. Classes are numbered in the order of their names in `train`.
/// Unlabeled records have label 0, as the originals write them. A part that is not there
/// is an empty file.
///
/// JPEG's CMYK becomes RGB, 16 bits become 8, palettes become colours, grey becomes what `channels` says;
/// colour profiles are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// A folder with `train`, `test` and perhaps `unlabeled` in it.
    #[serde(default)]
    pub folder: Option<Input>,
    /// The folder of training images, in place of `folder`.
    #[serde(default)]
    pub train: Option<Input>,
    /// The folder of unlabeled images, of any depth, beside `train`.
    #[serde(default)]
    pub unlabeled: Option<Input>,
    /// The folder of test images, beside `train`.
    #[serde(default)]
    pub test: Option<Input>,
    /// Pixels a side of the square images that are written. Without it all images must already be of one
    /// size, of whatever proportions.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4096))]
    pub size: Option<u32>,
    /// How images become squares of that size.
    #[serde(default)]
    pub resize: Resize,
    /// 3 for RGB, 1 for grey.
    #[serde(default)]
    pub channels: Channels,
    /// What becomes of transparency.
    #[serde(default)]
    pub alpha: Alpha,
    /// Turns photographs upright that say in their EXIF data how they were held. Pillow, TensorFlow and the
    /// originals do not.
    #[serde(default)]
    pub upright: bool,
    /// Where the name of an image's class stands.
    #[serde(default)]
    pub names: Names,
    /// Folders that are left out with all that they hold: names, in which `*` stands for any characters.
    /// RealMix's `rename_files.py` leaves out every folder with `all` in its name, also `ball`, which is
    /// `["*all*"]` here (spec/realmix.md, trap 5).
    #[serde(default = "ignore")]
    pub ignore: Vec<String>,
    /// Leaves out images that cannot be read, with a warning, instead of failing.
    #[serde(default)]
    pub skip_damaged: bool,
    /// Balances the training images to this many in all, the same number of each class: some are left
    /// out where a class has more, some come again where it has fewer (spec/realmix.md 2.3). Records
    /// then stand class by class, each class shuffled by numpy's generator with seed 1.
    #[serde(default)]
    pub balance: Option<u64>,
    /// How images come again that `balance` repeats.
    #[serde(default)]
    pub copies: Copies,
}

fn ignore() -> Vec<String> {
    vec!["all".into()]
}

/// Where the name of an image's class stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// The folder right below `train` or `test`, as it is.
    #[default]
    Folder,
    /// The file's name, `<number>_<class>.<ending>`: all that follows the first `_`.
    Suffix,
    /// The file's name as RealMix reads it: what follows the last `_`, less 4 characters, so that
    /// `1_fire_truck.png` is a `truck` (spec/realmix.md, trap 4).
    LastSuffix,
    /// The folder that the file lies in as RealMix's two scripts make a class of it: without `-`, and of
    /// that what follows the last `_` (spec/realmix.md 2.2 and 2.3).
    Renamed,
}

/// How images come again that a balanced set repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Copies {
    /// Turned, moved, sheared, zoomed and mirrored at random, each copy by draws of its own.
    #[default]
    Augmented,
    /// As published: the same way, but all copies of all images by the same draws (spec/realmix.md,
    /// trap 21), so that the copies of an image are equal.
    AugmentedAlike,
    /// As they are.
    Plain,
}

impl Stage for Import {
    const NAME: &'static str = "import";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("train", "train.tfrecord"),
            Output::new("unlabeled", "unlabeled.tfrecord"),
            Output::new("test", "test.tfrecord"),
            Output::new("classes", "classes.json"),
            Output::new("sources", "sources.jsonl"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        let parts = [&self.train, &self.unlabeled, &self.test];
        if self.folder.is_some() && parts.iter().any(|part| part.is_some()) {
            return Err(Invalid::at(
                "folder",
                "either `folder`, or `train`, `unlabeled` and `test`; found both",
            ));
        }
        if self.folder.is_none() && self.train.is_none() {
            return Err(Invalid::at(
                "folder",
                "expected `folder`, with `train` in it, or `train`",
            ));
        }
        if self.size.is_some_and(|size| !(1..=4096).contains(&size)) {
            return Err(Invalid::at("size", "expected 1 to 4096 pixels"));
        }
        if self.balance == Some(0) {
            return Err(Invalid::at("balance", "expected at least 1 image, found 0"));
        }
        if let Some(n) = self.ignore.iter().position(String::is_empty) {
            return Err(Invalid::at(
                format!("ignore[{n}]"),
                "expected a name, found an empty text",
            ));
        }
        Ok(())
    }
}
