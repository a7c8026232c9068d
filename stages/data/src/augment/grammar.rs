//! The originals' grammar for augmentation, `d.d.rac`: tokens separated by dots, the first for
//! labeled images, each other for one view of unlabeled images (spec/fixmatch.md 4.3).
//!
//! | token | weak | strong |
//! |---|---|---|
//! | `x` | none | none |
//! | `m` | mirror | none |
//! | `d` | the dataset's default | none |
//! | `s`, `ms` | shift; mirror and shift | none |
//! | `aa`, `aac` | default | AutoAugment; with a cutout of 16 pixels |
//! | `ra`, `rac` | default | RandAugment, two operations, magnitudes 1 to 9; with a cutout of 16 pixels |
//! | `racN` | default | `rac` with magnitudes 1 to N−1, N 2 to 9 |
//! | `rN_M_C` | default | N operations (1 to 4) at magnitude M (1 to 15), cutout of C % of the side (0, 25, 50, 75) |
//! | `cta`, `ctac` | default | CTAugment; with its cutout of half the side |
//! | `cut` | default | that cutout alone |
//! | `kekmodel` | default | RandAugment of kekmodel/FixMatch-pytorch |
//! | `mz` | mirror and shift by a sixteenth of the width, black outside | none |
//! | `featmatch` | none | two operations of FeatMatch's sixteen |
//! | `crop` | a random part in the size of the whole, and mirror | none |
//! | `cropra` | the same part as the first view | RandAugment of FixMatch's ImageNet part |
//!
//! `s`, `ms`, `cta`, `ctac` and what follows are not in the originals: there `d` knows datasets by name
//! alone, and a script either always uses CTAugment or never.
//!
//! Of several unlabeled tokens only the last one's strong part counts; it applies to every view but
//! the first. So `d.rac.d` has no strong view at all. CTAugment, which the originals' grammar does not
//! know, is where its token stands: `d.ctac.ctac` makes both views strong. A method that looks at more
//! than two views takes two tokens for all, the second for every view but the first.

use std::str::FromStr;

use crate::image::Shape;

use super::{
    AutoAugment, Cutout, FeatMatch, ImageNet, Kekmodel, Magnitude, RandAugment, Strong, View, Weak,
};

/// How all views are augmented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Augment {
    /// Of labeled images.
    pub labeled: Token,
    /// Of unlabeled images, one per view; at least one.
    pub unlabeled: Vec<Token>,
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// `x`
    Nothing,
    /// `m`
    Mirror,
    /// `s`
    Shift,
    /// `ms`
    MirrorShift,
    /// `d`
    Default,
    /// `aa`, `aac`
    AutoAugment {
        /// `aac`
        cutout: bool,
    },
    /// `ra`, `rac`, `racN`, `rN_M_C`
    RandAugment(RandAugment),
    /// `cta`, `ctac`
    CtAugment {
        /// `ctac`
        cutout: bool,
    },
    /// `cut`
    Cutout,
    /// `kekmodel`
    Kekmodel,
    /// `mz`
    MirrorShiftZeros,
    /// `featmatch`
    FeatMatch,
    /// `crop`
    Crop,
    /// `cropra`
    CropRandAugment,
}

/// An augmentation that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AugmentError {
    /// Too few or too many tokens.
    #[error(
        "augmentation `{text}` has {found} parts, expected {expected}: one for labeled images, then one for each view of unlabeled images, such as `{example}`"
    )]
    Parts {
        /// The whole text.
        text: String,
        /// Its number of tokens.
        found: usize,
        /// What would be right.
        expected: String,
        /// A right one.
        example: String,
    },
    /// A token that nothing knows.
    #[error(
        "unknown part `{token}` of augmentation `{text}`; known are x, m, s, ms, d, aa, aac, ra, rac, rac2 to rac9, cta, ctac, cut, kekmodel, mz, featmatch, crop, cropra, and rN_M_C such as r2_10_50 (N operations, 1 to 4; magnitude M, 1 to 15; cutout C, one of 0, 25, 50, 75)"
    )]
    Token {
        /// The token.
        token: String,
        /// The whole text.
        text: String,
    },
    /// AutoAugment for a dataset that it has no policies for.
    #[error(
        "AutoAugment has no policies for dataset `{dataset}`, only for cifar10, cifar100, svhn and svhn_noextra; take RandAugment, `rac`"
    )]
    NoPolicies {
        /// The dataset.
        dataset: String,
    },
}

impl FromStr for Augment {
    type Err = AugmentError;

    fn from_str(text: &str) -> Result<Self, AugmentError> {
        let tokens: Result<Vec<Token>, AugmentError> = text
            .split('.')
            .map(|token| {
                Token::read(token).ok_or_else(|| AugmentError::Token {
                    token: token.to_owned(),
                    text: text.to_owned(),
                })
            })
            .collect();
        let mut tokens = tokens?;
        if tokens.len() < 2 {
            return Err(AugmentError::Parts {
                text: text.to_owned(),
                found: tokens.len(),
                expected: "at least 2".to_owned(),
                example: "d.d".to_owned(),
            });
        }
        let unlabeled = tokens.split_off(1);
        Ok(Self {
            labeled: tokens[0],
            unlabeled,
        })
    }
}

