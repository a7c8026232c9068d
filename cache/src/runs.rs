//! What earlier runs did: the last key of every job, for `explain`.
//! A log that grows by whole lines; a line that a kill or a power cut spoiled is skipped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::fs;
use crate::key::{Key, KeyId};
use crate::sealed;
use crate::store::Store;

/// The last key of every job of one pipeline.
#[derive(Debug, Default)]
pub(crate) struct LastKeys {
    jobs: HashMap<String, KeyId>,
    /// Lines of its file; compacted when most of them are outdated.
    lines: usize,
}

impl Store {
    /// Notes that `job` of `pipeline` now has this key. Costs nothing where it had it before, and
    /// does nothing in a read-only store.
    pub fn remember(&self, pipeline: &str, job: &str, key: &Key) -> Result<()> {
        unless_read_only(self.try_remember(pipeline, job, key))
    }

    fn try_remember(&self, pipeline: &str, job: &str, key: &Key) -> Result<()> {
        let id = key.id();
        let path = self.last_keys_path(pipeline);
        self.with_last_keys(pipeline, |known| {
            if known.jobs.get(job) == Some(&id) {
                return Ok(());
            }
            self.keep_key(key, &id)?;
            append(&path, &line(job, &id))?;
            known.jobs.insert(job.to_owned(), id);
            known.lines += 1;
            if known.lines > 2 * known.jobs.len() + 1000 {
                *known = compact(&self.temporary(), &path)?;
            }
            Ok(())
        })
    }

    /// The key that `job` of `pipeline` had when it was last [remembered](Self::remember).
    pub fn last_key(&self, pipeline: &str, job: &str) -> Result<Option<Key>> {
        let id = self.with_last_keys(pipeline, |known| Ok(known.jobs.get(job).copied()))?;
        let Some(id) = id else {
            return Ok(None);
        };
        let key = fs::read_if_there(&self.key_path(&id))?
            .and_then(|bytes| sealed::unseal::<Key>(&bytes).ok());
        Ok(key.filter(|key| key.id() == id))
    }

    /// The last keys of a pipeline, read from their file the first time.
    fn with_last_keys<T>(
        &self,
        pipeline: &str,
        body: impl FnOnce(&mut LastKeys) -> Result<T>,
    ) -> Result<T> {
        let mut all = self
            .inner
            .last_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        body(match all.entry(pipeline.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(load(&self.last_keys_path(pipeline))?),
        })
    }

    /// Keeps the key itself: its entry may never come, or be collected.
    fn keep_key(&self, key: &Key, id: &KeyId) -> Result<()> {
        let path = self.key_path(id);
        if fs::look(&path)?.is_some() {
            return Ok(());
        }
        let bytes = sealed::seal(key).map_err(|e| Error::NotJson {
            path: path.clone(),
            why: e.to_string(),
        })?;
        fs::write_atomic(&self.temporary(), &path, &bytes)
    }

    fn key_path(&self, id: &KeyId) -> PathBuf {
        let hex = id.to_string();
        self.root()
            .join("keys")
            .join(&hex[..2])
            .join(format!("{}.json", &hex[2..]))
    }

    fn last_keys_path(&self, pipeline: &str) -> PathBuf {
        self.root()
            .join("runs")
            .join(format!("{}.keys", fs::file_name_for(pipeline)))
    }
}

fn unless_read_only(done: Result<()>) -> Result<()> {
    match done {
        Err(e) if e.is_read_only() => Ok(()),
        done => done,
    }
}

fn line(job: &str, id: &KeyId) -> String {
    format!("{id} {}\n", Value::from(job))
}

fn load(path: &Path) -> Result<LastKeys> {
    Ok(parse(&fs::read_if_there(path)?.unwrap_or_default()))
}

fn parse(bytes: &[u8]) -> LastKeys {
    let mut known = LastKeys::default();
    for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        known.lines += 1;
        let Some((id, job)) = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        if let (Ok(id), Ok(job)) = (id.parse(), serde_json::from_str(job)) {
            known.jobs.insert(job, id);
        }
    }
    known
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

/// Rewrites a log with one line per job.
fn compact(temporary: &Path, path: &Path) -> Result<LastKeys> {
    let Some(file) = fs::open_locked(path, true)? else {
        return Ok(LastKeys::default());
    };
    let mut known = parse(&fs::read_rest(&file, path)?);
    let mut lines: Vec<String> = known.jobs.iter().map(|(job, id)| line(job, id)).collect();
    lines.sort_unstable();
    known.lines = lines.len();
    fs::write_atomic_as(0o644, temporary, path, lines.concat().as_bytes())?;
    Ok(known)
}
