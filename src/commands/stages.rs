//! `rematch stages`: the stage kinds, and the parameters of one.

use std::process::ExitCode;

use rematch_spec::kind::{KINDS, StageKind, find};
use serde_json::Value;

use crate::cli::Global;
use crate::commands::{print_json, print_line};
use crate::error::{Error, Result};
use crate::facts;
use crate::style::Style;

pub fn exec(global: &Global, kind: Option<&str>, markdown: bool) -> Result<ExitCode> {
    if markdown {
        print_line(reference_page().trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = match kind {
        None => None,
        Some(name) => Some(find(name).ok_or_else(|| {
            Error::usage(format!("there is no stage kind `{name}`"))
                .suggest(name, KINDS.iter().map(|kind| kind.name))
        })?),
    };
    if global.json {
        print_json(&match chosen {
            Some(kind) => facts::Stages::One(kind_facts(kind)),
            None => facts::Stages::All(KINDS.iter().map(kind_facts).collect()),
        });
        return Ok(ExitCode::SUCCESS);
    }
    let style = Style::of(&std::io::stdout());
    match chosen {
        None => {
            for kind in &KINDS {
                let about = kind.schema()["description"].as_str().unwrap_or_default();
                let first = about
                    .split(". ")
                    .next()
                    .unwrap_or_default()
                    .replace('\n', " ");
                print_line(&format!(
                    "{:17} {}",
                    style.bold(kind.name),
                    first.trim_end_matches('.')
                ));
            }
            print_line(&style.dim("\n`rematch stages KIND` shows its parameters"));
        }
        Some(kind) => print_kind(kind, style),
    }
    Ok(ExitCode::SUCCESS)
}

fn kind_facts(kind: &StageKind) -> facts::StageKind {
    facts::StageKind {
        name: kind.name.into(),
        version: kind.version,
        program: kind.program,
        parameters: kind.schema().as_object().cloned().unwrap_or_default(),
    }
}

/// All stage kinds as a page of Markdown: docs/stages.md.
fn reference_page() -> String {
    let mut page = "# Stage kinds\n\nWhat a stage can run, as `rematch stages KIND` shows it. This page is made by `rematch stages --markdown`.\n".to_owned();
    for kind in &KINDS {
        let schema = kind.schema();
        let about = schema["description"].as_str().unwrap_or_default();
        page += &format!("\n## {}\n\n{about}\n\n", kind.name);
        page += "| parameter | type | default | meaning |\n|---|---|---|---|\n";
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let parameter = Parameter::new(name, property, schema);
            let mut words = parameter.words.replace('\n', " ");
            for (choice, meaning) in &parameter.choices {
                words += &format!("<br>`{choice}`: {meaning}");
            }
            let default = match parameter.default {
                Default::Required => "**required**".to_owned(),
                Default::None => "–".to_owned(),
                Default::Value(value) => format!("`{value}`"),
            };
            page += &format!(
                "| `{name}` | {} | {default} | {} |\n",
                parameter.kind,
                words.replace('|', "\\|")
            );
        }
    }
    page
}

fn print_kind(kind: &StageKind, style: Style) {
    let schema = kind.schema();
    print_line(&format!(
        "{} (version {})",
        style.bold(kind.name),
        kind.version
    ));
    print_line(schema["description"].as_str().unwrap_or_default());
    print_line("");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let parameter = Parameter::new(name, property, schema);
        let default = match &parameter.default {
            Default::Required => style.yellow("required"),
            Default::None => "optional".into(),
            Default::Value(value) => format!("default {value}"),
        };
        print_line(&format!(
            "  {}  {}, {default}",
            style.bold(name),
            parameter.kind
        ));
        for line in parameter.words.lines() {
            print_line(&format!("      {line}"));
        }
        for (choice, meaning) in &parameter.choices {
            print_line(&format!(
                "      {} {}",
                style.bold(choice),
                style.dim(meaning)
            ));
        }
    }
}

/// A parameter in words.
pub(super) struct Parameter {
    pub(super) kind: String,
    default: Default,
    pub(super) words: String,
    /// For a choice: what can be chosen, and what it means.
    pub(super) choices: Vec<(String, String)>,
}

enum Default {
    Required,
    None,
    Value(String),
}

impl Parameter {
    pub(super) fn new(name: &str, property: &Value, root: &Value) -> Self {
        let required = root["required"]
            .as_array()
            .is_some_and(|list| list.iter().any(|known| known == name));
        let inner = resolve(property, root);
        let mut choices = Vec::new();
        for choice in inner["oneOf"].as_array().into_iter().flatten() {
            let name = choice["const"].as_str().map(str::to_owned).or_else(|| {
                let properties = choice["properties"].as_object()?;
                Some(
                    properties
                        .keys()
                        .map(|name| format!("{{{name}: …}}"))
                        .collect::<Vec<_>>()
                        .join(", "),
                )
            });
            let meaning = choice["description"]
                .as_str()
                .unwrap_or_default()
                .replace('\n', " ");
            choices.extend(name.map(|name| (name, meaning)));
        }
        Self {
            kind: type_in_words(property, root),
            default: match property.get("default") {
                _ if required => Default::Required,
                None | Some(Value::Null) => Default::None,
                Some(value) => Default::Value(plain(value)),
            },
            words: property["description"]
                .as_str()
                .or(inner["description"].as_str())
                .unwrap_or_default()
                .to_owned(),
            choices,
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(target) => root
            .pointer(target.trim_start_matches('#'))
            .unwrap_or(schema),
        None => schema,
    }
}

/// A schema's type as a short phrase.
fn type_in_words(schema: &Value, root: &Value) -> String {
    let schema = resolve(schema, root);
    if let Some(options) = schema["anyOf"].as_array() {
        let mut words: Vec<String> = Vec::new();
        for option in options {
            let word = type_in_words(option, root);
            if word != "null" && !words.contains(&word) {
                words.push(word);
            }
        }
        return words.join(" or ");
    }
    if schema["oneOf"].is_array() {
        return "one of".into();
    }
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().map(plain).collect::<Vec<_>>().join(" or ");
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect(),
        _ => vec!["value"],
    };
    let words: Vec<String> = kinds
        .iter()
        .map(|kind| match *kind {
            "integer" => "whole number".into(),
            "string"
                if schema["description"]
                    .as_str()
                    .is_some_and(|d| d.starts_with("A reference")) =>
            {
                "input".into()
            }
            "string" => "text".into(),
            "boolean" => "true or false".into(),
            "array" => format!("list of {}", type_in_words(&schema["items"], root)),
            "object" => match schema["properties"].as_object() {
                Some(properties) => format!(
                    "map of {}",
                    properties
                        .keys()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                None => "map".into(),
            },
            other => other.into(),
        })
        .collect();
    words.join(" or ")
}
