//! `predict`, seen from outside.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Place, SHAPE, records};
use rematch_data::child::{Child, StageError};
use rematch_data::png;
use rematch_data::records::Records;
use rematch_spec::job::{Job, Report};
use rematch_train::predict::predict;
use serde_json::{Value, json};

const OUTPUTS: [(&str, &str); 4] = [
    ("stats", "stats.json"),
    ("predictions", "predictions.npy"),
    ("probabilities", "probabilities.npy"),
    ("table", "predictions.csv"),
];

/// A trained run and a job over it.
fn job(place: &Place, trained: &Job, params: Value) -> Job {
    let mut all = json!({"run": {"$input": trained.outputs["run"]}});
    for (key, value) in params.as_object().unwrap() {
        all[key] = value.clone();
    }
    let work = place.path("predict");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).unwrap();
    let outputs = OUTPUTS.map(|(name, file)| (name.to_owned(), work.join(file)));
    Job {
        kind: "predict".into(),
        params: all,
        outputs: BTreeMap::from(outputs),
        work,
        ..trained.clone()
    }
}

fn run(job: &Job) -> Result<Report, StageError> {
    predict(&Child::new(job.clone(), std::io::sink()))
}

fn trained(place: &Place, changes: Value) -> (Job, Report) {
    let mut all =
        json!({"length": {"steps": 40}, "optimizer": {"sgd": {"lr": 0.1}}, "augment": "d.d.rac"});
    for (key, value) in changes.as_object().unwrap() {
        all[key] = value.clone();
    }
    let job = place.job("job", all);
    let report = place.run(&job).unwrap();
    (job, report)
}

/// The numbers of a `.npy` file behind its header.
fn numbers(path: &Path) -> (String, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8(bytes[10..10 + length].to_vec()).unwrap();
    (header, bytes[10 + length..].to_vec())
}

#[test]
fn accuracy_is_that_of_the_last_report() {
    let place = Place::new();
    let (job_of_run, report) = trained(&place, json!({}));
    for (weights, tag) in [("ema", "accuracy"), ("student", "accuracy/raw")] {
        let job = job(
            &place,
            &job_of_run,
            json!({"images": [{"$input": place.path("test")}], "weights": weights}),
        );
        let found = run(&job).unwrap();
        assert_eq!(found.metrics["accuracy"], report.metrics[tag], "{weights}");
        let stats: Value =
            serde_json::from_slice(&std::fs::read(&job.outputs["stats"]).unwrap()).unwrap();
        assert_eq!(stats["images"], 30);
        let right: i64 = (0..3)
            .map(|k| stats["confusion"][k][k].as_i64().unwrap())
            .sum();
        assert_eq!(right as f64 * 100.0 / 30.0, report.metrics[tag]);
        let (header, bytes) = numbers(&job.outputs["predictions"]);
        assert!(
            header.contains("'<i8'") && header.contains("(30,)"),
            "{header}"
        );
        assert_eq!(bytes.len(), 240);
        let (header, bytes) = numbers(&job.outputs["probabilities"]);
        assert!(header.contains("(30, 3)"), "{header}");
        let first: f32 = bytes[..12]
            .chunks(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .sum();
        assert!((first - 1.0).abs() < 1e-5);
    }
}

#[test]
fn image_files_give_what_their_records_give() {
    let place = Place::new();
    let (trained, report) = trained(&place, json!({}));
    let test = Records::read(&[place.path("test")], None).unwrap();
    let names = ["red, \"or\" so", "green", "blue"];
    for n in 0..test.len() {
        let folder = place.path("files").join(names[test.labels[n] as usize]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join(format!("{n}.png")),
            png::encode(SHAPE, test.image(n)),
        )
        .unwrap();
    }
    let classes: BTreeMap<String, &str> = (0..3).map(|k| (k.to_string(), names[k])).collect();
    std::fs::write(place.path("classes.json"), json!(classes).to_string()).unwrap();
    let input = |name: &str| json!({"$input": place.path(name)});
    let params = json!({"images": [input("files")], "classes": input("classes.json")});
    let found = run(&job(&place, &trained, params)).unwrap();
    assert_eq!(found.metrics["accuracy"], report.metrics["accuracy"]);
    // Without names there is no truth to compare with.
    let job = job(&place, &trained, json!({"images": [input("files")]}));
    assert!(run(&job).unwrap().metrics.is_empty());
    let table = std::fs::read_to_string(&job.outputs["table"]).unwrap();
    assert_eq!(table.lines().count(), 31);
    assert!(
        table.lines().nth(1).unwrap().starts_with("\"blue/"),
        "{table}"
    );
    assert!(table.contains("\"red, \"\"or\"\" so/"), "{table}");
}

#[test]
fn what_cannot_be_predicted_is_refused() {
    let place = Place::new();
    let (trained, _) = trained(&place, json!({"length": {"steps": 2}}));
    let input = |name: &str| json!({"$input": place.path(name)});
    std::fs::create_dir(place.path("empty")).unwrap();
    std::fs::write(place.path("torn"), &records(3, 1)[..50]).unwrap();
    for (params, message) in [
        (json!({"images": [input("empty")]}), "holds no image"),
        (json!({"images": [input("torn")]}), "torn"),
        (
            json!({"images": [input("test")], "checkpoint": {"step": 7}}),
            "no such checkpoint",
        ),
    ] {
        let error = run(&job(&place, &trained, params)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let checkpoint = trained.outputs["run"].join("checkpoints/step-00000002.safetensors");
    std::fs::write(&checkpoint, b"\x08\0\0\0\0\0\0\0{}      ").unwrap();
    let error = run(&job(&place, &trained, json!({"images": [input("test")]}))).unwrap_err();
    assert!(
        error.to_string().contains("no usable checkpoint"),
        "{error}"
    );
}
