//! Whole jobs on small record files: outputs, their order, what they say when something is wrong.

use std::path::{Path, PathBuf};

use rematch_spec::job::Event;
use rematch_spec::kind::find;
use serde_json::{Value, json};

use super::*;
use crate::child::tests::{Lines, job};
use crate::image::Shape;
use crate::records::{self, Records};

/// A file of `n` records of one grey pixel; record i has class i mod `classes` and shows (first + i) mod 256.
fn file(folder: &Path, name: &str, first: usize, n: usize, classes: usize) -> PathBuf {
    let shape = Shape {
        height: 1,
        width: 1,
        channels: 1,
    };
    let pixels: Vec<u8> = (first..first + n).map(|i| i as u8).collect();
    let labels: Vec<u8> = (0..n).map(|i| (i % classes) as u8).collect();
    let path = folder.join(name);
    fs::write(&path, records::encode(shape, &pixels, &labels)).unwrap();
    path
}

/// What a job left.
struct Done {
    work: tempfile::TempDir,
    outputs: Vec<(String, String)>,
    warnings: Vec<String>,
}

impl Done {
    /// The pixels of an output, in its order.
    fn pixels(&self, output: &str) -> Vec<usize> {
        let records = Records::read(&[self.path(output)], None).unwrap();
        records.images.into_iter().map(usize::from).collect()
    }

    fn path(&self, output: &str) -> PathBuf {
        let path = &self.outputs.iter().find(|o| o.0 == output).unwrap().1;
        self.work.path().join("out").join(path)
    }

    fn indexes(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.path("indexes")).unwrap()).unwrap()
    }
}

fn run_kind(kind: &str, params: Value) -> Result<Done, StageError> {
    let declared = find(kind).unwrap().declare(params, &|_| None).unwrap();
    let outputs: Vec<(String, String)> = declared
        .outputs
        .into_iter()
        .map(|o| (o.name, o.path))
        .collect();
    let names: Vec<(&str, &str)> = outputs
        .iter()
        .map(|(n, p)| (n.as_str(), p.as_str()))
        .collect();
    let work = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let child = Child::new(
        job(work.path(), kind, declared.params, &names),
        lines.clone(),
    );
    crate::stages::run(&child)?;
    // Every promised output is there, and nothing else.
    let written = fs::list(&work.path().join("out")).unwrap();
    assert_eq!(written.len(), outputs.len(), "{written:?}");
    let warnings = lines.events().into_iter().filter_map(|event| match event {
        Event::Warning { text } => Some(text),
        _ => None,
    });
    Ok(Done {
        warnings: warnings.collect(),
        work,
        outputs,
    })
}

fn split(params: Value) -> Result<Done, StageError> {
    run_kind("create_split", params)
}

fn positions(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn every_file_holds_the_records_that_the_document_names() {
    let folder = tempfile::tempdir().unwrap();
    let train = [
        file(folder.path(), "a", 0, 100, 5),
        file(folder.path(), "b", 100, 100, 5),
    ];
    let test = file(folder.path(), "t", 0, 50, 5);
    for (protocol, parts) in [
        (json!("fixmatch"), vec![("labeled", "label")]),
        (json!({"cadr": {"lambda": 4}}), vec![("labeled", "label")]),
        (
            json!({"cadr": {"random": true}}),
            vec![("labeled", "label")],
        ),
        (
            json!({"realmix": {"label_size": 150}}),
            vec![("labeled", "label"), ("unlabeled", "unlabel")],
        ),
        (
            json!({"featmatch": {"valid": 20, "test": test}}),
            vec![
                ("labeled", "labeled"),
                ("unlabeled", "unlabeled"),
                ("validation", "validation"),
                ("test", "test"),
            ],
        ),
        (
            json!({"featmatch": {"test": test, "unlabeled": 0.5, "keep": 150}}),
            vec![
                ("labeled", "labeled"),
                ("unlabeled", "unlabeled"),
                ("validation", "validation"),
                ("test", "test"),
            ],
        ),
        (
            json!("featmatch"),
            vec![("labeled", "labeled"), ("unlabeled", "unlabeled")],
        ),
        (
            json!({"first_k_per_class": {"valid": 10}}),
            vec![
                ("labeled", "labeled"),
                ("unlabeled", "unlabeled"),
                ("validation", "validation"),
            ],
        ),
    ] {
        let params = json!({"train": train, "seed": 3, "size": 25, "protocol": protocol});
        let done = split(params).unwrap();
        let document = done.indexes();
        for (output, name) in parts {
            assert_eq!(
                done.pixels(output),
                positions(&document[name]),
                "{protocol} {output}"
            );
        }
        assert_eq!(done.warnings, Vec::<String>::new());
    }
}

#[test]
fn domains_follow_each_other_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let train = file(folder.path(), "real", 0, 100, 5);
    let [sketch, clipart] = [("sketch", 150, 40), ("clipart", 100, 50)]
        .map(|(name, first, n)| file(folder.path(), name, first, n, 5));
    let done = split(json!({
        "train": train, "seed": 1, "size": 0.1,
        "protocol": {"domainnet": {
            "sources": {"sketch": sketch, "clipart": clipart}, "replaced": 0.5, "valid": 0.2, "test": train,
        }},
    }))
    .unwrap();
    let document = done.indexes();
    assert_eq!(document["sources"], json!({"clipart": 100, "sketch": 150}));
    let unlabeled = done.pixels("unlabeled");
    assert_eq!(unlabeled, positions(&document["unlabeled"]));
    let from =
        |range: std::ops::Range<usize>| unlabeled.iter().filter(|p| range.contains(p)).count();
    // 20 held out, 10 labeled (1.6 of 16 rounds to 2), half of 14 per class kept, the other 35 from elsewhere.
    assert_eq!([from(0..100), from(100..150), from(150..190)], [35, 18, 18]);
    assert_eq!(
        (
            done.pixels("labeled").len(),
            done.pixels("validation").len()
        ),
        (10, 20)
    );
    assert_eq!(done.pixels("test").len(), 100);
}

