//! `filter_classes`, `relabel`, `merge` and `sample` on small files, and the published filters.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::child::Child;
use crate::child::tests::{Lines, job};
use crate::error::StageError;
use crate::fs;
use crate::tfrecord::{Example, Reader, Writer};

/// A file with these labels; the "image" is the number of the record.
fn file(path: &Path, labels: &[i64]) {
    let mut writer = Writer::create(path).unwrap();
    let mut data = Vec::new();
    for (n, label) in labels.iter().enumerate() {
        data.clear();
        Example {
            image: n.to_string().as_bytes(),
            label: *label,
        }
        .encode(&mut data);
        writer.write(&data).unwrap();
    }
    writer.finish().unwrap();
}

/// Number and label of every record.
fn read(path: &Path) -> Vec<(usize, i64)> {
    let mut reader = Reader::open(path).unwrap();
    let mut all = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        let example = Example::decode(record.data()).unwrap();
        let number = std::str::from_utf8(example.image).unwrap();
        all.push((number.parse().unwrap(), example.label));
    }
    all
}

const OUTPUTS: [(&str, &str); 2] = [("records", "records.tfrecord"), ("indexes", "indexes.json")];

fn run_with(work: &Path, kind: &str, params: Value, lines: &Lines) -> Result<(), StageError> {
    let child = Child::new(job(work, kind, params, &OUTPUTS), lines.clone());
    crate::stages::run(&child).map(drop)
}

fn run(work: &Path, kind: &str, params: Value) -> Result<Vec<(usize, i64)>, StageError> {
    run_with(work, kind, params, &Lines::default())?;
    Ok(read(&work.join("out/records.tfrecord")))
}

fn indexes(work: &Path) -> Vec<u32> {
    let text = fs::read(&work.join("out/indexes.json")).unwrap();
    let document: Value = serde_json::from_slice(&text).unwrap();
    serde_json::from_value(document["indexes"].clone()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[test]
fn kept_records_are_the_very_bytes_unless_they_get_another_label() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    file(&path, &[3, 1, 2, 1, 0]);
    let filter = |relabel: Value| {
        let params = json!({"records": path, "classes": [2, 1], "relabel": relabel});
        run(folder.path(), "filter_classes", params).unwrap()
    };
    assert_eq!(filter(json!(false)), [(1, 1), (2, 2), (3, 1)]);
    assert_eq!(indexes(folder.path()), [1, 2, 3]);
    let (whole, part) = (
        fs::read(&path).unwrap(),
        fs::read(&folder.path().join("out/records.tfrecord")).unwrap(),
    );
    let size = whole.len() / 5;
    assert_eq!(part, whole[size..4 * size]);
    assert_eq!(filter(json!(true)), [(1, 1), (2, 0), (3, 1)]);
    assert_eq!(
        filter(json!({"1": 9, "2": 300})),
        [(1, 9), (2, 300), (3, 9)]
    );
}

#[test]
fn classes_go_by_name_where_names_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let (path, names) = (folder.path().join("a"), folder.path().join("classes.json"));
    file(&path, &[0, 1, 2]);
    fs::write(&names, r#"{"0": "cat", "1": "dog", "2": "emu"}"#).unwrap();
    let filter = |classes: Value| {
        let params = json!({"records": path, "classes": classes, "names": names, "relabel": {"emu": 0, "cat": 1}});
        run(folder.path(), "filter_classes", params)
    };
    assert_eq!(filter(json!(["emu", "cat"])).unwrap(), [(0, 1), (2, 0)]);
    let error = filter(json!(["emu", "cow"])).unwrap_err().to_string();
    assert_eq!(
        error,
        "classes: there is no class `cow`; there are cat, dog, emu"
    );
    fs::write(&names, "[]").unwrap();
    let error = filter(json!(["emu", "cat"])).unwrap_err().to_string();
    assert!(
        error.contains("classes.json: it is no map of labels to names"),
        "{error}"
    );
}

#[test]
fn a_class_without_records_is_warned_about_and_none_at_all_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    file(&path, &[0, 1]);
    let lines = Lines::default();
    let params = json!({"records": path, "classes": [1, 7]});
    run_with(folder.path(), "filter_classes", params, &lines).unwrap();
    let events = serde_json::to_string(&lines.events()).unwrap();
    assert!(events.contains("no record has class 7"), "{events}");
    let error = run(
        folder.path(),
        "filter_classes",
        json!({"records": path, "classes": [7]}),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.ends_with("a: none of 2 records has one of the classes [7]"),
        "{error}"
    );
}

#[test]
fn damaged_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    file(&path, &[0, 1]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    for (kind, rest) in [
        ("filter_classes", json!({"classes": [0]})),
        ("relabel", json!({"value": 0})),
        ("merge", json!({})),
        ("sample", json!({"count": 1})),
        ("augment_copies", json!({})),
    ] {
        let mut params = rest;
        params["records"] = json!(path);
        let error = run(folder.path(), kind, params).unwrap_err().to_string();
        assert!(error.contains("a is cut off: record 1"), "{kind}: {error}");
    }
}

#[test]
fn a_stage_that_is_told_to_stop_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    file(&path, &[0, 1]);
    let params = json!({"records": path, "classes": [0]});
    let child = Child::new(
        job(folder.path(), "filter_classes", params, &OUTPUTS),
        Lines::default(),
    );
    child.interrupt();
    assert_eq!(
        crate::stages::run(&child).unwrap_err(),
        StageError::Interrupted
    );
}

