//! `rematch run`.

use std::collections::{BTreeSet, HashMap};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use petgraph::graph::NodeIndex;
use rematch_cache::Digest;
use rematch_cache::history::{RunEnd, RunStart, RunState};
use rematch_cache::store::Store;
use rematch_spec::shell::Quotes;

use crate::cli::{Global, Selection};
use crate::commands::{Project, print_line, say, short};
use crate::engine::{Engine, Outcome, Settings, listen_for_signals, programs};
use crate::error::{Error, Result};
use crate::executor::local::Local;
use crate::progress::json::Json;
use crate::progress::live::Live;
use crate::progress::plain::Plain;
use crate::progress::{Progress, Summary};
use crate::slots::{Machine, Slots};
use crate::style::Style;

/// Results of more jobs of one stage than this are not printed.
const MANY: usize = 20;
/// So many jobs are named in an error.
const FEW: usize = 5;

/// Flags of this command alone.
pub struct Flags {
    pub jobs: Option<u16>,
    pub force: bool,
    pub keep_going: bool,
}

pub fn exec(global: &Global, selection: &Selection, flags: &Flags) -> Result<ExitCode> {
    let started = Instant::now();
    let project = Project::create(global, selection)?;
    let _lease = project.store.lease(|who| {
        say(&format!("waiting for {who}, which has the store alone"));
    })?;
    let start = project.run_start();
    let run = project.store.begin_run(&start)?;
    let (light, trainer) = programs()?;
    let machine = Machine::here();
    let jobs = flags.jobs.map_or(machine.cpus, usize::from);
    let nothing = BTreeSet::new();
    let settings = Settings {
        wanted: &project.wanted,
        may_run: &project.may_run,
        force: if flags.force {
            &project.selected
        } else {
            &nothing
        },
        keep_going: flags.keep_going,
        started,
        light: light.clone(),
        trainer,
    };
    let style = Style::of(&std::io::stderr());
    let mut progress: Box<dyn Progress> = match (global.json, std::io::stderr().is_terminal()) {
        (true, _) => Box::new(Json),
        (false, true) => Box::new(Live::new(style)),
        (false, false) => Box::new(Plain::new(style)),
    };
    let engine = Engine::new(
        &project.plan,
        &project.store,
        &project.results,
        settings,
        Slots::new(machine, project.plan.pipeline().pools.clone(), jobs),
        Local::guarded(&light),
        &mut *progress,
    )?;
    listen_for_signals(engine.ear())?;
    let Outcome { summary, jobs } = engine.run()?;
    project.store.sync()?;
    let code = exit_code(&summary);
    run.end(&RunEnd {
        ran: summary.ran,
        fresh: summary.fresh,
        failed: summary.failed.len(),
        stopped: summary.stopped.len(),
        skipped: summary.skipped,
        seconds: summary.seconds,
        exit: code,
        jobs: match jobs {
            Some(jobs) => Some(project.store.keep_job_list(jobs)?),
            None => jobs_of_last_run(&project.store, &start)?,
        },
    })?;
    if summary.failed.is_empty() && !summary.interrupted && !summary.barred.is_empty() {
        return Err(not_selected(&summary.barred));
    }
    if !global.json {
        show_results(&project, &summary);
        advise(&project, &summary);
    }
    Ok(ExitCode::from(code))
}

/// The list of jobs of the last run of the same jobs: one that finds nothing to do has the same.
fn jobs_of_last_run(store: &Store, start: &RunStart) -> Result<Option<Digest>> {
    let runs = store.runs()?;
    let mut lists = runs
        .iter()
        .rev()
        .filter(|run| run.start == *start)
        .map(|run| &run.state);
    Ok(lists.find_map(|state| match state {
        RunState::Ended(end) => end.jobs,
        _ => None,
    }))
}

fn exit_code(summary: &Summary) -> u8 {
    if !summary.failed.is_empty() {
        1
    } else if summary.interrupted {
        130
    } else {
        u8::from(!summary.barred.is_empty())
    }
}

/// Says of which jobs the results are missing that the selected ones read.
fn not_selected(barred: &[String]) -> Error {
    let shown: Vec<&str> = barred.iter().take(FEW).map(String::as_str).collect();
    let more = match barred.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "what the selected jobs read is not there, or is not up to date: {}{more} must run first, and {} not selected",
        shown.join(", "),
        if barred.len() == 1 { "was" } else { "were" },
    );
    Error::absent(message).help("select these, too, or leave out --only or --downstream")
}

/// Prints the outputs that are made to be read, of the selected jobs that have them; nobody reads those of a stage
/// with many jobs.
fn show_results(project: &Project, summary: &Summary) {
    if !summary.failed.is_empty() || summary.interrupted {
        return;
    }
    let mut stages: HashMap<&str, Vec<NodeIndex>> = HashMap::new();
    for job in &project.selected {
        stages
            .entry(project.plan.stage(*job))
            .or_default()
            .push(*job);
    }
    let few: BTreeSet<NodeIndex> = stages
        .into_values()
        .filter(|jobs| jobs.len() <= MANY)
        .flatten()
        .collect();
    for job in few {
        let Ok(job) = project.plan.job(job) else {
            continue;
        };
        for output in job.declaration.outputs.iter().filter(|output| output.show) {
            let path = project.results.path(&job, output);
            if let Ok(text) = std::fs::read_to_string(&path) {
                print_line(&format!("\n{}", text.trim_end()));
            }
        }
    }
}

/// Says where the results are, or how to go on.
fn advise(project: &Project, summary: &Summary) {
    if summary.interrupted && summary.failed.is_empty() {
        let words = std::env::args().skip(1);
        let command: Vec<String> = words.map(|word| Quotes::None.write(&word)).collect();
        say(&format!(
            "to go on where it stopped: rematch {}",
            command.join(" ")
        ));
    } else if summary.failed.is_empty() {
        say(&format!("results: {}", short(project.results.root())));
    }
}
