//! How a parameter names a file or folder that a stage reads.
//!
//! In YAML an input is a reference (`${split.labeled}`) or a path. The runner swaps each reference
//! for a number before the parameters are typed; after typing, every input stands in the JSON as
//! `{"$input": …}`, so that the runner finds all of them without knowing the stage.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The JSON member that marks an input.
pub const INPUT: &str = "$input";
/// The JSON member that marks a text with inputs inside; its value is a list of texts and inputs.
pub const TEMPLATE: &str = "$template";

/// One file or folder that a stage reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The n-th reference of the job, numbered by the runner. Never seen by a child process.
    Reference(usize),
    /// A path: as the user wrote it in a pipeline, absolute in a job file.
    Path(String),
}

impl Input {
    /// The path of this input.
    ///
    /// # Panics
    /// On an unresolved reference, which no child process ever gets.
    pub fn path(&self) -> &Path {
        match self {
            Self::Path(path) => Path::new(path),
            Self::Reference(n) => panic!("input {n} was not resolved by the runner"),
        }
    }
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match self {
            Self::Reference(n) => Value::from(*n),
            Self::Path(path) => Value::from(path.as_str()),
        };
        BTreeMap::from([(INPUT, value)]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match Value::deserialize(deserializer)? {
            Value::String(path) if path.is_empty() => Err(Error::custom(
                "expected a reference or a path, found an empty text",
            )),
            Value::String(path) => Ok(Self::Path(path)),
            Value::Object(map) if map.len() == 1 => match map.get(INPUT) {
                Some(Value::String(path)) => Ok(Self::Path(path.clone())),
                Some(Value::Number(n)) if n.is_u64() => {
                    Ok(Self::Reference(n.as_u64().unwrap_or_default() as usize))
                }
                _ => Err(Error::custom(
                    "expected a reference such as ${split.labeled}, or a path",
                )),
            },
            Value::Array(_) => Err(Error::custom(
                "expected one reference or path, found a list (a `[*]` reference collects many)",
            )),
            _ => Err(Error::custom(
                "expected a reference such as ${split.labeled}, or a path",
            )),
        }
    }
}

impl JsonSchema for Input {
    fn schema_name() -> Cow<'static, str> {
        "Input".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A reference to another stage's output, `${stage.output}`, or the path of a file, relative to the pipeline file"
        })
    }
}

/// One or more inputs; in YAML a single one needs no list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Inputs(pub Vec<Input>);

impl Inputs {
    /// The paths of all of them, in order.
    ///
    /// # Panics
    /// As [`Input::path`].
    pub fn paths(&self) -> Vec<&Path> {
        self.0.iter().map(Input::path).collect()
    }

    /// The same as text, for messages.
    ///
    /// # Panics
    /// As [`Input::path`].
    pub fn names(&self) -> String {
        let names = self.0.iter().map(|input| input.path().to_string_lossy());
        names.collect::<Vec<_>>().join(", ")
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let list = match Value::deserialize(deserializer)? {
            Value::Array(list) if list.is_empty() => {
                return Err(Error::custom(
                    "expected at least one reference or path, found an empty list",
                ));
            }
            Value::Array(list) => list,
            one => vec![one],
        };
        let inputs: Result<Vec<Input>, _> = list
            .into_iter()
            .map(|v| serde_json::from_value(v).map_err(Error::custom))
            .collect();
        Ok(Self(inputs?))
    }
}

impl JsonSchema for Inputs {
    fn schema_name() -> Cow<'static, str> {
        "Inputs".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Input>();
        json_schema!({
            "description": "One reference or path, or a list of them",
            "anyOf": [one, {"type": "array", "items": one, "minItems": 1}]
        })
    }
}

/// One member of a `[*]` collection: an output, and the axis values of the job that made it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collected {
    /// Axis values of the job behind `file`.
    pub point: BTreeMap<String, Value>,
    /// The output itself.
    pub file: Input,
}

impl<'de> Deserialize<'de> for Collected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = Value::deserialize(deserializer)?;
        let point = match value.get("point") {
            Some(point) => serde_json::from_value(point.clone()).map_err(Error::custom)?,
            None => BTreeMap::new(),
        };
        let file = value.get("file").cloned().unwrap_or(value);
        Ok(Self {
            point,
            file: serde_json::from_value(file).map_err(Error::custom)?,
        })
    }
}

/// What `${stage[*].output}` yields: every output of a stage over its remaining axes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Collection(pub Vec<Collected>);

impl<'de> Deserialize<'de> for Collection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let list = match Value::deserialize(deserializer)? {
            Value::Array(list) => list,
            one => vec![one],
        };
        let members: Result<Vec<Collected>, _> = list
            .into_iter()
            .map(|v| serde_json::from_value(v).map_err(Error::custom))
            .collect();
        Ok(Self(members?))
    }
}

impl JsonSchema for Collection {
    fn schema_name() -> Cow<'static, str> {
        "Collection".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A reference that collects a stage over its axes, `${stage[*].output}`, or a list of references and paths",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        })
    }
}

/// A text that may hold references, as in the arguments of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(pub Vec<Part>);

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// The path of an input.
    Input(Input),
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Raw<'a> {
            Text(&'a str),
            Input(&'a Input),
        }
        if let [Part::Text(text)] = &self.0[..] {
            return text.serialize(serializer);
        }
        let parts: Vec<Raw> = self
            .0
            .iter()
            .map(|part| match part {
                Part::Text(text) => Raw::Text(text),
                Part::Input(input) => Raw::Input(input),
            })
            .collect();
        BTreeMap::from([(TEMPLATE, parts)]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let part = |value: Value| match value {
            Value::String(text) => Ok(Part::Text(text)),
            Value::Number(n) => Ok(Part::Text(n.to_string())),
            Value::Bool(b) => Ok(Part::Text(b.to_string())),
            Value::Object(_) => serde_json::from_value(value)
                .map(Part::Input)
                .map_err(Error::custom),
            _ => Err(Error::custom("expected a text")),
        };
        let value = Value::deserialize(deserializer)?;
        if let Some(Value::Array(parts)) = value.get(TEMPLATE) {
            let parts: Result<Vec<Part>, D::Error> = parts.iter().cloned().map(part).collect();
            return Ok(Self(parts?));
        }
        Ok(Self(vec![part(value)?]))
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "A text; references in it become paths"
        })
    }
}
