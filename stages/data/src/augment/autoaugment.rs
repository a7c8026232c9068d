//! AutoAugment with the policies that google-research/fixmatch ships (spec/fixmatch.md 4.7).

use std::sync::LazyLock;

use crate::image::Canvas;
use crate::rng::Stream;

use super::randaugment::begin;
use super::{Cutout, Op};

/// AutoAugment: one of many learned pairs of operations, then perhaps a cutout of 16 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoAugment {
    list: List,
    cutout: Cutout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Cifar,
    Svhn,
}

/// An operation, its probability in tenths, its magnitude.
type Step = (Op, u8, u8);

/// A pair is two operations: code, probability in tenths, magnitude.
const CIFAR: &str = "
    In17+Co26 Ro72+TX39 Sh81+Sh93 SY58+TY79 AC58+Eq92 So45+AC93 TY99+TY79 AC92+So83 Eq88+In13 TY79+AC91
    So45+AC02 TY79+TY79 AC90+So43 Eq75+In13 TY79+TY79 So45+AC91 TY89+TY99 AC80+TY79 TY27+Cl96 Eq76+Cl49
    SY27+Po37 Cl43+Br67 Sh39+Br79 Eq65+Eq51 Co67+Sh65 Br37+AC58 AC94+AC56 So35+Eq65 TY24+Sh33 Br08+Cl88
    So26+Cl86 So26+AC81 So41+Eq65 Br00+So52 AC95+Br53 Co75+Br02 So28+So15 Co51+TY29 AC65+TY09 AC94+Eq84
    Br07+Eq47 So25+Eq75 Eq68+Cl62 Cl37+Cl24 AC52+So72 AC20+Eq10 SY65+Eq65 Br93+AC41 Eq88+Eq77 Eq77+So50
    Eq84+TY89 TY89+TY69 TY90+TY59 AC53+So34 So53+Eq44 Cl77+TX58 Eq37+AC48 TY43+Sh26 Br96+Cl28 So52+In03
    AC15+Br00 Cu24+Eq11 Eq77+AC64 Cl18+SY23 SY42+Ro70 SY13+AC95 TY36+Cu33 Eq50+So66 AC35+Ro27 Eq82+In40
    Eq95+Cl70 Eq11+SY13 AC73+Eq70 Br51+Co17 Co14+So65 So23+SX00 TX30+TX60 Eq59+TY67 SX10+Sh51 Eq86+In36
    AC39+Cu53 SX44+AC92 SX03+Po03 So43+Cl24 Eq14+Eq76 Eq38+AC43 So64+AC76 AC29+Br48 Eq10+Eq06 Eq84+Eq04
    Eq55+AC12 So55+AC95 AC61+AC78 Eq20+AC12 Eq69+Eq44";

const SVHN: &str = "
    SX94+In23 SY98+In75 Eq65+So66 In93+Eq63 Eq61+Ro93 SX94+AC83 SY98+In45 SY95+So26 In96+AC81 Eq63+Ro93
    SX94+So33 SY88+In74 Eq95+TY66 In94+Eq67 Co33+Ro84 SX93+In53 SY98+In45 Eq63+So23 In94+Eq56 Eq61+Ro93
    In85+TY02 SY76+So48 In64+Ro84 SY37+TX93 SX16+In65 So72+TY67 SY84+In88 SX79+TY83 SY85+AC73 SX72+In15
    SY89+SX77 SY74+So97 SY95+In04 TX83+SY77 In17+So39 In62+In94 Eq52+So97 SY67+So83 SY63+In61 SX42+Ro75";

/// Reads a list; what is not a pair is left out.
fn pairs(list: &str) -> Vec<[Step; 2]> {
    let step = |text: &str| -> Option<Step> {
        let op = match text.get(..2)? {
            "In" => Op::Invert,
            "Co" => Op::Contrast,
            "Ro" => Op::Rotate,
            "TX" => Op::TranslateX,
            "TY" => Op::TranslateY,
            "Sh" => Op::Sharpness,
            "SX" => Op::ShearX,
            "SY" => Op::ShearY,
            "AC" => Op::AutoContrast,
            "Eq" => Op::Equalize,
            "So" => Op::Solarize,
            "Cl" => Op::Color,
            "Po" => Op::Posterize,
            "Br" => Op::Brightness,
            "Cu" => Op::Cutout,
            _ => return None,
        };
        Some((
            op,
            text.get(2..3)?.parse().ok()?,
            text.get(3..)?.parse().ok()?,
        ))
    };
    let pair = |text: &str| {
        let (first, second) = text.split_once('+')?;
        Some([step(first)?, step(second)?])
    };
    list.split_whitespace().filter_map(pair).collect()
}

impl AutoAugment {
    /// The policies for a dataset: CIFAR's for `cifar10` and `cifar100`, SVHN's for `svhn` and
    /// `svhn_noextra`; there are no others.
    pub fn of_dataset(dataset: &str, cutout: bool) -> Option<Self> {
        let list = match dataset {
            "cifar10" | "cifar100" => List::Cifar,
            "svhn" | "svhn_noextra" => List::Svhn,
            _ => return None,
        };
        Some(Self {
            list,
            cutout: if cutout {
                Cutout::Pixels(16)
            } else {
                Cutout::None
            },
        })
    }

    /// Augments the image on the canvas, and marks what is to become mid-grey as holes.
    pub fn apply(&self, canvas: &mut Canvas, stream: &mut Stream) {
        static LISTS: LazyLock<[Vec<[Step; 2]>; 2]> = LazyLock::new(|| [pairs(CIFAR), pairs(SVHN)]);
        begin(canvas);
        let list = &LISTS[self.list as usize];
        for (op, tenths, magnitude) in list[stream.below(list.len() as u64) as usize] {
            if stream.uniform() < f64::from(tenths) / 10.0 {
                op.apply(magnitude, canvas, stream);
            }
        }
        self.cutout.apply(canvas, stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_whole() {
        assert_eq!(pairs(CIFAR).len(), 95);
        assert_eq!(pairs(SVHN).len(), 40);
        assert_eq!(pairs(CIFAR)[0], [(Op::Invert, 1, 7), (Op::Contrast, 2, 6)]);
        assert_eq!(pairs(SVHN)[39], [(Op::ShearX, 4, 2), (Op::Rotate, 7, 5)]);
    }
}
