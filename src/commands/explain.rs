//! `rematch explain`: which field of a job's key changed, old and new.

use std::process::ExitCode;
use std::time::Duration;

use rematch_spec::kind::StageKind;
use serde_json::{Value, json};

use crate::cli::{Global, OneJob};
use crate::commands::{Project, print_json, print_line, size};
use crate::error::Result;
use crate::freshness::{Verdict, Why};
use crate::progress::duration;
use crate::style::Style;

pub fn exec(global: &Global, job: &OneJob) -> Result<ExitCode> {
    let (project, index) = Project::open_job(global, job)?;
    let job = &project.plan.job(index)?;
    let wanted = project.plan.with_upstream(&[index].into());
    let mut freshness = project.freshness(&wanted)?;
    let mut verdicts = freshness.look_at_all(&wanted)?;
    let Some((_, verdict)) = verdicts.pop() else {
        return Ok(ExitCode::SUCCESS);
    };
    if global.json {
        let (state, key, why) = match verdict {
            Verdict::Fresh { .. } => ("fresh", Some(freshness.key(job)?), None),
            Verdict::Run(key, why) => ("runs", Some(*key), Some(why)),
            Verdict::Waits => ("waits", None, None),
        };
        let id = key.as_ref().map(|key| key.id().0.to_string());
        print_json(&json!({ "job": job.name, "state": state, "id": id, "key": key, "why": why }));
        return Ok(ExitCode::SUCCESS);
    }
    let style = Style::of(&std::io::stdout());
    match verdict {
        Verdict::Fresh { id, .. } => {
            print_line(&format!(
                "{} is {}",
                style.bold(&job.name),
                style.green("up to date")
            ));
            if let Some(entry) = project.store.get(&id)? {
                let made = &entry.provenance;
                let took = Duration::from_secs_f64(made.seconds.max(0.0));
                let memory = made
                    .peak_memory
                    .map(|peak| format!(", with {} of memory", size(peak)));
                print_line(&format!(
                    "  made on {} in {}{} by rematch {}",
                    made.host,
                    duration(took),
                    memory.unwrap_or_default(),
                    made.rematch
                ));
            }
            print_line(&format!("  key {}", id.0));
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
            for (other, verdict) in &verdicts {
                if let Verdict::Run(_, why) = verdict {
                    print_line(&format!(
                        "  {} must run ({})",
                        project.plan.name(*other),
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
