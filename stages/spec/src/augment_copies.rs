//! Parameters of `augment_copies`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::Input;
use crate::kind::{Invalid, Output, Stage};

/// Most copies of a record that are believed.
pub const MOST_COPIES: u32 = 10_000;

/// Augmented copies of every record, made once and trained on as they are (RealMix `make_aug_copy`,
/// spec/realmix.md 4.2). N records become N × `copies`, none of them an original, in the order of
/// Python's `random.seed(1); random.shuffle(…)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AugmentCopies {
    /// The records, one TFRecord file; `merge` makes one of several.
    pub records: Input,
    /// How many copies of each record.
    #[serde(default = "copies")]
    pub copies: u32,
    /// What is done to each copy.
    #[serde(default)]
    pub augment: Augmentation,
    /// Seed of what is drawn for each copy. The order of the copies does not depend on it.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Writes a recipe and the source in place of the copies: a folder of a few kilobytes beside the
    /// source's own bytes, which the store has already. Every stage, `train` among them, then sees the
    /// very same images, and makes each when it needs it.
    #[serde(default)]
    pub r#virtual: bool,
    /// For `color`: values outside 0 to 255 wrap around, as in the original, which makes speckles
    /// (300 becomes 44). Otherwise they stop at 0 and 255.
    #[serde(default)]
    pub wrap: bool,
    /// For `cutout`: decides once for all copies whether they change, as in the original, which draws while
    /// it builds its graph: with probability 0.7 every copy is a plain duplicate. Otherwise the original
    /// fails, and so does this.
    #[serde(default)]
    pub drawn_once: bool,
}

/// What is done to a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Augmentation {
    /// Mirror with probability ½, pad by 4 reflected pixels, crop.
    #[default]
    Cifar10,
    /// The same without mirror.
    Svhn,
    /// As cifar10, padded by 12 pixels.
    Stl10,
    /// Mirror; brightness ±0.1 of 255 (that is, none to speak of); hue; saturation 0.1 to 3; contrast
    /// 0.5 to 1.5; pad by 4 and crop.
    Color,
    /// With probability 0.3 a rectangle of one random grey.
    Cutout,
}

fn copies() -> u32 {
    1
}
fn seed() -> u64 {
    1
}

impl Stage for AugmentCopies {
    const NAME: &'static str = "augment_copies";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        let path = if self.r#virtual {
            "records"
        } else {
            "records.tfrecord"
        };
        vec![Output::new("records", path)]
    }

    fn check(&self) -> Result<(), Invalid> {
        if !(1..=MOST_COPIES).contains(&self.copies) {
            let message = format!("expected 1 to {MOST_COPIES} copies, found {}", self.copies);
            return Err(Invalid::at("copies", message));
        }
        if self.wrap && self.augment != Augmentation::Color {
            return Err(Invalid::at("wrap", "only `augment: color` leaves 0 to 255"));
        }
        if self.drawn_once && self.augment != Augmentation::Cutout {
            return Err(Invalid::at(
                "drawn_once",
                "only `augment: cutout` was drawn once",
            ));
        }
        Ok(())
    }
}
