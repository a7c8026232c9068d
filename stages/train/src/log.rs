//! What a run writes as it goes: TensorBoard events with the originals' tags and some pictures, and the
//! same numbers as JSON lines (`log.jsonl`). Both can be cut back to where a checkpoint saw them.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rematch_data::child::StageError;
use rematch_data::events::{self, EventWriter};
use rematch_data::fs;
use rematch_data::image::Shape;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where the two files end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Name of the event file.
    pub events: String,
    /// Its length in bytes.
    pub events_length: u64,
    /// Length of the log in bytes.
    pub log_length: u64,
}

/// What a report says.
#[derive(Debug, Default)]
pub struct Facts {
    /// Tags and values.
    pub values: Vec<(String, f64)>,
    /// Tags, shapes and pixels.
    pub pictures: Vec<(String, Shape, Vec<u8>)>,
    /// K×K counts, a row per true class, where there are not too many.
    pub confusion: Option<Value>,
}

/// Writes both files.
pub struct Log {
    events: EventWriter,
    lines: File,
    path: PathBuf,
    length: u64,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Starts both anew in a run's folder; event files of earlier attempts are removed.
    pub fn create(run: &Path) -> Result<Self, StageError> {
        let tf = run.join("tf");
        fs::create_dir_all(&tf)?;
        for old in fs::list(&tf)? {
            fs::remove_file(&old)?;
        }
        let now = now();
        let events = EventWriter::create(&tf.join(events::file_name(now as u64, "rematch")), now)?;
        let path = run.join("log.jsonl");
        Ok(Self {
            events,
            lines: fs::create(&path)?,
            path,
            length: 0,
        })
    }

    /// Goes on from a mark; what was written behind it is cut off.
    pub fn resume(run: &Path, mark: &Mark) -> Result<Self, fs::Error> {
        let events = EventWriter::resume(&run.join("tf").join(&mark.events), mark.events_length)?;
        let path = run.join("log.jsonl");
        let act = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            if file.metadata()?.len() < mark.log_length {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it is shorter than it once was",
                ));
            }
            file.set_len(mark.log_length)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let lines = act().map_err(fs::at("continue", &path))?;
        Ok(Self {
            events,
            lines,
            path,
            length: mark.log_length,
        })
    }

    /// Adds what one report says. The originals count steps in labeled images.
    pub fn write(&mut self, step: u64, images: u64, facts: &Facts) -> Result<(), fs::Error> {
        let values = &facts.values;
        let scalars: Vec<(&str, f32)> = values
            .iter()
            .map(|(tag, value)| (tag.as_str(), *value as f32))
            .collect();
        self.events.scalars(now(), images as i64, &scalars);
        let pictures: Vec<_> = facts
            .pictures
            .iter()
            .map(|(tag, shape, pixels)| (tag.as_str(), (*shape, &pixels[..])))
            .collect();
        if !pictures.is_empty() {
            self.events.pictures(now(), images as i64, &pictures);
        }
        self.events.flush()?;
        let mut line = Map::from_iter([
            ("step".to_owned(), step.into()),
            ("images".to_owned(), images.into()),
        ]);
        line.extend(
            values
                .iter()
                .map(|(tag, value)| (tag.clone(), (*value).into())),
        );
        if let Some(confusion) = &facts.confusion {
            line.insert("confusion".to_owned(), confusion.clone());
        }
        let mut line = Value::Object(line).to_string().into_bytes();
        line.push(b'\n');
        self.lines
            .write_all(&line)
            .map_err(fs::at("write", &self.path))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Waits until everything is on the disk, and says where both files end.
    pub fn sync(&mut self) -> Result<Mark, fs::Error> {
        self.events.sync()?;
        self.lines.sync_all().map_err(fs::at("write", &self.path))?;
        let events = self
            .events
            .path()
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Mark {
            events,
            events_length: self.events.position(),
            log_length: self.length,
        })
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(accuracy: f64) -> Facts {
        Facts {
            values: vec![("accuracy".into(), accuracy)],
            ..Facts::default()
        }
    }

    #[test]
    fn what_is_behind_a_mark_is_gone_after_resuming() {
        let run = tempfile::tempdir().unwrap();
        let mut log = Log::create(run.path()).unwrap();
        log.write(1, 16, &facts(12.5)).unwrap();
        let mark = log.sync().unwrap();
        log.write(2, 32, &facts(99.0)).unwrap();
        drop(log);
        let mut log = Log::resume(run.path(), &mark).unwrap();
        let mut more = facts(25.0);
        more.values.push(("losses/xe".into(), 0.5));
        log.write(2, 32, &more).unwrap();
        let lines = fs::read_to_string(&run.path().join("log.jsonl")).unwrap();
        let expected = concat!(
            r#"{"accuracy":12.5,"images":16,"step":1}"#,
            "\n",
            r#"{"accuracy":25.0,"images":32,"losses/xe":0.5,"step":2}"#,
            "\n"
        );
        assert_eq!(lines, expected);
        let file = &events::files(run.path()).unwrap()[0];
        let mut reader = events::EventReader::open(file).unwrap();
        let mut found = Vec::new();
        while let Some(event) = reader.read().unwrap() {
            found.extend(
                event
                    .scalars
                    .into_iter()
                    .map(|(tag, value)| (event.step, tag, value)),
            );
        }
        assert_eq!(found.len(), 3);
        assert_eq!(found[1], (32, "accuracy".into(), 25.0));
    }

    #[test]
    fn files_that_lost_their_end_are_not_continued() {
        let run = tempfile::tempdir().unwrap();
        let mut log = Log::create(run.path()).unwrap();
        log.write(1, 16, &facts(12.5)).unwrap();
        let mark = log.sync().unwrap();
        std::fs::write(run.path().join("log.jsonl"), "").unwrap();
        assert!(Log::resume(run.path(), &mark).is_err());
        std::fs::remove_dir_all(run.path().join("tf")).unwrap();
        assert!(Log::resume(run.path(), &mark).is_err());
    }
}
