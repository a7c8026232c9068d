//! What commands print with `--json` is what its schema says, member for member.

use std::collections::BTreeSet;

use serde_json::Value;

use super::inspect::record_file;
use super::project::{Project, Ran, eventually, written};

/// Checks a value against a JSON Schema, in the words that ours use, and that the schema knows every
/// member. A word that is not known here panics, so that none is passed over.
fn check(value: &Value, schema: &Value, root: &Value, at: &str) -> Result<(), String> {
    let mut known = BTreeSet::new();
    members(schema, root, &mut known);
    check_within(value, schema, root, at, &known)
}

/// The members that a schema knows, also those in its choices.
fn members<'a>(schema: &'a Value, root: &'a Value, known: &mut BTreeSet<&'a str>) {
    let schema = resolve(schema, root);
    known.extend(
        schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|p| p.keys().map(String::as_str)),
    );
    for choice in ["oneOf", "anyOf"] {
        for option in schema[choice].as_array().into_iter().flatten() {
            members(option, root, known);
        }
    }
}

fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(target) => root.pointer(target.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

fn check_within(
    value: &Value,
    schema: &Value,
    root: &Value,
    at: &str,
    known: &BTreeSet<&str>,
) -> Result<(), String> {
    let schema = resolve(schema, root);
    let Some(words) = schema.as_object() else {
        return Ok(());
    };
    let wrong = |what: &str| Err(format!("{at}: {value} is not {what}"));
    for (word, rule) in words {
        match word.as_str() {
            "description" | "title" | "$schema" | "$defs" | "format" => {}
            "minimum" => {
                if value.as_f64().is_some_and(|n| n < rule.as_f64().unwrap()) {
                    return wrong(&format!("at least {rule}"));
                }
            }
            "maximum" => {
                if value.as_f64().is_some_and(|n| n > rule.as_f64().unwrap()) {
                    return wrong(&format!("at most {rule}"));
                }
            }
            "const" => {
                if value != rule {
                    return wrong(&rule.to_string());
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    return wrong(&rule.to_string());
                }
            }
            "type" => {
                let is = |kind: &Value| match kind.as_str().unwrap() {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "number" => value.is_number(),
                    "string" => value.is_string(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("type {other}"),
                };
                let good = rule
                    .as_array()
                    .map_or_else(|| is(rule), |kinds| kinds.iter().any(is));
                if !good {
                    return wrong(&rule.to_string());
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return Err(format!("{at} lacks {name}"));
                    }
                }
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(name) {
                        check(member, rule, root, &format!("{at}.{name}"))?;
                    } else if !known.contains(name.as_str()) {
                        return Err(format!("{at}.{name} is in no schema"));
                    }
                }
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    check(member, rule, root, &format!("{at}.{name}"))?;
                }
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(item, rule, root, &format!("{at}[{n}]"))?;
                }
            }
            "oneOf" | "anyOf" => {
                let options = rule.as_array().unwrap().iter();
                let fits: Vec<_> = options
                    .map(|option| check_within(value, option, root, at, known))
                    .collect();
                let count = fits.iter().filter(|fit| fit.is_ok()).count();
                if count == 0 || word == "oneOf" && count > 1 {
                    return Err(format!("{at}: {count} choices fit {value}: {fits:?}"));
                }
            }
            other => panic!("{at}: the check does not know `{other}`"),
        }
    }
    Ok(())
}

fn schema(project: &Project, command: &str) -> Value {
    project.run(&["schema", command]).code(0).json()
}

#[track_caller]
fn conforms(project: &Project, facts: &Value, command: &str) {
    let schema = schema(project, command);
    if let Err(why) = check(facts, &schema, &schema, command) {
        panic!("{why}\n{facts:#}");
    }
}

const PIPELINE: &str = "axes: {n: [1, 2]}
vars: {word: one}
stages:
  a: {command: {run: 'echo ${axis.n} ${var.word} > ${out.x}', outputs: {x: x}}}
  b: {command: {run: 'cat ${a.x} > ${out.x}; echo b >&2', outputs: {x: x, y: x}}}
  t: {train: {algorithm: supervised, labeled: p.yaml, test: p.yaml, seed: '${axis.n}'}}
";

