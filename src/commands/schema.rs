//! `rematch schema`: JSON Schemas, of pipeline files and of what commands print; the page about the
//! latter.

use std::process::ExitCode;

use serde_json::Value;

use crate::commands::stages::{Parameter, resolve};
use crate::commands::{print_json, print_line};
use crate::error::Result;
use crate::facts::{self, FACTS, Facts};
use crate::language;

pub fn exec(command: Option<&str>, markdown: bool) -> Result<ExitCode> {
    match command {
        _ if markdown => print_line(page().trim_end()),
        Some(command) => print_json(&facts::find(command)?.schema()),
        None => print_json(&language::schema()),
    }
    Ok(ExitCode::SUCCESS)
}

/// All that commands print with `--json`, as a page of Markdown: docs/json.md.
fn page() -> String {
    let mut page = "# JSON\n\n\
        Every command that prints facts prints them as JSON with `--json`: one document, or where it says so one per line. \
        `rematch schema COMMAND` prints the JSON Schema of it. A later rematch may add members; those that are here keep \
        their names and meanings. `a[].b` is member `b` of every item of list `a`, `a.*` any member of `a`. What went wrong \
        is on standard error, in words; the [exit code](commands.md#exit-codes) says whether something did. This page is \
        made by `rematch schema --markdown`.\n"
        .to_owned();
    for facts in &FACTS {
        facts_of(facts, &mut page);
    }
    page
}

fn facts_of(facts: &Facts, page: &mut String) {
    let root = facts.schema();
    let about = root["description"].as_str().unwrap_or_default();
    *page += &format!("\n## {}\n\n{}\n", facts.command, one_line(about));
    let Some(events) = root["oneOf"].as_array() else {
        let mut rows = Vec::new();
        // A document or a list of such documents: what is in the list is what is in the document.
        let schema = root["anyOf"].get(0).unwrap_or(&root);
        members(schema, &root, "", &mut rows);
        table(&rows, page);
        return;
    };
    for event in events {
        let name = event["properties"]["event"]["const"].as_str();
        let about = event["description"].as_str().unwrap_or_default();
        *page += &format!(
            "\n`\"event\": \"{}\"`: {}\n",
            name.unwrap_or("?"),
            one_line(about)
        );
        let mut rows = Vec::new();
        members(event, &root, "", &mut rows);
        rows.retain(|row| row[0] != "event");
        if !rows.is_empty() {
            table(&rows, page);
        }
    }
}

fn table(rows: &[[String; 3]], page: &mut String) {
    *page += "\n| member | type | meaning |\n|---|---|---|\n";
    for [name, kind, meaning] in rows {
        *page += &format!("| `{name}` | {kind} | {meaning} |\n");
    }
}

/// The members of an object, and of the objects in it; what they are in words.
fn members(schema: &Value, root: &Value, path: &str, rows: &mut Vec<[String; 3]>) {
    let schema = resolve(schema, root);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let parameter = Parameter::new(name, property, root);
        let mut kind = parameter.kind;
        let inner = without_null(property, root);
        // What is in it follows.
        let is_object = |schema: &Value| {
            let schema = resolve(schema, root);
            schema["properties"].is_object() || schema["oneOf"][0]["properties"].is_object()
        };
        if is_object(inner) {
            kind = "map".into();
        } else if is_object(&inner["items"]) {
            kind = "list of maps".into();
        }
        if may_be_null(property, root) {
            kind += " or null";
        }
        let mut meaning = one_line(&parameter.words);
        for (choice, words) in &parameter.choices {
            if inner["oneOf"][0]["const"].is_string() {
                meaning += &format!("<br>`{choice}`: {words}");
            }
        }
        let name = format!("{path}{name}");
        if property["const"].is_null() {
            rows.push([name.clone(), kind, meaning]);
        }
        nested(inner, root, &name, rows);
    }
    // A choice between objects: each says in one member which it is.
    for variant in schema["oneOf"].as_array().into_iter().flatten() {
        let about = one_line(variant["description"].as_str().unwrap_or_default());
        for (name, tag) in variant["properties"].as_object().into_iter().flatten() {
            if let Some(value) = tag["const"].as_str() {
                rows.push([
                    format!("{path}{name}"),
                    format!("`\"{value}\"`"),
                    about.clone(),
                ]);
            }
        }
        members(variant, root, path, rows);
    }
}

/// What is in a member that is itself an object, a list or a map of objects.
fn nested(schema: &Value, root: &Value, name: &str, rows: &mut Vec<[String; 3]>) {
    for (inner, path) in [
        (schema, format!("{name}.")),
        (&schema["items"], format!("{name}[].")),
    ] {
        members(inner, root, &path, rows);
    }
}

fn without_null<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let options = schema["anyOf"].as_array().into_iter().flatten();
    let mut inner = options.filter(|option| option["type"] != "null");
    resolve(inner.next().unwrap_or(schema), root)
}

fn may_be_null(schema: &Value, root: &Value) -> bool {
    let schema = resolve(schema, root);
    let options = schema["anyOf"].as_array().into_iter().flatten();
    let types = schema["type"].as_array().into_iter().flatten();
    options
        .map(|option| &option["type"])
        .chain(types)
        .any(|kind| kind == "null")
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
