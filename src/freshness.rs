//! What is up to date, what must run, and why: the ledger of the last run, and keys against the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use petgraph::graph::NodeIndex;
use rematch_cache::artifact::Artifact;
use rematch_cache::digest::Digest;
use rematch_cache::entry::Entry;
use rematch_cache::key::{Change, Key, KeyId, changes};
use rematch_cache::ledger::{Ledger, Made, Record, Seen, UserFile};
use rematch_cache::place::Placement;
use rematch_cache::store::{Lookup, Store};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::plan::job::swap_inputs;
use crate::plan::{From, Job, Plan};

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
    /// Its key is not what it was, and what it was is not known any more.
    Forgotten,
    /// Its result is gone from the store, or was never finished.
    Lost {
        /// What is missing.
        what: String,
    },
    /// It was asked for.
    Forced,
}

/// What is known of a job before it runs.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Its result is in the store.
    Fresh {
        /// The id of its key.
        id: KeyId,
        /// Whether its result lies where people see it, as it was placed there.
        placed: bool,
    },
    /// It must run.
    Run(Box<Key>, Why),
    /// It depends on the results of jobs that must run first.
    Waits,
}

/// What is known of the jobs of a plan. Jobs are looked at in the order of the graph.
pub struct Freshness<'a> {
    plan: &'a Plan,
    store: &'a Store,
    /// What the last run of the pipeline found.
    ledger: Ledger,
    /// Whether that was with this very plan: then a job's record has the job's number.
    same_plan: bool,
    /// Records by the names of their jobs, for another plan.
    by_name: HashMap<String, usize>,
    /// What the files of each record are like now.
    seen: Vec<Seen>,
    outputs: Vec<Outputs>,
    /// Records of the jobs about which something new is known.
    found: HashMap<NodeIndex, Record>,
}

/// The outputs of a job.
#[derive(Clone, Debug, Default)]
enum Outputs {
    /// Not known yet.
    #[default]
    Unknown,
    /// Those of its record.
    Recorded,
    /// Others than its record says, or it has none.
    Other(BTreeMap<String, Artifact>),
}

impl<'a> Freshness<'a> {
    /// Reads what the last run of the pipeline found, and looks at the files of the jobs that are `wanted`. If the
    /// pipeline changed since, every job's parameters are checked.
    pub fn new(
        plan: &'a Plan,
        store: &'a Store,
        out: &Path,
        wanted: &BTreeSet<NodeIndex>,
    ) -> Result<Self> {
        let mut ledger = store.ledger(&plan.pipeline().name)?;
        let digest = plan_digest(plan);
        let same_plan = ledger.plan == Some(digest) && ledger.records.len() == plan.len();
        let mut by_name = HashMap::new();
        if !same_plan {
            plan.check()?;
            let records = ledger.records.iter().enumerate();
            by_name.extend(records.map(|(n, record)| (record.job.clone(), n)));
        }
        let all = wanted.len() == plan.len();
        let seen = store.look_over(&ledger, out, |record| {
            !same_plan || all || wanted.contains(&NodeIndex::new(record))
        });
        ledger.plan = Some(digest);
        out.clone_into(&mut ledger.out);
        Ok(Self {
            plan,
            store,
            ledger,
            same_plan,
            by_name,
            seen,
            outputs: vec![Outputs::Unknown; plan.len()],
            found: HashMap::new(),
        })
    }

    /// What the last run found of a job.
    pub fn record(&self, job: NodeIndex) -> Option<&Record> {
        Some(&self.ledger.records[self.number(job)?])
    }

    /// What this run found of a job, or else the last one.
    pub fn latest_record(&self, job: NodeIndex) -> Option<&Record> {
        self.found.get(&job).or_else(|| self.record(job))
    }

    fn number(&self, job: NodeIndex) -> Option<usize> {
        if self.same_plan {
            return Some(job.index());
        }
        self.by_name.get(&self.plan.name(job)).copied()
    }

    /// Whether a job's outputs are known.
    pub fn is_known(&self, job: NodeIndex) -> bool {
        !matches!(self.outputs[job.index()], Outputs::Unknown)
    }

    /// An output of a job, if it is known.
    pub fn output(&self, job: NodeIndex, output: &str) -> Option<Artifact> {
        match &self.outputs[job.index()] {
            Outputs::Unknown => None,
            Outputs::Recorded => self.record(job)?.output(output),
            Outputs::Other(outputs) => outputs.get(output).copied(),
        }
    }

