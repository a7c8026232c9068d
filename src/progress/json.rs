//! One JSON line per event, for scripts.

use std::io::Write;

use super::{Progress, RunEvent};

/// Writes every event to standard output.
pub struct Json;

impl Progress for Json {
    fn on(&mut self, event: &RunEvent) {
        if let Ok(line) = serde_json::to_string(event) {
            // A reader that went away is no reason to stop training.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}
