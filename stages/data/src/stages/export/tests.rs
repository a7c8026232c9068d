//! Round trips: what `export` writes, `convert` (or a look at the files) gives back.

use proptest::prelude::*;
use rematch_spec::images::Channels;
use serde_json::{Value, json};

use super::*;
use crate::child::tests::{Lines, job};
use crate::image::file::{self, Rules};
use crate::png;
use crate::records::{self, Records};
use crate::tfrecord::{self, Example};

const OUTPUTS: [(&str, &str); 7] = [
    ("folder", "images"),
    ("classes", "classes.json"),
    ("binary", "data.bin"),
    ("meta", "batches.meta.txt"),
    ("images", "images.npy"),
    ("labels", "labels.npy"),
    ("records", "records.tfrecord"),
];

fn run(work: &Path, kind: &str, params: Value) -> Result<Report, StageError> {
    let child = Child::new(job(work, kind, params, &OUTPUTS), Lines::default());
    crate::stages::run(&child)
}

/// A record file of images of noise.
fn record_file(work: &Path, shape: Shape, labels: &[i64]) -> std::path::PathBuf {
    let noise = |n: usize| (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    let pixels: Vec<u8> = (0..shape.bytes() * labels.len()).map(noise).collect();
    let path = work.join("in.tfrecord");
    fs::write(&path, records::encode(shape, &pixels, labels)).unwrap();
    path
}

fn shape(height: usize, width: usize, channels: usize) -> Shape {
    Shape {
        height,
        width,
        channels,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn arrays_come_back_as_they_went(
        height in 1_usize..5,
        width in 1_usize..5,
        colour: bool,
        labels in prop::collection::vec(0..=i64::MAX, 1..9),
    ) {
        let work = tempfile::tempdir().unwrap();
        let (work, shape) = (work.path(), shape(height, width, if colour { 3 } else { 1 }));
        let path = record_file(work, shape, &labels);
        run(work, "export", json!({"records": path, "to": "npy"})).unwrap();
        let out = work.join("out");
        let from = json!({"npy": {"images": out.join("images.npy"), "labels": out.join("labels.npy")}});
        run(work, "convert", json!({"from": from})).unwrap();
        prop_assert_eq!(
            Records::read(&[out.join("records.tfrecord")], None).unwrap(),
            Records::read(&[path], None).unwrap()
        );
    }

    #[test]
    fn binary_files_come_back_as_they_went(labels in prop::collection::vec(0_i64..256, 1..9)) {
        let work = tempfile::tempdir().unwrap();
        let work = work.path();
        let path = record_file(work, cifar::SHAPE, &labels);
        run(work, "export", json!({"records": path, "to": "cifar_binary"})).unwrap();
        let out = work.join("out");
        run(work, "convert", json!({"from": {"cifar_binary": out.join("data.bin")}})).unwrap();
        let original = Records::read(&[path], None).unwrap();
        prop_assert_eq!(&Records::read(&[out.join("records.tfrecord")], None).unwrap(), &original);
        // A byte of label, then the red plane and so on.
        let bytes = fs::read(&out.join("data.bin")).unwrap();
        prop_assert_eq!(i64::from(bytes[0]), labels[0]);
        prop_assert_eq!([bytes[1], bytes[2], bytes[1 + 1024]], [original.images[0], original.images[3], original.images[1]]);
    }
}

#[test]
fn folders_hold_the_records_own_files_by_class_and_number() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let path = record_file(work, shape(3, 2, 3), &[1, 0, 1, 12]);
    let names = work.join("names.json");
    fs::write(&names, r#"{"0": "../cat", "1": "Cat", "12": ".._Cat"}"#).unwrap();
    let params = json!({"records": path, "to": "folders", "classes": names});
    assert_eq!(run(work, "export", params).unwrap().metrics["records"], 4.0);
    let out = work.join("out");
    let classes: Value =
        serde_json::from_slice(&fs::read(&out.join("classes.json")).unwrap()).unwrap();
    assert_eq!(classes, json!({"0": "_cat", "1": "Cat", "12": "_Cat_12"}));
    let original = Records::read(&[path], None).unwrap();
    for (n, place) in ["Cat/000000", "_cat/000001", "Cat/000002", "_Cat_12/000003"]
        .iter()
        .enumerate()
    {
        let file = fs::read(&out.join("images").join(format!("{place}.png"))).unwrap();
        assert_eq!(png::decode(&file).unwrap().data, original.image(n));
    }
    assert_eq!(fs::list(&out.join("images")).unwrap().len(), 3);
}

#[test]
fn folders_without_names_stand_in_the_order_of_their_labels() {
    let labels = BTreeSet::from([0, 7, 10, 123]);
    let found = folder_names(&labels, &Names::default());
    let names: Vec<&String> = found.values().collect();
    assert_eq!(names, ["000", "007", "010", "123"]);
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, names);
}

proptest! {
    #[test]
    fn any_name_becomes_a_folder_of_its_own(names in prop::collection::vec(any::<String>(), 0..6)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        let map: BTreeMap<String, &String> = (0..).zip(&names).map(|(n, s): (i64, _)| (n.to_string(), s)).collect();
        fs::write(&path, serde_json::to_vec(&map).unwrap()).unwrap();
        let labels: BTreeSet<i64> = (0..=names.len() as i64).collect();
        let found = folder_names(&labels, &classes::read(Some(&path)).unwrap());
        let lower: BTreeSet<String> = found.values().map(|n| n.to_lowercase()).collect();
        prop_assert_eq!(lower.len(), labels.len());
        for name in found.values() {
            prop_assert!(!name.is_empty() && name.len() < 200 && !name.starts_with('.'), "{name:?}");
            prop_assert!(!name.contains(['/', '\\', '\0', ':']) && !name.chars().any(char::is_control), "{name:?}");
        }
    }
}

#[test]
fn records_that_the_format_cannot_hold_are_named() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let error = |path: &Path, to: &str| {
        run(work, "export", json!({"records": path, "to": to}))
            .unwrap_err()
            .to_string()
    };
    let path = record_file(work, cifar::SHAPE, &[0, 256]);
    let found = error(&path, "cifar_binary");
    assert!(
        found.contains("record 1 ") && found.contains("label 256"),
        "{found}"
    );
    let path = record_file(work, shape(4, 4, 3), &[0]);
    assert!(error(&path, "cifar_binary").contains("32×32 colour images only"));
    fs::write(&path, b"").unwrap();
    for to in ["folders", "cifar_binary", "npy", "tfrecord"] {
        assert!(error(&path, to).ends_with("there are no records"), "{to}");
    }
}