#[test]
fn files_are_merged_relabelled_and_sampled() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    file(&paths[0], &[0, 1]);
    file(&paths[1], &[5]);
    let merged = run(folder.path(), "merge", json!({"records": paths})).unwrap();
    assert_eq!(merged, [(0, 0), (1, 1), (0, 5)]);
    let relabel = |params: Value| {
        let mut params = params;
        params["records"] = json!(paths);
        run(folder.path(), "relabel", params)
    };
    assert_eq!(
        relabel(json!({"value": 3})).unwrap(),
        [(0, 3), (1, 3), (0, 3)]
    );
    let map = json!({"map": {"0": 1, "1": 0, "5": 1}});
    assert_eq!(relabel(map).unwrap(), [(0, 1), (1, 0), (0, 1)]);
    let failure = relabel(json!({"map": {"0": 1, "1": 0}}))
        .unwrap_err()
        .failure();
    assert!(
        failure
            .message
            .ends_with("record 2 has class 5, which `map` does not mention"),
        "{failure}"
    );
    assert_eq!(
        failure.help.unwrap(),
        "to keep that class, add `5: 5` to `map`"
    );
    let sampled = run(
        folder.path(),
        "sample",
        json!({"records": paths, "count": 2}),
    )
    .unwrap();
    assert_eq!(sampled.len(), 2);
    assert!(sampled.iter().all(|record| merged.contains(record)));
    let error = run(
        folder.path(),
        "sample",
        json!({"records": paths, "count": 4}),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("4 records are asked for, and there are 3")
    );
}

/// Record numbers of a RealMix split, and the labels behind them.
fn split(name: &str, part: &str) -> Option<(Vec<usize>, Vec<i64>)> {
    let golden = crate::testing::shared(&format!("golden/realmix/{name}.json"))?;
    let labels = fs::read(&crate::testing::shared(
        "golden/inputs/cifar10-train.labels.u8",
    )?)
    .unwrap();
    let golden: Value = serde_json::from_slice(&fs::read(&golden).unwrap()).unwrap();
    let records: Vec<usize> = serde_json::from_value(golden[part]["values"].clone()).unwrap();
    let labels = records.iter().map(|n| i64::from(labels[*n])).collect();
    Some((records, labels))
}

#[test]
fn filtered_splits_are_the_originals() {
    let Some(golden) = crate::testing::shared("golden/realmix/filter_dataset.json") else {
        return;
    };
    let golden: Value = serde_json::from_slice(&fs::read(&golden).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    for case in golden["cases"].as_array().unwrap() {
        let input = case["input"].as_str().unwrap();
        let (name, part) = input.rsplit_once('-').unwrap();
        let (records, labels) = split(name, part).unwrap();
        file(&path, &labels);
        let classes = case["class_filter"].as_str().unwrap().split(',');
        let classes: Vec<i64> = classes.map(|c| c.parse().unwrap()).collect();
        let params = json!({"records": path, "classes": classes});
        let kept = run(folder.path(), "filter_classes", params).unwrap();
        let positions = indexes(folder.path());
        assert_eq!(json!(positions.len()), case["kept"], "{input}");
        assert_eq!(json!(positions[..20]), case["first20_positions"], "{input}");
        let indices: Vec<usize> = kept.iter().map(|(n, _)| records[*n]).collect();
        assert_eq!(
            json!(indices[indices.len() - 20..]),
            case["last20_dataset_indices"],
            "{input}"
        );
        let bytes: Vec<u8> = positions.iter().flat_map(|n| n.to_le_bytes()).collect();
        assert_eq!(
            json!(hex(&bytes)),
            case["sha256_u32le_positions"],
            "{input}"
        );
    }
}

#[test]
fn the_mismatch_study_has_the_published_records() {
    // spec/realmix.md 4.1: 16 digits of the checksum of the kept records' numbers in CIFAR-10, in
    // decimal with commas.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    for (name, count, sums) in [
        (
            "cifar10.1@250",
            19900,
            [
                "51fec9f67b4291ae",
                "310238103b20af37",
                "1d8dc9865e326c1e",
                "ef9603765c137af6",
                "3e86121dfbed40a6",
            ],
        ),
        (
            "cifar10.1@4000",
            18400,
            [
                "c71529618e6a427b",
                "2dd94e20e77dfb29",
                "03c9804be7aa0a2a",
                "112854c445ad246a",
                "a6eb79046b9859a3",
            ],
        ),
    ] {
        let Some((records, labels)) = split(name, "unlabel") else {
            return;
        };
        file(&path, &labels);
        for (n, sum) in sums.iter().enumerate() {
            let mismatch =
                json!({"inside": [4, 5, 6, 7], "outside": [0, 1, 8, 9], "level": 25 * n});
            let params = json!({"records": path, "mismatch": mismatch});
            let kept = run(folder.path(), "filter_classes", params).unwrap();
            assert_eq!(kept.len(), count, "{name}, level {}", 25 * n);
            let numbers: Vec<String> = kept.iter().map(|(n, _)| records[*n].to_string()).collect();
            assert_eq!(
                hex(numbers.join(",").as_bytes())[..16],
                **sum,
                "{name}, level {}",
                25 * n
            );
        }
    }
}