impl Augment {
    /// Reads an augmentation for a method that looks at `views` views of each unlabeled image; 0 for
    /// one that reads labeled images alone, which takes any number and ignores them.
    pub fn parse(text: &str, views: usize) -> Result<Self, AugmentError> {
        let augment: Self = text.parse()?;
        let found = augment.unlabeled.len();
        // Two parts may stand for more views than two: the second for all but the first.
        if views > 0 && found != views && !(found == 2 && views > 2) {
            return Err(AugmentError::Parts {
                text: text.to_owned(),
                found: found + 1,
                expected: (views + 1).to_string(),
                example: vec!["d"; views + 1].join("."),
            });
        }
        Ok(augment)
    }

    /// The views of labeled images of `shape`: the first as the first part says, others as the last.
    /// `dataset` is the name that decides what `d` and `aa` mean; one that is not known gets mirror and
    /// shift.
    pub fn labeled_views(
        &self,
        dataset: &str,
        shape: Shape,
        count: usize,
    ) -> Result<Vec<View>, AugmentError> {
        (0..count)
            .map(|n| {
                let token = if n == 0 { self.labeled } else { self.last() };
                Ok(View {
                    weak: token.weak(dataset, shape),
                    strong: token.strong(dataset)?,
                    as_first: false,
                })
            })
            .collect()
    }

    /// The views of unlabeled images; beyond the parts they are as the last part says.
    pub fn unlabeled_views(
        &self,
        dataset: &str,
        shape: Shape,
        count: usize,
    ) -> Result<Vec<View>, AugmentError> {
        let strong = self.last().strong(dataset)?;
        (0..count)
            .map(|n| {
                let token = self.unlabeled.get(n).copied().unwrap_or(self.last());
                let strong = match token.strong(dataset)? {
                    own @ Strong::CtAugment { .. } => own,
                    _ if n > 0 || count == 1 => strong.clone(),
                    _ => Strong::None,
                };
                Ok(View {
                    weak: token.weak(dataset, shape),
                    strong,
                    as_first: token == Token::CropRandAugment,
                })
            })
            .collect()
    }

    fn last(&self) -> Token {
        self.unlabeled.last().copied().unwrap_or(Token::Default)
    }
}

impl Token {
    fn read(token: &str) -> Option<Self> {
        Some(match token {
            "x" => Self::Nothing,
            "m" => Self::Mirror,
            "s" => Self::Shift,
            "ms" => Self::MirrorShift,
            "d" => Self::Default,
            "aa" => Self::AutoAugment { cutout: false },
            "aac" => Self::AutoAugment { cutout: true },
            "cta" => Self::CtAugment { cutout: false },
            "ctac" => Self::CtAugment { cutout: true },
            "cut" => Self::Cutout,
            "kekmodel" => Self::Kekmodel,
            "mz" => Self::MirrorShiftZeros,
            "featmatch" => Self::FeatMatch,
            "crop" => Self::Crop,
            "cropra" => Self::CropRandAugment,
            "ra" => Self::RandAugment(RandAugment::RA),
            "rac" => Self::RandAugment(RandAugment::RAC),
            _ => Self::RandAugment(rand_augment(token)?),
        })
    }

    fn weak(self, dataset: &str, shape: Shape) -> Weak {
        match self {
            Self::Nothing | Self::FeatMatch => Weak::default(),
            Self::Mirror => Weak {
                mirror: true,
                ..Weak::default()
            },
            Self::Shift => Weak::shift(shape),
            Self::MirrorShift => Weak::mirror_and_shift(shape),
            Self::MirrorShiftZeros => Weak::mirror_and_shift_into_zeros(shape),
            Self::Crop | Self::CropRandAugment => Weak::crop(),
            _ => Weak::of_dataset(dataset, shape),
        }
    }

    fn strong(self, dataset: &str) -> Result<Strong, AugmentError> {
        Ok(match self {
            Self::Nothing
            | Self::Mirror
            | Self::Shift
            | Self::MirrorShift
            | Self::MirrorShiftZeros
            | Self::Crop
            | Self::Default => Strong::None,
            Self::RandAugment(policy) => Strong::RandAugment(policy),
            Self::CtAugment { cutout } => Strong::CtAugment { cutout },
            Self::Cutout => Strong::Cutout,
            Self::Kekmodel => Strong::Kekmodel(Kekmodel),
            Self::FeatMatch => Strong::FeatMatch(FeatMatch),
            Self::CropRandAugment => Strong::ImageNet(ImageNet),
            Self::AutoAugment { cutout } => match AutoAugment::of_dataset(dataset, cutout) {
                Some(policy) => Strong::AutoAugment(policy),
                None => {
                    return Err(AugmentError::NoPolicies {
                        dataset: dataset.to_owned(),
                    });
                }
            },
        })
    }
}

