//! `rematch plan`: what would run, and why.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use petgraph::graph::NodeIndex;

use serde_json::{Value, json};

use crate::cli::{Global, Selection};
use crate::commands::{Project, print_json, print_line, size};
use crate::error::Result;
use crate::estimate::Estimate;
use crate::facts::StageCost;
use crate::freshness::{Verdict, Why};
use crate::plan::Plan;
use crate::progress::duration;
use crate::slots::Machine;
use crate::style::Style;

/// More lines than this of one stage say nothing new to a person.
const LINES_PER_STAGE: usize = 20;

pub fn exec(global: &Global, selection: &Selection, force: bool) -> Result<ExitCode> {
    let project = Project::open(global, selection)?;
    let plan = &project.plan;
    let mut freshness = project.freshness(&project.wanted)?;
    let verdicts = freshness.look_at_all(&project.wanted)?;
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
    let to_run = jobs.iter().filter(|(_, state, _)| *state != "fresh");
    let to_run: BTreeSet<NodeIndex> = to_run.map(|(job, ..)| *job).collect();
    let costs = costs(plan, &Estimate::new(plan, &freshness, &to_run), &to_run)?;
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
        print_json(&json!({ "pipeline": plan.pipeline().name, "jobs": list, "costs": costs }));
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
    if !costs.is_empty() {
        print_line(&in_words(&costs));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the jobs to run will cost, stage by stage. Jobs of a stage need alike.
fn costs(plan: &Plan, estimate: &Estimate, jobs: &BTreeSet<NodeIndex>) -> Result<Vec<StageCost>> {
    let machine = Machine::here();
    let mut costs = Vec::new();
    for (name, stage) in estimate.stages() {
        let mut gpus = 0.0;
        if let Some(job) = jobs.iter().find(|job| plan.stage(**job) == name) {
            let job = plan.job(*job)?;
            gpus = machine.gpus_for(job.declaration.kind.program, &job.needs);
        }
        let (count, seconds) = (stage.left as f64, stage.seconds());
        costs.push(StageCost {
            stage: name.to_owned(),
            jobs: stage.left,
            seconds: seconds.map(|seconds| seconds * count),
            gpu_hours: seconds.map(|seconds| seconds * count * gpus / 3600.0),
            bytes: seconds.map(|_| stage.bytes() * count),
        });
    }
    Ok(costs)
}

/// `about 3 h of work: train 3 h, split 2 min; 3.0 GPU hours; 1.2 GB of results`.
fn in_words(costs: &[StageCost]) -> String {
    let time = |seconds: f64| duration(Duration::from_secs_f64(seconds.clamp(0.0, 1e12)));
    let sum = |of: fn(&StageCost) -> Option<f64>| costs.iter().filter_map(of).sum::<f64>();
    let mut known: Vec<(&str, f64)> = costs
        .iter()
        .filter_map(|cost| Some((cost.stage.as_str(), cost.seconds?)))
        .collect();
    known.sort_by(|a, b| b.1.total_cmp(&a.1));
    let unknown: Vec<&str> = costs
        .iter()
        .filter(|cost| cost.seconds.is_none())
        .map(|cost| cost.stage.as_str())
        .collect();
    let mut words = Vec::new();
    if !known.is_empty() {
        let total = time(sum(|cost| cost.seconds));
        let parts = known
            .iter()
            .take(3)
            .map(|(stage, s)| format!("{stage} {}", time(*s)));
        words.push(format!(
            "about {total} of work ({})",
            parts.collect::<Vec<_>>().join(", ")
        ));
        let gpu_hours = sum(|cost| cost.gpu_hours);
        if gpu_hours > 0.0 {
            words.push(format!("{gpu_hours:.1} GPU hours"));
        }
        words.push(format!(
            "{} of results",
            size(sum(|cost| cost.bytes) as u64)
        ));
    }
    if !unknown.is_empty() {
        words.push(format!(
            "{} never ran here, so nobody knows",
            unknown.join(", ")
        ));
    }
    words.join("; ")
}
