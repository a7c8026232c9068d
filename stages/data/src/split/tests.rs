//! The test vectors of spec/fixmatch.md 14, and every golden split of the original scripts.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::testing::shared;
use crate::{fs, json};

fn cyclic(records: usize, classes: usize) -> Distribution {
    let labels: Vec<i64> = (0..records).map(|p| (p % classes) as i64).collect();
    Distribution::of(&labels, false).unwrap()
}

#[test]
fn splits_of_a_synthetic_set_are_the_published_ones() {
    let set = cyclic(50_000, 10);
    assert_eq!(labeled(&set, 0, 40).unwrap(), (0..40).collect::<Vec<_>>());
    let cases = [
        (1, 40, [3378, 4016, 4306, 4484, 4731, 5052], 1008220),
        (1, 250, [159, 464, 471, 631, 666, 688], 6161075),
        (1, 4000, [7, 35, 42, 43, 50, 57], 99899130),
        (2, 40, [921, 5178, 5273, 7549, 8363, 9086], 1000900),
        (2, 250, [234, 350, 372, 485, 880, 921], 6347255),
        (2, 4000, [45, 59, 79, 118, 144, 168], 100688330),
        (3, 40, [824, 1113, 4242, 6815, 8151, 9696], 1166970),
        (3, 250, [158, 168, 329, 397, 412, 441], 6198145),
        (3, 4000, [46, 51, 59, 60, 79, 90], 100891490),
        (4, 40, [562, 2443, 3370, 3834, 4440, 4451], 832310),
        (4, 250, [562, 929, 1644, 1695, 1916, 2093], 6102635),
        (4, 4000, [4, 8, 20, 37, 44, 49], 99728490),
        (5, 40, [270, 297, 369, 757, 1343, 3471], 931730),
        (5, 250, [122, 267, 270, 297, 327, 369], 6089505),
        (5, 4000, [4, 49, 79, 90, 103, 122], 100427750),
    ];
    for (seed, size, first, sum) in cases {
        let picked = labeled(&set, seed, size).unwrap();
        assert_eq!(picked[..6], first, "seed {seed}, size {size}");
        assert_eq!(
            picked.iter().sum::<usize>(),
            sum,
            "seed {seed}, size {size}"
        );
    }
    let mut taken = labeled(&set, 1, 10).unwrap();
    taken.sort_by_key(|p| p % 10);
    assert_eq!(
        taken,
        [
            27640, 4731, 16332, 39283, 31094, 15615, 7866, 16367, 3378, 44499
        ]
    );
}

#[test]
fn splits_of_a_hundred_classes_are_the_published_ones() {
    let picked = labeled(&cyclic(50_000, 100), 1, 400).unwrap();
    assert_eq!(
        picked[..10],
        [508, 576, 582, 601, 770, 831, 868, 894, 935, 1181]
    );
    assert_eq!(picked.iter().sum::<usize>(), 9742400);
}

