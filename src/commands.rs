//! One file per command; here is what they share: the project, the printer, the pipeline of the last run.

mod completions;
mod diff;
mod digest;
mod doctor;
mod explain;
mod fsck;
mod gauge;
mod gc;
mod graph;
mod history;
mod inspect;
mod log;
mod man;
mod out;
mod plan;
mod run;
mod runs;
mod schema;
mod stages;
mod status;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use petgraph::graph::NodeIndex;
use rematch_cache::entry::Entry;
use rematch_cache::history::RunStart;
use rematch_cache::lease::AloneLease;
use rematch_cache::mapped;
use rematch_cache::store::Store;
use serde::Serialize;

use crate::cli::{Cli, Command, Global, OneJob, Pipelines, Reach, Selection};
use crate::error::{Error, Result};
use crate::executor::guard;
use crate::freshness::{Freshness, Verdict};
use crate::pattern;
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::results::Results;
use crate::style::Style;

/// Runs a command.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let global = cli.global;
    if let Ok(program) = std::env::current_exe() {
        mapped::leave_large_files_to(program, "digest");
    }
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
        Command::Out {
            words,
            object,
            stale,
            changes,
        } => out::exec(&global, &words, object, stale, &changes),
        Command::Log { job } => log::exec(&global, &job),
        Command::History { run, number } => history::exec(&global, run.as_deref(), number),
        Command::Diff {
            a,
            b,
            pipeline,
            changes,
        } => diff::exec(&global, [&a, &b], pipeline, &changes),
        Command::Inspect {
            files,
            classes,
            sheet,
        } => inspect::exec(&global, &files, classes.as_deref(), sheet.as_deref()),
        Command::Graph {
            selection,
            format,
            all,
        } => graph::exec(&global, &selection, format, all),
        Command::Stages { kind, markdown } => stages::exec(&global, kind.as_deref(), markdown),
        Command::Schema { command, markdown } => schema::exec(command.as_deref(), markdown),
        Command::Gc {
            pipelines,
            runs,
            dry_run,
            forget_missing,
        } => {
            let flags = gc::Flags {
                pipelines,
                runs,
                dry_run,
                forget_missing,
            };
            gc::exec(&global, &flags)
        }
        Command::Fsck { heal, quick } => fsck::exec(&global, heal, quick),
        Command::Doctor => doctor::exec(&global),
        Command::Completions { shell } => Ok(completions::exec(shell)),
        Command::Man { folder } => man::exec(folder.as_deref()),
        Command::Digest => digest::exec(),
        Command::Guard => {
            guard::stand(std::io::stdin().lock());
            Ok(ExitCode::SUCCESS)
        }
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
    patterns: Vec<String>,
    /// The jobs that match, or what is meant instead (`--downstream`, `--upstream`).
    selected: BTreeSet<NodeIndex>,
    /// The jobs that may run: those selected with all that they need, unless that is left out (`--only`).
    may_run: BTreeSet<NodeIndex>,
    /// Those, and the jobs that they read from.
    wanted: BTreeSet<NodeIndex>,
}