#[test]
fn a_fold_is_taken_for_a_thousand_labels_only() {
    let folder = tempfile::tempdir().unwrap();
    let train = file(folder.path(), "a", 0, 1200, 10);
    let line = |n: usize| {
        (n..n + 1000)
            .map(|p| p.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let folds = folder.path().join("folds.txt");
    fs::write(&folds, format!("{}\n{}\n", line(0), line(7))).unwrap();
    let params = |seed: u32, size: u64, protocol: Value| json!({"train": train, "seed": seed, "size": size, "uniform": true, "folds": folds, "protocol": protocol});
    let done = split(params(1, 1000, json!("fixmatch"))).unwrap();
    assert_eq!(
        positions(&done.indexes()["label"]),
        (7..1007).collect::<Vec<_>>()
    );
    assert_eq!(done.indexes()["distribution"], json!(vec![1.0; 10]));
    let done = split(params(1, 1000, json!("realmix"))).unwrap();
    assert_eq!(
        positions(&done.indexes()["label"]),
        (7..1007).collect::<Vec<_>>()
    );
    assert_eq!(positions(&done.indexes()["unlabel"]).len(), 200);
    let done = split(params(5, 40, json!("fixmatch"))).unwrap();
    assert_eq!(positions(&done.indexes()["label"]).len(), 40);
    let error = split(params(2, 1000, json!("fixmatch"))).err().unwrap();
    assert!(
        error.to_string().ends_with(
            "folds.txt: it has 2 lines, and seed 2 asks for the one that has 2 before it"
        )
    );
    fs::write(&folds, [0xff, 0xfe]).unwrap();
    let error = split(params(0, 1000, json!("fixmatch"))).err().unwrap();
    assert!(error.to_string().contains("folds.txt"), "{error}");
}

#[test]
fn a_list_names_the_labeled_records() {
    let folder = tempfile::tempdir().unwrap();
    let train = file(folder.path(), "a", 0, 20, 5);
    let list = folder.path().join("list.txt");
    fs::write(&list, "7\n3\n11\n").unwrap();
    let done = split(json!({"train": train, "protocol": {"list": list}})).unwrap();
    assert_eq!(done.pixels("labeled"), [3, 7, 11]);
    fs::write(&list, "7\n20\n").unwrap();
    let error = split(json!({"train": train, "protocol": {"list": list}}))
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("list.txt: line 2: `20` is no position"),
        "{error}"
    );
}

#[test]
fn what_a_split_cannot_give_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let train = file(folder.path(), "a", 0, 50, 10);
    let params = |size: Value, protocol: Value| json!({"train": train, "seed": 1, "size": size, "protocol": protocol});
    let warnings = |size, protocol| split(params(size, protocol)).unwrap().warnings.join("\n");
    assert!(
        warnings(json!(14), json!({"first_k_per_class": {"valid": 1}})).contains("are 10 in all")
    );
    assert!(
        warnings(json!(60), json!("featmatch"))
            .contains("60 labeled records are asked for, and there are 50")
    );
    assert!(
        warnings(json!(3), json!("featmatch")).contains("9 of 10 classes have no labeled record")
    );
    let error = |size, protocol| split(params(size, protocol)).err().unwrap().to_string();
    assert!(error(json!(51), json!("fixmatch")).contains("class 0 has 5 records"));
    assert!(
        error(json!(51), json!({"realmix": {"class_balance": true}}))
            .contains("only 50 to pick from")
    );
    assert!(error(json!(0.01), json!("featmatch")).contains("no record becomes labeled"));
    assert!(error(json!(1000), json!({"cadr": {}})).contains("one more is asked for"));
}

#[test]
fn a_long_tailed_set_leaves_records_out() {
    let folder = tempfile::tempdir().unwrap();
    let files = file(folder.path(), "a", 0, 200, 2);
    for (kind, input, output) in [
        ("create_unlabeled", "train", "unlabeled"),
        ("create_test", "test", "test"),
    ] {
        let whole = run_kind(kind, json!({input: files})).unwrap();
        assert_eq!(whole.pixels(output).len(), 200);
        let tail = run_kind(
            kind,
            json!({input: files, "imbalance": {"lambda": 4, "size": 1}}),
        )
        .unwrap();
        let pixels = tail.pixels(output);
        assert_eq!(pixels, positions(&tail.indexes()["indexes"]));
        let odd = pixels.iter().filter(|p| *p % 2 == 1).count();
        assert_eq!((pixels.len() - odd, odd), (100, 25));
        assert_eq!(tail.indexes()["distribution"], json!([1.0, 0.25]));
    }
}

#[test]
fn a_split_stops_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let params =
        json!({"train": [{"$input": file(folder.path(), "a", 0, 20, 5)}], "seed": 1, "size": 5});
    let work = tempfile::tempdir().unwrap();
    let outputs = [("labeled", "label.tfrecord"), ("indexes", "label.json")];
    let child = Child::new(
        job(work.path(), "create_split", params, &outputs),
        Lines::default(),
    );
    child.interrupt();
    assert_eq!(
        crate::stages::run(&child).err(),
        Some(StageError::Interrupted)
    );
}
