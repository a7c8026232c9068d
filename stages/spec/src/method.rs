//! The methods of `train` and their hyper-parameters, with the published defaults.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

use crate::choice::{self, Choice, params};
use crate::kind::Invalid;

/// How a network learns from labeled and unlabeled images. In YAML the name alone, `fixmatch`, or the
/// name with hyper-parameters, `{fixmatch: {confidence: 0.9}}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Labeled images alone.
    Supervised(Supervised),
    /// Sohn et al. 2020, arXiv 2001.07685.
    Fixmatch(Fixmatch),
}

/// Cross-entropy on weakly augmented labeled images and nothing else: the baseline that every
/// semi-supervised method must beat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Supervised {}

/// Pseudo-labels of weakly augmented images, where the network is confident, teach strongly augmented
/// ones (spec/fixmatch.md 7.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fixmatch {
    /// τ: pseudo-labels count where the highest probability is at least this.
    pub confidence: f64,
    /// λ_u: weight of the unlabeled term.
    pub wu: f64,
    /// μ: unlabeled images per labeled image in a batch.
    pub uratio: usize,
}

impl Default for Fixmatch {
    fn default() -> Self {
        Self {
            confidence: 0.95,
            wu: 1.0,
            uratio: 7,
        }
    }
}

impl Fixmatch {
    fn check(&self) -> Result<(), Invalid> {
        let at = |name: &str, message: &str| {
            Err(Invalid::at(format!("algorithm.fixmatch.{name}"), message))
        };
        if !(0.0..=1.0).contains(&self.confidence) {
            return at("confidence", "expected a probability from 0 to 1");
        }
        if !(self.wu.is_finite() && self.wu >= 0.0) {
            return at("wu", "expected a weight of 0 or more");
        }
        if self.uratio == 0 {
            return at(
                "uratio",
                "expected at least 1 unlabeled image per labeled one",
            );
        }
        Ok(())
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::Fixmatch(Fixmatch::default())
    }
}

/// Every method.
const METHODS: &[Choice<Method>] = &[
    Choice::of::<Supervised>("supervised", |v| params(v, Method::Supervised)),
    Choice::of::<Fixmatch>("fixmatch", |v| params(v, Method::Fixmatch)),
];

impl Method {
    /// Refuses hyper-parameters that make no sense.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Supervised(Supervised {}) => Ok(()),
            Self::Fixmatch(fixmatch) => fixmatch.check(),
        }
    }

    /// Its name in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Supervised(_) => "supervised",
            Self::Fixmatch(_) => "fixmatch",
        }
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        choice::deserialize(deserializer, "method", METHODS)
    }
}

impl JsonSchema for Method {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Method".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "A method, or a map with one method and its hyper-parameters";
        choice::schema(generator, description, METHODS)
    }
}
