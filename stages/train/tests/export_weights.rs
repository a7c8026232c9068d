//! `export_weights`, seen from outside.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Place, SHAPE, checkpoints};
use rematch_data::child::Child;
use rematch_data::png;
use rematch_data::records::Records;
use rematch_spec::job::Job;
use rematch_train::export_weights::export_weights;
use rematch_train::predict::predict;
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// A job over a trained run, with its outputs in a work folder of its own.
fn job(place: &Place, trained: &Job, kind: &str, outputs: &[&str], params: Value) -> Job {
    let mut all = json!({"run": {"$input": trained.outputs["run"]}});
    all.as_object_mut()
        .unwrap()
        .extend(params.as_object().unwrap().clone());
    let work = place.path(kind);
    std::fs::create_dir_all(&work).unwrap();
    let outputs = outputs.iter();
    Job {
        kind: kind.into(),
        params: all,
        outputs: outputs
            .map(|name| ((*name).to_owned(), work.join(name)))
            .collect(),
        work,
        ..trained.clone()
    }
}

fn trained(place: &Place) -> Job {
    let job = place.job("job", json!({"optimizer": {"sgd": {"lr": 0.1}}}));
    place.run(&job).unwrap();
    job
}

fn exported(place: &Place, trained: &Job, weights: &str) -> PathBuf {
    let job = job(
        place,
        trained,
        "export_weights",
        &["weights"],
        json!({"weights": weights}),
    );
    export_weights(&Child::new(job.clone(), std::io::sink())).unwrap();
    job.outputs["weights"].clone()
}

/// Names to shapes and values.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    tensors
        .map(|(name, t)| (name, (t.shape().to_vec(), t.data().to_vec())))
        .collect()
}

#[test]
fn the_file_has_a_modules_names_and_the_checkpoints_values() {
    let place = Place::new();
    let run = trained(&place);
    let last = checkpoints(&run).pop().unwrap();
    let checkpoint = tensors(&last);
    let [ema, student] =
        ["ema", "student"].map(|weights| tensors(&exported(&place, &run, weights)));
    assert_eq!(ema["conv.weight"].0, [16, 3, 3, 3]);
    assert_eq!(ema["groups.1.0.shortcut.weight"].0, [8, 4, 1, 1]);
    assert_eq!(ema["classifier.weight"].0, [3, 8]);
    assert_eq!(ema.len(), student.len());
    assert_ne!(ema, student);
    for (name, value) in &student {
        assert_eq!(value, &checkpoint[&format!("student.{name}")], "{name}");
        // The teacher uses the student's running statistics.
        let averaged = checkpoint.get(&format!("ema.{name}"));
        assert_eq!(averaged.is_none(), name.contains(".running_"), "{name}");
        assert_eq!(&ema[name], averaged.unwrap_or(value), "{name}");
    }
}

/// A Python that can run the script: $REMATCH_PYTHON, or python3.
fn python() -> Option<String> {
    let python = std::env::var("REMATCH_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut probe = Command::new(&python);
    probe.args(["-c", "import torch, safetensors, numpy, PIL"]);
    let found = probe.output().is_ok_and(|done| done.status.success());
    found.then_some(python)
}

#[test]
fn pytorch_classifies_as_predict_does() {
    let Some(python) = python() else {
        eprintln!(
            "skipped: no Python with torch, safetensors, numpy and Pillow (REMATCH_PYTHON names one)"
        );
        return;
    };
    let place = Place::new();
    let run = trained(&place);
    let test = Records::read(&[place.path("test")], None).unwrap();
    let folder = place.path("files");
    std::fs::create_dir_all(&folder).unwrap();
    let files: Vec<PathBuf> = (0..test.len())
        .map(|n| folder.join(format!("{n:02}.png")))
        .collect();
    for (n, file) in files.iter().enumerate() {
        std::fs::write(file, png::encode(SHAPE, test.image(n))).unwrap();
    }
    let outputs = ["stats", "predictions", "probabilities", "table"];
    let images = json!({"images": [{"$input": folder}]});
    let ours = job(&place, &run, "predict", &outputs, images);
    predict(&Child::new(ours.clone(), std::io::sink())).unwrap();
    let bytes = std::fs::read(&ours.outputs["probabilities"]).unwrap();
    let numbers = &bytes[bytes.len() - test.len() * 12..];
    let ours: Vec<f32> = numbers
        .chunks(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/load_in_pytorch.py");
    let done = Command::new(python)
        .arg(script)
        .arg(exported(&place, &run, "ema"))
        .args(&files)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let text = String::from_utf8(done.stdout).unwrap();
    let theirs: Vec<f64> = text
        .lines()
        .flat_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["probabilities"].as_array().unwrap().clone()
        })
        .map(|p| p.as_f64().unwrap())
        .collect();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-5, "{ours} {theirs}");
    }
}