/// The result of a job, as far as there is one.
enum Latest {
    /// That of its present key.
    Fresh(Box<Entry>),
    /// That of an earlier key, and why the job must run.
    Stale(Box<Entry>, String),
    /// Why there is none.
    Absent(String),
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
            project.plan.check()?;
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
        let named = selection
            .pipeline
            .as_ref()
            .filter(|path| may_be_pipeline(path));
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
        let plan = Plan::new(read)?;
        let style = Style::of(&std::io::stderr());
        for warning in &plan.warnings {
            say(&format!("{} {warning}", style.yellow("warning:")));
        }
        let results = Results::new(
            &global
                .out
                .clone()
                .unwrap_or_else(|| project_root().join("out")),
            &plan.pipeline().name,
        );
        let matching = pattern::select(&plan, &patterns)?;
        let reach = selection.reach;
        let selected = if reach.downstream {
            plan.with_downstream(&matching)
        } else if reach.upstream {
            &plan.with_upstream(&matching) - &matching
        } else {
            matching
        };
        let wanted = plan.with_upstream(&selected);
        let may_run = if reach.only || reach.downstream {
            selected.clone()
        } else {
            wanted.clone()
        };
        Ok(Self {
            plan,
            store,
            scratch,
            results,
            pipeline,
            settings,
            patterns,
            selected,
            may_run,
            wanted,
        })
    }

    /// For looking at the whole pipeline.
    fn open_whole(global: &Global, pipeline: Option<PathBuf>, changes: &Pipelines) -> Result<Self> {
        let selection = Selection {
            pipeline,
            patterns: Vec::new(),
            reach: Reach::default(),
            changes: changes.clone(),
        };
        Self::open(global, &selection)
    }

    /// The project and the one job that is named.
    fn open_job(global: &Global, job: &OneJob) -> Result<(Self, NodeIndex)> {
        let project = Self::open_whole(global, job.pipeline.clone(), &job.changes)?;
        let job = pattern::one(&project.plan, &job.job)?;
        Ok((project, job))
    }

    /// What is known of the given jobs.
    fn freshness(&self, wanted: &BTreeSet<NodeIndex>) -> Result<Freshness<'_>> {
        Freshness::new(&self.plan, &self.store, self.results.out(), wanted)
    }

    /// The result of a job: that of its present key, else of the key that it had last.
    fn latest(&self, job: NodeIndex) -> Result<Latest> {
        let mut freshness = self.freshness(&self.plan.with_upstream(&[job].into()))?;
        let why = match freshness.look_after_upstream(job)? {
            Verdict::Fresh { id, .. } => match self.store.get(&id)? {
                Some(entry) => return Ok(Latest::Fresh(Box::new(entry))),
                None => "its result is gone from the store".into(),
            },
            Verdict::Run(_, why) => why.summary(),
            Verdict::Waits => "jobs that it reads from must run".into(),
        };
        let last = freshness.record(job).and_then(|record| record.key);
        let entry = last.map(|id| self.store.get(&id)).transpose()?.flatten();
        Ok(match entry {
            Some(entry) => Latest::Stale(Box::new(entry), why),
            None => Latest::Absent(why),
        })
    }

    /// What a run of this sets out to do.
    fn run_start(&self) -> RunStart {
        let path = std::path::absolute(&self.pipeline).unwrap_or_else(|_| self.pipeline.clone());
        RunStart {
            pipeline: path.to_string_lossy().into_owned(),
            name: self.plan.pipeline().name.clone(),
            set: self.settings.clone(),
            patterns: self.patterns.clone(),
        }
    }
}

/// Whether a first word names a pipeline, and not a job. A folder that has a job's name does not.
fn may_be_pipeline(path: &Path) -> bool {
    let yaml = path
        .extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml");
    yaml || path.exists() && !path.is_dir()
}

fn store_path(global: &Global) -> PathBuf {
    global
        .store
        .clone()
        .unwrap_or_else(|| project_root().join(".rematch"))
}

/// The store, which must be there.
fn existing_store(global: &Global) -> Result<Store> {
    let path = store_path(global);
    Store::open_existing(&path)?.ok_or_else(|| {
        let error = Error::usage(format!("there is no store at {}", path.display()));
        error.help("the first `rematch run` makes it; --store names another")
    })
}

/// The store for us alone.
fn alone(store: &Store) -> Result<AloneLease> {
    store.lease_alone()?.ok_or_else(|| {
        let users = store.users().unwrap_or_default().join(", ");
        let by = if users.is_empty() {
            "another command"
        } else {
            &users
        };
        let error = Error::system(format!(
            "the store {} is in use by {by}",
            store.root().display()
        ));
        error.help(
            "wait until that has ended; without --heal, and with --dry-run, this works meanwhile",
        )
    })
}

/// `1.2 GB`, `830 B`.
fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// The pipeline of the last run, with its `--set`.
fn last_pipeline(store: &Store) -> Result<(PathBuf, Vec<(String, String)>)> {
    let Some(last) = store.last_run()? else {
        let error = Error::usage("which pipeline? None has run in this project yet");
        return Err(error.help("name its file, such as pipelines/quickstart.yaml"));
    };
    Ok((PathBuf::from(last.pipeline), last.set))
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

fn print_json(facts: &impl Serialize) {
    print_line(&serde_json::to_string_pretty(facts).unwrap_or_default());
}

/// A path as a person would type it from here.
fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let words = [0, 999, 1000, 999_949, 999_951, 31_200_000_000, u64::MAX].map(size);
        let expected = [
            "0 B",
            "999 B",
            "1.0 kB",
            "999.9 kB",
            "1.0 MB",
            "31.2 GB",
            "18446.7 PB",
        ];
        assert_eq!(words, expected);
    }
}
