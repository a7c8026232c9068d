//! Downloads of small archives in the official layouts.

use rematch_spec::datasets::Name;
use rematch_spec::job::Event;
use serde_json::{Value, json};
use tar::EntryType;

use super::*;
use crate::archive::tests::pack;
use crate::child::tests::{Lines, job};
use crate::png;
use crate::records::Records;
use crate::testing::shared;

const OUTPUTS: &[(&str, &str)] = &[
    ("train", "train.tfrecord"),
    ("test", "test.tfrecord"),
    ("extra", "extra.tfrecord"),
    ("unlabeled", "unlabeled.tfrecord"),
    ("classes", "classes.json"),
    ("folds", "fold_indices.txt"),
];

fn download(work: &Path, params: Value) -> (Result<Report, StageError>, Lines) {
    let lines = Lines::default();
    let child = Child::new(job(work, "download", params, OUTPUTS), lines.clone());
    (crate::stages::run(&child), lines)
}

fn read(work: &Path, name: &str) -> Records {
    Records::read(&[work.join("out").join(name)], Some(10)).unwrap()
}

/// The files of CIFAR-10's binary archive: five of training images, one of test images.
fn members() -> Vec<&'static str> {
    let cifar = Name::find("cifar10").unwrap().dataset();
    let files = &cifar.source(Some("binary")).unwrap().files;
    ["train", "test"]
        .iter()
        .flat_map(|part| files[*part].iter().map(String::as_str))
        .collect()
}

fn warnings(lines: &Lines) -> Vec<String> {
    let texts = lines.events().into_iter().filter_map(|e| match e {
        Event::Warning { text } => Some(text),
        _ => None,
    });
    texts.collect()
}

/// Batches of two images each; image i of batch b is all b·10 + i, its label b + i.
fn batches(order: &[usize]) -> Vec<u8> {
    let names = members();
    let contents: Vec<Vec<u8>> = (0..6)
        .map(|b| {
            (0..2)
                .flat_map(|i| [vec![b + i], vec![b * 10 + i; 3072]].concat())
                .collect()
        })
        .collect();
    let members: Vec<_> = order
        .iter()
        .map(|n| (names[*n], EntryType::Regular, &contents[*n][..]))
        .collect();
    pack(&members)
}

fn archive(work: &Path, bytes: &[u8]) -> Value {
    let path = work.join("archive.tar.gz");
    fs::write(&path, bytes).unwrap();
    json!({"dataset": "cifar10", "layout": "binary", "file": {"$input": path}})
}

#[test]
fn batches_are_written_in_their_order_whatever_the_archives_is() {
    let work = tempfile::tempdir().unwrap();
    let params = archive(work.path(), &batches(&[3, 5, 0, 4, 2, 1]));
    let (result, lines) = download(work.path(), params);
    let report = result.unwrap();
    assert_eq!(
        (report.metrics["train"], report.metrics["test"]),
        (10.0, 2.0)
    );
    let train = read(work.path(), "train.tfrecord");
    assert_eq!(train.labels, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
    assert_eq!(train.image(7), [31; 3072]);
    assert_eq!(read(work.path(), "test.tfrecord").labels, [5, 6]);
    let classes = fs::read_to_string(&work.path().join("out/classes.json")).unwrap();
    let classes: Value = serde_json::from_str(&classes).unwrap();
    assert_eq!(
        (&classes["0"], &classes["9"]),
        (&json!("airplane"), &json!("truck"))
    );
    let warnings = warnings(&lines);
    assert!(
        warnings[0].contains("the official one md5:c32a1d4ab5d03f1284b67883e8d87530"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("cifar10 has 10 records of `train` here; officially it has 50000"),
        "{warnings:?}"
    );
}

#[test]
fn a_wrong_checksum_names_both() {
    let work = tempfile::tempdir().unwrap();
    let mut params = archive(work.path(), &batches(&[0, 1, 2, 3, 4, 5]));
    let expected = format!("md5:{}", "0".repeat(32));
    params["checksum"] = expected.clone().into();
    let error = download(work.path(), params.clone())
        .0
        .unwrap_err()
        .to_string();
    let found = checksum::of_file(&work.path().join("archive.tar.gz"), "md5:").unwrap();
    assert!(
        error.contains(&expected) && error.contains(&found),
        "{error}"
    );
    params["checksum"] = found.to_uppercase().replace("MD5", "md5").into();
    assert!(download(work.path(), params).0.is_ok());
}

#[test]
fn a_cut_archive_and_a_wrong_layout_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let bytes = batches(&[0, 1, 2, 3, 4, 5]);
    let params = archive(work.path(), &bytes[..bytes.len() / 2]);
    let error = download(work.path(), params).0.unwrap_err();
    assert!(
        error.to_string().ends_with("archive.tar.gz is cut off"),
        "{error}"
    );
    let mut params = archive(work.path(), &bytes);
    params["layout"] = "python".into();
    let error = download(work.path(), params).0.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("lacks cifar-10-batches-py/data_batch_1, "),
        "{error}"
    );
    let params = archive(
        work.path(),
        &pack(&[(
            "cifar-10-batches-bin/data_batch_1.bin",
            EntryType::Regular,
            &[11; 3073],
        )]),
    );
    let error = download(work.path(), params).0.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("image 0 of `train` has label 11; expected 0 to 9"),
        "{error}"
    );
}

