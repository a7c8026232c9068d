//! The shape of a pipeline file as types, and the JSON Schema that editors check it with.

use std::collections::BTreeMap;

use rematch_spec::kind::KINDS;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::resources::Options;

/// A pipeline file: axes and stages. Files that it includes have the same form.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineFile {
    /// The pipeline's name; results lie in `out/NAME`. The file's name where left out.
    #[serde(default)]
    pub name: Option<String>,
    /// What it reproduces, in words.
    #[serde(default)]
    pub description: Option<String>,
    /// Files to take variables, axes and stages from; and points to add to the sweep.
    #[serde(default)]
    pub include: Vec<Include>,
    /// Points to leave out of the sweep: axis to a value or a list of values.
    #[serde(default)]
    pub exclude: Vec<BTreeMap<String, Value>>,
    /// Values to use as `${var.name}`; `--set name=value` changes them.
    #[serde(default)]
    pub vars: BTreeMap<String, Value>,
    /// The values to sweep over; a stage fans out over the axes that it mentions.
    #[serde(default)]
    pub axes: BTreeMap<String, Vec<Value>>,
    /// Limits on what jobs use at once, such as `{network: 2}`: a job says in `resources: {pools: {network: 1}}` how
    /// much it takes.
    #[serde(default)]
    pub pools: BTreeMap<String, u32>,
    /// The steps.
    #[serde(default)]
    pub stages: BTreeMap<String, StageFile>,
}

/// An entry of `include`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Include {
    /// A file, relative to this one.
    File(String),
    /// A point of the sweep: axis to value.
    Point(BTreeMap<String, Value>),
}

/// A stage: exactly one stage kind with its parameters, and options beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageFile(pub BTreeMap<String, Value>);

impl JsonSchema for StageFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Stage".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let options = generator.root_schema_for::<Options>().to_value();
        let kinds: Vec<Value> = KINDS
            .iter()
            .map(|kind| {
                let mut properties = options["properties"].clone();
                loosen(&mut properties, true);
                properties[kind.name] =
                    json!({ "$ref": format!("#/$defs/{}", definition(kind.name)) });
                json!({
                    "type": "object",
                    "title": kind.name,
                    "properties": properties,
                    "required": [kind.name],
                    "additionalProperties": false
                })
            })
            .collect();
        json_schema!({ "description": "Exactly one stage kind, and options beside it", "oneOf": kinds })
    }
}

fn definition(kind: &str) -> String {
    format!("kind_{kind}")
}

/// JSON Schema of pipeline files.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(PipelineFile).to_value();
    schema["title"] = json!("rematch pipeline");
    schema["$defs"]["Resources"] = schemars::schema_for!(crate::resources::Resources).to_value();
    for kind in &KINDS {
        let mut params = kind.schema().clone();
        // Definitions of a kind move beside those of the others, under the kind's name.
        let inner = params.as_object_mut().and_then(|p| p.remove("$defs"));
        params.as_object_mut().map(|p| p.remove("$schema"));
        rename(&mut params, kind.name);
        loosen(&mut params, false);
        schema["$defs"][definition(kind.name)] = params;
        for (name, mut value) in inner
            .and_then(|d| d.as_object().cloned())
            .into_iter()
            .flatten()
        {
            rename(&mut value, kind.name);
            loosen(&mut value, false);
            schema["$defs"][format!("{}_{name}", kind.name)] = value;
        }
    }
    schema
}

/// Points `$ref`s at the definitions under a kind's name.
fn rename(value: &mut Value, kind: &str) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{kind}_{name}");
            }
            map.values_mut().for_each(|value| rename(value, kind));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, kind)),
        _ => {}
    }
}

/// Lets a reference stand for any property. `names` tells whether `value` is itself a map of properties.
fn loosen(value: &mut Value, names: bool) {
    let reference = json!({ "type": "string", "pattern": r"\$\{.+\}" });
    let wrap = |property: &mut Value| {
        loosen(property, false);
        let mut outer = serde_json::Map::new();
        for shared in ["description", "default"] {
            if let Some(found) = property.as_object_mut().and_then(|p| p.remove(shared)) {
                outer.insert(shared.into(), found);
            }
        }
        property.as_object_mut().map(|p| p.remove("x-key"));
        outer.insert("anyOf".into(), json!([property.clone(), reference]));
        *property = Value::Object(outer);
    };
    match value {
        Value::Object(map) if names => map.values_mut().for_each(wrap),
        Value::Object(map) => {
            for (name, member) in map.iter_mut() {
                if name == "properties" {
                    loosen(member, true);
                } else {
                    loosen(member, false);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| loosen(item, false)),
        _ => {}
    }
}
