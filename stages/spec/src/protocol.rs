//! The protocols of `create_split`: how each published system divides a training set.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::choice::{self, Choice, params};
use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output};

/// How many records: a count, `40`, or a fraction of those there are, `0.05`. The decimal point
/// decides, as in the originals' configurations: `1` is one record, `1.0` is all of them
/// (spec/featmatch.md, trap 20).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// That many.
    Count(u64),
    /// That share, 0 to 1.
    Fraction(f64),
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => count.serialize(serializer),
            Self::Fraction(fraction) => fraction.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count such as 40, or a fraction from 0.0 to 1.0 such as 0.05")
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Amount, E> {
                Ok(Amount::Count(count))
            }
            fn visit_f64<E: serde::de::Error>(self, fraction: f64) -> Result<Amount, E> {
                if (0.0..=1.0).contains(&fraction) {
                    Ok(Amount::Fraction(fraction))
                } else {
                    Err(E::invalid_value(Unexpected::Float(fraction), &self))
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "number",
            "minimum": 0,
            "description": "A count such as 40, or a fraction with a decimal point such as 0.05"
        })
    }
}

/// How a training set is divided. In YAML the name alone, `fixmatch`, or the name with parameters,
/// `{cadr: {lambda: 100}}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// FixMatch's `create_split.py`.
    Fixmatch(FixmatchSplit),
    /// CADR's: as many labels per class as a long tail, or chance, says.
    Cadr(CadrSplit),
    /// RealMix's, which also writes the unlabeled records.
    Realmix(RealmixSplit),
    /// FeatMatch's, which holds out validation records and shuffles everything.
    Featmatch(FeatmatchSplit),
    /// FeatMatch's for DomainNet, whose unlabeled records come from several domains.
    Domainnet(DomainnetSplit),
    /// The four-method comparison's: the first records of each class are labeled.
    FirstKPerClass(FirstKPerClass),
    /// The records that a file lists.
    List(Input),
}

/// Classes take turns by their frequency; records within a class are shuffled by numpy's generator
/// (spec/fixmatch.md 2.5).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FixmatchSplit {}

/// Long-tailed or random labels (CADR `create_split.py`, spec/cadr.md 2.2). The original takes its
/// choice from letters in the path of the target; here it is a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CadrSplit {
    /// λ: the first class gets λ times as many labels as the last. `size` is then the number of labels
    /// of the first class, and all classes together get Σ ceil(size · λ^(−k / (K − 1))). The
    /// published CIFAR-100 splits of 100 and 200 labels use 50, too, against what their names say.
    pub lambda: f64,
    /// Frequencies drawn by numpy's generator in place of a long tail (the original's `rand`);
    /// `lambda` says nothing then, and `size` is the number of all labels.
    pub random: bool,
}

impl Default for CadrSplit {
    fn default() -> Self {
        Self {
            lambda: 50.0,
            random: false,
        }
    }
}

/// Labeled and unlabeled records without overlap (RealMix `create_split.py`, spec/realmix.md 3).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RealmixSplit {
    /// Only so many leading records can become labeled; the others have labels that mean nothing.
    /// Absent: all can. The original's `--custom --label_size`; it ignores the one without the other,
    /// which makes labeled records of unlabeled ones.
    pub label_size: Option<u64>,
    /// Picks one record of each class in turn, whatever their frequency.
    pub class_balance: bool,
}

/// Validation, labeled and unlabeled records by proportion, each in the order in which the trainer
/// gets them (FeatMatch `split_data`, spec/featmatch.md 3.1 and 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeatmatchSplit {
    /// Records held out for validation. Absent: none, and the validation set is the test set where
    /// that is given (the original's `--omniscient`, with which all but DomainNet were published).
    pub valid: Option<Amount>,
    /// How many of the unlabeled records to keep.
    pub unlabeled: Amount,
    /// How many training records to keep after a first shuffle: 50,000 for mini-ImageNet.
    pub keep: Option<u64>,
    /// Test records, to be written in the order in which the trainer gets them.
    pub test: Option<Inputs>,
}

impl Default for FeatmatchSplit {
    fn default() -> Self {
        Self {
            valid: None,
            unlabeled: Amount::Fraction(1.0),
            keep: None,
            test: None,
        }
    }
}

/// As FeatMatch's, with a share of the unlabeled records from other domains (spec/featmatch.md 3.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainnetSplit {
    /// The other domains by name.
    pub sources: BTreeMap<String, Inputs>,
    /// `ru`: the share of the target domain's unlabeled records to replace by other domains'.
    pub replaced: f64,
    /// How the replacements are shared out among `sources`; 1 for those not named. The original
    /// sorts the names and not the weights beside them, which matters once they differ.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// Records of the target domain held out for validation (published: 0.01). Absent: none, and the
    /// validation set is the test set where that is given.
    #[serde(default)]
    pub valid: Option<Amount>,
    /// How many of the labeled and of the unlabeled records to keep.
    #[serde(default = "everything")]
    pub data: Amount,
    /// Test records of the target domain, to be written in the order in which the trainer gets them.
    #[serde(default)]
    pub test: Option<Inputs>,
}

fn everything() -> Amount {
    Amount::Fraction(1.0)
}

