//! What is up to date, what must run, and why: keys against the store.

use std::collections::{BTreeMap, HashMap};

use petgraph::graph::NodeIndex;
use rematch_cache::artifact::Artifact;
use rematch_cache::entry::Entry;
use rematch_cache::key::{Change, Key, changes};
use rematch_cache::store::{Lookup, Store};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::plan::{From, Plan, swap_inputs};

/// Why a job must run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Why {
    /// It never ran.
    Never,
    /// Its key is not what it was.
    Changed {
        /// Field by field.
        changes: Vec<Change>,
    },
    /// Its result is gone from the store, or was never finished.
    Lost {
        /// What is missing.
        what: String,
    },
    /// It was asked for.
    Forced,
}

/// What is known of a job before anything runs.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Its result is in the store.
    Fresh(Key, Box<Entry>),
    /// It must run.
    Run(Key, Why),
    /// It depends on the results of jobs that must run first.
    Waits,
}

/// Outputs of jobs whose results are known.
pub type Known = HashMap<NodeIndex, BTreeMap<String, Artifact>>;

/// The key of a job whose inputs are all known.
pub fn key(plan: &Plan, job: NodeIndex, known: &Known, store: &Store) -> Result<Key> {
    let job = &plan.graph[job];
    let mut inputs = BTreeMap::new();
    for input in &job.inputs {
        let artifact = match &input.from {
            From::File(path) => store.artifact_of(path)?,
            From::Job(other, output) => known
                .get(other)
                .and_then(|outputs| outputs.get(output))
                .copied()
                .ok_or_else(|| {
                    Error::system(format!(
                        "{}: its input {} is not known yet",
                        job.name, input.name
                    ))
                })?,
        };
        inputs.insert(input.name.clone(), artifact.digest);
    }
    // Where an input stands is part of its name; what it is, of its digest.
    let params = swap_inputs(&job.declaration.key_params, &mut String::new(), &mut |_| {
        Value::Null
    });
    let kind = job.declaration.kind;
    Ok(Key {
        kind: kind.name.into(),
        version: kind.version,
        params,
        inputs,
    })
}

/// Why a job with this key must run, from what is remembered of it.
pub fn why(plan: &Plan, job: NodeIndex, key: &Key, store: &Store) -> Result<Why> {
    let old = store.last_key(&plan.pipeline, &plan.graph[job].name)?;
    Ok(match old {
        None => Why::Never,
        Some(old) => match without_echoes(changes(&old, key)) {
            changes if changes.is_empty() => Why::Lost {
                what: lost(store, key)?,
            },
            changes => Why::Changed { changes },
        },
    })
}

/// An input that comes or goes shows in the parameters as well, as a hole; once is enough.
fn without_echoes(changes: Vec<Change>) -> Vec<Change> {
    let inputs: Vec<String> = changes
        .iter()
        .filter_map(|change| change.field.strip_prefix("inputs.").map(str::to_owned))
        .collect();
    let echo = |change: &Change| {
        change
            .field
            .strip_prefix("params.")
            .is_some_and(|field| inputs.iter().any(|i| i == field))
    };
    changes.into_iter().filter(|change| !echo(change)).collect()
}

fn lost(store: &Store, key: &Key) -> Result<String> {
    let id = key.id();
    Ok(match store.lookup(&id)? {
        Lookup::Damaged { path, .. } => format!("its entry {} is damaged", path.display()),
        Lookup::Incomplete { output, .. } => {
            format!("its output `{output}` is gone from the store")
        }
        Lookup::Found(_) | Lookup::Absent if store.work_path(&id).exists() => {
            "did not finish last time".into()
        }
        Lookup::Found(_) | Lookup::Absent => "its result is gone from the store".into(),
    })
}

/// What is known of one job, given the verdicts on those that it reads from.
pub fn verdict(plan: &Plan, job: NodeIndex, known: &Known, store: &Store) -> Result<Verdict> {
    if plan.upstream(job).any(|other| !known.contains_key(&other)) {
        return Ok(Verdict::Waits);
    }
    let key = key(plan, job, known, store)?;
    Ok(match store.get(&key.id())? {
        Some(entry) => Verdict::Fresh(key, Box::new(entry)),
        None => {
            let why = why(plan, job, &key, store)?;
            Verdict::Run(key, why)
        }
    })
}

/// What is known of all jobs, in order.
pub fn verdicts(plan: &Plan, store: &Store) -> Result<Vec<Verdict>> {
    let mut known = Known::new();
    let mut all = Vec::with_capacity(plan.graph.node_count());
    for job in plan.jobs() {
        let verdict = verdict(plan, job, &known, store)?;
        if let Verdict::Fresh(_, entry) = &verdict {
            known.insert(job, entry.outputs.clone());
        }
        all.push(verdict);
    }
    Ok(all)
}

impl Why {
    /// In words, one line.
    pub fn summary(&self) -> String {
        match self {
            Self::Never => "never ran".into(),
            Self::Forced => "forced".into(),
            Self::Lost { what } => what.clone(),
            Self::Changed { changes } => {
                let mut words: Vec<String> = changes.iter().take(2).map(change_in_words).collect();
                if changes.len() > 2 {
                    words.push(format!("{} more", changes.len() - 2));
                }
                words.join("; ")
            }
        }
    }
}

/// A change of a key, `seed 1 → 2`.
pub fn change_in_words(change: &Change) -> String {
    let field = change
        .field
        .strip_prefix("params.")
        .unwrap_or(&change.field);
    if field.starts_with("inputs.") {
        let input = field.trim_start_matches("inputs.");
        return match (&change.old, &change.new) {
            (None, _) => format!("input {input} is new"),
            (_, None) => format!("input {input} is gone"),
            _ => format!("input {input} changed"),
        };
    }
    let show = |value: &Option<Value>| match value {
        None => "(default)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    format!("{field} {} → {}", show(&change.old), show(&change.new))
}
