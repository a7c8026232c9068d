//! Copies as a file and as a recipe: the same to the bit, however they are made and read.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::augment::Scratch;
use crate::child::tests::{Lines, job};
use crate::image::Shape;
use crate::image_set::ImageSet;
use crate::records::{self, Index, Records};

const SHAPE: Shape = Shape {
    height: 14,
    width: 20,
    channels: 3,
};
const AUGMENTATIONS: [&str; 5] = ["cifar10", "svhn", "stl10", "color", "cutout"];

/// Records of noisy images; record n has label n mod 7.
fn source(folder: &Path, count: usize) -> PathBuf {
    let bytes = (0..count * SHAPE.bytes())
        .map(|n| ((n as u64).wrapping_mul(6364136223846793005) >> 29) as u8);
    let labels: Vec<u8> = (0..count).map(|n| (n % 7) as u8).collect();
    let path = folder.join("source");
    let frames = records::encode(SHAPE, &bytes.collect::<Vec<u8>>(), &labels);
    fs::write(&path, frames).unwrap();
    path
}

/// Runs the stage; the result is `folder/out/NAME`.
fn copies(folder: &Path, name: &str, params: Value) -> Result<PathBuf, StageError> {
    let child = Child::new(
        job(folder, "augment_copies", params, &[("records", name)]),
        Lines::default(),
    );
    run(&child)?;
    Ok(folder.join("out").join(name))
}

/// All records of a set, as their bytes.
fn frames(folder: &Path, set: &Path) -> Vec<u8> {
    let index = Index::scan(&[set]).unwrap();
    let path = folder.join("frames");
    let mut writer = Writer::create(&path).unwrap();
    let records = index.labels.iter().copied().enumerate();
    index.copy_as(records, &mut writer).unwrap();
    writer.finish().unwrap();
    fs::read(&path).unwrap()
}

#[test]
fn a_recipe_gives_the_very_records_and_images_that_the_file_has() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 50);
    for augment in AUGMENTATIONS {
        let params = json!({"records": source, "copies": 3, "augment": augment, "seed": 5});
        let file = copies(folder.path(), "a.tfrecord", params.clone()).unwrap();
        let mut asked = params;
        asked["virtual"] = true.into();
        let recipe = copies(folder.path(), augment, asked).unwrap();

        assert!(
            frames(folder.path(), &recipe) == fs::read(&file).unwrap(),
            "{augment}"
        );
        let read = Records::read(&[&file], None).unwrap();
        let set = ImageSet::read(&[&recipe]).unwrap();
        assert_eq!((set.len(), set.shape()), (150, SHAPE));
        assert_eq!(set.labels, read.labels);
        let backwards: Vec<usize> = (0..150).rev().collect();
        let gathered = set.gather(&backwards).unwrap();
        for (image, n) in gathered.chunks(SHAPE.bytes()).zip(backwards) {
            assert!(image == read.image(n), "{augment}: {n}");
        }
        let index = Index::scan(&[&recipe]).unwrap();
        assert!(index.image(77).unwrap().data == read.image(77), "{augment}");
    }
}

#[test]
fn a_recipe_takes_a_few_kilobytes_beside_the_sources_own_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 5);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&source, &link).unwrap();
    let set = copies(
        folder.path(),
        "set",
        json!({"records": link, "copies": 50, "virtual": true}),
    )
    .unwrap();
    assert_eq!(
        fs::list(&set).unwrap(),
        [set.join(copies::RECIPE), set.join(copies::SOURCE)]
    );
    assert!(fs::len(&set.join(copies::RECIPE)).unwrap() < 2048);
    let file = |path: &Path| {
        std::fs::symlink_metadata(path)
            .map(|m| (m.ino(), m.is_file()))
            .unwrap()
    };
    assert_eq!(file(&set.join(copies::SOURCE)), file(&source));
}

#[test]
fn neither_threads_nor_memory_nor_the_number_of_copies_change_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 40);
    let params = |copies: u32| -> AugmentCopies {
        let params = json!({"records": source, "copies": copies, "augment": "color"});
        serde_json::from_value(params).unwrap()
    };
    let made = |memory: usize, threads: usize| {
        let copies = Copies::of(&source, &params(4), memory).unwrap();
        let all: Vec<(usize, i64)> = (0..copies.len()).map(|n| (n, copies.label(n))).collect();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| copies.frames(&all).unwrap())
    };
    let first = made(copies::SMALL, 1);
    assert!(first == made(copies::SMALL, 3));
    assert!(first == made(0, 3));
    let images = |copies: u32| {
        let copies = Copies::of(&source, &params(copies), 0).unwrap();
        let image = |n| {
            let mut out = vec![0; SHAPE.bytes()];
            copies.render(n, &mut Scratch::default(), &mut out).unwrap();
            out
        };
        let mut images: Vec<Vec<u8>> = (0..copies.len()).map(image).collect();
        images.sort();
        images.dedup();
        images
    };
    let (few, many) = (images(2), images(5));
    assert_eq!((few.len(), many.len()), (80, 200));
    assert!(few.iter().all(|image| many.binary_search(image).is_ok()));
}

