//! The protocol between the runner and a child process.
//!
//! In: the path of a job file ([`Job`], JSON) as the only argument. Out: the outputs at the paths
//! that the job file names, [`Event`] lines (JSON) on standard output, anything a person may read
//! on standard error (it becomes the job's log), a [`Report`] in the work folder, an exit code from
//! [`exit`].
//!
//! Standard input is a pipe that nobody writes to: when it closes, the runner is gone, and the
//! child stops as if it had got SIGTERM. On SIGTERM a child saves what it can resume from and ends
//! with [`exit::INTERRUPTED`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this protocol; a child refuses another one.
pub const PROTOCOL: u32 = 1;

/// Everything a child process knows of its job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The job's name, `train[seed=1]`, for messages.
    pub name: String,
    /// The id of its key, 64 hexadecimal digits.
    pub key: String,
    /// The stage kind.
    pub kind: String,
    /// All parameters; every input is an absolute path.
    pub params: Value,
    /// Where each output belongs: name to absolute path. The parent folder exists.
    pub outputs: BTreeMap<String, PathBuf>,
    /// The job's own folder, its working directory. What lies beside the outputs here survives an
    /// interruption of a kind that resumes, and is gone when the job is done.
    pub work: PathBuf,
    /// CPU cores that the job was given; the number of threads it should use, at least 1.
    pub cpus: usize,
    /// GPUs that the job was given (a fraction for a shared one); 0 is the CPU. Which ones:
    /// `CUDA_VISIBLE_DEVICES`.
    pub gpus: f64,
}

/// One line on a child's standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// How far it is.
    Progress {
        /// Units done, counted from the start of the job and not of this attempt.
        done: u64,
        /// Units in all; 0 where unknown.
        total: u64,
        /// `steps`, `images`, `bytes`.
        unit: String,
    },
    /// Numbers of the moment: `accuracy`, `loss`.
    Metrics {
        /// Name to value.
        values: BTreeMap<String, f64>,
    },
    /// A line worth showing while the job runs.
    Note {
        /// The line.
        text: String,
    },
    /// A line worth showing at the end as well.
    Warning {
        /// The line.
        text: String,
    },
}

/// What a child leaves as [`REPORT`] in its work folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Final numbers, kept in the entry.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Facts for the provenance: device, library versions, source address.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Failure>,
}

/// A failure in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What went wrong, and where.
    pub message: String,
    /// What to do next.
    #[serde(default)]
    pub help: Option<String>,
}

/// File name of the [`Report`].
pub const REPORT: &str = "report.json";

/// Exit codes of a child process.
pub mod exit {
    /// All outputs are there.
    pub const DONE: i32 = 0;
    /// It failed; trying again would fail alike.
    pub const FAILED: i32 = 1;
    /// The job file or its parameters cannot be used.
    pub const USAGE: i32 = 2;
    /// A loss was NaN or infinite.
    pub const DIVERGED: i32 = 3;
    /// Out of memory, on the device or the host.
    pub const OUT_OF_MEMORY: i32 = 4;
    /// It failed for a reason that may pass, such as the network; worth trying again.
    pub const TRY_AGAIN: i32 = 74;
    /// It was told to stop, and can go on from its work folder.
    pub const INTERRUPTED: i32 = 75;
}
