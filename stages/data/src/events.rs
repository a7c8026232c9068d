//! TensorBoard event files: a writer of scalars and pictures that can go on where it stopped, and a reader that
//! also understands what TensorFlow 1 and 2 write.
//!
//! An event file is a TFRecord file of `Event` messages {1 wall_time, 2 step, 3 file_version, 5
//! summary {1 value {1 tag, 2 simple_value, 4 image {1 height, 2 width, 3 channels, 4 PNG}, 8 tensor}}}; the
//! first one holds the file version.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::fs;
use crate::image::Shape;
use crate::png;
use crate::proto::{self, Fields, Malformed, Value};
use crate::tfrecord::{self, Reader};

/// What every event file begins with.
const VERSION: &[u8] = b"brain.Event:2";
/// TensorBoard takes any file whose name has this in it for an event file.
pub const MARK: &str = "tfevents";

/// A name for an event file, as TensorFlow forms it: seconds since 1970 with ten digits, and a host.
pub fn file_name(seconds: u64, host: &str) -> String {
    format!("events.out.tfevents.{seconds:010}.{host}")
}

/// An image: its shape and its pixels.
pub type Picture<'a> = (Shape, &'a [u8]);

/// Writes scalars and pictures. What was written before [`flush`](Self::flush) survives a crash.
pub struct EventWriter {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Bytes in the file.
    written: u64,
}

impl EventWriter {
    /// Creates or empties an event file. `wall_time` is in seconds since 1970.
    pub fn create(path: &Path, wall_time: f64) -> Result<Self, fs::Error> {
        let mut writer = Self {
            file: fs::create(path)?,
            path: path.to_owned(),
            buffer: Vec::new(),
            written: 0,
        };
        let mut event = Vec::new();
        proto::put_double(&mut event, 1, wall_time);
        proto::put_bytes(&mut event, 3, VERSION);
        tfrecord::put_record(&mut writer.buffer, &event);
        writer.flush()?;
        Ok(writer)
    }

    /// Opens an event file to go on after its first `length` bytes ([`position`](Self::position) of
    /// an earlier writer); what lies behind them is cut off.
    ///
    /// # Errors
    /// If the file is shorter than that.
    pub fn resume(path: &Path, length: u64) -> Result<Self, fs::Error> {
        let act = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).open(path)?;
            let there = file.metadata()?.len();
            if there < length {
                let message = format!("it has {there} bytes, and {length} were written once");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = act().map_err(fs::at("continue", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            buffer: Vec::new(),
            written: length,
        })
    }

    /// Adds one event with several scalars. TensorBoard stores and shows 32-bit floats.
    pub fn scalars(&mut self, wall_time: f64, step: i64, values: &[(&str, f32)]) {
        self.event(wall_time, step, values, |entry, value| {
            proto::put_float(entry, 2, *value);
        });
    }

    /// Adds one event with several pictures: tag, shape, pixels (HWC).
    pub fn pictures(&mut self, wall_time: f64, step: i64, pictures: &[(&str, Picture)]) {
        self.event(wall_time, step, pictures, |entry, (shape, pixels)| {
            let mut image = Vec::new();
            for (field, number) in [(1, shape.height), (2, shape.width), (3, shape.channels)] {
                proto::put_int(&mut image, field, number as u64);
            }
            proto::put_bytes(&mut image, 4, &png::encode(*shape, pixels));
            proto::put_bytes(entry, 4, &image);
        });
    }

    fn event<T>(
        &mut self,
        wall_time: f64,
        step: i64,
        values: &[(&str, T)],
        put: impl Fn(&mut Vec<u8>, &T),
    ) {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = Vec::new();
            proto::put_bytes(&mut entry, 1, tag.as_bytes());
            put(&mut entry, value);
            proto::put_bytes(&mut summary, 1, &entry);
        }
        let mut event = Vec::new();
        proto::put_double(&mut event, 1, wall_time);
        proto::put_int(&mut event, 2, step as u64);
        proto::put_bytes(&mut event, 5, &summary);
        tfrecord::put_record(&mut self.buffer, &event);
    }

    /// Hands everything to the operating system, so that TensorBoard sees it.
    pub fn flush(&mut self) -> Result<(), fs::Error> {
        self.file
            .write_all(&self.buffer)
            .map_err(fs::at("write", &self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Flushes, and waits until it is on the disk.
    pub fn sync(&mut self) -> Result<(), fs::Error> {
        self.flush()?;
        self.file.sync_all().map_err(fs::at("write", &self.path))
    }

    /// Length of the file once all events so far are in it.
    pub fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// An event with scalars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Seconds since 1970.
    pub wall_time: f64,
    /// The step.
    pub step: i64,
    /// Tags and values, in order; a 32-bit value is widened as it is.
    pub scalars: Vec<(String, f64)>,
}

/// Reads an event file.
pub struct EventReader {
    reader: Reader<BufReader<File>>,
}

impl EventReader {
    /// Opens an event file.
    pub fn open(path: &Path) -> Result<Self, tfrecord::Error> {
        Ok(Self {
            reader: Reader::open(path)?,
        })
    }

    /// The next event; those without scalars come too, with none. `None` at the end.
    ///
    /// # Errors
    /// On a damaged or cut file; what came before stays valid.
    pub fn read(&mut self) -> Result<Option<Event>, tfrecord::Error> {
        let Some(record) = self.reader.read()? else {
            return Ok(None);
        };
        match decode(record.data()) {
            Ok(event) => Ok(Some(event)),
            Err(error) => Err(self.reader.bad_record("TensorBoard event", &error)),
        }
    }
}

/// Event files in a run's folder, or in `tf/` below it, in the order of their names.
pub fn files(run: &Path) -> Result<Vec<PathBuf>, fs::Error> {
    let tf = run.join("tf");
    for folder in [tf.as_path(), run] {
        if *folder == tf && !folder.is_dir() {
            continue;
        }
        let mut all = fs::list(folder)?;
        all.retain(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().contains(MARK))
                && path.is_file()
        });
        if !all.is_empty() {
            return Ok(all);
        }
    }
    Ok(Vec::new())
}