    /// All outputs of a job that are known.
    pub fn outputs(&self, job: NodeIndex) -> BTreeMap<String, Artifact> {
        match &self.outputs[job.index()] {
            Outputs::Unknown => BTreeMap::new(),
            Outputs::Recorded => self.recorded_outputs(job),
            Outputs::Other(outputs) => outputs.clone(),
        }
    }

    /// The outputs of a job that the last run placed.
    pub fn recorded_outputs(&self, job: NodeIndex) -> BTreeMap<String, Artifact> {
        let made = self
            .record(job)
            .into_iter()
            .flat_map(|record| &record.outputs);
        made.map(|made| (made.name.clone(), made.artifact))
            .collect()
    }

    /// What a job reads of other jobs, by the names of its inputs.
    pub fn inputs(&self, job: &Job) -> Vec<(String, Artifact)> {
        let inputs = job.inputs.iter().filter_map(|input| match &input.from {
            From::Job(other, output) => Some((input.name.clone(), self.output(*other, output)?)),
            From::File { .. } => None,
        });
        inputs.collect()
    }

    /// Makes a job's outputs unknown again: it is to run although they are there.
    pub fn forget(&mut self, job: NodeIndex) {
        self.outputs[job.index()] = Outputs::Unknown;
    }

    /// What is known of one job, after those that it reads from.
    pub fn look(&mut self, job: NodeIndex) -> Result<Verdict> {
        if self.plan.upstream(job).any(|other| !self.is_known(other)) {
            return Ok(Verdict::Waits);
        }
        if let Some(fresh) = self.as_recorded(job) {
            self.outputs[job.index()] = Outputs::Recorded;
            return Ok(fresh);
        }
        let spec = self.plan.job(job)?;
        let key = self.key(&spec)?;
        let id = key.id();
        if let Some(number) = self.number(job) {
            let (record, seen) = (&self.ledger.records[number], self.seen[number]);
            if record.done && record.key == Some(id) && seen.objects {
                let record = Record {
                    files: self.user_files(&spec, &key),
                    current: is_lasting(&spec),
                    ..record.clone()
                };
                self.found.insert(job, record);
                self.outputs[job.index()] = Outputs::Recorded;
                let placed = seen.placed;
                return Ok(Verdict::Fresh { id, placed });
            }
        }
        if let Some(entry) = self.store.get(&id)? {
            self.note(job, &spec, &entry);
            return Ok(Verdict::Fresh { id, placed: false });
        }
        let why = self.why(job, &key)?;
        Ok(Verdict::Run(Box::new(key), why))
    }

    /// What is known of one job; first looks at everything that it reads.
    pub fn look_after_upstream(&mut self, job: NodeIndex) -> Result<Verdict> {
        let mut verdict = Verdict::Waits;
        for job in self.plan.with_upstream(&BTreeSet::from([job])) {
            verdict = self.look(job)?;
        }
        Ok(verdict)
    }

    /// The verdict on a job about which everything is as its record says.
    fn as_recorded(&self, job: NodeIndex) -> Option<Verdict> {
        if !self.same_plan {
            return None;
        }
        let (record, seen) = (&self.ledger.records[job.index()], self.seen[job.index()]);
        let id = record.key?;
        let upstream = self.plan.upstream(job);
        let mut upstream = upstream.map(|other| &self.outputs[other.index()]);
        let same = record.done
            && record.current
            && seen.files
            && seen.objects
            && upstream.all(|outputs| matches!(outputs, Outputs::Recorded));
        same.then_some(Verdict::Fresh {
            id,
            placed: seen.placed,
        })
    }

    /// Notes the result of a job.
    pub fn note(&mut self, job: NodeIndex, spec: &Job, entry: &Entry) {
        let made = entry.outputs.iter().map(|(name, artifact)| Made {
            name: name.clone(),
            artifact: *artifact,
            files: Vec::new(),
            folders: Vec::new(),
        });
        let record = Record {
            key: Some(entry.key.id()),
            done: true,
            current: is_lasting(spec),
            seconds: entry.provenance.seconds,
            files: self.user_files(spec, &entry.key),
            outputs: made.collect(),
            ..Record::new(spec.name.clone())
        };
        let as_before = self
            .record(job)
            .is_some_and(|old| old.made_the_same(&record));
        self.outputs[job.index()] = if as_before {
            Outputs::Recorded
        } else {
            Outputs::Other(entry.outputs.clone())
        };
        self.found.insert(job, record);
    }

