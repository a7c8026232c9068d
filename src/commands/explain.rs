//! `rematch explain`: which field of a job's key changed, old and new.

use std::process::ExitCode;

use rematch_spec::kind::StageKind;
use serde_json::{Value, json};

use crate::cli::{Global, OneJob};
use crate::commands::{Project, print_json, print_line};
use crate::error::Result;
use crate::freshness::{Verdict, Why, verdicts};
use crate::style::Style;

pub fn exec(global: &Global, job: &OneJob) -> Result<ExitCode> {
    let (project, index) = Project::open_job(global, job)?;
    let job = &project.plan.graph[index];
    let verdicts = verdicts(&project.plan, &project.store)?;
    let verdict = &verdicts[index.index()];
    if global.json {
        let (state, key, why) = match verdict {
            Verdict::Fresh(key, _) => ("fresh", Some(key), None),
            Verdict::Run(key, why) => ("runs", Some(key), Some(why)),
            Verdict::Waits => ("waits", None, None),
        };
        let id = key.map(|key| key.id().0.to_string());
        print_json(&json!({ "job": job.name, "state": state, "id": id, "key": key, "why": why }));
        return Ok(ExitCode::SUCCESS);
    }
    let style = Style::of(&std::io::stdout());
    match verdict {
        Verdict::Fresh(key, entry) => {
            let made = &entry.provenance;
            print_line(&format!(
                "{} is {}",
                style.bold(&job.name),
                style.green("up to date")
            ));
            let took = crate::progress::duration(std::time::Duration::from_secs_f64(
                made.seconds.max(0.0),
            ));
            print_line(&format!(
                "  made on {} in {took} by rematch {}",
                made.host, made.rematch
            ));
            print_line(&format!("  key {}", key.id().0));
        }
        Verdict::Run(key, why) => {
            print_line(&format!(
                "{} must {}",
                style.bold(&job.name),
                style.yellow("run")
            ));
            match why {
                Why::Changed { changes } => {
                    for change in changes {
                        let default = default_of(job.declaration.kind, &change.field);
                        print_line(&format!("  {}", style.bold(&change.field)));
                        print_line(&format!(
                            "    {} {}",
                            style.red("old"),
                            show(change.old.as_ref(), default.as_ref())
                        ));
                        print_line(&format!(
                            "    {} {}",
                            style.green("new"),
                            show(change.new.as_ref(), default.as_ref())
                        ));
                    }
                }
                other => print_line(&format!("  {}", other.summary())),
            }
            print_line(&format!("  key {}", key.id().0));
        }
        Verdict::Waits => {
            print_line(&format!(
                "{} waits for what it reads:",
                style.bold(&job.name)
            ));
            for other in project.plan.with_upstream(&[index].into()) {
                if let Verdict::Run(_, why) = &verdicts[other.index()] {
                    print_line(&format!(
                        "  {} must run ({})",
                        project.plan.graph[other].name,
                        why.summary()
                    ));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The default of a parameter that stands at the top of the parameters.
fn default_of(kind: &StageKind, field: &str) -> Option<Value> {
    let name = field.strip_prefix("params.")?;
    kind.schema()["properties"][name].get("default").cloned()
}

fn show(value: Option<&Value>, default: Option<&Value>) -> String {
    match (value, default) {
        (None, Some(default)) if !default.is_null() => {
            format!("{} (the default)", show(Some(default), None))
        }
        (None, _) => "(not set)".into(),
        (Some(Value::String(text)), _) => text.clone(),
        (Some(other), _) => other.to_string(),
    }
}
