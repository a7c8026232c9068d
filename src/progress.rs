//! What a run tells while it goes on. The engine reports events; how they look is decided here.

pub mod json;
pub mod live;
pub mod meter;
pub mod plain;

use std::time::Duration;

use rematch_spec::job::{Event, Failure};
use serde::Serialize;

use crate::freshness::Why;

/// Something happened in a run.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent<'a> {
    /// The run begins.
    Started {
        /// The pipeline.
        pipeline: &'a str,
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
        job: &'a str,
        /// Why it must run.
        #[serde(flatten)]
        why: &'a Why,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// A job says something.
    JobSays {
        /// The job.
        job: &'a str,
        /// What.
        says: &'a Event,
    },
    /// A job has its result.
    JobDone {
        /// The job.
        job: &'a str,
        /// Seconds from start to result.
        seconds: f64,
        /// Seconds until the run is over, by what its jobs took so far and in earlier runs.
        #[serde(skip_serializing_if = "Option::is_none")]
        left: Option<f64>,
    },
    /// A job failed.
    JobFailed {
        /// The job.
        job: &'a str,
        /// Why.
        failure: &'a Failure,
        /// The last lines of its log.
        log: &'a str,
        /// Seconds until it is tried again, if it is.
        retry_in: Option<f64>,
    },
    /// A job was stopped before its end.
    JobStopped {
        /// The job.
        job: &'a str,
    },
    /// A job waits for another runner that is making the same result.
    JobHeld {
        /// The job.
        job: &'a str,
        /// Who makes it.
        by: &'a str,
    },
    /// The run is asked to stop.
    Stopping {
        /// Jobs that still run.
        running: usize,
    },
    /// A line for the user.
    Warning {
        /// The line.
        text: &'a str,
    },
    /// The run is over.
    Finished {
        /// How it went.
        #[serde(flatten)]
        summary: &'a Summary,
    },
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Jobs that ran.
    pub ran: usize,
    /// Jobs whose results were there.
    pub fresh: usize,
    /// Jobs that failed.
    pub failed: Vec<String>,
    /// Jobs that were stopped, and can go on.
    pub stopped: Vec<String>,
    /// Jobs that were not started.
    pub skipped: usize,
    /// Of those, jobs that must run first and were not selected.
    pub barred: Vec<String>,
    /// The run was asked to stop.
    pub interrupted: bool,
    /// Seconds in all.
    pub seconds: f64,
}

/// Shows a run.
pub trait Progress {
    /// Shows one event.
    fn on(&mut self, event: &RunEvent);
}

/// `1 h 02 min`, `3 min 20 s`, `12.3 s`, `45 ms`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.as_millis() < 1000 => format!("{} ms", time.as_millis()),
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {:02} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// The end of a run in words.
pub fn summary_in_words(summary: &Summary) -> String {
    let time = duration(Duration::from_secs_f64(summary.seconds.max(0.0)));
    let jobs = |n: usize| {
        if n == 1 {
            "1 job".to_owned()
        } else {
            format!("{n} jobs")
        }
    };
    let total = summary.ran
        + summary.fresh
        + summary.failed.len()
        + summary.stopped.len()
        + summary.skipped;
    if summary.fresh == total {
        return format!(
            "nothing to do: {} up to date ({time})",
            if total == 1 {
                "1 job is".into()
            } else {
                format!("all {total} jobs are")
            }
        );
    }
    let mut parts = vec![
        format!("{} ran", summary.ran),
        format!("{} up to date", summary.fresh),
    ];
    for (count, word) in [
        (summary.failed.len(), "failed"),
        (summary.stopped.len(), "stopped"),
        (summary.skipped, "not started"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    format!("{}: {} ({time})", jobs(total), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        let times = [45, 1_500, 200_000, 3_725_000, 180_000_000];
        let words: Vec<String> = times
            .iter()
            .map(|ms| duration(Duration::from_millis(*ms)))
            .collect();
        assert_eq!(
            words,
            ["45 ms", "1.5 s", "3 min 20 s", "1 h 02 min", "2 d 02 h"]
        );
    }

    #[test]
    fn an_unchanged_run_says_that_nothing_was_to_do() {
        let summary = Summary {
            fresh: 14,
            ..Summary::default()
        };
        assert!(
            summary_in_words(&summary).starts_with("nothing to do: all 14 jobs are up to date")
        );
    }
}
