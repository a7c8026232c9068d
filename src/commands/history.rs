//! `rematch history`: the last runs.

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rematch_cache::history::{RunEnd, RunRecord, RunState};
use rematch_cache::store::Store;

use crate::cli::Global;
use crate::commands::{print_json, print_line, say, store_path};
use crate::error::Result;
use crate::facts;
use crate::launch::unix_time;
use crate::progress::duration;
use crate::style::Style;

pub fn exec(global: &Global, number: usize) -> Result<ExitCode> {
    let runs = match Store::open_existing(&store_path(global))? {
        Some(store) => store.runs()?,
        None => Vec::new(),
    };
    let newest_first = runs.iter().rev().take(number);
    if global.json {
        print_json(&facts::History {
            runs: newest_first.map(run_facts).collect(),
        });
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        say("nothing ran in this project yet");
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "run", "when", "", "pipeline", "ran", "fresh", "failed", "took", "end", "",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(newest_first.map(row));
    print_table(&rows);
    Ok(ExitCode::SUCCESS)
}

/// A run as a line of cells, in the order of the head.
fn row(run: &RunRecord) -> [String; 10] {
    let (ran, fresh, failed, took) = match &run.state {
        RunState::Ended(end) => (
            end.ran.to_string(),
            end.fresh.to_string(),
            end.failed.to_string(),
            duration(Duration::from_secs_f64(end.seconds.max(0.0))),
        ),
        _ => ("·".into(), "·".into(), "·".into(), "·".into()),
    };
    let mut what = run.start.patterns.clone();
    what.extend(settings(run).into_iter().map(|set| format!("--set {set}")));
    [
        run.id.to_string(),
        local_time(run.started),
        ago(unix_time() - run.started),
        run.start.name.clone(),
        ran,
        fresh,
        failed,
        took,
        in_words(state(run)).to_owned(),
        what.join(" "),
    ]
}

fn print_table(rows: &[[String; 10]]) {
    let style = Style::of(&std::io::stdout());
    let mut widths = [0; 10];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for (n, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                // Numbers and times stand at the right.
                4..=7 => format!("{cell:>width$}"),
                _ => format!("{cell:width$}"),
            })
            .collect();
        let line = cells.join("  ");
        print_line(&match (n, row[8].as_str()) {
            (0, _) => style.dim(line.trim_end()),
            (_, "done" | "running") => line.trim_end().to_owned(),
            _ => style.yellow(line.trim_end()),
        });
    }
}

fn settings(run: &RunRecord) -> Vec<String> {
    let pairs = run.start.set.iter();
    pairs.map(|(key, value)| format!("{key}={value}")).collect()
}

fn state(run: &RunRecord) -> facts::RunState {
    match &run.state {
        RunState::Running => facts::RunState::Running,
        RunState::Killed => facts::RunState::Killed,
        RunState::Ended(RunEnd { exit: 0, .. }) => facts::RunState::Done,
        RunState::Ended(RunEnd { exit: 1, .. }) => facts::RunState::Failed,
        RunState::Ended(RunEnd { exit: 130, .. }) => facts::RunState::Stopped,
        RunState::Ended(_) => facts::RunState::Error,
    }
}

fn in_words(state: facts::RunState) -> &'static str {
    match state {
        facts::RunState::Done => "done",
        facts::RunState::Failed => "failed",
        facts::RunState::Stopped => "stopped",
        facts::RunState::Error => "error",
        facts::RunState::Running => "running",
        facts::RunState::Killed => "killed",
    }
}

fn run_facts(run: &RunRecord) -> facts::Run {
    let did = match &run.state {
        RunState::Ended(end) => Some(facts::RunCounts {
            ran: end.ran,
            fresh: end.fresh,
            failed: end.failed,
            stopped: end.stopped,
            skipped: end.skipped,
            seconds: end.seconds,
            exit: end.exit,
        }),
        _ => None,
    };
    facts::Run {
        id: run.id.to_string(),
        started: run.started,
        host: run.host.clone(),
        pipeline: run.start.pipeline.clone(),
        name: run.start.name.clone(),
        set: settings(run),
        patterns: run.start.patterns.clone(),
        state: state(run),
        did,
    }
}

/// `2026-11-24 11:33`, in the time zone of this machine.
fn local_time(seconds: f64) -> String {
    let time = Timestamp::from_second(seconds as i64).unwrap_or_default();
    let local = time.to_zoned_datetime(TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M").to_string()
}

/// `5 min ago`.
fn ago(seconds: f64) -> String {
    match seconds as u64 {
        0..60 => "just now".into(),
        s @ 60..3600 => format!("{} min ago", s / 60),
        s @ 3600..172_800 => format!("{} h ago", s / 3600),
        s => format!("{} days ago", s / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_past_read_well_also_where_the_clock_stepped_back() {
        let words = [-5.0, 59.0, 60.0, 7200.0, 200_000.0].map(ago);
        assert_eq!(
            words,
            ["just now", "just now", "1 min ago", "2 h ago", "2 days ago"]
        );
    }
}
