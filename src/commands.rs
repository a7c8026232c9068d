//! One file per command; here is what they share: the project, the printer, the pipeline of the last run.

mod doctor;
mod explain;
mod graph;
mod log;
mod plan;
mod run;
mod stages;
mod status;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use petgraph::graph::NodeIndex;
use rematch_cache::store::Store;
use serde_json::{Value, json};

use crate::cli::{Cli, Command, Global, OneJob, Selection};
use crate::error::{Error, Result};
use crate::language;
use crate::pattern;
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::results::Results;
use crate::style::Style;

/// Runs a command.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Run {
            selection,
            jobs,
            force,
            keep_going,
            dry_run,
        } => {
            let flags = run::Flags {
                jobs,
                force,
                keep_going,
            };
            if dry_run {
                plan::exec(&global, &selection, force)
            } else {
                run::exec(&global, &selection, &flags)
            }
        }
        Command::Plan { selection } => plan::exec(&global, &selection, false),
        Command::Status { selection } => status::exec(&global, &selection),
        Command::Explain { job } => explain::exec(&global, &job),
        Command::Log { job } => log::exec(&global, &job),
        Command::Graph {
            selection,
            format,
            all,
        } => graph::exec(&global, &selection, format, all),
        Command::Stages { kind, markdown } => stages::exec(&global, kind.as_deref(), markdown),
        Command::Schema => {
            print_json(&language::schema());
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor => doctor::exec(&global),
        Command::Stage { job_file } => {
            let code = rematch_data::child::run(&job_file, rematch_data::stages::run);
            Ok(ExitCode::from(code.clamp(0, 255) as u8))
        }
    }
}

/// A pipeline, read and expanded, with the store that knows its results.
struct Project {
    plan: Plan,
    store: Store,
    /// In place of a store, where there is none and nothing is to be kept.
    scratch: Option<tempfile::TempDir>,
    results: Results,
    pipeline: PathBuf,
    settings: Vec<(String, String)>,
    selected: BTreeSet<NodeIndex>,
}

impl Project {
    /// For looking: a store is not created where there is none.
    fn open(global: &Global, selection: &Selection) -> Result<Self> {
        let path = store_path(global);
        if let Some(store) = Store::open_existing(&path)? {
            return Self::with(global, selection, store, None);
        }
        let scratch = tempfile::tempdir()
            .map_err(|e| Error::system(format!("cannot create a temporary folder: {e}")))?;
        let store = Store::open(&scratch.path().join("store"))?;
        Self::with(global, selection, store, Some(scratch))
    }

    /// For running.
    fn create(global: &Global, selection: &Selection) -> Result<Self> {
        // What is wrong with the pipeline is said before anything is created.
        let mut project = Self::open(global, selection)?;
        if project.scratch.is_some() {
            project.store = Store::open(&store_path(global))?;
            project.scratch = None;
        }
        Ok(project)
    }

    fn with(
        global: &Global,
        selection: &Selection,
        store: Store,
        scratch: Option<tempfile::TempDir>,
    ) -> Result<Self> {
        let mut settings = selection.changes.settings.clone();
        let mut patterns = selection.patterns.clone();
        // The first word is a pipeline or, where it cannot be one, a pattern.
        let named = selection.pipeline.as_ref().filter(|path| {
            let yaml = path
                .extension()
                .is_some_and(|ending| ending == "yaml" || ending == "yml");
            yaml || path.exists()
        });
        if let (None, Some(pattern)) = (named, &selection.pipeline) {
            patterns.insert(0, pattern.to_string_lossy().into_owned());
        }
        let pipeline = match named {
            Some(path) => path.clone(),
            None => {
                let (path, used) = last_pipeline(&store)?;
                if settings.is_empty() {
                    settings = used;
                }
                path
            }
        };
        let read = Pipeline::read(&pipeline, &settings)?;
        let plan = Plan::new(&read)?;
        let style = Style::of(&std::io::stderr());
        for warning in &plan.warnings {
            say(&format!("{} {warning}", style.yellow("warning:")));
        }
        let results = Results::new(
            &global
                .out
                .clone()
                .unwrap_or_else(|| project_root().join("out")),
            &plan.pipeline,
        );
        let selected = pattern::select(&plan, &patterns)?;
        Ok(Self {
            plan,
            store,
            scratch,
            results,
            pipeline,
            settings,
            selected,
        })
    }

    /// The project and the one job that is named.
    fn open_job(global: &Global, job: &OneJob) -> Result<(Self, NodeIndex)> {
        let (pipeline, name) = match &job.job[..] {
            [pipeline, name] => (Some(PathBuf::from(pipeline)), name),
            [name, ..] => (None, name),
            [] => return Err(Error::usage("which job?")),
        };
        let selection = Selection {
            pipeline,
            patterns: Vec::new(),
            changes: job.changes.clone(),
        };
        let project = Self::open(global, &selection)?;
        let job = pattern::one(&project.plan, name)?;
        Ok((project, job))
    }

    /// Notes in the store's history that a run begins, so that later commands know its pipeline.
    fn note_run(&self) -> Result<()> {
        let path = std::path::absolute(&self.pipeline).unwrap_or_else(|_| self.pipeline.clone());
        let record = json!({
            "time": crate::launch::unix_time(),
            "pipeline": path.to_string_lossy(),
            "name": self.plan.pipeline,
            "set": self.settings,
        });
        Ok(self.store.append_history(&record)?)
    }
}

fn store_path(global: &Global) -> PathBuf {
    global
        .store
        .clone()
        .unwrap_or_else(|| project_root().join(".rematch"))
}

/// The pipeline of the last run, with its `--set`.
fn last_pipeline(store: &Store) -> Result<(PathBuf, Vec<(String, String)>)> {
    let last = store.history()?.pop();
    let path = last.as_ref().and_then(|record| record["pipeline"].as_str());
    let Some(path) = path else {
        let error = Error::usage("which pipeline? None has run in this project yet");
        return Err(error.help("name its file, such as pipelines/quickstart.yaml"));
    };
    let settings = last
        .as_ref()
        .and_then(|record| serde_json::from_value(record["set"].clone()).ok());
    Ok((PathBuf::from(path), settings.unwrap_or_default()))
}

/// The nearest folder from here upwards with a store in it, else with a git repository, else this one.
fn project_root() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    for mark in [".rematch", ".git"] {
        if let Some(root) = here.ancestors().find(|folder| folder.join(mark).exists()) {
            return root.to_owned();
        }
    }
    here
}

/// Prints a line of facts on standard output. A reader that went away ends the program quietly.
fn print_line(text: &str) {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            say(&format!("error: cannot write to standard output: {e}"));
            std::process::exit(3);
        }
    }
}

/// Prints a line for people on standard error. Where nobody can read it, the work goes on.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn print_json(value: &Value) {
    print_line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A path as a person would type it from here.
fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}
