//! The methods of `train` and their hyper-parameters, with the published defaults.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

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

/// Reads the hyper-parameters of one method.
type Read = fn(Value) -> Result<Method, serde_json::Error>;

/// Makes the schema of one method's hyper-parameters.
type Describe = fn(&mut SchemaGenerator) -> Schema;

/// Every method: its name, how it is read, its schema.
const METHODS: &[(&str, Read, Describe)] = &[
    (
        "supervised",
        |v| read(v, Method::Supervised),
        |g| g.subschema_for::<Supervised>(),
    ),
    (
        "fixmatch",
        |v| read(v, Method::Fixmatch),
        |g| g.subschema_for::<Fixmatch>(),
    ),
];

fn read<T: DeserializeOwned>(
    value: Value,
    wrap: fn(T) -> Method,
) -> Result<Method, serde_json::Error> {
    serde_json::from_value(value).map(wrap)
}

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
        use serde::de::Error;
        let names = || {
            METHODS
                .iter()
                .map(|m| format!("`{}`", m.0))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (name, params) = match Value::deserialize(deserializer)? {
            Value::String(name) => (name, Value::Object(serde_json::Map::new())),
            Value::Object(map) if map.len() == 1 => {
                let (name, params) = map.into_iter().next().unwrap_or_default();
                (
                    name,
                    if params.is_null() {
                        Value::Object(serde_json::Map::new())
                    } else {
                        params
                    },
                )
            }
            _ => {
                return Err(D::Error::custom(format!(
                    "expected a method, or a map with one method and its parameters; methods are {}",
                    names()
                )));
            }
        };
        match METHODS.iter().find(|method| method.0 == name) {
            Some(method) => {
                (method.1)(params).map_err(|e| D::Error::custom(format!("{name}: {e}")))
            }
            None => Err(D::Error::custom(format!(
                "unknown variant `{name}`, expected one of {}",
                names()
            ))),
        }
    }
}

impl JsonSchema for Method {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Method".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = METHODS.iter().map(|m| m.0).collect();
        let mut options = vec![json_schema!({"enum": names})];
        for (name, _, schema) in METHODS {
            let schema = schema(generator);
            options.push(json_schema!({
                "type": "object",
                "properties": {*name: schema},
                "required": [name],
                "additionalProperties": false
            }));
        }
        json_schema!({
            "description": "A method, or a map with one method and its hyper-parameters",
            "anyOf": options
        })
    }
}