/// The first `size / K` records of each of the K classes are labeled, the last `valid` of each class
/// are for validation, those between are unlabeled (spec/four_methods.md 1). Nothing is drawn; with
/// `seed` the records of each file are shuffled, which the original does without a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FirstKPerClass {
    /// Validation records per class.
    pub valid: u64,
}

impl Default for FirstKPerClass {
    fn default() -> Self {
        Self { valid: 500 }
    }
}

/// Every protocol.
const PROTOCOLS: &[Choice<Protocol>] = &[
    Choice::of::<FixmatchSplit>("fixmatch", |v| params(v, Protocol::Fixmatch)),
    Choice::of::<CadrSplit>("cadr", |v| params(v, Protocol::Cadr)),
    Choice::of::<RealmixSplit>("realmix", |v| params(v, Protocol::Realmix)),
    Choice::of::<FeatmatchSplit>("featmatch", |v| params(v, Protocol::Featmatch)),
    Choice::of::<DomainnetSplit>("domainnet", |v| params(v, Protocol::Domainnet)),
    Choice::of::<FirstKPerClass>("first_k_per_class", |v| params(v, Protocol::FirstKPerClass)),
    Choice::of::<Input>("list", |v| params(v, Protocol::List)),
];

impl Default for Protocol {
    fn default() -> Self {
        Self::Fixmatch(FixmatchSplit {})
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        choice::deserialize(deserializer, "protocol", PROTOCOLS)
    }
}

impl JsonSchema for Protocol {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Protocol".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "A protocol, or a map with one protocol and its parameters. \
            `fixmatch`: classes take turns by their frequency. \
            `cadr` (lambda, random): a long tail of labels. \
            `realmix` (label_size, class_balance): also makes `unlabeled`, without the labeled records. \
            `featmatch` (valid, unlabeled, keep, test): also makes `unlabeled`, `validation` and `test`. \
            `domainnet` (sources, replaced, weights, valid, data, test): unlabeled records of several domains. \
            `first_k_per_class` (valid): the first of each class are labeled, the last are for validation. \
            `list`: the records whose positions a file lists, one a line, counted from 0";
        choice::schema(generator, description, PROTOCOLS)
    }
}

impl Protocol {
    /// Its name in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fixmatch(_) => "fixmatch",
            Self::Cadr(_) => "cadr",
            Self::Realmix(_) => "realmix",
            Self::Featmatch(_) => "featmatch",
            Self::Domainnet(_) => "domainnet",
            Self::FirstKPerClass(_) => "first_k_per_class",
            Self::List(_) => "list",
        }
    }

    /// What it makes. The names of the originals' JSON files are kept where they have one.
    pub fn outputs(&self) -> Vec<Output> {
        let labeled = Output::new("labeled", "label.tfrecord");
        let unlabeled = Output::new("unlabeled", "unlabel.tfrecord");
        let validation = Output::new("validation", "valid.tfrecord");
        let indexes = |path: &str| Output::new("indexes", path);
        match self {
            Self::Fixmatch(_) | Self::Cadr(_) | Self::List(_) => {
                vec![labeled, indexes("label.json")]
            }
            Self::Realmix(_) => vec![labeled, unlabeled, indexes("map.json")],
            Self::Featmatch(FeatmatchSplit { valid, test, .. })
            | Self::Domainnet(DomainnetSplit { valid, test, .. }) => {
                let mut outputs = vec![labeled, unlabeled];
                if valid.is_some() || test.is_some() {
                    outputs.push(validation);
                }
                if test.is_some() {
                    outputs.push(Output::new("test", "test.tfrecord"));
                }
                outputs.push(indexes("split.json"));
                outputs
            }
            Self::FirstKPerClass(_) => {
                vec![labeled, unlabeled, validation, indexes("split.json")]
            }
        }
    }

    /// Refuses parameters that make no sense.
    pub fn check(&self) -> Result<(), Invalid> {
        let at = |name: &str, message: &str| {
            Err(Invalid::at(
                format!("protocol.{}.{name}", self.name()),
                message,
            ))
        };
        match self {
            Self::Cadr(CadrSplit { lambda, .. }) if !(lambda.is_finite() && *lambda >= 1.0) => at(
                "lambda",
                "expected 1 or more: how many times as many labels the first class gets as the last",
            ),
            Self::Realmix(RealmixSplit {
                label_size: Some(0),
                ..
            }) => at(
                "label_size",
                "expected at least 1 record that can become labeled",
            ),
            Self::Featmatch(FeatmatchSplit { keep: Some(0), .. }) => {
                at("keep", "expected at least 1 record to keep")
            }
            Self::Domainnet(split) => {
                if !(0.0..=1.0).contains(&split.replaced) {
                    return at("replaced", "expected a share from 0 to 1");
                }
                if split.sources.is_empty() && split.replaced > 0.0 {
                    return at(
                        "sources",
                        "expected at least one domain to replace records from",
                    );
                }
                for (name, weight) in &split.weights {
                    if !split.sources.contains_key(name) {
                        return at("weights", &format!("`{name}` is none of `sources`"));
                    }
                    if !(weight.is_finite() && *weight >= 0.0) {
                        return at("weights", &format!("`{name}`: expected 0 or more"));
                    }
                }
                let all_zero = || {
                    split
                        .sources
                        .keys()
                        .all(|n| split.weights.get(n) == Some(&0.0))
                };
                if !split.sources.is_empty() && all_zero() {
                    return at("weights", "expected at least one above 0");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
