//! The networks of `train` and their sizes.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

use crate::choice::{self, Choice, params};
use crate::kind::Invalid;

/// A network and its size: the name alone, `resnet`, or the name with its size, `{resnet: {filters: 128}}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Wide ResNet as in the TensorFlow originals (spec/fixmatch.md 5.1).
    Resnet(Resnet),
    /// Wide ResNet as in the PyTorch ports.
    Wrn(Wrn),
    /// Thirteen layers (spec/fixmatch.md 5.2, spec/featmatch.md 5).
    Cnn13(Cnn13),
    /// Shake-Shake (spec/fixmatch.md 5.3).
    Shake(Shake),
    /// CADR's ResNet-18 (spec/cadr.md 5).
    Res18(Res18),
    /// ResNet-18 as in torchvision.
    Resnet18(Resnet18),
    /// ResNet-50 (spec/fixmatch.md 11).
    Resnet50(Resnet50),
}

/// Every network.
const NETWORKS: &[Choice<Network>] = &[
    Choice::of::<Resnet>("resnet", |v| params(v, Network::Resnet)),
    Choice::of::<Wrn>("wrn", |v| params(v, Network::Wrn)),
    Choice::of::<Cnn13>("cnn13", |v| params(v, Network::Cnn13)),
    Choice::of::<Shake>("shake", |v| params(v, Network::Shake)),
    Choice::of::<Res18>("res18", |v| params(v, Network::Res18)),
    Choice::of::<Resnet18>("resnet18", |v| params(v, Network::Resnet18)),
    Choice::of::<Resnet50>("resnet50", |v| params(v, Network::Resnet50)),
];

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        choice::deserialize(deserializer, "network", NETWORKS)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "A network, or a map with one network and its size";
        choice::schema(generator, description, NETWORKS)
    }
}

/// WRN-28-2 with the defaults, 1,469,642 parameters at 10 classes: biases in every convolution,
/// TensorFlow's padding (spec/fixmatch.md 5.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resnet {
    /// Channels of the first group; each further group doubles them.
    pub filters: i64,
    /// Blocks in a group.
    pub repeat: i64,
    /// Groups; 0 takes as many as leave 8×8 pixels, ceil(log2(width)) − 2.
    pub scales: i64,
    /// Share of the running batch-norm statistics that stays at each step.
    pub bn_momentum: f64,
}

impl Default for Resnet {
    fn default() -> Self {
        Self {
            filters: 32,
            repeat: 4,
            scales: 0,
            bn_momentum: 0.999,
        }
    }
}

/// WRN-28-2 of the PyTorch ports (kekmodel, TorchSSL, USB, FeatMatch), 1,467,610 parameters: no bias in
/// convolutions, symmetric padding, and in the first block of the second and third group the raw input
/// feeds the first convolution, so that its batch norm learns nothing (spec/featmatch.md 5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Wrn {
    /// Channels of the first of three groups; each further group doubles them.
    pub filters: i64,
    /// Blocks in a group.
    pub repeat: i64,
    /// Slope of the rectifier below zero: 0.1 in most ports, 0 in FeatMatch.
    pub slope: f64,
    /// Share of the running batch-norm statistics that stays at each step.
    pub bn_momentum: f64,
    /// ε of batch norm.
    pub bn_epsilon: f64,
    /// Whether the first block of the second and third group takes its normalised input, as in the
    /// original network.
    pub preactivate: bool,
    /// How the classifier starts.
    pub classifier: Start,
}

/// How a linear layer starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Glorot's normal numbers, bias 0: kekmodel's, TorchSSL's, USB's.
    #[default]
    Xavier,
    /// PyTorch's default, uniform within 1/√inputs, bias too: FeatMatch's.
    Pytorch,
}

impl Default for Wrn {
    fn default() -> Self {
        Self {
            filters: 32,
            repeat: 4,
            slope: 0.1,
            bn_momentum: 0.999,
            bn_epsilon: 1e-5,
            preactivate: false,
            classifier: Start::default(),
        }
    }
}