fn decode(data: &[u8]) -> Result<Event, Malformed> {
    let mut event = Event::default();
    for field in Fields(data) {
        match field? {
            (1, Value::Fixed64(bits)) => event.wall_time = f64::from_bits(bits),
            (2, Value::Varint(step)) => event.step = step as i64,
            (5, Value::Bytes(summary)) => {
                for value in Fields(summary) {
                    if let (1, Value::Bytes(value)) = value?
                        && let Some(scalar) = scalar(value)?
                    {
                        event.scalars.push(scalar);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(event)
}

/// Tag and value of a Summary.Value that is a scalar.
fn scalar(message: &[u8]) -> Result<Option<(String, f64)>, Malformed> {
    let (mut tag, mut found) = (String::new(), None);
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(text)) => tag = String::from_utf8_lossy(text).into_owned(),
            (2, Value::Fixed32(bits)) => found = Some(f64::from(f32::from_bits(bits))),
            (8, Value::Bytes(bytes)) => found = tensor(bytes)?,
            _ => {}
        }
    }
    Ok(found.map(|value| (tag, value)))
}

/// The value of a TensorProto of one float, double or integer; `None` for any other.
fn tensor(message: &[u8]) -> Result<Option<f64>, Malformed> {
    const FLOAT: u64 = 1;
    const DOUBLE: u64 = 2;
    const INT32: u64 = 3;
    const INT64: u64 = 9;
    let (mut dtype, mut values, mut raw): (u64, Vec<f64>, &[u8]) = (0, Vec::new(), &[]);
    for field in Fields(message) {
        match field? {
            (1, Value::Varint(n)) => dtype = n,
            (4, Value::Bytes(bytes)) => raw = bytes,
            (5, Value::Fixed32(bits)) => values.push(f32::from_bits(bits).into()),
            (6, Value::Fixed64(bits)) => values.push(f64::from_bits(bits)),
            (7 | 10, Value::Varint(n)) => values.push(n as i64 as f64),
            // Lists of numbers are packed; a scalar has one.
            (5, Value::Bytes(bytes)) if bytes.len() == 4 => values.extend(number(FLOAT, bytes)),
            (6, Value::Bytes(bytes)) if bytes.len() == 8 => values.extend(number(DOUBLE, bytes)),
            (7 | 10, Value::Bytes(mut bytes)) if bytes.len() <= 10 && !bytes.is_empty() => {
                values.push(proto::varint(&mut bytes)? as i64 as f64);
            }
            _ => {}
        }
    }
    Ok(match values[..] {
        [] if [FLOAT, DOUBLE, INT32, INT64].contains(&dtype) => number(dtype, raw),
        [value] => Some(value),
        _ => None,
    })
}

/// A number as it lies in memory.
fn number(dtype: u64, raw: &[u8]) -> Option<f64> {
    match (dtype, raw.len()) {
        (1, 4) => raw.first_chunk().map(|b| f32::from_le_bytes(*b).into()),
        (3, 4) => raw.first_chunk().map(|b| i32::from_le_bytes(*b).into()),
        (2, 8) => raw.first_chunk().map(|b| f64::from_le_bytes(*b)),
        (9, 8) => raw.first_chunk().map(|b| i64::from_le_bytes(*b) as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared;
    use proptest::prelude::*;

    fn read(path: &Path) -> Vec<Event> {
        let mut reader = EventReader::open(path).unwrap();
        std::iter::from_fn(|| reader.read().unwrap()).collect()
    }

    #[test]
    fn pictures_are_png_files_beside_scalars() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let shape = Shape {
            height: 2,
            width: 3,
            channels: 1,
        };
        let mut writer = EventWriter::create(&path, 1.0).unwrap();
        writer.pictures(2.0, 7, &[("views/x", (shape, &[9; 6]))]);
        writer.scalars(3.0, 8, &[("a", 1.0)]);
        writer.flush().unwrap();
        let bytes = fs::read(&path).unwrap();
        let start = bytes.windows(4).position(|w| w == b"\x89PNG").unwrap();
        assert_eq!(png::decode(&bytes[start..]).unwrap().data, [9; 6]);
        let mut reader = EventReader::open(&path).unwrap();
        let mut scalars = Vec::new();
        while let Some(event) = reader.read().unwrap() {
            scalars.extend(event.scalars);
        }
        assert_eq!(scalars, [("a".to_owned(), 1.0)]);
    }

    #[test]
    fn scalars_survive_a_round_trip_behind_the_file_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file_name(17, "host"));
        let mut writer = EventWriter::create(&path, 1.5).unwrap();
        writer.scalars(2.5, 64, &[("accuracy", 12.5), ("losses/xe", 2.25)]);
        writer.flush().unwrap();
        let first = Event {
            wall_time: 1.5,
            ..Event::default()
        };
        let second = Event {
            wall_time: 2.5,
            step: 64,
            scalars: vec![("accuracy".into(), 12.5), ("losses/xe".into(), 2.25)],
        };
        assert_eq!(read(&path), [first, second]);
        assert_eq!(files(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn a_resumed_file_is_the_file_of_an_undisturbed_run() {
        let folder = tempfile::tempdir().unwrap();
        let [whole, resumed] = ["tfevents.a", "tfevents.b"].map(|n| folder.path().join(n));
        let mut writer = EventWriter::create(&whole, 0.0).unwrap();
        writer.scalars(0.0, 1, &[("a", 1.0)]);
        writer.scalars(0.0, 2, &[("a", 2.0)]);
        writer.sync().unwrap();

        let mut writer = EventWriter::create(&resumed, 0.0).unwrap();
        writer.scalars(0.0, 1, &[("a", 1.0)]);
        let saved = writer.position();
        writer.scalars(0.0, 2, &[("a", 77.0)]);
        writer.scalars(0.0, 3, &[("a", 78.0)]);
        writer.flush().unwrap();
        let mut writer = EventWriter::resume(&resumed, saved).unwrap();
        writer.scalars(0.0, 2, &[("a", 2.0)]);
        writer.flush().unwrap();
        assert_eq!(writer.position(), fs::len(&whole).unwrap());
        assert_eq!(fs::read(&resumed).unwrap(), fs::read(&whole).unwrap());
        assert!(EventWriter::resume(&resumed, 1 << 20).is_err());
    }

    #[test]
    fn scalars_that_tensorflow_2_stores_as_tensors_are_read() {
        let value = |tensor: &[u8]| {
            let mut message = Vec::new();
            proto::put_bytes(&mut message, 1, b"a");
            proto::put_bytes(&mut message, 8, tensor);
            scalar(&message).unwrap()
        };
        let content = [&[8, 1, 34, 4][..], &1.5f32.to_le_bytes()].concat();
        assert_eq!(value(&content), Some(("a".into(), 1.5)));
        let float_val = [&[8, 1, 42, 4][..], &2.5f32.to_le_bytes()].concat();
        assert_eq!(value(&float_val), Some(("a".into(), 2.5)));
        let double = [&[8, 2, 34, 8][..], &(-0.1f64).to_le_bytes()].concat();
        assert_eq!(value(&double), Some(("a".into(), -0.1)));
        let long = [&[8, 9, 34, 8][..], &7i64.to_le_bytes()].concat();
        assert_eq!(value(&long), Some(("a".into(), 7.0)));
        let text = [8, 7, 66, 1, b'x'];
        assert_eq!(value(&text), None);
    }

    #[test]
    fn every_scalar_of_a_real_run_is_read() {
        let Some(golden) = shared("golden/events/fixmatch_run") else {
            return;
        };
        let facts: serde_json::Value =
            serde_json::from_slice(&fs::read(&golden.join("scalars.json")).unwrap()).unwrap();
        let found: Vec<_> = files(&golden)
            .unwrap()
            .iter()
            .flat_map(|path| read(path))
            .collect();
        let found: Vec<_> = found
            .iter()
            .flat_map(|e| e.scalars.iter().map(|(t, v)| (e.step, t.as_str(), *v)))
            .collect();
        let expected = facts[0]["scalars"].as_array().unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|s| {
                (
                    s[0].as_i64().unwrap(),
                    s[1].as_str().unwrap(),
                    s[2].as_f64().unwrap(),
                )
            })
            .collect();
        assert!(expected.len() > 200);
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_refused(bytes: Vec<u8>) {
            let _ = (decode(&bytes), scalar(&bytes), tensor(&bytes));
        }
    }
}