#[test]
fn every_command_that_prints_facts_prints_what_its_schema_says() {
    let project = Project::new(
        &PIPELINE
            .replace("y: x", "y: y")
            .replace("${out.x}; echo b", "${out.x}; cp ${out.x} ${out.y}; echo b"),
    );
    let trainer =
        project.trainer("mkdir -p $run; echo '{\"metrics\": {\"accuracy\": 9'$$'}}' > report.json");
    let run = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        Ran::of(&command.env("REMATCH_TRAIN", &trainer).output().unwrap())
    };
    let facts = |arguments: &[&str]| {
        let ran = run(&[arguments, &["--json"]].concat());
        let json = serde_json::from_str(&ran.stdout);
        let json: Value = json.unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", ran.stderr));
        conforms(&project, &json, arguments[0]);
        json
    };
    // Never ran; waits.
    facts(&["plan", "p.yaml"]);
    facts(&["explain", "p.yaml", "a[n=1]"]);
    facts(&["explain", "p.yaml", "b[n=1]"]);
    facts(&["history"]);
    run(&["run", "p.yaml"]).code(0);
    run(&["run", "p.yaml", "--set", "word=two"]).code(0);
    // Changed; fresh; forced; lost.
    let plan = facts(&["plan", "p.yaml", "--set", "word=three"]);
    assert!(plan.to_string().contains("\"changed\""), "{plan}");
    facts(&["plan", "p.yaml", "--set", "word=two"]);
    let dry = run(&["run", "p.yaml", "--force", "--dry-run", "--json"]).code(0);
    conforms(&project, &dry.json(), "plan");
    facts(&["status"]);
    facts(&["explain", "a[n=1]"]);
    facts(&["explain", "p.yaml", "a[n=1]", "--set", "word=three"]);
    facts(&["out", "b[n=1]"]);
    facts(&["log", "b[n=1]"]);
    facts(&["history"]);
    facts(&["diff", "last~1", "last"]);
    facts(&["gc", "--dry-run"]);
    facts(&["fsck"]);
    project.file(".rematch/mine", "");
    facts(&["fsck", "--quick"]);
    facts(&["diff", "last", "now", "--set", "word=three"]);
    facts(&["diff", "t[n=1]", "t[n=2]"]);
    record_file(&project, "records");
    facts(&["inspect", "records"]);
    facts(&["graph"]);
    facts(&["graph", "--all"]);
    facts(&["stages"]);
    facts(&["stages", "train"]);
    facts(&["doctor"]);
    for folder in [".rematch/entries", ".rematch/objects"] {
        std::fs::remove_dir_all(project.path(folder)).unwrap();
        std::fs::create_dir(project.path(folder)).unwrap();
    }
    let lost = facts(&["plan"]);
    assert!(lost.to_string().contains("\"lost\""), "{lost}");
    facts(&["diff", "last~1", "last"]);
    facts(&["gc", "--dry-run"]);
    facts(&["fsck"]);
    project.file(".rematch/mine", "");
    facts(&["fsck", "--quick"]);
}

#[test]
fn every_command_prints_facts_or_is_known_not_to() {
    let project = Project::new("stages: {}\n");
    let help = project.run(&["--help"]).stdout;
    let commands = help
        .lines()
        .filter(|line| line.starts_with("  ") && line.as_bytes()[2].is_ascii_lowercase())
        .map(|line| line.split_whitespace().next().unwrap());
    for command in commands.filter(|c| !["schema", "completions", "man"].contains(c)) {
        schema(&project, command);
    }
    project
        .run(&["schema", "man"])
        .code(2)
        .says("no command `man` prints facts");
}

#[test]
fn every_event_of_a_run_is_what_its_schema_says() {
    let project = Project::new(
        "stages:
  a: {command: {run: 'echo > ${out.x}', outputs: {x: x}}}
  f: {command: {run: 'cat ${a.x}; exit 74', outputs: {x: x}}, retries: 1}
  t: {train: {algorithm: supervised, labeled: p.yaml, test: p.yaml}}
  s: {command: {run: 'cat ${a.x} > COUNT; echo >> COUNT; sleep 60', outputs: {x: x}}}
",
    );
    let trainer = project.trainer(
        "mkdir -p $run; echo '{\"event\":\"progress\",\"done\":1,\"total\":2,\"unit\":\"steps\"}'; echo '{\"event\":\"metrics\",\"values\":{\"loss\":1.5}}'; echo '{\"event\":\"note\",\"text\":\"n\"}'; echo '{\"event\":\"warning\",\"text\":\"w\"}'",
    );
    let mut seen = BTreeSet::new();
    let schema = schema(&project, "run");
    let mut read = |stdout: &str| {
        for line in stdout.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            if let Err(why) = check(&event, &schema, &schema, "event") {
                panic!("{why}\n{event:#}");
            }
            seen.insert(event["event"].as_str().unwrap().to_owned());
        }
    };
    let run = |jobs: &[&str]| {
        let mut command = project.command(&["run", "p.yaml", "--json"]);
        command.args(jobs).env("REMATCH_TRAIN", &trainer);
        command
    };
    for jobs in [&["a"][..], &["t"], &["f"]] {
        read(&String::from_utf8(run(jobs).output().unwrap().stdout).unwrap());
    }
    let child = run(&["s"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the job", || written(&project.path("count")));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    read(&String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap());
    let all = [
        "finished",
        "fresh",
        "job_done",
        "job_failed",
        "job_says",
        "job_started",
        "job_stopped",
        "started",
        "stopping",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all);
}
