//! How long jobs will take and how much they will leave, from what earlier runs of the pipeline took.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petgraph::graph::NodeIndex;

use crate::freshness::Freshness;
use crate::plan::Plan;

/// What is known of the jobs of every stage.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    stages: BTreeMap<String, Stage>,
}

/// What is known of the jobs of one stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stage {
    /// Jobs to come.
    pub left: usize,
    ran: usize,
    seconds: f64,
    bytes: u64,
}

impl Stage {
    /// Seconds that a job takes; `None` where none has run yet.
    pub fn seconds(&self) -> Option<f64> {
        (self.ran > 0).then(|| self.seconds / self.ran as f64)
    }

    /// Bytes that a job leaves.
    pub fn bytes(&self) -> f64 {
        self.bytes as f64 / self.ran.max(1) as f64
    }
}

impl Estimate {
    /// For these jobs, from the records of the last run.
    pub fn new(plan: &Plan, freshness: &Freshness, jobs: &BTreeSet<NodeIndex>) -> Self {
        let mut estimate = Self::default();
        let mut name = "";
        let mut stage = Stage::default();
        // Jobs of a stage follow one another: one look-up a stage, not one a job.
        for job in jobs {
            if plan.stage(*job) != name {
                estimate.add(name, std::mem::take(&mut stage));
                name = plan.stage(*job);
            }
            stage.left += 1;
            if let Some(record) = freshness.record(*job).filter(|record| record.seconds > 0.0) {
                stage.ran += 1;
                stage.seconds += record.seconds;
                stage.bytes += record
                    .outputs
                    .iter()
                    .map(|made| made.artifact.size)
                    .sum::<u64>();
            }
        }
        estimate.add(name, stage);
        estimate
    }

    fn add(&mut self, name: &str, more: Stage) {
        if more.left == 0 {
            return;
        }
        let stage = self.stages.entry(name.to_owned()).or_default();
        stage.left += more.left;
        stage.ran += more.ran;
        stage.seconds += more.seconds;
        stage.bytes += more.bytes;
    }

    /// Notes that a job need not be counted any more, and how long it took if it ran.
    pub fn done(&mut self, stage: &str, seconds: Option<f64>) {
        if let Some(stage) = self.stages.get_mut(stage) {
            stage.left = stage.left.saturating_sub(1);
            if let Some(seconds) = seconds {
                stage.ran += 1;
                stage.seconds += seconds;
            }
        }
    }

    /// How long the jobs to come take if so many run at once; `None` where that is not known of all.
    pub fn left(&self, at_once: usize) -> Option<Duration> {
        let mut seconds = 0.0;
        for stage in self.stages.values().filter(|stage| stage.left > 0) {
            seconds += stage.left as f64 * stage.seconds()?;
        }
        Some(Duration::from_secs_f64(
            (seconds / at_once.max(1) as f64).min(1e9),
        ))
    }

    /// The stages with jobs to come.
    pub fn stages(&self) -> impl Iterator<Item = (&str, &Stage)> {
        let stages = self.stages.iter().filter(|(_, stage)| stage.left > 0);
        stages.map(|(name, stage)| (name.as_str(), stage))
    }
}
