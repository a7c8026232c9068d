//! What commands print with `--json`: the types, their JSON Schemas, and the page about them
//! (docs/json.md).
//!
//! Members may be added; one that is here keeps its name and meaning.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rematch_cache::history::JobState;
use rematch_cache::key;
use rematch_spec::kind;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A command that prints facts.
pub struct Facts {
    /// The command.
    pub command: &'static str,
    /// One JSON document per line, as things happen.
    pub lines: bool,
    make_schema: fn() -> Value,
}

impl Facts {
    const fn of<T: JsonSchema>(command: &'static str) -> Self {
        Self {
            command,
            lines: false,
            make_schema: || schemars::schema_for!(T).to_value(),
        }
    }

    /// The JSON Schema of what it prints.
    pub fn schema(&self) -> Value {
        (self.make_schema)()
    }
}

/// Every command that prints facts.
pub static FACTS: [Facts; 14] = [
    Facts {
        lines: true,
        ..Facts::of::<RunEvent>("run")
    },
    Facts::of::<Plan>("plan"),
    Facts::of::<Status>("status"),
    Facts::of::<Explanation>("explain"),
    Facts::of::<Out>("out"),
    Facts::of::<Log>("log"),
    Facts::of::<History>("history"),
    Facts::of::<Diff>("diff"),
    Facts::of::<rematch_spec::inspect::Inspection>("inspect"),
    Facts::of::<Graph>("graph"),
    Facts::of::<Stages>("stages"),
    Facts::of::<Gc>("gc"),
    Facts::of::<Fsck>("fsck"),
    Facts::of::<Doctor>("doctor"),
];

/// The facts of a command.
pub fn find(command: &str) -> Result<&'static Facts> {
    FACTS
        .iter()
        .find(|facts| facts.command == command)
        .ok_or_else(|| {
            Error::usage(format!("no command `{command}` prints facts"))
                .suggest(command, FACTS.iter().map(|facts| facts.command))
        })
}

/// An event of a run, one per line.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// The run begins.
    Started {
        /// The pipeline's name.
        pipeline: String,
        /// Jobs that are wanted.
        jobs: usize,
    },
    /// The results of jobs were there.
    Fresh {
        /// How many more.
        jobs: usize,
    },
    /// A job starts.
    JobStarted {
        /// The job.
        job: String,
        /// Why it must run.
        #[serde(flatten)]
        why: Why,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// A job says something.
    JobSays {
        /// The job.
        job: String,
        /// What, see the job protocol.
        says: Map<String, Value>,
    },
    /// A job has its result.
    JobDone {
        /// The job.
        job: String,
        /// Seconds from start to result.
        seconds: f64,
        /// Seconds until the run is over, by what its jobs took so far and in earlier runs.
        #[serde(skip_serializing_if = "Option::is_none")]
        left: Option<f64>,
    },
    /// A job failed.
    JobFailed {
        /// The job.
        job: String,
        /// Why.
        failure: Failure,
        /// The last lines of its log.
        log: String,
        /// Seconds until it is tried again, if it is.
        retry_in: Option<f64>,
    },
    /// A job was stopped before its end.
    JobStopped {
        /// The job.
        job: String,
    },
    /// A job waits for another runner that is making the same result.
    JobHeld {
        /// The job.
        job: String,
        /// Who makes it.
        by: String,
    },
    /// The run is asked to stop.
    Stopping {
        /// Jobs that still run.
        running: usize,
    },
    /// A line for people.
    Warning {
        /// The line.
        text: String,
    },
    /// The run is over.
    Finished {
        /// Jobs that ran.
        ran: usize,
        /// Jobs whose results were there.
        fresh: usize,
        /// Jobs that failed.
        failed: Vec<String>,
        /// Jobs that were stopped, and can go on.
        stopped: Vec<String>,
        /// Jobs that were not started.
        skipped: usize,
        /// Of those, jobs that must run first and were not selected.
        barred: Vec<String>,
        /// The run was asked to stop.
        interrupted: bool,
        /// Seconds in all.
        seconds: f64,
    },
}

/// A failure in words.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Failure {
    /// What went wrong, and where.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