#[test]
fn uneven_classes_take_turns_as_published() {
    // Class counts of SVHN's training set and the counts of its splits (spec/fixmatch.md 2.5).
    let counts = [13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659, 4948];
    let labels: Vec<i64> = counts
        .iter()
        .zip(0..)
        .flat_map(|(n, k)| std::iter::repeat_n(k, *n))
        .collect();
    let set = Distribution::of(&labels, false).unwrap();
    for (size, expected) in [
        (20, [3, 3, 2, 2, 2, 2, 2, 2, 1, 1]),
        (250, [47, 36, 29, 25, 24, 20, 19, 17, 16, 17]),
        (4000, [756, 578, 464, 407, 376, 313, 306, 276, 254, 270]),
    ] {
        let mut found = [0; 10];
        for position in labeled(&set, 1, size).unwrap() {
            found[labels[position] as usize] += 1;
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn the_order_of_unlabeled_records_is_the_published_one() {
    let order =
        |labels: &[i64], uniform| unlabeled_order(&Distribution::of(labels, uniform).unwrap());
    assert_eq!(
        order(&[3, 1, 0, 0, 2, 1, 3, 2, 0, 1, 2, 3], false),
        [2, 1, 4, 0, 3, 5, 7, 6, 8, 9, 10, 11]
    );
    assert_eq!(
        order(&[0, 0, 0, 1, 0, 1, 0, 0, 2, 0, 1, 0], false),
        [0, 3, 8, 1, 2, 5, 4, 6, 7, 10, 9, 11]
    );
}

#[test]
fn labels_that_are_no_classes_are_refused() {
    let error = |labels: &[i64]| Distribution::of(labels, false).unwrap_err().to_string();
    assert_eq!(error(&[]), "the training files hold no records");
    assert!(error(&[0, -1]).ends_with("record 1 has label -1"));
    assert!(
        error(&[0, i64::MAX]).ends_with("there is a label 9223372036854775807 among 2 records")
    );
    assert!(error(&[0, 0, 2]).ends_with("no record has label 1, but one has 2"));
}

#[test]
fn running_past_a_class_says_which() {
    let set = Distribution::of(&[0, 1, 0, 0], true).unwrap();
    let error = labeled(&set, 1, 4).unwrap_err();
    assert_eq!(
        error,
        Error::Exhausted {
            class: 1,
            records: 1,
            taken: 3,
            size: 4
        }
    );
}

/// Labels of the golden inputs, one file after the other.
fn labels(golden: &Path, case: &Value) -> Vec<i64> {
    let names = case["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap());
    let files =
        names.map(|n| fs::read(&golden.join("inputs").join(format!("{n}.labels.u8"))).unwrap());
    files.flatten().map(i64::from).collect()
}

fn sha256(positions: &[usize]) -> String {
    let bytes: Vec<u8> = positions
        .iter()
        .flat_map(|p| (*p as u32).to_le_bytes())
        .collect();
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

#[test]
fn every_golden_split_of_fixmatch_matches_to_the_byte() {
    let Some(golden) = shared("golden") else {
        return;
    };
    let mut seen = BTreeMap::new();
    for folder in ["fixmatch", "synthetic"] {
        for path in fs::list(&golden.join(folder)).unwrap() {
            let Ok(text) = std::fs::read(&path) else {
                continue;
            };
            let case: Value = serde_json::from_slice(&text).unwrap();
            if case["repo"] != "fixmatch" {
                continue;
            }
            let name = path.display();
            let labels = labels(&golden, &case);
            let stl10 = case["inputs"][0].as_str().unwrap().contains("stl10");
            let set = Distribution::of(&labels, stl10).unwrap();
            let script = case["script"].as_str().unwrap();
            *seen.entry(script.to_owned()).or_insert(0) += 1;
            if script == "create_unlabeled" {
                let order = unlabeled_order(&set);
                assert_eq!(sha256(&order), case["indexes"]["sha256_u32le"], "{name}");
                check_json(&case, &set, "indexes", &order);
                continue;
            }
            let (seed, size) = (
                case["flags"]["seed"].as_u64().unwrap(),
                case["flags"]["size"].as_u64().unwrap(),
            );
            if stl10 && size == 1000 {
                // Drawn from STL-10's own fold file, which no stage reads yet.
                continue;
            }
            let picked = labeled(&set, seed as u32, size);
            if case["fails"] == "IndexError" {
                assert!(
                    matches!(
                        picked,
                        Err(Error::Exhausted {
                            class: 0,
                            records: 310,
                            ..
                        })
                    ),
                    "{name}: {picked:?}"
                );
                continue;
            }
            let picked = picked.unwrap();
            assert_eq!(sha256(&picked), case["label"]["sha256_u32le"], "{name}");
            check_json(&case, &set, "label", &picked);
        }
    }
    assert!(
        seen["create_split"] >= 20 && seen["create_unlabeled"] >= 3,
        "{seen:?}"
    );
}

/// Compares our JSON with the size and MD5 of the original's.
fn check_json(case: &Value, set: &Distribution, name: &str, positions: &[usize]) {
    use md5::Md5;
    let ours = json::python(&document(&set.shares, name, positions), 2);
    let original = &case["original_json"];
    assert_eq!(ours.len() as u64, original["bytes"], "{original}");
    assert_eq!(hex(&Md5::digest(&ours)), original["md5"], "{original}");
}