#[test]
fn another_seed_gives_other_images_in_the_same_order() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 30);
    let of = |seed: u64| {
        let file = copies(
            folder.path(),
            "a.tfrecord",
            json!({"records": source, "seed": seed}),
        );
        Records::read(&[file.unwrap()], None).unwrap()
    };
    let (one, again, other) = (of(1), of(1), of(2));
    assert_eq!(one, again);
    assert_eq!(one.labels, other.labels);
    assert_ne!(one.images, other.images);
}

#[test]
fn other_stages_read_a_recipe_as_they_read_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 21);
    let params = json!({"records": source, "copies": 2, "augment": "cutout"});
    let file = copies(folder.path(), "a.tfrecord", params.clone()).unwrap();
    let mut asked = params;
    asked["virtual"] = true.into();
    let recipe = copies(folder.path(), "set", asked).unwrap();
    let outputs = [
        ("records", "records"),
        ("indexes", "indexes"),
        ("unlabeled", "records"),
        ("labeled", "records"),
    ];
    for (kind, rest) in [
        (
            "filter_classes",
            json!({"classes": [1, 6], "relabel": {"1": 0, "6": 6}}),
        ),
        ("relabel", json!({"value": 0})),
        ("merge", json!({})),
        ("sample", json!({"fraction": 0.5, "per_class": true})),
        ("create_unlabeled", json!({})),
        ("create_split", json!({"seed": 1, "size": 14})),
    ] {
        let made = [&file, &recipe].map(|records| {
            let name = if kind.starts_with("create") {
                "train"
            } else {
                "records"
            };
            let mut params = rest.clone();
            params[name] = json!([&source, records]);
            let child = Child::new(job(folder.path(), kind, params, &outputs), Lines::default());
            crate::stages::run(&child).unwrap();
            fs::read(&folder.path().join("out/records")).unwrap()
        });
        assert!(!made[0].is_empty() && made[0] == made[1], "{kind}");
    }
}

/// All files below a folder or file, by their paths in it.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    if !path.is_dir() {
        return vec![(path.to_owned(), fs::read(path).unwrap())];
    }
    let inside = fs::list(path).unwrap();
    inside.iter().flat_map(|path| contents(path)).collect()
}

#[test]
fn stages_that_look_at_images_see_in_a_recipe_what_they_see_in_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 30);
    let params = json!({"records": source, "copies": 3, "augment": "color", "seed": 2});
    let file = copies(folder.path(), "a.tfrecord", params.clone()).unwrap();
    let mut asked = params;
    asked["virtual"] = true.into();
    let recipe = copies(folder.path(), "set", asked).unwrap();
    for (kind, rest) in [
        ("inspect", json!({"sheet": {"columns": 4, "seed": 3}})),
        ("check_split", json!({"labeled": source})),
        ("export", json!({"to": "folders"})),
        ("export", json!({"to": "npy"})),
        ("export", json!({"to": "tfrecord"})),
    ] {
        let made = [&file, &recipe].map(|records| {
            let work = tempfile::tempdir().unwrap();
            let mut params = rest.clone();
            let name = if kind == "check_split" {
                "train"
            } else {
                "records"
            };
            params[name] = json!([&source, records, &source]);
            let names = [
                "report", "facts", "sheet", "folder", "classes", "images", "labels", "records",
            ];
            let child = Child::new(
                job(work.path(), kind, params, &names.map(|name| (name, name))),
                Lines::default(),
            );
            let report = crate::stages::run(&child).unwrap();
            let out = work.path().join("out");
            let files = contents(&out).into_iter();
            let files =
                files.map(|(path, bytes)| (path.strip_prefix(&out).unwrap().to_owned(), bytes));
            (report.metrics, files.collect::<Vec<_>>())
        });
        assert!(!made[0].1.is_empty() && made[0] == made[1], "{kind} {rest}");
    }
    let zca = |path: &PathBuf| crate::zca::Zca::of(&[path], &|_, _| Ok(()));
    let [a, b] = [&file, &recipe].map(|path| zca(path).unwrap());
    assert!(a.records == 90 && a.whitening == b.whitening);
}

