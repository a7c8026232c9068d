//! What every method of the table must do, with its published hyper-parameters, its own optimizer and
//! augmentation, on a tiny network: run, log all of its terms, and end with the same bits however often
//! it is stopped.

mod common;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock, Weak};

use common::{Place, assert_same, scalars};
use rematch_data::child::{Child, StageError};
use rematch_spec::job::Job;
use rematch_spec::method::Method;
use rematch_train::train::train;
use serde_json::{Value, json};

const STEPS: u64 = 6;

/// A job of that method which reports behind every step.
fn job(place: &Place, method: &str, name: &str) -> Job {
    let changes = json!({
        "algorithm": method,
        "length": {"steps": STEPS},
        "report": {"steps": 1},
        "optimizer": Value::Null,
        "ema": Value::Null,
    });
    place.job(&format!("{method}-{name}"), changes)
}

/// Where a job's events go: interrupts it at its n-th report.
struct Stop {
    child: Arc<OnceLock<Weak<Child>>>,
    reports: u32,
}

impl Write for Stop {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if String::from_utf8_lossy(bytes).contains("accuracy/raw") {
            self.reports = self.reports.saturating_sub(1);
        }
        if self.reports == 0
            && let Some(child) = self.child.get().and_then(Weak::upgrade)
        {
            child.interrupt();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a job up to its n-th report.
fn stop_at(job: &Job, reports: u32) -> StageError {
    let place = Arc::default();
    let stop = Stop {
        child: Arc::clone(&place),
        reports,
    };
    let child = Arc::new(Child::new(job.clone(), stop));
    assert!(place.set(Arc::downgrade(&child)).is_ok());
    train(&child).unwrap_err()
}

/// The tags of a run's losses at each of its reports, in order.
fn losses(job: &Job) -> Vec<BTreeSet<String>> {
    let mut reports: Vec<(i64, BTreeSet<String>)> = Vec::new();
    for (step, tag, value) in scalars(job) {
        assert!(value.is_finite(), "{tag} at {step}: {value}");
        if reports.last().is_none_or(|last| last.0 != step) {
            reports.push((step, BTreeSet::new()));
        }
        if tag.starts_with("losses/")
            && let Some((_, tags)) = reports.last_mut()
        {
            tags.insert(tag);
        }
    }
    reports.into_iter().map(|(_, tags)| tags).collect()
}

#[test]
fn every_method_runs_and_logs_every_term_at_every_report() {
    let place = Place::new();
    for method in Method::names() {
        let job = job(&place, method, "run");
        let report = place.run(&job).unwrap_or_else(|e| panic!("{method}: {e}"));
        assert_eq!(report.facts["steps"], STEPS, "{method}");
        let reports = losses(&job);
        assert_eq!(reports.len() as u64, STEPS, "{method}");
        // Weight decay, which is always logged, a labeled term, and where there are unlabeled images a
        // term of them.
        let unlabeled = Method::named(method).unwrap().reads_unlabeled();
        let least = 2 + usize::from(unlabeled);
        assert!(reports[0].len() >= least, "{method}: {:?}", reports[0]);
        assert!(
            reports.iter().all(|tags| *tags == reports[0]),
            "{method}: {reports:?}"
        );
    }
}

#[test]
fn every_method_stopped_and_resumed_ends_with_the_same_bits() {
    let place = Place::new();
    for method in Method::names() {
        let [whole, stopped] = ["whole", "stopped"].map(|name| job(&place, method, name));
        place
            .run(&whole)
            .unwrap_or_else(|e| panic!("{method}: {e}"));
        // Behind the third step, and after one more.
        for reports in [3, 1] {
            assert_eq!(
                stop_at(&stopped, reports),
                StageError::Interrupted,
                "{method}"
            );
        }
        let before = scalars(&stopped).last().unwrap().0;
        assert_eq!(before, 4 * 4, "{method} stopped behind its fourth step");
        place
            .run(&stopped)
            .unwrap_or_else(|e| panic!("{method}: {e}"));
        assert_same(&stopped, &whole);
    }
}
