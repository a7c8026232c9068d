//! `rematch gc`: drops the results that no pipeline and no recent run uses.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use petgraph::graph::NodeIndex;
use rematch_cache::Count;
use rematch_cache::collect::{Garbage, Sides};
use rematch_cache::history::{RunEnd, RunState};
use rematch_cache::key::KeyId;
use rematch_cache::store::Store;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::commands::gauge::Gauge;
use crate::commands::{alone, existing_store, print_json, print_line, say, short, size};
use crate::error::{Error, Result};
use crate::freshness::{Freshness, Verdict};
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::style::Style;

/// Flags of this command alone.
pub struct Flags {
    pub pipelines: Vec<PathBuf>,
    pub runs: usize,
    pub dry_run: bool,
    pub forget_missing: bool,
}

pub fn exec(global: &Global, flags: &Flags) -> Result<ExitCode> {
    let store = existing_store(global)?;
    // From before the first look to the end: a run in between could use what is about to go.
    let lease = if flags.dry_run {
        None
    } else {
        Some(alone(&store)?)
    };
    let (users, keys) = keys_in_use(&store, flags)?;
    let facts = |garbage: &Garbage| {
        let users: Vec<_> = users.iter().map(User::facts).collect();
        print_json(&json!({ "dry_run": flags.dry_run, "in_use": users, "garbage": garbage }));
    };
    let gauge = Gauge::new();
    let Some(lease) = lease else {
        let garbage = store.garbage(&keys, &|unit, done, total| gauge.tell(unit, done, total))?;
        drop(gauge);
        if global.json {
            facts(&garbage);
            return Ok(ExitCode::SUCCESS);
        }
        table(&users, &garbage);
        let now = if store.users()?.is_empty() {
            ""
        } else {
            ", as far as can be told while the store is in use"
        };
        let freed = size(garbage.freed);
        print_line(&format!("would free {freed}{now}; nothing was changed"));
        return Ok(ExitCode::SUCCESS);
    };
    let collection = lease.collection(&keys, &|unit, done, total| gauge.tell(unit, done, total))?;
    drop(gauge);
    let garbage = collection.garbage().clone();
    if !global.json {
        table(&users, &garbage);
    }
    let gauge = Gauge::new();
    collection.carry_out(&|unit, done, total| gauge.tell(unit, done, total))?;
    drop(gauge);
    if global.json {
        facts(&garbage);
    } else {
        print_line(&format!("freed {}", size(garbage.freed)));
    }
    Ok(ExitCode::SUCCESS)
}

/// A pipeline with the changes that it is run with.
#[derive(Clone, Debug, PartialEq)]
struct User {
    pipeline: PathBuf,
    set: Vec<(String, String)>,
    /// By which the store knows what its last run used.
    name: Option<String>,
}

impl User {
    fn facts(&self) -> Value {
        let set = self.set.iter().map(|(key, value)| format!("{key}={value}"));
        json!({ "pipeline": self.pipeline, "set": set.collect::<Vec<_>>() })
    }
}

/// Who uses the store, and the keys of everything that they use now or used in their last runs.
fn keys_in_use(store: &Store, flags: &Flags) -> Result<(Vec<User>, HashSet<KeyId>)> {
    let mut keys = HashSet::new();
    let mut users = Vec::new();
    for pipeline in &flags.pipelines {
        let user = User {
            pipeline: pipeline.clone(),
            set: Vec::new(),
            name: None,
        };
        keys.extend(uses_now(store, &user)?);
        users.push(user);
    }
    let mut gone: Vec<String> = Vec::new();
    let mut missing: HashSet<PathBuf> = HashSet::new();
    let mut seen: HashSet<PathBuf> = HashSet::new();
    // The last run of a file decides whether it can be read; earlier ones may have set what is no more.
    for user in recent(store, flags.runs)? {
        let is_last = seen.insert(user.pipeline.clone());
        let path = short(&user.pipeline);
        match uses_now(store, &user) {
            Ok(now) => keys.extend(now),
            Err(error) if is_last => {
                gone.push(format!("{path}: {}", error.message()));
                missing.insert(user.pipeline);
                continue;
            }
            Err(error) => {
                let set = in_words(&user.set);
                say(&format!(
                    "warning: {path}{set} cannot be planned any more: {}",
                    error.message()
                ));
            }
        }
        if let Some(name) = &user.name {
            let records = store.ledger(name)?.records;
            keys.extend(records.iter().filter_map(|record| record.key));
        }
        users.push(user);
    }
    let runs = store.runs()?.into_iter().rev().take(flags.runs);
    for run in runs.filter(|run| !missing.contains(Path::new(&run.start.pipeline))) {
        if let RunState::Ended(RunEnd {
            jobs: Some(list), ..
        }) = &run.state
        {
            let jobs = store.job_list(list)?.unwrap_or_default();
            keys.extend(jobs.into_iter().filter_map(|job| job.key));
        }
    }
    if !gone.is_empty() && !flags.forget_missing {
        let list = gone.join("\n  ");
        let error = Error::usage(format!(
            "pipelines of recent runs cannot be planned, and their results would go:\n  {list}"
        ));
        return Err(error.help(
            "bring them back, look at fewer runs with --runs, or drop their results with --forget-missing",
        ));
    }
    if users.is_empty() {
        let error = Error::usage("nothing says what to keep");
        return Err(error.help(format!(
            "name the pipelines whose results to keep; to start from nothing, delete {}",
            store.root().display()
        )));
    }
    Ok((users, keys))
}

