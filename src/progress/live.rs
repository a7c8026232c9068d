//! A display that moves, for terminals: a line for every running job and one for the whole run.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rematch_spec::job::Event;

use super::meter::Meter;
use super::plain::Plain;
use super::{Progress, RunEvent, duration};
use crate::style::Style;

/// A job that told how far it is.
const WITH_BAR: &str = "  {prefix} {bar:20} {msg}";
/// A job that did not.
const WITHOUT_BAR: &str = "  {prefix} {elapsed}{msg}";

/// Draws bars; what a log would keep stays above them as lines.
pub struct Live {
    bars: MultiProgress,
    whole: ProgressBar,
    jobs: HashMap<String, Running>,
    plain: Plain,
}

struct Running {
    bar: ProgressBar,
    meter: Meter,
    numbers: String,
    unit: String,
}

impl Live {
    /// With colours or without.
    pub fn new(style: Style) -> Self {
        let bars = MultiProgress::new();
        let whole = bars.add(ProgressBar::new(0));
        whole.set_style(template(if style.colours() {
            "{bar:30.cyan/dim} {pos}/{len} jobs  {elapsed}  {msg}"
        } else {
            "{bar:30} {pos}/{len} jobs  {elapsed}  {msg}"
        }));
        Self {
            bars,
            whole,
            jobs: HashMap::new(),
            plain: Plain::new(style),
        }
    }

    fn tell(&mut self, event: &RunEvent) {
        if let Some(line) = self.plain.line(event) {
            let _ = self.bars.println(line);
        }
    }
}

/// A bar's look; one that does not parse would be a slip in this file, and the default look does.
fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

impl Progress for Live {
    fn on(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started { jobs, .. } => self.whole.set_length(*jobs as u64),
            RunEvent::Fresh { jobs } => self.whole.inc(*jobs as u64),
            RunEvent::JobStarted { job, .. } => {
                let bar = self.bars.insert_before(&self.whole, ProgressBar::new(0));
                bar.set_style(template(WITHOUT_BAR));
                bar.set_prefix((*job).to_owned());
                bar.tick();
                let running = Running {
                    bar,
                    meter: Meter::default(),
                    numbers: String::new(),
                    unit: String::new(),
                };
                self.jobs.insert((*job).to_owned(), running);
            }
            RunEvent::JobSays { job, says } => {
                if let Some(running) = self.jobs.get_mut(*job) {
                    match says {
                        Event::Progress { done, total, unit } => {
                            if running.unit.is_empty() {
                                running.bar.set_style(template(WITH_BAR));
                            }
                            running.meter.update(*done, *total);
                            running.bar.set_length(*total);
                            running.bar.set_position(*done);
                            running.unit.clone_from(unit);
                        }
                        Event::Metrics { values } => {
                            let values: Vec<String> = values
                                .iter()
                                .take(3)
                                .map(|(name, value)| format!("{name} {value:.3}"))
                                .collect();
                            running.numbers = format!("  {}", values.join(", "));
                        }
                        Event::Note { .. } | Event::Warning { .. } => return self.tell(event),
                    }
                    running.bar.set_message(format!(
                        "{}{}",
                        running.meter.describe(&running.unit),
                        running.numbers
                    ));
                }
                return;
            }
            RunEvent::JobDone { job, .. }
            | RunEvent::JobFailed { job, .. }
            | RunEvent::JobStopped { job } => {
                if let Some(running) = self.jobs.remove(*job) {
                    running.bar.finish_and_clear();
                }
                if let RunEvent::JobDone { left, .. } = event {
                    self.whole.inc(1);
                    let left = left.map(|left| {
                        format!("about {} left", duration(Duration::from_secs_f64(left)))
                    });
                    self.whole.set_message(left.unwrap_or_default());
                }
            }
            RunEvent::Finished { .. } => {
                self.whole.finish_and_clear();
                let _ = self.bars.clear();
            }
            _ => {}
        }
        // The bar says that a job started; a line for it would only repeat that.
        match event {
            RunEvent::JobStarted { .. } => drop(self.plain.line(event)),
            _ => self.tell(event),
        }
        self.whole.tick();
    }
}
