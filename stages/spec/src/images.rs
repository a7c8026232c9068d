//! What becomes of image files of any kind and size: choices that several stage kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an image becomes a square of `size` pixels a side, always with Pillow's Lanczos filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The shorter side becomes `size`, and the middle of the longer one is kept (torchvision's
    /// `Resize` and `CenterCrop`; spec/featmatch.md 3.3).
    #[default]
    Crop,
    /// The longer side becomes `size`, on the middle of a black square (RealMix's
    /// `preprocess_crops.py`, spec/realmix.md 2.3).
    Fit,
    /// Both sides become `size`, whatever that does to the proportions.
    Stretch,
}

/// What becomes of transparency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alpha {
    /// Ignored: the colour that the file has under it is shown, as by Pillow's `convert("RGB")`.
    #[default]
    Drop,
    /// The image is laid on white.
    White,
    /// The image is laid on black.
    Black,
}

impl Alpha {
    /// The value of the background; `None` where there is none.
    pub fn background(self) -> Option<u8> {
        match self {
            Self::Drop => None,
            Self::White => Some(255),
            Self::Black => Some(0),
        }
    }
}

/// Channels of the images that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u8", into = "u8")]
#[schemars(with = "u8", extend("enum" = [1, 3]))]
pub enum Channels {
    /// 1: grey, Pillow's L of colours.
    Grey,
    /// 3: red, green, blue; a grey image gets three equal ones.
    #[default]
    Rgb,
}

impl Channels {
    /// How many.
    pub fn count(self) -> usize {
        usize::from(u8::from(self))
    }
}

impl From<Channels> for u8 {
    fn from(channels: Channels) -> Self {
        match channels {
            Channels::Grey => 1,
            Channels::Rgb => 3,
        }
    }
}

impl TryFrom<u8> for Channels {
    type Error = String;

    fn try_from(count: u8) -> Result<Self, String> {
        match count {
            1 => Ok(Self::Grey),
            3 => Ok(Self::Rgb),
            other => Err(format!("expected 1 (grey) or 3 (RGB), found {other}")),
        }
    }
}