/// Why a job must run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
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

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// Which: `params.seed`, `inputs.labeled` (a digest), `version`; of provenance `host`, `device`.
    pub field: String,
    /// Before; null where the field was not there, which for a parameter is its default.
    pub old: Option<Value>,
    /// Now; null where the field is gone.
    pub new: Option<Value>,
}

impl From<key::Change> for Change {
    fn from(change: key::Change) -> Self {
        let key::Change { field, old, new } = change;
        Self { field, old, new }
    }
}

/// What would run, and why.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// The jobs, each after those that it reads from.
    pub jobs: Vec<PlannedJob>,
    /// What the jobs to run will cost, stage by stage, by what those of earlier runs took.
    pub costs: Vec<StageCost>,
}

/// What the jobs of a stage will cost.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StageCost {
    /// The stage.
    pub stage: String,
    /// Jobs to run.
    pub jobs: usize,
    /// Seconds of all of them, one after another; null where none has run yet.
    pub seconds: Option<f64>,
    /// GPU hours of all of them; null where none has run yet.
    pub gpu_hours: Option<f64>,
    /// Bytes that they will leave; null where none has run yet.
    pub bytes: Option<f64>,
}

/// A job of a plan.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlannedJob {
    /// Its name, `train[seed=1]`.
    pub job: String,
    /// Its stage.
    pub stage: String,
    /// Axis and label.
    pub point: BTreeMap<String, String>,
    /// Whether it runs.
    pub state: Freshness,
    /// Why it runs.
    pub why: Option<Why>,
}

/// Whether a job runs.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// It is up to date.
    Fresh,
    /// It must run.
    Runs,
    /// Jobs that it reads from must run first; whether it runs depends on what they make.
    Waits,
}

/// How many jobs of every stage are up to date.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stages.
    pub stages: Vec<StageStatus>,
}

/// The jobs of a stage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StageStatus {
    /// Its name.
    pub stage: String,
    /// Jobs that are up to date.
    pub fresh: usize,
    /// Jobs that must run.
    pub to_run: usize,
    /// Jobs that depend on those that must run.
    pub waiting: usize,
    /// Why the first of them must run, in words.
    pub why: Option<String>,
}

/// Which fields of a job's key changed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Explanation {
    /// The job.
    pub job: String,
    /// Whether it runs.
    pub state: Freshness,
    /// The id of its key; null while it waits.
    pub id: Option<String>,
    /// Its key.
    pub key: Option<Key>,
    /// Why it runs.
    pub why: Option<Why>,
}

/// What identifies a job's result.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Key {
    /// The stage kind.
    pub kind: String,
    /// The kind's version.
    pub version: u32,
    /// Parameters that differ from their defaults.
    pub params: Value,
    /// Digest of every input, by its place in the parameters.
    pub inputs: BTreeMap<String, String>,
}

/// Where the outputs of a job are.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Out {
    /// The job.
    pub job: String,
    /// The id of the key that the outputs were made for.
    pub key: String,
    /// They are those of an earlier key (`--stale`).
    pub stale: bool,
    /// The outputs, or the one that was asked for.
    pub outputs: Vec<OutOutput>,
}

/// An output of a job.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OutOutput {
    /// Its name.
    pub name: String,
    /// Where it is in the results folder; null where it is not there.
    pub path: Option<PathBuf>,
    /// Where its bytes are in the store; of a folder, its manifest. Never write there.
    pub object: PathBuf,
    /// The digest of its content.
    pub digest: String,
    /// Bytes; of a folder, of all its files.
    pub size: u64,
    /// Whether it is a folder.
    pub folder: bool,
}

/// What a job wrote.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Log {
    /// The job.
    pub job: String,
    /// The id of its key.
    pub key: String,
    /// Its result is there; otherwise it runs, failed, or was stopped.
    pub finished: bool,
    /// What it wrote.
    pub text: String,
}

/// Runs, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct History {
    /// The runs.
    pub runs: Vec<Run>,
}