#[test]
fn one_file_of_several_holds_their_records_verbatim() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let path = record_file(work, shape(2, 2, 1), &[5, 6]);
    run(
        work,
        "export",
        json!({"records": [path, path], "to": "tfrecord"}),
    )
    .unwrap();
    let bytes = fs::read(&path).unwrap();
    let written = fs::read(&work.join("out/records.tfrecord")).unwrap();
    assert_eq!(written, [&bytes[..], &bytes].concat());
}

#[test]
fn foreign_records_are_read_by_the_names_of_their_features() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let path = work.join("foreign");
    let image = png::encode(shape(1, 1, 1), &[9]);
    let mut data = Vec::new();
    Example {
        image: &image,
        label: 3,
    }
    .encode(&mut data);
    // Features of other names of the same length, so that the message stays whole.
    let named = |data: &[u8]| {
        let text: Vec<u8> = data.to_vec();
        let place = |word: &[u8]| text.windows(5).position(|w| w == word).unwrap();
        let (i, l) = (place(b"image"), place(b"label"));
        let mut text = text.clone();
        text[i..i + 5].copy_from_slice(b"x/png");
        text[l..l + 5].copy_from_slice(b"x/cls");
        text
    };
    let mut frames = Vec::new();
    tfrecord::put_record(&mut frames, &named(&data));
    fs::write(&path, &frames).unwrap();
    let convert = |first: i64| {
        let from = json!({"tfrecord": {"files": path, "image": "x/png", "label": "x/cls", "first_label": first}});
        run(work, "convert", json!({"from": from}))
    };
    convert(1).unwrap();
    let records = Records::read(&[work.join("out/records.tfrecord")], None).unwrap();
    assert_eq!((records.labels, records.images), (vec![2], vec![9]));
    let error = convert(4).unwrap_err().to_string();
    assert!(
        error.contains("record 0 ") && error.contains("label 3; expected 4 or more"),
        "{error}"
    );
    let error = run(
        work,
        "convert",
        json!({"from": {"tfrecord": {"files": path}}}),
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("it needs the feature `image`"), "{error}");
}