#[test]
fn shapes_are_generated_as_records() {
    let work = tempfile::tempdir().unwrap();
    let params = json!({"dataset": "shapes", "seed": 5, "train_images": 2010, "test_images": 20});
    download(work.path(), params).0.unwrap();
    let train = read(work.path(), "train.tfrecord");
    assert_eq!(train.len(), 2010);
    let (images, labels) = shapes::images(5, Part::Train, 0, 2010);
    assert_eq!(train.images, images);
    assert_eq!(
        train.labels,
        labels.into_iter().map(i64::from).collect::<Vec<_>>()
    );
    assert_eq!(
        read(work.path(), "test.tfrecord").images,
        shapes::images(5, Part::Test, 0, 20).0
    );
}

#[test]
fn only_the_wanted_parts_of_the_shapes_are_generated() {
    let work = tempfile::tempdir().unwrap();
    let params = json!({"dataset": "shapes", "test_images": 20, "parts": ["test"]});
    let report = download(work.path(), params).0.unwrap();
    assert_eq!(report.metrics, [("test".to_owned(), 20.0)].into());
    assert_eq!(read(work.path(), "test.tfrecord").len(), 20);
    assert!(!work.path().join("out/train.tfrecord").exists());
}

/// CIFAR's own first images, from the binary layout's records in `first_images_exact.bin`.
#[test]
fn real_images_keep_their_pixels() {
    let Some(real) = shared("data/cifar10/first_images_exact.bin") else {
        return;
    };
    let bytes = fs::read(&real).unwrap();
    let names = members();
    let members: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            (
                *name,
                EntryType::Regular,
                &bytes[n * 50 * 3073..][..50 * 3073],
            )
        })
        .collect();
    let work = tempfile::tempdir().unwrap();
    let params = archive(work.path(), &pack(&members));
    download(work.path(), params).0.unwrap();
    let train = read(work.path(), "train.tfrecord");
    for n in [0, 49, 50, 249] {
        let record = &bytes[n * 3073..][..3073];
        assert_eq!(train.labels[n], i64::from(record[0]));
        for pixel in 0..1024 {
            let planes = [0, 1, 2].map(|plane| record[1 + plane * 1024 + pixel]);
            assert_eq!(train.image(n)[pixel * 3..][..3], planes);
        }
    }
}

/// Unpacks a tar.xz of the shared folder; `None`, said aloud, where it or a program for it is missing.
fn unpack(archive: &str) -> Option<tempfile::TempDir> {
    let archive = shared(archive)?;
    let folder = tempfile::tempdir().unwrap();
    let tar = std::process::Command::new("tar")
        .arg("-xJf")
        .arg(&archive)
        .arg("-C")
        .arg(folder.path())
        .output();
    if tar.is_ok_and(|tar| tar.status.success()) {
        return Some(folder);
    }
    eprintln!("skipped: no program here unpacks {}", archive.display());
    None
}

/// Parameters with idx files of a folder in the official order.
fn idx_files(dataset: &str, folder: &Path) -> Value {
    let files: Vec<Value> = [
        "train-images-idx3",
        "train-labels-idx1",
        "t10k-images-idx3",
        "t10k-labels-idx1",
    ]
    .iter()
    .map(|name| json!({"$input": folder.join(format!("{name}-ubyte"))}))
    .collect();
    json!({"dataset": dataset, "file": files})
}

#[test]
fn the_whole_of_mnist_keeps_its_pixels_and_labels() {
    let Some(real) = unpack("data/mnist/mnist_idx.tar.xz") else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let report = download(work.path(), idx_files("mnist", real.path()))
        .0
        .unwrap();
    assert_eq!(
        (report.metrics["train"], report.metrics["test"]),
        (60000.0, 10000.0)
    );
    for (part, name) in [("train", "train"), ("test", "t10k")] {
        let records = read(work.path(), &format!("{part}.tfrecord"));
        assert_eq!(records.shape().bytes(), 784);
        let images = fs::read(&real.path().join(format!("{name}-images-idx3-ubyte"))).unwrap();
        assert!(records.images == images[16..], "{part}");
        let labels = fs::read(&real.path().join(format!("{name}-labels-idx1-ubyte"))).unwrap();
        let labels: Vec<i64> = labels[8..].iter().map(|label| i64::from(*label)).collect();
        assert!(records.labels == labels, "{part}");
    }
}

