//! Rate and remaining time of one job, from its progress events.

use std::time::{Duration, Instant};

use super::duration;

/// Follows one job's progress.
#[derive(Debug, Default)]
pub struct Meter {
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    total: u64,
}

impl Meter {
    /// Takes in a progress event. `done` may begin above zero, in a job that goes on.
    pub fn update(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        self.first.get_or_insert((now, done));
        self.last = Some((now, done));
        self.total = total;
    }

    /// Units per second, once there is anything to measure.
    pub fn rate(&self) -> Option<f64> {
        let ((start, from), (end, to)) = (self.first?, self.last?);
        let seconds = (end - start).as_secs_f64();
        (seconds > 0.05 && to > from).then(|| (to - from) as f64 / seconds)
    }

    /// `412/600 steps, 8.3 steps/s, 22 s left`.
    pub fn describe(&self, unit: &str) -> String {
        let done = self.last.map_or(0, |(_, done)| done);
        let bytes = unit == "bytes";
        let show = |n: f64| {
            if bytes {
                format!("{:.1} MB", n / 1e6)
            } else {
                format!("{n:.0}")
            }
        };
        let mut text = match self.total {
            0 => show(done as f64),
            total => format!("{}/{}", show(done as f64), show(total as f64)),
        };
        if !bytes {
            text += &format!(" {unit}");
        }
        if let Some(rate) = self.rate() {
            text += &if bytes {
                format!(", {}/s", show(rate))
            } else {
                format!(", {rate:.1} {unit}/s")
            };
            if self.total > done {
                let left = Duration::from_secs_f64(((self.total - done) as f64 / rate).min(1e9));
                text += &format!(", {} left", duration(left));
            }
        }
        text
    }
}
