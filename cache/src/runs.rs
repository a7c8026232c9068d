//! The history of runs: a log that grows by whole lines; a line that a kill or a power cut spoiled is skipped.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::fs;
use crate::store::Store;

impl Store {
    /// Adds a record to the history of runs; does nothing in a read-only store.
    pub fn append_history(&self, record: &Value) -> Result<()> {
        unless_read_only(append(&self.history_path(), &format!("{record}\n")))
    }

    /// The history of runs, oldest first.
    pub fn history(&self) -> Result<Vec<Value>> {
        let bytes = fs::read_if_there(&self.history_path())?.unwrap_or_default();
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    fn history_path(&self) -> PathBuf {
        self.root().join("history.jsonl")
    }
}

fn unless_read_only(done: Result<()>) -> Result<()> {
    match done {
        Err(e) if e.is_read_only() => Ok(()),
        done => done,
    }
}

/// Appends whole lines; one that a killed writer left open is closed first.
fn append(path: &Path, lines: &str) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let Some(mut file) = fs::open_locked(path, true)? else {
        return Ok(());
    };
    let size = file.metadata().map_err(Error::io("look at", path))?.len();
    let mut last = [b'\n'];
    if size > 0 {
        file.read_exact_at(&mut last, size - 1)
            .map_err(Error::io("read", path))?;
    }
    let text = if last == [b'\n'] {
        lines.to_owned()
    } else {
        format!("\n{lines}")
    };
    file.write_all(text.as_bytes())
        .map_err(Error::io("write", path))
}
