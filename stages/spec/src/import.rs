//! Parameters of `import`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::images::{Alpha, Channels, Resize};
use crate::input::{Input, Inputs};
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
    /// How images lie in those folders.
    #[serde(default)]
    pub layout: Layout,
    /// Takes only these classes: files with one class a line, or with the class in the second column of comma-separated ones
    /// (as the lists of mini-ImageNet's classes have it; `filename,label` is their head). Folders of other classes are
    /// left out. For `folder` names, and for shards by synset.
    #[serde(default)]
    pub classes: Option<Inputs>,
    /// Takes only these training images: a file with a file's name a line, before the first comma or blank (as the lists of
    /// ImageNet's 10 % have it; spec/fixmatch.md 11).
    #[serde(default)]
    pub only: Option<Input>,
    /// Takes the images that lists name, in their order, in place of all that lie in folders; their paths lead
    /// from `folder`, or into `archives` (DomainNet: spec/featmatch.md 3.3).
    #[serde(default)]
    pub lists: Option<Lists>,
    /// Zip archives with the images that `lists` names. Nothing is unpacked to the disk.
    #[serde(default)]
    pub archives: Option<Inputs>,
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

/// Most images of a balanced set: what is planned for each is in memory.
const MOST: u64 = 50_000_000;

/// How images lie in folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Image files in folders of their classes.
    #[default]
    Folders,
    /// TFRecord shards as TensorFlow's ImageNet scripts write them: features `image/encoded`,
    /// `image/class/label` from 1 and, where it is there, `image/class/synset` and `image/filename`. With
    /// `folder`, files that begin with `train` and `validation`; otherwise all files in a folder. Classes are
    /// numbered by label, or by synset where `classes` picks some.
    Shards,
}

/// Lists of images: a path and a label from 0 on each line. The class of a label is the folder of its
/// images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lists {
    /// The training images.
    pub train: Inputs,
    /// The unlabeled images; their labels are not kept.
    #[serde(default)]
    pub unlabeled: Option<Inputs>,
    /// The test images.
    #[serde(default)]
    pub test: Option<Inputs>,
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
        if self.archives.is_some() && self.lists.is_none() {
            return Err(Invalid::at(
                "archives",
                "archives need `lists`, which say what of them to take",
            ));
        }
        if self.lists.is_some() {
            let one = self.folder.is_some() != self.archives.is_some();
            if !one || self.train.is_some() || self.layout != Layout::Folders {
                let message =
                    "lists need either `folder` or `archives`, and nothing else, to find images in";
                return Err(Invalid::at("lists", message));
            }
            if self.classes.is_some() {
                return Err(Invalid::at("classes", "lists say themselves what to take"));
            }
        } else if self.folder.is_none() && self.train.is_none() {
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
        if self.balance.is_some_and(|total| total > MOST) {
            return Err(Invalid::at(
                "balance",
                format!("expected at most {MOST} images"),
            ));
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
