//! `rematch history`: the last runs, or the jobs of one.

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rematch_cache::history::{RunEnd, RunRecord, RunState};
use rematch_cache::store::Store;

use crate::cli::Global;
use crate::commands::{print_json, print_line, runs, say, size, store_path};
use crate::error::{Error, Result};
use crate::facts;
use crate::launch::unix_time;
use crate::progress::duration;
use crate::style::Style;

pub fn exec(global: &Global, run: Option<&str>, number: usize) -> Result<ExitCode> {
    let store = Store::open_existing(&store_path(global))?;
    let runs = match &store {
        Some(store) => store.runs()?,
        None => Vec::new(),
    };
    if let Some(word) = run {
        let run = runs::find(&runs, word)?.ok_or_else(|| {
            Error::absent(format!("there is no run `{word}`"))
                .help("`rematch history` lists the runs")
        })?;
        let store = store.as_ref().ok_or_else(|| runs::no_list(run))?;
        return show_jobs(global, store, run);
    }
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
    print_table(&rows, 4..=7, |row| {
        !matches!(row[8].as_str(), "done" | "running")
    });
    Ok(ExitCode::SUCCESS)
}

/// The jobs of a run with what they took.
fn show_jobs(global: &Global, store: &Store, run: &RunRecord) -> Result<ExitCode> {
    let mut jobs = Vec::new();
    for record in runs::jobs(store, run)? {
        let entry = record.key.map(|key| store.get(&key)).transpose()?.flatten();
        let made = entry.map(|entry| entry.provenance);
        jobs.push(facts::RunJob {
            job: record.job,
            state: record.state.into(),
            key: record.key.map(|key| key.0.to_string()),
            seconds: record.seconds,
            cpu_seconds: made.as_ref().and_then(|made| made.cpu_seconds),
            peak_memory: made.and_then(|made| made.peak_memory),
        });
    }
    if global.json {
        let run = facts::Run {
            jobs: Some(jobs),
            ..run_facts(run)
        };
        print_json(&facts::History { runs: vec![run] });
        return Ok(ExitCode::SUCCESS);
    }
    let time = |seconds: f64| duration(Duration::from_secs_f64(seconds.max(0.0)));
    let mut rows = vec![["", "took", "CPU", "memory", "job"].map(str::to_owned)];
    rows.extend(jobs.into_iter().map(|job| {
        let ran = job.state == facts::RunJobState::Ran;
        let dot = || "·".to_owned();
        [
            job_in_words(job.state).to_owned(),
            if ran { time(job.seconds) } else { dot() },
            job.cpu_seconds.map_or_else(dot, time),
            job.peak_memory.map_or_else(dot, size),
            job.job,
        ]
    }));
    print_table(&rows, 1..=3, |row| {
        row[0] == "failed" || row[0] == "stopped"
    });
    Ok(ExitCode::SUCCESS)
}

fn job_in_words(state: facts::RunJobState) -> &'static str {
    match state {
        facts::RunJobState::Ran => "ran",
        facts::RunJobState::Fresh => "fresh",
        facts::RunJobState::Failed => "failed",
        facts::RunJobState::Stopped => "stopped",
        facts::RunJobState::Skipped => "not started",
    }
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

/// Prints lines of cells under their head; numbers and times stand at the right, lines of `trouble` are yellow.
fn print_table<const N: usize>(
    rows: &[[String; N]],
    right: RangeInclusive<usize>,
    trouble: impl Fn(&[String; N]) -> bool,
) {
    let style = Style::of(&std::io::stdout());
    let mut widths = [0; N];
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
            .map(|(column, (cell, width))| {
                if right.contains(&column) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:width$}")
                }
            })
            .collect();
        let line = cells.join("  ");
        let line = line.trim_end();
        print_line(&match n {
            0 => style.dim(line),
            _ if trouble(row) => style.yellow(line),
            _ => line.to_owned(),
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
        jobs: None,
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