/// A run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// When it started, seconds since 1970.
    pub started: f64,
    /// On which machine.
    pub host: String,
    /// The pipeline file.
    pub pipeline: String,
    /// The pipeline's name.
    pub name: String,
    /// Its `--set`: `KEY=VALUE`.
    pub set: Vec<String>,
    /// The selected jobs; none are all.
    pub patterns: Vec<String>,
    /// How it ended, or that it did not.
    pub state: RunState,
    /// What it did; null until it ends, and where it was killed.
    pub did: Option<RunCounts>,
    /// What became of its jobs, where this run was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Vec<RunJob>>,
}

/// What became of a job in a run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunJob {
    /// The job.
    pub job: String,
    /// What became of it.
    pub state: RunJobState,
    /// The id of its key; null where not all that it reads was known.
    pub key: Option<String>,
    /// Seconds that it ran in this run.
    pub seconds: f64,
    /// Seconds of CPU time when its result was made; null where there is none.
    pub cpu_seconds: Option<f64>,
    /// Most bytes of main memory that one of its processes held then.
    pub peak_memory: Option<u64>,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunJobState {
    /// It ran to its end.
    Ran,
    /// Its result was there.
    Fresh,
    /// It failed.
    Failed,
    /// It was stopped.
    Stopped,
    /// It was not started.
    Skipped,
}

impl From<JobState> for RunJobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Ran => Self::Ran,
            JobState::Fresh => Self::Fresh,
            JobState::Failed => Self::Failed,
            JobState::Stopped => Self::Stopped,
            JobState::Skipped => Self::Skipped,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Every wanted result is there.
    Done,
    /// A job failed.
    Failed,
    /// Stopped by Ctrl-C or SIGTERM.
    Stopped,
    /// The store, the file system or a program failed.
    Error,
    /// It goes on.
    Running,
    /// Its process is gone, and told nothing.
    Killed,
}

/// What a run did.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunCounts {
    /// Jobs that ran.
    pub ran: usize,
    /// Jobs whose results were there.
    pub fresh: usize,
    /// Jobs that failed.
    pub failed: usize,
    /// Jobs that were stopped, and can go on.
    pub stopped: usize,
    /// Jobs that were not started.
    pub skipped: usize,
    /// Seconds in all.
    pub seconds: f64,
    /// The exit code.
    pub exit: u8,
}

/// What differs between two runs, or two jobs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Diff {
    /// The first.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Jobs that have the same key in both.
    pub same: usize,
    /// Jobs of both that have another key, or no result to compare.
    pub jobs: Vec<JobDiff>,
    /// Jobs that only the first has.
    pub only_a: Vec<String>,
    /// Jobs that only the second has.
    pub only_b: Vec<String>,
}

/// What is compared.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Side {
    /// The id of a run; null for the pipeline as it stands.
    pub run: Option<String>,
    /// The job, where two jobs are compared.
    pub job: Option<String>,
    /// The pipeline's name.
    pub pipeline: String,
}

/// What differs between two jobs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobDiff {
    /// The job; where two jobs are compared, the second.
    pub job: String,
    /// Fields of the key.
    pub changes: Vec<Change>,
    /// Metrics that differ, or that one has.
    pub metrics: Vec<MetricDiff>,
    /// Facts about how they were made: rematch, host, device, versions.
    pub provenance: Vec<Change>,
    /// What cannot be compared, and why.
    pub unknown: Option<String>,
}

/// A metric that differs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MetricDiff {
    /// Its name.
    pub name: String,
    /// In the first; null where it has none, or no finite one.
    pub old: Option<f64>,
    /// In the second.
    pub new: Option<f64>,
    /// Second minus first, where both have it.
    pub difference: Option<f64>,
}

/// The stages, or with `--all` the jobs, and what they read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Graph {
    /// Stages or jobs, each after those that it reads from.
    pub nodes: Vec<GraphNode>,
}

/// A stage or a job.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GraphNode {
    /// Its name.
    pub name: String,
    /// The stage kind, and for a stage of several jobs their number: `train × 3`.
    pub about: String,
    /// What it reads.
    pub reads: Vec<GraphRead>,
}

/// An edge.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GraphRead {
    /// The stage or job that it reads from.
    pub from: String,
    /// The outputs that it reads.
    pub outputs: Vec<String>,
}

/// The stage kinds, or the one that was asked for.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Stages {
    /// `stages KIND`.
    One(StageKind),
    /// `stages`.
    All(Vec<StageKind>),
}