    /// Notes where the outputs of a job were placed.
    pub fn note_places(&mut self, job: NodeIndex, placed: &[(String, Placement)]) {
        let found = self.found.remove(&job);
        let Some(mut record) = found.or_else(|| self.record(job).cloned()) else {
            return;
        };
        for (name, placement) in placed {
            if let Some(made) = record.outputs.iter_mut().find(|made| made.name == *name) {
                made.files.clone_from(&placement.files);
                made.folders.clone_from(&placement.folders);
            }
        }
        self.found.insert(job, record);
    }

    /// Notes that a job runs with this key; until it has a result, it has none.
    pub fn note_attempt(&mut self, job: NodeIndex, key: &Key) {
        let record = self.record(job).cloned();
        let record = record.unwrap_or_else(|| Record::new(self.plan.name(job)));
        let record = Record {
            key: Some(key.id()),
            done: false,
            ..record
        };
        self.found.insert(job, record);
    }

    /// The key of a job whose inputs are all known.
    pub fn key(&self, job: &Job) -> Result<Key> {
        let mut inputs = BTreeMap::new();
        for input in &job.inputs {
            let artifact = match &input.from {
                From::File { path, .. } => self.store.artifact_of(path)?,
                From::Job(other, output) => self.output(*other, output).ok_or_else(|| {
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
    fn why(&self, job: NodeIndex, key: &Key) -> Result<Why> {
        let Some(old) = self.record(job).and_then(|record| record.key) else {
            return Ok(Why::Never);
        };
        if old == key.id() {
            return Ok(Why::Lost {
                what: lost(self.store, key)?,
            });
        }
        let Some(old) = self.store.key(&old)? else {
            return Ok(Why::Forgotten);
        };
        Ok(Why::Changed {
            changes: without_echoes(changes(&old, key)),
        })
    }

    /// The user's files that a job reads, in the state in which they have the content that its key says.
    fn user_files(&self, job: &Job, key: &Key) -> Vec<UserFile> {
        let files = job.inputs.iter().filter_map(|input| match &input.from {
            From::File { path, .. } => Some((path, key.inputs.get(&input.name)?)),
            From::Job(..) => None,
        });
        files
            .map(|(path, digest)| UserFile {
                path: path.clone(),
                stat: self.store.known_state(path, digest),
            })
            .collect()
    }

    /// What is known of some jobs, each of which stands after those that it reads.
    pub fn look_at_all(&mut self, jobs: &BTreeSet<NodeIndex>) -> Result<Vec<(NodeIndex, Verdict)>> {
        jobs.iter()
            .map(|job| Ok((*job, self.look(*job)?)))
            .collect()
    }

    /// What the ledger says after this run; `None` if that is what it said before.
    pub fn into_ledger(mut self) -> Option<Ledger> {
        if self.same_plan && self.found.is_empty() {
            return None;
        }
        let mut records: Vec<Record> = Vec::with_capacity(self.plan.len());
        // Whether a job has the outputs that its readers' records were made with.
        let mut same_outputs: Vec<bool> = Vec::with_capacity(self.plan.len());
        for job in self.plan.jobs() {
            let found = self.found.remove(&job);
            let old = self.record(job);
            let record = match (found, old) {
                (Some(found), old) => {
                    same_outputs.push(old.is_some_and(|old| old.made_the_same(&found)));
                    found
                }
                // The run did not come to this job, or found it as it was.
                (None, Some(old)) => {
                    same_outputs.push(true);
                    let mut upstream = self.plan.upstream(job);
                    Record {
                        current: old.current
                            && self.same_plan
                            && upstream.all(|other| same_outputs[other.index()]),
                        ..old.clone()
                    }
                }
                (None, None) => {
                    same_outputs.push(true);
                    Record::new(self.plan.name(job))
                }
            };
            records.push(record);
        }
        self.ledger.records = records;
        Some(self.ledger)
    }
}

/// What a plan was made from, and by which program: with another, jobs may have other parameters.
fn plan_digest(plan: &Plan) -> Digest {
    let program = std::env::current_exe()
        .and_then(std::fs::metadata)
        .map(|meta| (meta.len(), meta.modified().ok()));
    let parts = format!("{} {program:?}", plan.pipeline().digest());
    Digest::of_bytes(parts.as_bytes())
}

/// Whether a record of this job can serve the next run. A file that was not where its name points at first may be
/// there then.
fn is_lasting(job: &Job) -> bool {
    let mut inputs = job.inputs.iter();
    !inputs.any(|input| {
        matches!(
            input.from,
            From::File {
                elsewhere: true,
                ..
            }
        )
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

impl Why {
    /// In words, one line.
    pub fn summary(&self) -> String {
        match self {
            Self::Never => "never ran".into(),
            Self::Forced => "forced".into(),
            Self::Forgotten => "changed since it ran; what it was then was collected".into(),
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