#[test]
fn a_part_of_fashion_mnist_is_read_with_a_warning() {
    let Some(real) = unpack("data/fashion_mnist/fashion_mnist_part.tar.xz") else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (result, lines) = download(work.path(), idx_files("fashion_mnist", real.path()));
    assert_eq!(result.unwrap().metrics["train"], 1813.0);
    let warnings = warnings(&lines);
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("1813 records of `train` here; officially it has 60000"))
    );
    let train = read(work.path(), "train.tfrecord");
    let images = fs::read(&real.path().join("train-images-idx3-ubyte")).unwrap();
    for n in [0, 1812] {
        let image = &images[16 + n * 784..][..784];
        assert_eq!(train.image(n)[32 * 2 + 2..][..28], image[..28]);
        assert_eq!(train.image(n)[32 * 29 + 2..][..28], image[27 * 28..]);
    }
}

/// SVHN's first 1083 images, written as its own file has them.
#[test]
fn real_svhn_digits_survive_their_format() {
    let Some(real) = unpack("data/svhn/svhn_first1083.tar.xz") else {
        return;
    };
    let (mut stored, mut y, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for path in fs::list(&real.path().join("train")).unwrap() {
        let image = png::decode(&fs::read(&path).unwrap()).unwrap();
        for channel in 0..3 {
            for column in 0..32 {
                stored.extend((0..32).map(|row| image.data[(row * 32 + column) * 3 + channel]));
            }
        }
        images.extend(image.data);
        let name = path.file_stem().unwrap().to_str().unwrap();
        let digit: u8 = name.split_once('_').unwrap().1.parse().unwrap();
        y.push(if digit == 0 { 10 } else { digit });
    }
    let count = y.len() as i32;
    let mat = readers::matlab::tests::file(&[
        ("about", &[1, 1], b"x"),
        ("X", &[32, 32, 3, count], &stored),
        ("y", &[count, 1], &y),
    ]);
    let work = tempfile::tempdir().unwrap();
    // Under the official names, in another order than the official one.
    let files = ["test_32x32.mat", "train_32x32.mat"].map(|name| {
        let path = work.path().join(name);
        fs::write(&path, &mat).unwrap();
        json!({"$input": path})
    });
    let params = json!({"dataset": "svhn_noextra", "file": files});
    assert_eq!(
        download(work.path(), params).0.unwrap().metrics["train"],
        1083.0
    );
    let train = read(work.path(), "train.tfrecord");
    assert!(train.images == images);
    // Digit d is class d - 1, digit 0 class 9.
    let digits = [66, 227, 141, 134, 110, 112, 78, 70, 78, 67];
    for (digit, expected) in digits.into_iter().enumerate() {
        let class = (digit as i64 + 9) % 10;
        let found = train.labels.iter().filter(|label| **label == class).count();
        assert_eq!(found, expected, "digit {digit}");
    }
}

/// CIFAR-10's first images in archives of all three layouts, which a script of the shared folder makes.
#[test]
fn layouts_of_real_images_give_the_same_records() {
    let Some(script) = shared("data/cifar10/make_archives.py") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let python = std::process::Command::new("python3")
        .arg(&script)
        .arg(folder.path())
        .args(["--subset", "20", "--formats", "binary,python,matlab"])
        .output();
    if !python.is_ok_and(|python| python.status.success()) {
        eprintln!("skipped: no python3 here runs {}", script.display());
        return;
    }
    let mut all = Vec::new();
    for layout in ["matlab", "python", "binary"] {
        let work = tempfile::tempdir().unwrap();
        let file = folder.path().join(format!("cifar-10-{layout}.tar.gz"));
        let params = json!({"dataset": "cifar10", "layout": layout, "file": {"$input": file}});
        let report = download(work.path(), params).0.unwrap();
        assert_eq!(
            (report.metrics["train"], report.metrics["test"]),
            (100.0, 20.0)
        );
        all.push([
            read(work.path(), "train.tfrecord"),
            read(work.path(), "test.tfrecord"),
        ]);
    }
    assert!(all[0] == all[1] && all[1] == all[2]);
}

#[test]
fn parts_that_are_not_asked_for_are_not_made() {
    let work = tempfile::tempdir().unwrap();
    let mut params = archive(work.path(), &batches(&[0, 1, 2, 3, 4, 5]));
    params["parts"] = json!(["test"]);
    download(work.path(), params).0.unwrap();
    assert_eq!(read(work.path(), "test.tfrecord").labels, [5, 6]);
    assert!(!work.path().join("out/train.tfrecord").exists());
}
