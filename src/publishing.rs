//! From a job that ended well to a result: its inputs are still what they were, its outputs go into the store and to
//! where people see them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rematch_cache::artifact::Artifact;
use rematch_cache::claim::Reservation;
use rematch_cache::entry::{Entry, Meta, Provenance};
use rematch_cache::place::Placement;
use rematch_cache::store::Store;
use rematch_data::stages::command;
use rematch_spec::job::{self, Failure, Report};
use rematch_spec::kind::Program;

use crate::executor::Used;
use crate::launch::{self, LOG};
use crate::plan::{From, Job};
use crate::results::Results;

/// A job that ended well.
pub struct Ended {
    /// The job.
    pub job: Job,
    /// What its process knew.
    pub file: job::Job,
    /// What it read of other jobs, by the names of its inputs.
    pub inputs: Vec<(String, Artifact)>,
    /// Its results of the run before.
    pub before: BTreeMap<String, Artifact>,
    /// What it reported.
    pub report: Report,
    /// The pipeline.
    pub pipeline: String,
    /// Attempts until it ended well.
    pub attempt: u32,
    /// When it began, seconds since 1970.
    pub began: f64,
    /// How long it ran.
    pub seconds: f64,
    /// What it took meanwhile.
    pub used: Used,
}

/// What became of it.
#[derive(Debug)]
pub struct Published {
    /// The job.
    pub job: Job,
    /// The result with its places, or why there is none.
    pub result: Result<(Entry, Vec<(String, Placement)>), Failure>,
}

impl Ended {
    /// Puts the outputs into the store and into their places.
    pub fn publish(self, store: &Store, results: &Results, reservation: Reservation) -> Published {
        let result = self
            .check_inputs(store, &reservation)
            .and_then(|()| self.collect())
            .and_then(|()| self.keep(store, results, reservation));
        Published {
            job: self.job,
            result,
        }
    }

    /// Refuses a result that may not be what its key says.
    fn check_inputs(&self, store: &Store, reservation: &Reservation) -> Result<(), Failure> {
        // What the user changed while the job ran may or may not be in its result.
        for input in &self.job.inputs {
            let From::File { path, .. } = &input.from else {
                continue;
            };
            let now = store.artifact_of(path).map(|artifact| artifact.digest);
            if reservation.key().inputs.get(&input.name) != now.as_ref().ok() {
                return Err(Failure {
                    message: format!("{} changed while the job ran", path.display()),
                    help: Some("run again".into()),
                });
            }
        }
        // Inputs are read-only, but not for a superuser.
        for (name, artifact) in &self.inputs {
            if !store.has(artifact).map_err(failure)? {
                return Err(Failure {
                    message: format!(
                        "the job wrote into its input `{name}`, which belongs to another job"
                    ),
                    help: Some(
                        "let it work on a copy; run again, and the input is made anew".into(),
                    ),
                });
            }
        }
        Ok(())
    }

    /// Takes the outputs of a program that knows nothing of where they belong.
    fn collect(&self) -> Result<(), Failure> {
        if self.job.declaration.kind.program != Program::Own {
            return Ok(());
        }
        command::collect(&self.file).map_err(|e| e.failure())
    }

    fn keep(
        &self,
        store: &Store,
        results: &Results,
        reservation: Reservation,
    ) -> Result<(Entry, Vec<(String, Placement)>), Failure> {
        let work = reservation.work().to_owned();
        let outputs = self.job.declaration.outputs.iter();
        let outputs: BTreeMap<String, PathBuf> = outputs
            .map(|output| {
                let path = launch::output_path(&work, &self.job, &output.name);
                (output.name.clone(), path)
            })
            .collect();
        let meta = Meta {
            metrics: self.report.metrics.clone(),
            provenance: Provenance {
                rematch: env!("CARGO_PKG_VERSION").into(),
                host: launch::host(),
                user: std::env::var("USER").ok(),
                started: self.began,
                seconds: self.seconds,
                cpu_seconds: Some(self.used.cpu_seconds),
                peak_memory: Some(self.used.peak_memory),
                attempt: self.attempt,
                job: self.job.name.clone(),
                pipeline: self.pipeline.clone(),
                facts: self.report.facts.clone(),
            },
        };
        let log = work.join(LOG);
        let said = std::fs::metadata(&log).is_ok_and(|meta| meta.len() > 0);
        let entry = reservation
            .publish(&outputs, said.then_some(&*log), meta)
            .map_err(failure)?;
        let places = results
            .place(store, &self.job, &entry.outputs, &self.before)
            .map_err(|e| Failure {
                message: e.message().to_owned(),
                help: Some(
                    "move or remove what lies there, or choose another results folder with --out"
                        .into(),
                ),
            })?;
        Ok((entry, places))
    }
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure {
        message: error.to_string(),
        help: None,
    }
}