/// Three blocks of three convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cnn13 {
    /// Channels of the first block: 32 in FixMatch, 128 in FeatMatch.
    pub filters: i64,
    /// FeatMatch's: batch norm before a plain rectifier (FixMatch: after a leaky one, 0.2), ε 1e-5 and
    /// running statistics that keep 0.9.
    pub norm_first: bool,
}

impl Default for Cnn13 {
    fn default() -> Self {
        Self {
            filters: 32,
            norm_first: false,
        }
    }
}

/// Two branches, mixed at random (Gastaldi, arXiv 1705.07485).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shake {
    /// Channels of the first stage; each further stage doubles them.
    pub filters: i64,
    /// Blocks in a stage.
    pub repeat: i64,
    /// Stages; 0 takes ceil(log2(width)) − 2.
    pub scales: i64,
    /// Share of the running batch-norm statistics that stays at each step.
    pub bn_momentum: f64,
}

impl Default for Shake {
    fn default() -> Self {
        Self {
            filters: 32,
            repeat: 4,
            scales: 0,
            bn_momentum: 0.999,
        }
    }
}

/// ResNet-18 with activations before the convolutions, biases and TensorFlow's padding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Res18 {
    /// Channels of the first stage.
    pub filters: i64,
    /// Share of the running batch-norm statistics that stays at each step.
    pub bn_momentum: f64,
}

impl Default for Res18 {
    fn default() -> Self {
        Self {
            filters: 64,
            bn_momentum: 0.999,
        }
    }
}

/// ResNet-18 of torchvision, from random weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resnet18 {}

/// ResNet-50 v1.5: the stride is in the 3×3 convolution; batch norm keeps 0.9.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resnet50 {}

impl Default for Network {
    fn default() -> Self {
        Self::Resnet(Resnet::default())
    }
}

impl Network {
    /// Its name in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resnet(_) => "resnet",
            Self::Wrn(_) => "wrn",
            Self::Cnn13(_) => "cnn13",
            Self::Shake(_) => "shake",
            Self::Res18(_) => "res18",
            Self::Resnet18(_) => "resnet18",
            Self::Resnet50(_) => "resnet50",
        }
    }

    /// Refuses sizes that make no sense.
    pub fn check(&self) -> Result<(), Invalid> {
        let at = |field: &str, message: String| {
            let path = format!("network.{}.{field}", self.name());
            Err(Invalid::at(path, message))
        };
        let mut whole = Vec::new();
        let mut shares = Vec::new();
        match self {
            Self::Resnet(Resnet {
                filters,
                repeat,
                scales,
                bn_momentum,
            })
            | Self::Shake(Shake {
                filters,
                repeat,
                scales,
                bn_momentum,
            }) => {
                whole.extend([
                    ("filters", *filters, 1..=4096),
                    ("repeat", *repeat, 1..=1000),
                    ("scales", *scales, 0..=10),
                ]);
                shares.push(("bn_momentum", *bn_momentum));
            }
            Self::Wrn(wrn) => {
                whole.extend([
                    ("filters", wrn.filters, 1..=4096),
                    ("repeat", wrn.repeat, 1..=1000),
                ]);
                shares.extend([
                    ("bn_momentum", wrn.bn_momentum),
                    ("slope", wrn.slope),
                    ("bn_epsilon", wrn.bn_epsilon),
                ]);
            }
            Self::Cnn13(cnn) => whole.push(("filters", cnn.filters, 1..=4096)),
            Self::Res18(res) => {
                whole.push(("filters", res.filters, 1..=4096));
                shares.push(("bn_momentum", res.bn_momentum));
            }
            Self::Resnet18(_) | Self::Resnet50(_) => {}
        }
        for (field, value, range) in whole {
            if !range.contains(&value) {
                let (first, last) = (range.start(), range.end());
                return at(field, format!("expected {first} to {last}, found {value}"));
            }
        }
        for (field, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return at(field, "expected a number from 0 to 1".into());
            }
        }
        if let Self::Shake(Shake { filters, .. }) = self
            && filters % 2 == 1
        {
            let message = "expected an even number: a shortcut has two halves".into();
            return at("filters", message);
        }
        Ok(())
    }
}