#[test]
fn foreign_records_may_hold_other_image_files_than_png() {
    let work = tempfile::tempdir().unwrap();
    let (work, path) = (work.path(), work.path().join("foreign"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image_files");
    let read = |name: &str| fs::read(&folder.join(name)).unwrap();
    let write = |files: &[Vec<u8>]| {
        let mut frames = Vec::new();
        for (label, image) in (5..).zip(files) {
            let mut data = Vec::new();
            Example { image, label }.encode(&mut data);
            tfrecord::put_record(&mut frames, &data);
        }
        fs::write(&path, frames).unwrap();
    };
    let convert = || {
        let from = json!({"tfrecord": {"files": path, "first_label": 5}});
        run(work, "convert", json!({"from": from}))
    };
    let names = [
        "subsampled.jpg",
        "grey.jpg",
        "rgb.bmp",
        "alpha.webp",
        "grey.png",
    ];
    let files = names.map(read);
    write(&files);
    assert_eq!(convert().unwrap().metrics["records"], 5.0);
    let made = Index::scan(&[work.join("out/records.tfrecord")]).unwrap();
    assert_eq!(made.labels, [0, 1, 2, 3, 4]);
    for (n, name) in names.iter().enumerate() {
        let channels = if name.starts_with("grey") {
            Channels::Grey
        } else {
            Channels::Rgb
        };
        let rules = Rules {
            channels,
            ..Rules::default()
        };
        assert_eq!(
            made.image(n).unwrap(),
            file::decode(&files[n], rules).unwrap(),
            "{name}"
        );
    }
    write(&[files[0].clone(), files[0][..files[0].len() / 2].to_vec()]);
    let error = convert().unwrap_err().to_string();
    assert!(
        error.contains("record 1 ") && error.contains("cut off"),
        "{error}"
    );
    write(&[b"GIF89a".to_vec()]);
    assert!(
        convert()
            .unwrap_err()
            .to_string()
            .contains("it is no PNG, JPEG, BMP or WebP file")
    );
}

#[test]
fn arrays_that_are_no_images_or_labels_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let (images, labels) = (work.join("x.npy"), work.join("y.npy"));
    let write = |path: &Path, descr: &str, row: &[u64], rows: &[&[u8]]| {
        let mut writer = npy::Writer::create(path, descr, row).unwrap();
        for row in rows {
            writer.row(row).unwrap();
        }
        writer.finish().unwrap();
    };
    let convert = || {
        let from = json!({"npy": {"images": images, "labels": labels}});
        run(work, "convert", json!({"from": from})).map(|_| ())
    };
    let error = || convert().unwrap_err().to_string();
    write(&labels, "<i2", &[1], &[&[1, 0], &[0, 1]]);
    for (descr, row, what) in [
        ("<f4", &[1, 1][..], "`<f4`; expected uint8"),
        ("|u1", &[4, 1, 2][..], "expected [N, height, width]"),
        ("|u1", &[0, 4][..], "images of 0×4"),
    ] {
        write(&images, descr, row, &[]);
        let found = error();
        assert!(found.contains("x.npy: ") && found.contains(what), "{found}");
    }
    write(&images, "|u1", &[1, 2], &[&[1, 2]]);
    assert!(error().contains("y.npy: its shape is [2, 1]; expected [1]"));
    write(&images, "|u1", &[1, 2], &[&[1, 2], &[3, 4]]);
    convert().unwrap();
    let records = Records::read(&[work.join("out/records.tfrecord")], None).unwrap();
    assert_eq!(
        (records.labels, records.images),
        (vec![1, 256], vec![1, 2, 3, 4])
    );
    write(&labels, "<i2", &[], &[&[1, 0], &[255, 255]]);
    assert!(error().contains("the label of image 1 is no number from 0 on"));
    write(&labels, "<f8", &[], &[&[0; 8], &[0; 8]]);
    assert!(error().contains("`<f8`; expected integers"));
    // Without labels, all are of class 0.
    let from = json!({"npy": {"images": images}});
    run(work, "convert", json!({"from": from})).unwrap();
    let records = Records::read(&[work.join("out/records.tfrecord")], None).unwrap();
    assert_eq!(records.labels, [0, 0]);
    // A binary file that ends inside an image.
    let from = json!({"cifar_binary": images});
    let error = run(work, "convert", json!({"from": from}))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no multiple of 3073"), "{error}");
}
