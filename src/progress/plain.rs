//! Plain lines on standard error, for logs and pipes.

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use rematch_spec::job::Event;

use super::meter::Meter;
use super::{Progress, RunEvent, duration, summary_in_words};
use crate::style::Style;

/// Between two progress lines of one job.
const EVERY: Duration = Duration::from_secs(10);

/// Writes lines.
pub struct Plain {
    style: Style,
    wanted: usize,
    done: usize,
    jobs: HashMap<String, (Meter, Instant)>,
}

impl Plain {
    /// With colours or without.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            wanted: 0,
            done: 0,
            jobs: HashMap::new(),
        }
    }

    /// The line for an event, where it has one.
    pub fn line(&mut self, event: &RunEvent) -> Option<String> {
        let style = self.style;
        let count = |plain: &Self| style.dim(&format!("[{}/{}]", plain.done, plain.wanted));
        match event {
            RunEvent::Started { jobs, .. } => {
                self.wanted = *jobs;
                None
            }
            RunEvent::Fresh { jobs } => {
                self.done += jobs;
                None
            }
            RunEvent::JobStarted { job, why, attempt } => {
                self.jobs
                    .insert((*job).to_owned(), (Meter::default(), Instant::now()));
                let again = if *attempt > 1 {
                    format!(", attempt {attempt}")
                } else {
                    String::new()
                };
                Some(format!(
                    "{} {job} {}",
                    style.bold("start"),
                    style.dim(&format!("({}{again})", why.summary()))
                ))
            }
            RunEvent::JobSays {
                job,
                says: Event::Progress { done, total, unit },
            } => {
                let (meter, last) = self.jobs.get_mut(*job)?;
                meter.update(*done, *total);
                if last.elapsed() < EVERY {
                    return None;
                }
                *last = Instant::now();
                Some(format!("      {job} {}", meter.describe(unit)))
            }
            RunEvent::JobSays {
                job,
                says: Event::Metrics { values },
            } => {
                let (_, last) = self.jobs.get(*job)?;
                // The next progress line tells the same story; numbers between them would flood a log.
                if last.elapsed() < EVERY {
                    return None;
                }
                let values: Vec<String> = values
                    .iter()
                    .map(|(name, value)| format!("{name} {value:.4}"))
                    .collect();
                Some(format!("      {job} {}", values.join(", ")))
            }
            RunEvent::JobSays {
                job,
                says: Event::Note { text },
            } => Some(format!("      {job}: {text}")),
            RunEvent::JobSays {
                job,
                says: Event::Warning { text },
            } => Some(format!("{} {job}: {text}", style.yellow("warning:"))),
            RunEvent::JobDone { job, seconds, left } => {
                self.done += 1;
                self.jobs.remove(*job);
                let time = duration(Duration::from_secs_f64(*seconds));
                // Runs of a moment need no forecast.
                let left = left.filter(|left| *left > 1.0).map(|left| {
                    format!("; about {} left", duration(Duration::from_secs_f64(left)))
                });
                let left = left.unwrap_or_default();
                Some(format!(
                    "{}  {} {job} {}",
                    style.green("done"),
                    count(self),
                    style.dim(&format!("in {time}{left}"))
                ))
            }
            RunEvent::JobFailed {
                job,
                failure,
                log,
                retry_in,
            } => {
                self.jobs.remove(*job);
                let mut text = format!("{} {job}: {}", style.red("failed"), failure.message);
                if let Some(help) = &failure.help {
                    text += &format!("\n  help: {help}");
                }
                match retry_in {
                    Some(seconds) => text += &format!("\n  trying again in {seconds:.0} s"),
                    None => {
                        for line in log.lines() {
                            text += &format!("\n  | {line}");
                        }
                        text += &format!("\n  the whole log: rematch log '{job}'");
                    }
                }
                Some(text)
            }
            RunEvent::JobStopped { job } => {
                self.jobs.remove(*job);
                Some(format!("{} {job}", style.yellow("stopped")))
            }
            RunEvent::JobHeld { job, by } => Some(format!(
                "{} {job} is being made by {by}",
                style.yellow("wait")
            )),
            RunEvent::Stopping { running } => Some(format!(
                "{} {running} running {} to save and end; Ctrl-C again kills",
                style.yellow("stopping:"),
                if *running == 1 {
                    "job is asked"
                } else {
                    "jobs are asked"
                }
            )),
            RunEvent::Warning { text } => Some(format!("{} {text}", style.yellow("warning:"))),
            RunEvent::Finished { summary } => Some(style.bold(&summary_in_words(summary))),
        }
    }
}

impl Progress for Plain {
    fn on(&mut self, event: &RunEvent) {
        if let Some(line) = self.line(event) {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}
