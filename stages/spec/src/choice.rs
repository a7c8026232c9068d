//! A choice among named things with parameters of their own: in YAML the name alone, `fixmatch`, or a
//! map with the name and its parameters, `{fixmatch: {confidence: 0.9}}`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// One thing to choose, as part of `T`.
pub struct Choice<T> {
    /// Its name in YAML.
    pub name: &'static str,
    /// Reads its parameters.
    pub read: fn(Value) -> Result<T, serde_json::Error>,
    /// Makes the schema of its parameters.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl<T> Choice<T> {
    /// A choice whose parameters are of type `P`; `read` wraps what [`params`] reads.
    pub const fn of<P: JsonSchema>(
        name: &'static str,
        read: fn(Value) -> Result<T, serde_json::Error>,
    ) -> Self {
        Self {
            name,
            read,
            schema: |generator| generator.subschema_for::<P>(),
        }
    }
}

/// Reads the parameters of one choice.
///
/// # Errors
/// What serde says of them.
pub fn params<P: DeserializeOwned, T>(
    value: Value,
    wrap: fn(P) -> T,
) -> Result<T, serde_json::Error> {
    serde_json::from_value(value).map(wrap)
}

/// Reads a choice; `what` is the word for it in messages, `method`.
///
/// # Errors
/// Where it is none of `choices`, or its parameters do not fit.
pub fn deserialize<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    choices: &[Choice<T>],
) -> Result<T, D::Error> {
    let names = || {
        let names: Vec<String> = choices.iter().map(|c| format!("`{}`", c.name)).collect();
        names.join(", ")
    };
    let (name, params) = match Value::deserialize(deserializer)? {
        Value::String(name) => (name, Value::Null),
        Value::Object(map) if map.len() == 1 => map.into_iter().next().unwrap_or_default(),
        _ => {
            return Err(D::Error::custom(format!(
                "expected a {what}, or a map with one {what} and its parameters; {what}s are {}",
                names()
            )));
        }
    };
    let params = match params {
        Value::Null => Value::Object(Map::new()),
        params => params,
    };
    match choices.iter().find(|choice| choice.name == name) {
        Some(choice) => (choice.read)(params).map_err(|e| D::Error::custom(format!("{name}: {e}"))),
        None => Err(D::Error::custom(format!(
            "unknown variant `{name}`, expected one of {}",
            names()
        ))),
    }
}

/// The schema of a choice.
pub fn schema<T>(
    generator: &mut SchemaGenerator,
    description: &str,
    choices: &[Choice<T>],
) -> Schema {
    let names: Vec<&str> = choices.iter().map(|c| c.name).collect();
    let mut options = vec![json_schema!({"enum": names})];
    for choice in choices {
        let name = choice.name;
        let schema = (choice.schema)(generator);
        options.push(json_schema!({
            "type": "object",
            "properties": {name: schema},
            "required": [name],
            "additionalProperties": false
        }));
    }
    json_schema!({"description": description, "anyOf": options})
}
