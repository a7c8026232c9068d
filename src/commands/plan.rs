//! `rematch plan`: what would run, and why.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{Global, Selection};
use crate::commands::{Project, print_json, print_line};
use crate::error::Result;
use crate::freshness::{Verdict, Why};
use crate::style::Style;

/// More lines than this of one stage say nothing new to a person.
const LINES_PER_STAGE: usize = 20;

pub fn exec(global: &Global, selection: &Selection, force: bool) -> Result<ExitCode> {
    let project = Project::open(global, selection)?;
    let plan = &project.plan;
    let verdicts = project
        .freshness(&project.wanted)?
        .look_at_all(&project.wanted)?;
    let mut jobs = Vec::new();
    for (job, verdict) in verdicts {
        let forced = force && project.selected.contains(&job);
        let (state, why) = match verdict {
            Verdict::Waits => ("waits", None),
            _ if forced => ("runs", Some(Why::Forced)),
            Verdict::Fresh { .. } => ("fresh", None),
            Verdict::Run(_, why) => ("runs", Some(why)),
        };
        if project.may_run.contains(&job) {
            jobs.push((job, state, why));
        }
    }
    if global.json {
        let list: Vec<Value> = jobs
            .iter()
            .map(|(job, state, why)| {
                let point: serde_json::Map<String, Value> = plan
                    .labels(*job)
                    .map(|(axis, label)| (axis.to_owned(), json!(label)))
                    .collect();
                json!({ "job": plan.name(*job), "stage": plan.stage(*job), "point": point, "state": state, "why": why })
            })
            .collect();
        print_json(&json!({ "pipeline": plan.pipeline().name, "jobs": list }));
        return Ok(ExitCode::SUCCESS);
    }
    let style = Style::of(&std::io::stdout());
    let count = |state: &str| jobs.iter().filter(|(_, s, _)| *s == state).count();
    let (runs, waits, fresh) = (count("runs"), count("waits"), count("fresh"));
    let mut stages: Vec<&str> = jobs.iter().map(|(job, ..)| plan.stage(*job)).collect();
    stages.dedup();
    for stage in stages {
        let of = |wish: &'static str| {
            jobs.iter()
                .filter(move |(job, s, _)| plan.stage(*job) == stage && *s == wish)
        };
        for (job, _, why) in of("runs").take(LINES_PER_STAGE) {
            let why = why.as_ref().map_or_else(String::new, Why::summary);
            print_line(&format!(
                "{} {} {}",
                style.bold("run "),
                plan.name(*job),
                style.dim(&format!("({why})"))
            ));
        }
        let rest = of("runs").count().saturating_sub(LINES_PER_STAGE);
        if rest > 0 {
            print_line(&style.dim(&format!(
                "     … and {rest} more of {stage}; --json lists all"
            )));
        }
        let first = of("waits").next();
        if let Some((job, ..)) = first {
            let count = of("waits").count();
            let name = if count == 1 {
                plan.name(*job)
            } else {
                format!("{stage}, {count} jobs")
            };
            print_line(&format!(
                "{} {name} {}",
                style.dim("then"),
                style.dim("(unless what they read turns out the same)")
            ));
        }
    }
    print_line(&if runs + waits == 0 {
        format!("nothing to do: all {fresh} jobs are up to date")
    } else {
        format!("{runs} to run, {waits} after them, {fresh} up to date")
    });
    Ok(ExitCode::SUCCESS)
}
