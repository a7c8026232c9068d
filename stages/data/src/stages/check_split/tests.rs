//! Splits that are right, and what is found in wrong ones.

use rematch_spec::job::Event;
use serde_json::json;

use super::*;
use crate::child::tests::{Lines, job};
use crate::image::Shape;
use crate::records;

const OUTPUTS: [(&str, &str); 2] = [("report", "report.txt"), ("facts", "facts.json")];

/// Grey images of one pixel with labels.
fn file(work: &Path, name: &str, images: &[(u8, u8)]) -> std::path::PathBuf {
    let shape = Shape {
        height: 1,
        width: 1,
        channels: 1,
    };
    let (pixels, labels): (Vec<u8>, Vec<u8>) = images.iter().copied().unzip();
    let path = work.join(name);
    fs::write(&path, records::encode(shape, &pixels, &labels)).unwrap();
    path
}

fn check(work: &Path, params: Value) -> (Result<Report, StageError>, String, Vec<String>) {
    let lines = Lines::default();
    let child = Child::new(job(work, "check_split", params, &OUTPUTS), lines.clone());
    let result = crate::stages::run(&child);
    let warnings = lines.events().into_iter().filter_map(|event| match event {
        Event::Warning { text } => Some(text),
        _ => None,
    });
    let report = fs::read_to_string(&work.join("out/report.txt")).unwrap_or_default();
    (result, report, warnings.collect())
}

/// Classes 0 and 1, alternating.
fn train() -> Vec<(u8, u8)> {
    (0..200).map(|n| (n, n % 2)).collect()
}

#[test]
fn a_right_split_has_no_problem() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let indexes = work.join("label.json");
    fs::write(
        &indexes,
        r#"{"distribution": [1.0, 1.0], "label": [3, 4, 10]}"#,
    )
    .unwrap();
    let params = json!({
        "train": file(work, "train", &train()),
        "labeled": file(work, "labeled", &[(3, 1), (4, 0), (10, 0)]),
        "unlabeled": file(work, "unlabeled", &train()),
        "test": file(work, "test", &[(250, 0), (251, 1)]),
        "labeled_indexes": indexes,
        "strict": true,
    });
    let (result, report, warnings) = check(work, params);
    assert_eq!(result.unwrap().metrics["problems"], 0.0);
    assert_eq!(warnings, [""; 0]);
    for line in [
        "class  train  labeled  unlabeled  test\n",
        "0        100        2        100     1\n",
        "all      200        3        200     2\n",
        "labeled: 1 to 2 records a class, 2.0000 times as many\n",
        "labeled in train: 3 of 3\n",
        "labeled in unlabeled: 3 of 3\n",
        "unlabeled in test: 0 of 200\n",
        "labeled: compared with its JSON\n",
        "nothing is wrong\n",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
}

#[test]
fn what_is_wrong_is_a_warning_or_with_strict_a_failure() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let indexes = work.join("label.json");
    fs::write(&indexes, r#"{"distribution": [0.5, 1.0], "label": [3, 5]}"#).unwrap();
    let mut params = json!({
        "train": file(work, "train", &train()),
        "labeled": file(work, "labeled", &[(3, 1), (4, 1), (3, 1), (240, 0)]),
        "unlabeled": file(work, "unlabeled", &[(3, 0), (250, 0), (251, 7)]),
        "test": file(work, "test", &[(240, 0), (250, 1), (252, 1)]),
        "labeled_indexes": indexes,
    });
    let (result, report, warnings) = check(work, params.clone());
    result.unwrap();
    let expected = [
        "1 labeled records are not in the training set",
        "1 labeled records have another label than in the training set",
        "1 labeled records are there more than once",
        "1 labeled records are also in the test set",
        "1 unlabeled records are also in the test set",
        "the JSON lists 2 labeled records, the file has 4",
        "labeled record 1 should be training record 5, by the JSON, but shows another image",
    ];
    assert_eq!(warnings, expected);
    for note in [
        "note: 2 unlabeled records are not in the training set",
        "note: 1 classes are labeled and have no unlabeled record: 1\n",
        "note: the distribution in the JSON of the labeled records is not that",
    ] {
        assert!(report.contains(note), "{note}\n{report}");
    }
    params["strict"] = true.into();
    let (result, again, warnings) = check(work, params);
    let error = result.unwrap_err().to_string();
    assert!(
        error.starts_with("the split is wrong: 1 labeled records are not"),
        "{error}"
    );
    assert_eq!((again, warnings.len()), (report, 0));
}

#[test]
fn images_that_a_dataset_has_twice_are_no_problem() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    // Image 7 is twice in the training set, image 9 in the test set, too: one of 200.
    let images = [&train()[..], &[(7, 1)]].concat();
    let test: Vec<(u8, u8)> = (0..199)
        .map(|n| (n, 0))
        .filter(|(n, _)| *n == 9 || *n > 200)
        .collect();
    let test = [
        &test[..],
        &(200..255).map(|n| (n, 0)).collect::<Vec<_>>()[..],
        &[(255, 0); 200],
    ]
    .concat();
    let params = json!({
        "train": file(work, "train", &images),
        "labeled": file(work, "labeled", &[&train()[..], &[(7, 1)]].concat()),
        "test": file(work, "test", &test),
        "strict": true,
    });
    let (result, report, _) = check(work, params);
    result.unwrap();
    assert!(
        report.contains("note: 1 labeled records are also in the test set\n"),
        "{report}"
    );
}

#[test]
fn a_document_that_is_no_splits_json_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let indexes = work.join("label.json");
    let path = file(work, "train", &train());
    for (text, what) in [
        ("[1, 2", "EOF"),
        ("{\"labels\": []}", "none of the lists"),
        ("{\"label\": [1.5]}", "something else than positions"),
    ] {
        fs::write(&indexes, text).unwrap();
        let (result, _, _) = check(
            work,
            json!({"train": path, "labeled": path, "labeled_indexes": indexes}),
        );
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("label.json: ") && error.contains(what),
            "{error}"
        );
    }
}