/// A stage kind.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StageKind {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The program that runs it.
    #[schemars(with = "Program")]
    pub program: kind::Program,
    /// JSON Schema of its parameters.
    pub parameters: Map<String, Value>,
}

/// A program that runs jobs.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(
    dead_code,
    reason = "it stands in the schema for a type of a package below"
)]
enum Program {
    /// rematch itself.
    Light,
    /// rematch-train.
    Trainer,
    /// The program that the parameters name.
    Own,
}

/// What a garbage collection drops, or would.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "it stands in the schema for a type of a package below"
)]
struct Gc {
    /// Whether nothing was changed.
    dry_run: bool,
    /// The pipelines whose results are kept.
    in_use: Vec<GcUser>,
    /// What is kept and what is dropped.
    garbage: Garbage,
}

/// A pipeline whose results are kept.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "it stands in the schema for a type of a package below"
)]
struct GcUser {
    /// Its file.
    pipeline: PathBuf,
    /// Changes to it, `steps=100`.
    set: Vec<String>,
}

/// What is kept and what is dropped.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "it stands in the schema for a type of a package below"
)]
struct Garbage {
    /// Results by stage kind, with the bytes of their outputs; several may share some.
    entries: BTreeMap<String, Sides>,
    /// Results whose entries do not read.
    damaged_entries: Count,
    /// Objects, with the bytes that they take on the disk.
    objects: Sides,
    /// Those of the dropped objects that have other names, in `out/` say, and free nothing now.
    linked: Count,
    /// Objects that kept results need and that are not there.
    missing_objects: u64,
    /// Work folders of jobs that did not end well.
    work: Sides,
    /// Files that killed runners left.
    left_over: Count,
    /// Jobs that run without a runner; nothing of theirs is touched.
    running: u64,
    /// Files that are not the store's; they are left alone.
    foreign: u64,
    /// Bytes that the disk gets back.
    freed: u64,
}

/// What is kept and what is not.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "it stands in the schema for a type of a package below"
)]
struct Sides {
    /// Kept.
    kept: Count,
    /// Dropped.
    dropped: Count,
}

/// A number of things, and their size.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "it stands in the schema for a type of a package below"
)]
struct Count {
    /// How many.
    count: u64,
    /// Bytes.
    bytes: u64,
}

/// What a check of the store found.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "it stands in the schema for a type of a package below"
)]
struct Fsck {
    /// Whether nothing is wrong, or nothing any more.
    sound: bool,
    /// Whether objects were only looked at, and not read.
    quick: bool,
    /// Results that read.
    entries: u64,
    /// Objects.
    objects: Count,
    /// Objects that no result needs; `gc` would free at least those.
    unused: Count,
    /// What is not as it should be.
    findings: Vec<Finding>,
}

/// Something in the store that is not as it should be.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    clippy::struct_field_names,
    reason = "it stands in the schema for a type of a package below"
)]
struct Finding {
    /// What: `damaged_object`, `incomplete_entry`, `foreign_file`…
    finding: String,
    /// Whether it is no more.
    healed: bool,
    /// The file, below the store.
    path: Option<String>,
    /// The digest of the object.
    object: Option<String>,
    /// The key of the result.
    key: Option<String>,
    /// The key of which an entry really is.
    holds: Option<String>,
    /// The job.
    job: Option<String>,
    /// Its output that lacks something.
    output: Option<String>,
    /// The file of that which is lacking.
    file: Option<String>,
    /// What is wrong with that.
    lack: Option<Value>,
    /// How many more are lacking.
    more: Option<u64>,
    /// What was seen.
    why: Option<String>,
    /// A mode other than 0444.
    mode: Option<String>,
    /// What a left-over is.
    what: Option<Value>,
    /// Its bytes.
    bytes: Option<u64>,
    /// A format that only a newer rematch reads.
    format: Option<u32>,
}

/// Whether everything is there that runs need.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Doctor {
    /// Everything is.
    pub good: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    /// What.
    pub what: String,
    /// It is as runs need it.
    pub good: bool,
    /// What was found, in words.
    pub found: String,
    /// What was found.
    pub facts: Value,
}