/// `racN` and `rN_M_C`.
fn rand_augment(token: &str) -> Option<RandAugment> {
    let number = |text: &str, range: std::ops::RangeInclusive<u8>| -> Option<u8> {
        let number = text.parse().ok().filter(|n| range.contains(n))?;
        // No sign, no leading zero.
        (text == number.to_string()).then_some(number)
    };
    if let Some(magnitude) = token.strip_prefix("rac") {
        // With 1 the original would draw from an empty range, and fails.
        let magnitude = Magnitude::Below(number(magnitude, 2..=9)?);
        return Some(RandAugment {
            magnitude,
            ..RandAugment::RAC
        });
    }
    let mut parts = token.strip_prefix('r')?.split('_');
    let policy = RandAugment {
        ops: usize::from(number(parts.next()?, 1..=4)?),
        magnitude: Magnitude::Fixed(number(parts.next()?, 1..=15)?),
        cutout: match number(parts.next()?, 0..=75)? {
            0 => Cutout::None,
            percent if percent % 25 == 0 => Cutout::Percent(usize::from(percent)),
            _ => return None,
        },
    };
    parts.next().is_none().then_some(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        height: 32,
        width: 32,
        channels: 3,
    };

    #[test]
    fn only_the_last_token_makes_views_strong_and_never_the_first_view() {
        let views = Augment::parse("d.d.rac", 2)
            .unwrap()
            .unlabeled_views("cifar10", SHAPE, 2)
            .unwrap();
        assert_eq!(views[0].strong, Strong::None);
        assert_eq!(views[1].strong, Strong::RandAugment(RandAugment::RAC));
        assert_eq!(
            views[1].weak,
            Weak {
                mirror: true,
                shift: 4,
                ..Weak::default()
            }
        );
        let views = Augment::parse("d.rac.m", 2)
            .unwrap()
            .unlabeled_views("cifar10", SHAPE, 2)
            .unwrap();
        assert!(views.iter().all(|view| view.strong == Strong::None));
        assert_eq!(
            views[1].weak,
            Weak {
                mirror: true,
                ..Weak::default()
            }
        );
    }

    #[test]
    fn a_single_unlabeled_view_and_the_labeled_one_may_be_strong() {
        let augment = Augment::parse("aac.ra", 1).unwrap();
        assert!(matches!(
            augment.labeled_views("svhn", SHAPE, 1).unwrap()[0].strong,
            Strong::AutoAugment(_)
        ));
        let views = augment.unlabeled_views("svhn", SHAPE, 1).unwrap();
        assert_eq!(views[0].strong, Strong::RandAugment(RandAugment::RA));
        assert!(!views[0].weak.mirror);
    }

    #[test]
    fn all_of_featmatchs_views_but_the_first_are_strong_from_the_image_as_it_is() {
        let augment = Augment::parse("mz.mz.featmatch", 9).unwrap();
        let unlabeled = augment.unlabeled_views("svhn", SHAPE, 9).unwrap();
        let labeled = augment.labeled_views("svhn", SHAPE, 9).unwrap();
        assert_eq!(labeled, unlabeled);
        assert_eq!(labeled[0].weak, Weak::mirror_and_shift_into_zeros(SHAPE));
        assert_eq!(labeled[0].strong, Strong::None);
        for view in &labeled[1..] {
            assert_eq!(view.weak, Weak::default());
            assert_eq!(view.strong, Strong::FeatMatch(FeatMatch));
        }
    }

    #[test]
    fn numbers_in_tokens_have_their_ranges() {
        let expected = RandAugment {
            ops: 2,
            magnitude: Magnitude::Fixed(10),
            cutout: Cutout::Percent(50),
        };
        assert_eq!(Token::read("r2_10_50"), Some(Token::RandAugment(expected)));
        let expected = RandAugment {
            magnitude: Magnitude::Below(5),
            ..RandAugment::RAC
        };
        assert_eq!(Token::read("rac5"), Some(Token::RandAugment(expected)));
        for wrong in [
            "", "r", "rac0", "rac1", "rac10", "rac05", "r0_1_0", "r5_1_0", "r2_16_0", "r2_1_10",
            "r2_1", "r2_1_0_0", "r+2_1_0", "D", "d ", "ractac",
        ] {
            assert_eq!(Token::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn errors_say_what_would_be_right() {
        let text = |error: AugmentError| error.to_string();
        assert_eq!(
            text(Augment::parse("d.d", 2).unwrap_err()),
            "augmentation `d.d` has 2 parts, expected 3: one for labeled images, then one for each view of unlabeled images, such as `d.d.d`"
        );
        assert!(text("d".parse::<Augment>().unwrap_err()).contains("expected at least 2"));
        let error = text(Augment::parse("d.d.rax", 2).unwrap_err());
        assert!(
            error.starts_with("unknown part `rax` of augmentation `d.d.rax`; known are x, m, "),
            "{error}"
        );
        let error = Augment::parse("d.d.aa", 2)
            .unwrap()
            .unlabeled_views("stl10", SHAPE, 2)
            .unwrap_err();
        assert!(text(error).contains("no policies for dataset `stl10`"));
    }
}