/// Pipelines of the last runs, each with its changes once, the last first.
fn recent(store: &Store, runs: usize) -> Result<Vec<User>> {
    let mut users: Vec<User> = Vec::new();
    for run in store.runs()?.into_iter().rev().take(runs) {
        let user = User {
            pipeline: run.start.pipeline.into(),
            set: run.start.set,
            name: Some(run.start.name),
        };
        if !users.contains(&user) {
            users.push(user);
        }
    }
    Ok(users)
}

/// The keys of the jobs of a pipeline as it is now. Of jobs that wait for others the last ones: what they wait for may
/// turn out the same.
fn uses_now(store: &Store, user: &User) -> Result<HashSet<KeyId>> {
    let plan = Plan::new(Pipeline::read(&user.pipeline, &user.set)?)?;
    let jobs: BTreeSet<NodeIndex> = plan.jobs().collect();
    // Where results are placed makes no difference to their keys.
    let mut freshness = Freshness::new(&plan, store, Path::new(""), &jobs)?;
    let mut keys = HashSet::new();
    for (job, verdict) in freshness.look_at_all(&jobs)? {
        keys.extend(match verdict {
            Verdict::Fresh { id, .. } => Some(id),
            Verdict::Run(key, _) => Some(key.id()),
            Verdict::Waits => freshness.record(job).and_then(|record| record.key),
        });
    }
    Ok(keys)
}

fn in_words(set: &[(String, String)]) -> String {
    let words = set
        .iter()
        .map(|(key, value)| format!(" --set {key}={value}"));
    words.collect::<Vec<_>>().concat()
}

fn table(users: &[User], garbage: &Garbage) {
    let style = Style::of(&std::io::stdout());
    let names: Vec<String> = users
        .iter()
        .map(|user| short(Path::new(&user.pipeline)) + &in_words(&user.set))
        .collect();
    print_line(&format!("{} {}", style.dim("in use:"), names.join(", ")));
    let width = garbage
        .entries
        .keys()
        .map(|kind| kind.chars().count() + 2)
        .max()
        .unwrap_or(0)
        .max(14);
    let cells = |count: &Count| match count.count {
        0 => format!("{:>8}{:11}", "·", ""),
        n => format!("{n:>8}  {:>9}", size(count.bytes)),
    };
    let row = |name: &str, kept: &Count, dropped: &Count| {
        let line = format!("  {name:width$}{}{}", cells(kept), cells(dropped));
        print_line(line.trim_end());
    };
    let head = |name: &str, kept: &str, dropped: &str| {
        let line = format!("{name:width$}  {kept:>8}{:11}{dropped:>8}", "");
        print_line(&style.dim(line.trim_end()));
    };
    head("results of", "kept", "dropped");
    for (kind, Sides { kept, dropped }) in &garbage.entries {
        row(kind, kept, dropped);
    }
    head("on disk", "", "");
    row("objects", &garbage.objects.kept, &garbage.objects.dropped);
    row("work folders", &garbage.work.kept, &garbage.work.dropped);
    if garbage.left_over.count > 0 {
        row("left-overs", &Count::default(), &garbage.left_over);
    }
    let note = |count: u64, one: &str, many: &str| match count {
        0 => {}
        1 => print_line(&format!("{} 1 {one}", style.yellow("note:"))),
        n => print_line(&format!("{} {n} {many}", style.yellow("note:"))),
    };
    note(
        garbage.running,
        "job runs without a runner; what it works with stays",
        "jobs run without a runner; what they work with stays",
    );
    note(
        garbage.damaged_entries.count,
        "result is damaged and goes",
        "results are damaged and go",
    );
    note(
        garbage.missing_objects,
        "object of a kept result is missing or damaged; `rematch fsck` tells more",
        "objects of kept results are missing or damaged; `rematch fsck` tells more",
    );
    note(
        garbage.foreign,
        "file is not the store's and stays; `rematch fsck` names it",
        "files are not the store's and stay; `rematch fsck` names them",
    );
    if garbage.linked.count > 0 {
        print_line(&format!(
            "{} of the dropped objects are also in out/ or elsewhere: their {} come back when they are deleted there",
            garbage.linked.count,
            size(garbage.linked.bytes)
        ));
    }
}
