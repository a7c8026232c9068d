//! `rematch status`: how many jobs of every stage are up to date.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{Global, Selection};
use crate::commands::{Project, print_json, print_line};
use crate::error::Result;
use crate::freshness::Verdict;
use crate::style::Style;

#[derive(Default)]
struct Row {
    stage: String,
    fresh: usize,
    run: usize,
    wait: usize,
    why: Option<String>,
}

pub fn exec(global: &Global, selection: &Selection) -> Result<ExitCode> {
    let project = Project::open(global, selection)?;
    let verdicts = project
        .freshness(&project.wanted)?
        .look_at_all(&project.wanted)?;
    let mut rows: Vec<Row> = Vec::new();
    for (job, verdict) in verdicts {
        if !project.may_run.contains(&job) {
            continue;
        }
        let stage = project.plan.stage(job);
        let index = rows
            .iter()
            .position(|row| row.stage == *stage)
            .unwrap_or_else(|| {
                rows.push(Row {
                    stage: stage.to_owned(),
                    ..Row::default()
                });
                rows.len() - 1
            });
        let row = &mut rows[index];
        match verdict {
            Verdict::Fresh { .. } => row.fresh += 1,
            Verdict::Run(_, why) => {
                row.run += 1;
                row.why.get_or_insert_with(|| why.summary());
            }
            Verdict::Waits => row.wait += 1,
        }
    }
    if global.json {
        let stages: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "stage": row.stage, "fresh": row.fresh, "to_run": row.run, "waiting": row.wait, "why": row.why }))
            .collect();
        print_json(&json!({ "pipeline": project.plan.pipeline().name, "stages": stages }));
        return Ok(ExitCode::SUCCESS);
    }
    let style = Style::of(&std::io::stdout());
    let width = rows
        .iter()
        .map(|row| row.stage.chars().count())
        .max()
        .unwrap_or(0)
        .max(5);
    print_line(&style.dim(&format!(
        "{:width$}  {:>7}  {:>7}  {:>7}",
        "stage", "fresh", "to run", "waiting"
    )));
    for row in &rows {
        let Row {
            stage,
            fresh,
            run,
            wait,
            why,
        } = row;
        let why = why
            .as_ref()
            .map_or_else(String::new, |why| format!("  {}", style.dim(why)));
        let mark = if run + wait == 0 {
            style.green(&format!("{fresh:>7}"))
        } else {
            format!("{fresh:>7}")
        };
        let dash = |n: &usize| {
            if *n == 0 {
                "·".to_owned()
            } else {
                n.to_string()
            }
        };
        print_line(&format!(
            "{stage:width$}  {mark}  {:>7}  {:>7}{why}",
            dash(run),
            dash(wait)
        ));
    }
    let (fresh, rest) = rows.iter().fold((0, 0), |(fresh, rest), row| {
        (fresh + row.fresh, rest + row.run + row.wait)
    });
    print_line(&if rest == 0 {
        format!("all {fresh} jobs are up to date")
    } else {
        format!(
            "{rest} of {} jobs are not up to date; `rematch plan` says why",
            fresh + rest
        )
    });
    Ok(ExitCode::SUCCESS)
}
