//! A tiny dataset and tiny jobs.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rematch_data::child::{Child, StageError};
use rematch_data::events;
use rematch_data::image::Shape;
use rematch_data::records;
use rematch_data::rng::{Purpose, Stream};
use rematch_spec::job::{Job, PROTOCOL, Report};
use rematch_train::train::train;
use serde_json::{Value, json};

pub const SHAPE: Shape = Shape {
    height: 8,
    width: 8,
    channels: 3,
};

/// Images of three classes, each with its own colour channel brightened.
pub fn records(count: usize, seed: u64) -> Vec<u8> {
    let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
    let mut stream = Stream::new(seed, Purpose::named("test images"), 0, 0);
    let mut images = Vec::new();
    for label in &labels {
        for _ in 0..SHAPE.pixels() {
            images.extend(
                (0..3).map(|c| stream.below(128) as u8 + if c == *label { 100 } else { 0 }),
            );
        }
    }
    records::encode(SHAPE, &images, &labels)
}

/// A folder with the dataset.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, count, seed) in [("labeled", 9, 1), ("unlabeled", 40, 2), ("test", 30, 3)] {
            std::fs::write(folder.path().join(name), records(count, seed)).unwrap();
        }
        Self(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A job in a work folder of that name; `changes` replace parameters.
    pub fn job(&self, name: &str, changes: Value) -> Job {
        let input = |name: &str| json!({"$input": self.path(name)});
        let mut params = json!({
            "algorithm": {"fixmatch": {"uratio": 2, "confidence": 0.4}},
            "labeled": [input("labeled")],
            "unlabeled": [input("unlabeled")],
            "test": [input("test")],
            "valid": 4,
            "seed": 7,
            "batch": 4,
            "network": {"resnet": {"filters": 4, "repeat": 1, "scales": 2, "bn_momentum": 0.9}},
            "optimizer": {"sgd": {"lr": 0.03}},
            "ema": 0.9,
            "length": {"steps": 24},
            "report": {"steps": 5},
            "final_report": true,
            "save": {"steps": 10},
            "keep": 2,
        });
        for (key, value) in changes.as_object().unwrap() {
            params[key] = value.clone();
        }
        let work = self.path(name);
        std::fs::create_dir_all(work.join("out")).unwrap();
        Job {
            protocol: PROTOCOL,
            name: "train".into(),
            key: "0".repeat(64),
            kind: "train".into(),
            params,
            outputs: BTreeMap::from([("run".to_owned(), work.join("out/run"))]),
            work,
            cpus: 1,
            gpus: 0.0,
        }
    }

    pub fn run(&self, job: &Job) -> Result<Report, StageError> {
        train(&Child::new(job.clone(), std::io::sink()))
    }
}

/// Starts the program itself on a job.
pub fn start(job: &Job) -> std::process::Child {
    let file = job.work.join("job.json");
    std::fs::write(&file, serde_json::to_vec(job).unwrap()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_rematch-train"))
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Every scalar of a run but those about its speed, in order.
pub fn scalars(job: &Job) -> Vec<(i64, String, f64)> {
    let files = events::files(&job.outputs["run"]).unwrap();
    assert_eq!(files.len(), 1);
    let mut reader = events::EventReader::open(&files[0]).unwrap();
    let mut all = Vec::new();
    while let Some(event) = reader.read().unwrap() {
        all.extend(
            event
                .scalars
                .into_iter()
                .filter(|(tag, _)| !tag.starts_with("speed/"))
                .map(|(tag, value)| (event.step, tag, value)),
        );
    }
    all
}

/// The lines of a run's log, without what they say of its speed.
pub fn log(job: &Job) -> Vec<Value> {
    let text = std::fs::read_to_string(job.outputs["run"].join("log.jsonl")).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &mut lines {
        line.as_object_mut()
            .unwrap()
            .retain(|tag, _| !tag.starts_with("speed/"));
    }
    lines
}

/// The files of a run's checkpoints.
pub fn checkpoints(job: &Job) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(job.outputs["run"].join("checkpoints"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    all.sort();
    all
}

/// The tensors of the last checkpoint; the metadata is left out, for it says how long the event file
/// was, and where its name comes from the clock.
pub fn tensors(job: &Job) -> Vec<u8> {
    last_checkpoint(job).1
}

/// What the metadata of the last checkpoint says of the run, but for where its event file and its log end.
pub fn record(job: &Job) -> Value {
    let header: Value = serde_json::from_slice(&last_checkpoint(job).0).unwrap();
    let text = header["__metadata__"]["rematch"].as_str().unwrap();
    let mut record: Value = serde_json::from_str(text).unwrap();
    record.as_object_mut().unwrap().remove("log").unwrap();
    record
}

/// Header and tensors, as the format's description says: length, JSON, bytes.
fn last_checkpoint(job: &Job) -> (Vec<u8>, Vec<u8>) {
    let bytes = std::fs::read(checkpoints(job).pop().unwrap()).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (bytes[8..8 + length].to_vec(), bytes[8 + length..].to_vec())
}

/// Whether two runs left the same: every number of every report, and every bit of the checkpoints.
pub fn assert_same(found: &Job, expected: &Job) {
    assert_eq!(scalars(found), scalars(expected));
    assert!(tensors(found) == tensors(expected), "the weights differ");
    let names = |job| checkpoints(job).iter().map(|p| name(p)).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    assert_eq!(log(found), log(expected));
}

pub fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