#[test]
fn files_and_recipes_make_one_set_of_one_shape() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 6);
    let set = copies(
        folder.path(),
        "set",
        json!({"records": source, "copies": 2, "virtual": true}),
    )
    .unwrap();
    let all = ImageSet::read(&[&source, &source, &set, &source]).unwrap();
    assert_eq!(all.len(), 30);
    assert!(all.in_memory().is_none());
    let alone = Records::read(&[&source], None).unwrap();
    assert_eq!(
        all.gather(&[0, 29]).unwrap(),
        [alone.image(0), alone.image(5)].concat()
    );
    let plain = ImageSet::read(&[&source, &source]).unwrap();
    assert_eq!(
        plain.in_memory().unwrap()[alone.images.len()..],
        alone.images
    );
    let other = folder.path().join("other");
    let square = Shape {
        height: 14,
        width: 14,
        channels: 3,
    };
    fs::write(
        &other,
        records::encode(square, &vec![0; square.bytes()], &[0]),
    )
    .unwrap();
    let error = ImageSet::read(&[&set, &other]).unwrap_err().to_string();
    assert!(
        error.ends_with("other: images of 14×14×3 among images of 14×20×3"),
        "{error}"
    );
}

#[test]
fn what_is_no_set_of_records_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 3);
    let refused = |params: Value| {
        copies(folder.path(), "bad", params)
            .unwrap_err()
            .to_string()
    };
    let set = copies(
        folder.path(),
        "set",
        json!({"records": source, "virtual": true}),
    )
    .unwrap();
    assert!(refused(json!({"records": set})).contains("virtual copies already"));
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    assert!(refused(json!({"records": empty})).ends_with("empty: there is no record to copy"));
    assert!(refused(json!({"records": folder.path().join("none")})).contains("cannot open"));
    let failing = (0..100).find(|seed| {
        let params =
            json!({"records": source, "augment": "cutout", "drawn_once": true, "seed": seed});
        copies(folder.path(), "once", params).is_err()
    });
    let params =
        json!({"records": source, "augment": "cutout", "drawn_once": true, "seed": failing});
    assert!(refused(params).contains("there the original fails"));

    // Folders that nobody made as they are.
    let open = |path: &Path| Copies::open(path, 0).err().unwrap().to_string();
    assert!(open(folder.path()).contains("is a folder without recipe.json"));
    let recipe = set.join(copies::RECIPE);
    let text = String::from_utf8(fs::read(&recipe).unwrap()).unwrap();
    fs::write(&recipe, text.replace("\"records\": 3", "\"records\": 4")).unwrap();
    assert!(open(&set).ends_with("it is for 4 records, and source.tfrecord has 3"));
    fs::write(&recipe, " ".repeat(1 << 20)).unwrap();
    assert!(open(&set).ends_with("it is too long"));
    fs::write(&recipe, "{}").unwrap();
    assert!(open(&set).ends_with("it has no `format`"));
    fs::write(&recipe, text).unwrap();
    fs::remove_file(&set.join(copies::SOURCE)).unwrap();
    assert!(open(&set).contains("cannot open"));
    fs::create_dir_all(&set.join(copies::SOURCE)).unwrap();
    assert!(open(&set).contains("virtual copies already"));
}

#[test]
fn images_of_two_sizes_are_refused_in_memory_and_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), 3);
    let square = Shape {
        height: 14,
        width: 14,
        channels: 3,
    };
    let mixed = [
        fs::read(&source).unwrap(),
        records::encode(square, &vec![0; square.bytes()], &[0]),
    ]
    .concat();
    fs::write(&source, mixed).unwrap();
    let params: AugmentCopies = serde_json::from_value(json!({"records": source})).unwrap();
    assert!(
        Copies::of(&source, &params, copies::SMALL)
            .err()
            .unwrap()
            .to_string()
            .contains("record 3 ")
    );
    let copies = Copies::of(&source, &params, 0).unwrap();
    let all: Vec<(usize, i64)> = (0..4).map(|n| (n, 0)).collect();
    let error = copies.frames(&all).unwrap_err().to_string();
    assert!(
        error.contains("record 3 has an image of 14×14×3 among images of 14×20×3"),
        "{error}"
    );
}

#[test]
fn a_job_that_is_told_to_stop_stops() {
    let folder = tempfile::tempdir().unwrap();
    let params = json!({"records": source(folder.path(), 3)});
    let child = Child::new(
        job(folder.path(), "augment_copies", params, &[("records", "a")]),
        Lines::default(),
    );
    child.interrupt();
    assert_eq!(run(&child).unwrap_err(), StageError::Interrupted);
}
