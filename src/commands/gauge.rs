//! How far a command is that takes longer than a second: on a terminal a line that moves, elsewhere a new line every
//! ten seconds.

use crate::commands::say;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::progress::meter::Meter;

/// Nothing is shown before that.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks of a terminal.
const FRAME: Duration = Duration::from_millis(100);
/// Between two plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// Shows how far something is, on standard error.
pub struct Gauge {
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    next: Instant,
    unit: &'static str,
    meter: Meter,
    bar: Option<ProgressBar>,
}

impl Gauge {
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            state: Mutex::new(State {
                next: Instant::now() + PATIENCE,
                unit: "",
                meter: Meter::default(),
                bar: None,
            }),
        }
    }

    /// So many of `unit` are done, of so many (0: nobody knows). Called by many threads.
    pub fn tell(&self, unit: &'static str, done: u64, total: u64) {
        // Whoever finds it taken leaves the telling to the next.
        let Ok(mut state) = self.state.try_lock() else {
            return;
        };
        if state.unit != unit {
            state.unit = unit;
            state.meter = Meter::default();
        }
        state.meter.update(done, total);
        let now = Instant::now();
        if now < state.next {
            return;
        }
        let text = state.meter.describe(unit);
        if !self.terminal {
            state.next = now + EVERY;
            say(&format!("      {text}"));
            return;
        }
        state.next = now + FRAME;
        let bar = state.bar.get_or_insert_with(|| ProgressBar::new(0));
        bar.set_style(style(if total > 0 { "{bar:30} {msg}" } else { "{msg}" }));
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(text);
    }
}

/// A bar's look; one that does not parse would be a slip in this file, and the default look does.
fn style(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

impl Drop for Gauge {
    fn drop(&mut self) {
        if let Ok(State { bar: Some(bar), .. }) = self.state.get_mut() {
            bar.finish_and_clear();
        }
    }
}
