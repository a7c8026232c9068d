//! The test vectors of spec/fixmatch.md 14, every golden split of the original scripts, and what must hold of
//! any split.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rematch_spec::protocol::Amount;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::testing::shared;
use crate::{fs, json};

/// Record p has class p mod `classes`.
pub(super) fn cyclic(records: usize, classes: usize) -> Distribution {
    let labels: Vec<i64> = (0..records).map(|p| (p % classes) as i64).collect();
    Distribution::of(&labels, false).unwrap()
}

/// How many records each class has.
pub(super) fn histogram(found: impl Iterator<Item = usize>, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    found.for_each(|class| counts[class] += 1);
    counts
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

/// Labels of golden inputs, one file after the other.
fn labels(golden: &Path, names: &Value) -> Vec<i64> {
    let files = names.as_array().unwrap().iter().map(|name| {
        let name = name.as_str().unwrap();
        let (file, part) = name.split_once(", ").unwrap_or((name, ""));
        let mut labels = fs::read(&golden.join(format!("inputs/{file}.labels.u8"))).unwrap();
        if part == "first 200 of each batch of 10000" {
            labels = labels
                .chunks(10_000)
                .flat_map(|c| c[..200].to_vec())
                .collect();
        } else {
            assert_eq!(part, "");
        }
        labels
    });
    files.flatten().map(i64::from).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
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

/// Compares positions, and our JSON with the size and MD5 of the original's.
fn check(case: &Value, lists: &[(&str, &[usize])], document: &impl Serialize) {
    use md5::Md5;
    for (name, positions) in lists {
        assert_eq!(case[name]["count"], positions.len(), "{case}");
        assert_eq!(case[name]["sha256_u32le"], sha256(positions), "{case}");
    }
    let original = &case["original_json"];
    if original.is_object() {
        let ours = json::python(document, 2);
        assert_eq!(ours.len() as u64, original["bytes"], "{original}");
        assert_eq!(hex(&Md5::digest(&ours)), original["md5"], "{original}");
    }
}

#[test]
fn every_golden_split_matches_to_the_byte() {
    let Some(golden) = shared("golden") else {
        return;
    };
    let mut seen = BTreeMap::new();
    for entry in read(&golden.join("index.json")).as_array().unwrap() {
        let (repo, script) = (
            entry["repo"].as_str().unwrap(),
            entry["script"].as_str().unwrap(),
        );
        if repo == "featmatch" || !script.starts_with("create_") {
            // FeatMatch's have a test of their own; the others are no splits.
            continue;
        }
        *seen.entry(format!("{repo} {script}")).or_insert(0) += 1;
        let case = read(&golden.join(entry["file"].as_str().unwrap()));
        let labels = labels(&golden, &case["inputs"]);
        let stl10 = case["inputs"][0].as_str().unwrap().contains("stl10");
        let flag = |name: &str| case["flags"][name].as_u64();
        let seed = flag("seed").unwrap_or(0) as u32;
        let set = || Distribution::of(&labels, stl10).unwrap();
        match (repo, script) {
            (_, "create_unlabeled") => {
                let (set, order) = (set(), unlabeled_order(&set()));
                let document = document(&set.shares, "indexes", &order);
                check(&case, &[("indexes", &order)], &document);
            }
            ("fixmatch", _) => {
                let (set, size) = (set(), flag("size").unwrap());
                let picked = if stl10 && size == 1000 {
                    let folds = golden.join("inputs/stl10_fold_indices.txt");
                    let text = fs::read_to_string(&folds).unwrap();
                    Ok(listed::fold(&text, seed, labels.len()).unwrap())
                } else {
                    labeled(&set, seed, size)
                };
                if case["fails"] == "IndexError" {
                    let Err(Error::Exhausted { class, records, .. }) = picked else {
                        panic!("{picked:?}");
                    };
                    assert_eq!((class, records), (0, 310));
                    continue;
                }
                let picked = picked.unwrap();
                let document = document(&set.shares, "label", &picked);
                check(&case, &[("label", &picked)], &document);
            }
            ("cadr", _) => {
                let tail = cadr::Tail::Long(flag("lamda").unwrap() as f64);
                let (shares, picked) =
                    cadr::labeled(&set(), tail, seed, flag("size").unwrap()).unwrap();
                let original: Vec<f64> =
                    serde_json::from_value(case["distribution"].clone()).unwrap();
                for (ours, theirs) in shares.iter().zip(&original) {
                    // The last bit of a power depends on the library.
                    assert!((ours - theirs).abs() <= 4e-16 * theirs, "{ours} {theirs}");
                }
                assert_eq!(shares.len(), original.len());
                let document = document(&original, "label", &picked);
                check(&case, &[("label", &picked)], &document);
            }
            ("realmix", _) => {
                let set = realmix::candidates(&labels, flag("label_size"), stl10).unwrap();
                let size = flag("label_split_size").unwrap();
                let balance = case["flags"]["class_balance"] == true;
                let labeled = realmix::labeled(&set, seed, size, balance).unwrap();
                let unlabeled = realmix::unlabeled(&labels, &set, &labeled);
                let document = realmix::document(&labeled, &unlabeled);
                check(
                    &case,
                    &[("label", &labeled), ("unlabel", &unlabeled)],
                    &document,
                );
            }
            other => panic!("{other:?}"),
        }
    }
    let expected = [
        ("cadr create_split", 3),
        ("cadr create_unlabeled", 1),
        ("fixmatch create_split", 27),
        ("fixmatch create_unlabeled", 3),
        ("realmix create_split", 10),
    ];
    assert_eq!(seen, expected.map(|(name, n)| (name.to_owned(), n)).into());
}

#[test]
fn every_golden_split_of_featmatch_matches() {
    let Some(golden) = shared("golden") else {
        return;
    };
    for case in read(&golden.join("featmatch/split_function.json"))["cases"]
        .as_array()
        .unwrap()
    {
        let labels = labels(&golden, &Value::Array(vec![case["labels"].clone()]));
        let seed = case["rand_seed"].as_u64().map(|seed| seed as u32);
        let amount = serde_json::from_value(case["ratio"].clone()).unwrap();
        let (first, second) = featmatch::split((0..labels.len()).collect(), &labels, seed, amount);
        for (name, part) in [("first", first), ("second", second)] {
            assert_eq!(case[format!("{name}_count")], part.len(), "{case}");
            assert_eq!(
                case[format!("{name}_sha256_u32le")],
                sha256(&part),
                "{case}"
            );
        }
    }
    let positions =
        |value: &Value| -> Vec<usize> { serde_json::from_value(value.clone()).unwrap() };
    for case in read(&golden.join("featmatch/splits.json"))["cases"]
        .as_array()
        .unwrap()
    {
        assert_eq!(
            (&case["dataset"], &case["Nd"]),
            (&"cifar10".into(), &1.0.into())
        );
        let labels = labels(&golden, &serde_json::json!(["cifar10-train"]));
        let seed = case["rand_seed"].as_u64().unwrap() as u32;
        let sizes = featmatch::Sizes {
            keep: None,
            valid: Some(Amount::Count(case["Nv"].as_u64().unwrap())),
            labeled: Amount::Count(case["Nl"].as_u64().unwrap()),
            unlabeled: Amount::Fraction(1.0),
        };
        let mut parts = featmatch::divide(&labels, seed, &sizes);
        assert_eq!(parts.labeled, positions(&case["labelled_before_shuffle"]));
        parts.shuffle(seed);
        assert_eq!(parts.labeled, positions(&case["labelled"]));
        assert_eq!(parts.unlabeled.len(), case["unlabelled_count"]);
        assert_eq!(sha256(&parts.unlabeled), case["unlabelled_sha256_u32le"]);
        assert_eq!(parts.validation.len(), case["val_count"]);
        assert_eq!(sha256(&parts.validation), case["val_sha256_u32le"]);
        let test = featmatch::test_order(10_000, seed);
        assert_eq!(sha256(&test), case["test_sha256_u32le"]);
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of the positions, as decimals between commas.
fn fingerprint(positions: &[usize]) -> String {
    let words: Vec<String> = positions.iter().map(usize::to_string).collect();
    hex(&Sha256::digest(words.join(",")))[..16].to_owned()
}

#[test]
fn the_specs_tables_of_cifar10_hold() {
    let Some(golden) = shared("golden") else {
        return;
    };
    let labels = labels(&golden, &serde_json::json!(["cifar10-train"]));
    // spec/realmix.md 3.3.
    let set = realmix::candidates(&labels, None, false).unwrap();
    for (seed, size, labeled, unlabeled) in [
        (0, 250, "4644196ce3290617", "f4d4044f04fe0f1c"),
        (1, 250, "8bd7be81facaf005", "1a28d0ef56d811a5"),
        (2, 250, "7ac62ea13d7bf78b", "388849177aa3922c"),
        (3, 250, "14d215265a7581bb", "048dd28d26eca766"),
        (1, 4000, "d1bc1657c55c3c95", "373855ca7c1c319d"),
        (3, 4000, "428ac07bd712fd9e", "5e78dfa25d592ff2"),
    ] {
        let picked = realmix::labeled(&set, seed, size, false).unwrap();
        let rest = realmix::unlabeled(&labels, &set, &picked);
        assert_eq!(
            (fingerprint(&picked), fingerprint(&rest)),
            (labeled.into(), unlabeled.into())
        );
    }
    // spec/featmatch.md 3.2, omniscient.
    for (seed, size, sorted, labeled, unlabeled) in [
        (
            1,
            250,
            "a4a17dbdf8ac1ef3",
            [36476, 35375, 9405],
            [11183, 43738, 18871],
        ),
        (
            2,
            250,
            "d5f52be8918587ba",
            [12540, 11813, 50],
            [31677, 2169, 42660],
        ),
        (
            3,
            250,
            "354bec5e9f3cb929",
            [34164, 16860, 2928],
            [38692, 41921, 1612],
        ),
        (
            1,
            4000,
            "02f354d5634c3891",
            [16910, 42345, 33066],
            [13055, 34763, 45185],
        ),
        (
            1,
            1000,
            "6926357ace2c5962",
            [27444, 4513, 31182],
            [39016, 45915, 13300],
        ),
    ] {
        let sizes = featmatch::Sizes {
            keep: None,
            valid: None,
            labeled: Amount::Count(size),
            unlabeled: Amount::Fraction(1.0),
        };
        let mut parts = featmatch::divide(&labels, seed, &sizes);
        parts.shuffle(seed);
        assert_eq!(parts.labeled[..3], labeled);
        assert_eq!(parts.unlabeled[..3], unlabeled);
        assert_eq!(parts.unlabeled.len() as u64, 50_000 - size);
        parts.labeled.sort_unstable();
        assert_eq!(fingerprint(&parts.labeled), sorted);
    }
}

/// Labels with every class from 0 on.
fn any_labels() -> impl Strategy<Value = Vec<i64>> {
    (1..8usize, prop::collection::vec(any::<u32>(), 0..300)).prop_map(|(classes, rest)| {
        let rest = rest.into_iter().map(|n| i64::from(n) % classes as i64);
        (0..classes as i64).chain(rest).collect()
    })
}

proptest! {
    #[test]
    fn smaller_splits_lie_in_larger_ones(labels in any_labels(), seed: u32, size in 1..200u64) {
        let set = Distribution::of(&labels, false).unwrap();
        if let Ok(larger) = labeled(&set, seed, size) {
            prop_assert_eq!(larger.len() as u64, size);
            prop_assert!(larger.is_sorted_by(|a, b| a < b));
            let smaller = labeled(&set, seed, size - 1).unwrap();
            prop_assert!(smaller.iter().all(|p| larger.contains(p)));
        }
    }

    #[test]
    fn a_long_tail_never_rises(labels in any_labels(), seed: u32, size in 1..20u64, lambda in 1.0..100.0f64) {
        let set = Distribution::of(&labels, false).unwrap();
        let (shares, _) = cadr::imbalanced(&set, lambda, size);
        prop_assert!(shares.is_sorted_by(|a, b| a >= b));
        if let Ok((_, picked)) = cadr::labeled(&set, cadr::Tail::Long(lambda), seed, size) {
            let counts = histogram(picked.iter().map(|p| labels[*p] as usize), set.counts.len());
            prop_assert_eq!(counts[0] as u64, size);
            prop_assert!(counts.is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn realmix_has_every_record_once(
        labels in any_labels(), seed: u32, size in 0..100u64, label_size in prop::option::of(20..400u64), balance: bool
    ) {
        let Ok(set) = realmix::candidates(&labels, label_size, false) else { return Ok(()) };
        let Ok(picked) = realmix::labeled(&set, seed, size, balance) else { return Ok(()) };
        prop_assert_eq!(picked.len() as u64, size);
        prop_assert!(picked.iter().all(|p| label_size.is_none_or(|n| (*p as u64) < n)));
        let mut all = realmix::unlabeled(&labels, &set, &picked);
        all.extend(picked);
        all.sort_unstable();
        prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
    }

    #[test]
    fn featmatch_has_every_record_once(
        labels in any_labels(), seed in 0..u32::MAX - 4, valid in prop::option::of(0..400u64), share in 0.0..1.0f64
    ) {
        let sizes = featmatch::Sizes {
            keep: None,
            valid: valid.map(Amount::Count),
            labeled: Amount::Fraction(share),
            unlabeled: Amount::Fraction(1.0),
        };
        let mut parts = featmatch::divide(&labels, seed, &sizes);
        prop_assert_eq!(parts.validation.len(), valid.map_or(0, |n| labels.len().min(n as usize)));
        parts.shuffle(seed);
        let mut all = [parts.labeled, parts.unlabeled, parts.validation].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
    }
}

#[test]
fn another_seed_is_another_split() {
    let set = cyclic(50_000, 10);
    let labels: Vec<i64> = (0..50_000).map(|p| p % 10).collect();
    let sizes = featmatch::Sizes {
        keep: None,
        valid: None,
        labeled: Amount::Count(40),
        unlabeled: Amount::Fraction(1.0),
    };
    for seed in 1..5 {
        assert_ne!(labeled(&set, seed, 40), labeled(&set, seed + 1, 40));
        let [a, b] = [seed, seed + 1].map(|seed| featmatch::divide(&labels, seed, &sizes));
        assert_ne!(a.labeled, b.labeled);
    }
}
