//! Datasets of small folders that the tests write, and of real ones where they are there.

use std::path::PathBuf;
use std::process::Command;

use rematch_spec::job::Event;
use serde_json::{Value, json};

use super::*;
use crate::child::tests::{Lines, job};
use crate::png;
use crate::records::Records;
use crate::testing::shared;
use crate::tfrecord;

const OUTPUTS: &[(&str, &str)] = &[
    ("train", "train.tfrecord"),
    ("unlabeled", "unlabeled.tfrecord"),
    ("test", "test.tfrecord"),
    ("classes", "classes.json"),
    ("sources", "sources.jsonl"),
];

/// A folder to import, and where the job works.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new(images: &[(&str, u8)]) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (path, value) in images {
            project.put(path, &image(4, 4, *value));
        }
        project
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.path().join("data").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
    }

    fn import(&self, params: &Value) -> (Result<Report, StageError>, Vec<String>) {
        let mut params = params.clone();
        if params["train"].is_null() {
            params["folder"] = json!({"$input": self.folder.path().join("data")});
        }
        let lines = Lines::default();
        let job = job(self.folder.path(), "import", params, OUTPUTS);
        let result = crate::stages::run(&Child::new(job, lines.clone()));
        let warnings = lines.events().into_iter().filter_map(|event| match event {
            Event::Warning { text } => Some(text),
            _ => None,
        });
        (result, warnings.collect())
    }

    fn error(&self, params: &Value) -> String {
        let failure = self.import(params).0.unwrap_err().failure();
        format!("{} | {}", failure.message, failure.help.unwrap_or_default())
    }

    fn records(&self, name: &str) -> Records {
        Records::read(&[self.out(name)], None).unwrap()
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    fn sources(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.out("sources.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A PNG of one grey value.
fn image(height: usize, width: usize, value: u8) -> Vec<u8> {
    let shape = Shape {
        height,
        width,
        channels: 1,
    };
    png::encode(shape, &vec![value; shape.bytes()])
}

const SMALL: &[(&str, u8)] = &[
    ("train/dog/2.png", 12),
    ("train/dog/10.png", 11),
    ("train/cat/x.PNG", 10),
    ("train/fire-truck/deep/a.png", 13),
    ("unlabeled/u/1.png", 20),
    ("unlabeled/0.png", 21),
    ("test/dog/t.png", 31),
    ("test/cat/t.png", 30),
];

#[test]
fn a_folder_becomes_three_files_in_the_order_of_paths() {
    let project = Project::new(SMALL);
    let (report, warnings) = project.import(&json!({}));
    let report = report.unwrap();
    assert_eq!(report.metrics["train"], 4.0);
    assert_eq!(report.metrics["classes"], 3.0);
    assert_eq!(warnings, ["no test image is of these classes: fire-truck"]);
    let train = project.records("train.tfrecord");
    assert_eq!((train.height, train.width, train.channels), (4, 4, 3));
    assert_eq!(train.labels, [0, 1, 1, 2]);
    let values: Vec<u8> = (0..4).map(|n| train.image(n)[0]).collect();
    assert_eq!(values, [10, 11, 12, 13]);
    let unlabeled = project.records("unlabeled.tfrecord");
    assert_eq!(unlabeled.labels, [0, 0]);
    assert_eq!([unlabeled.image(0)[0], unlabeled.image(1)[0]], [21, 20]);
    assert_eq!(project.records("test.tfrecord").labels, [0, 1]);
    let classes = fs::read_to_string(&project.out("classes.json")).unwrap();
    assert_eq!(
        classes,
        "{\n  \"0\": \"cat\",\n  \"1\": \"dog\",\n  \"2\": \"fire-truck\"\n}\n"
    );
    let sources = project.sources();
    assert_eq!(sources.len(), 8);
    assert_eq!(
        sources[3],
        json!({"part": "train", "record": 3, "label": 2, "class": "fire-truck",
               "path": "fire-truck/deep/a.png", "renamed": "3_deep.png"})
    );
    assert_eq!(sources[4]["class"], Value::Null);
}

#[test]
fn parts_may_lie_anywhere_and_a_missing_one_is_an_empty_file() {
    let project = Project::new(SMALL);
    let train = project.folder.path().join("data/train");
    let (report, warnings) = project.import(&json!({"train": {"$input": train}, "channels": 1}));
    report.unwrap();
    assert_eq!(
        warnings,
        ["there are no test images: their record file is empty"]
    );
    assert_eq!(project.records("train.tfrecord").channels, 1);
    assert_eq!(fs::len(&project.out("test.tfrecord")).unwrap(), 0);
    assert_eq!(fs::len(&project.out("unlabeled.tfrecord")).unwrap(), 0);
}

#[test]
fn files_may_carry_their_class_in_their_name() {
    let project = Project::new(&[("train/0_fire_truck.png", 1), ("train/1_tow_truck.png", 2)]);
    project.import(&json!({"names": "suffix"})).0.unwrap();
    assert_eq!(project.records("train.tfrecord").labels, [0, 1]);
    project.import(&json!({"names": "last_suffix"})).0.unwrap();
    assert_eq!(project.records("train.tfrecord").labels, [0, 0]);
    let error = project.error(&json!({}));
    assert!(
        error.contains("train/0_fire_truck.png: it lies in no class folder | images lie"),
        "{error}"
    );
}

#[test]
fn sizes_must_agree_or_be_chosen() {
    let project = Project::new(&[("train/a/1.png", 1)]);
    project.put("train/a/2.png", &image(4, 6, 2));
    let error = project.error(&json!({}));
    assert!(
        error.contains("a/2.png has 6×4 pixels, ") && error.contains("a/1.png has 4×4"),
        "{error}"
    );
    assert!(error.contains("`size: 4`"), "{error}");
    for resize in ["crop", "fit", "stretch"] {
        project
            .import(&json!({"size": 2, "resize": resize}))
            .0
            .unwrap();
        let train = project.records("train.tfrecord");
        assert_eq!((train.height, train.width, train.len()), (2, 2, 2));
    }
}

#[test]
fn a_damaged_image_is_named_or_left_out() {
    let project = Project::new(SMALL);
    let whole = image(4, 4, 5);
    project.put("train/cat/half.png", &whole[..whole.len() / 2]);
    project.put("train/cat/text.jpg", b"not an image");
    let error = project.error(&json!({}));
    assert!(
        error.contains("train/cat/half.png: damaged PNG") && error.contains("skip_damaged"),
        "{error}"
    );
    let (report, warnings) = project.import(&json!({"skip_damaged": true}));
    assert_eq!(report.unwrap().metrics["left_out"], 2.0);
    assert!(
        warnings
            .iter()
            .any(|text| text.starts_with("2 images cannot be read")),
        "{warnings:?}"
    );
    assert_eq!(project.records("train.tfrecord").labels, [0, 1, 1, 2]);
    let records: Vec<u64> = project
        .sources()
        .iter()
        .map(|s| s["record"].as_u64().unwrap())
        .collect();
    assert_eq!(records[..4], [0, 1, 2, 3]);
}

#[test]
fn mistakes_are_explained() {
    let project = Project::new(&[("train/a/1.png", 1), ("test/b/1.png", 2)]);
    let error = project.error(&json!({}));
    assert!(
        error.contains("test/b/1.png is of the class `b`, which no training image is of"),
        "{error}"
    );
    let project = Project::new(&[("test/b/1.png", 2)]);
    assert!(
        project
            .error(&json!({}))
            .contains("has no folder `train` | give a folder with train/<class>/")
    );
    let project = Project::new(&[]);
    project.put("train/notes.txt", b"hello");
    assert!(
        project
            .error(&json!({}))
            .contains("there is no image of `train` | expected PNG")
    );
}

#[test]
fn a_balanced_set_has_as_many_of_each_class() {
    let project = Project::new(SMALL);
    project
        .import(&json!({"balance": 9, "copies": "plain"}))
        .0
        .unwrap();
    let train = project.records("train.tfrecord");
    assert_eq!(train.labels, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    assert_eq!(train.image(1), train.image(0));
    let copies: Vec<u64> = project.sources()[..3]
        .iter()
        .map(|s| s["copy"].as_u64().unwrap_or(0))
        .collect();
    assert_eq!(copies, [0, 1, 2]);
    // Of one value, whatever the view.
    project.import(&json!({"balance": 9})).0.unwrap();
    assert_eq!(project.records("train.tfrecord").labels, train.labels);
}

#[test]
fn a_job_that_is_told_to_stop_stops() {
    let project = Project::new(SMALL);
    let params = json!({"folder": {"$input": project.folder.path().join("data")}});
    let child = Child::new(
        job(project.folder.path(), "import", params, OUTPUTS),
        Lines::default(),
    );
    child.interrupt();
    assert_eq!(crate::stages::run(&child), Err(StageError::Interrupted));
}

/// Unpacks an archive of the shared data, or says aloud that it is not there.
fn unpacked(archive: &str, to: &Path) -> bool {
    let Some(archive) = shared(archive) else {
        return false;
    };
    fs::create_dir_all(to).unwrap();
    let done = Command::new("tar")
        .arg("-xJf")
        .arg(archive)
        .arg("-C")
        .arg(to)
        .status();
    assert!(done.unwrap().success());
    true
}

#[test]
fn pacs_is_a_custom_folder() {
    let project = Project::new(&[]);
    let data = project.folder.path().join("data");
    if !unpacked("data/pacs/pacs_64px.tar.xz", &data) {
        return;
    }
    let domain = |name: &str| {
        let found = walk(&data, name).expect("the domain's folder");
        json!({"$input": found})
    };
    // Labels from one domain, unlabeled images from another, tested on a third: RealMix's mismatch.
    let params = json!({
        "train": domain("photo"), "unlabeled": domain("cartoon"), "test": domain("photo"), "size": 32,
    });
    let (report, warnings) = project.import(&params);
    let report = report.unwrap();
    assert_eq!(
        (report.metrics["train"], report.metrics["unlabeled"]),
        (1670.0, 2344.0)
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    let train = project.records("train.tfrecord");
    // dog, elephant, giraffe, guitar, horse, house, person
    let counts: Vec<usize> = (0..7)
        .map(|k| train.labels.iter().filter(|l| **l == k).count())
        .collect();
    assert_eq!(counts, [189, 202, 182, 186, 199, 280, 432]);
    assert_eq!((train.height, train.channels), (32, 3));
}

/// The folder of that name somewhere below.
fn walk(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::list(folder).unwrap();
    let mut folders = entries.into_iter().filter(|path| path.is_dir());
    folders.find_map(|path| {
        if path.ends_with(name) {
            Some(path)
        } else {
            walk(&path, name)
        }
    })
}

#[test]
fn a_class_list_picks_folders() {
    let project = Project::new(SMALL);
    let list = project.folder.path().join("classes.csv");
    fs::write(&list, "filename,label\nx.jpg,dog\ny.jpg,dog\nz.jpg,cat\n").unwrap();
    let params = json!({"classes": [{"$input": list}]});
    project.import(&params).0.unwrap();
    assert_eq!(project.records("train.tfrecord").labels, [0, 1, 1]);
    fs::write(&list, "dog\nemu\n").unwrap();
    let error = project.error(&params);
    assert!(
        error.contains("has no images of these listed classes: emu"),
        "{error}"
    );
}

#[test]
fn a_list_of_files_picks_training_images() {
    let project = Project::new(SMALL);
    let list = project.folder.path().join("only.txt");
    fs::write(
        &list,
        "a/b/10.png,train-7,3\nx.PNG,train-1,2\nnone.png,train-1,2\n",
    )
    .unwrap();
    let (report, warnings) = project.import(&json!({"only": {"$input": list}}));
    report.unwrap();
    let train = project.records("train.tfrecord");
    // Classes are those of all training images, and keep their numbers.
    assert_eq!(train.labels, [0, 1]);
    assert_eq!(project.records("test.tfrecord").len(), 2);
    assert!(
        warnings[0].contains("names 3 files; 2 training images are called so"),
        "{warnings:?}"
    );
}

/// Packs files into an archive.
fn pack(path: &Path, files: &[(&str, Vec<u8>)]) {
    use zip::write::SimpleFileOptions;
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, content) in files {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn lists_name_images_in_archives() {
    let project = Project::new(&[]);
    let at = |name: &str| project.folder.path().join(name);
    pack(
        &at("real.zip"),
        &[
            ("real/ant/1.png", image(4, 4, 1)),
            ("real/bat/1.png", image(4, 4, 2)),
            ("real/bat/2.png", image(4, 4, 3)),
            ("../../evil.png", image(4, 4, 9)),
        ],
    );
    fs::write(&at("train.txt"), "real/bat/2.png 2\nreal/ant/1.png 0\n").unwrap();
    fs::write(&at("test.txt"), "real/bat/1.png 2\n").unwrap();
    let params = json!({
        "archives": {"$input": at("real.zip")}, "train": null,
        "lists": {"train": {"$input": at("train.txt")}, "test": {"$input": at("test.txt")}},
    });
    let run = |params: &Value| {
        let job = job(project.folder.path(), "import", params.clone(), OUTPUTS);
        crate::stages::run(&Child::new(job, Lines::default()))
    };
    run(&params).unwrap();
    let train = project.records("train.tfrecord");
    assert_eq!(
        (train.labels.clone(), train.image(0)[0], train.image(1)[0]),
        (vec![2, 0], 3, 1)
    );
    assert_eq!(project.records("test.tfrecord").image(0)[0], 2);
    let classes: Value =
        serde_json::from_slice(&fs::read(&project.out("classes.json")).unwrap()).unwrap();
    assert_eq!(classes, json!({"0": "ant", "1": "1", "2": "bat"}));
    for (line, what) in [
        ("real/cat/1.png 3", "line 1: `real/cat/1.png` is not in "),
        (
            "../../evil.png 1",
            "line 1: `../../evil.png` leads elsewhere",
        ),
        ("/etc/passwd 1", "leads elsewhere"),
        ("real/ant/1.png", "it has no label"),
        ("real/ant/1.png x", "`x` is no label"),
        (
            "real/ant/1.png 1000000000000",
            "label 1000000000000; expected",
        ),
        (
            "real/ant/1.png 0\nreal/bat/1.png 0",
            "line 2: label 0 is both `ant` and `bat`",
        ),
    ] {
        fs::write(&at("train.txt"), line).unwrap();
        let error = run(&params).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

/// A record as TensorFlow's ImageNet scripts write it.
fn shard_record(label: u8, synset: &str, file: &str, image: &[u8]) -> Vec<u8> {
    use crate::proto::put_bytes;
    let mut features = Vec::new();
    let mut feature = |name: &str, kind: u32, value: &[u8]| {
        let (mut list, mut feature, mut entry) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut list, 1, value);
        put_bytes(&mut feature, kind.into(), &list);
        put_bytes(&mut entry, 1, name.as_bytes());
        put_bytes(&mut entry, 2, &feature);
        put_bytes(&mut features, 1, &entry);
    };
    feature("image/class/label", 3, &[label]);
    feature("image/class/synset", 1, synset.as_bytes());
    feature("image/filename", 1, file.as_bytes());
    feature("image/encoded", 1, image);
    let (mut example, mut frame) = (Vec::new(), Vec::new());
    put_bytes(&mut example, 1, &features);
    tfrecord::put_record(&mut frame, &example);
    frame
}

#[test]
fn shards_are_read_in_their_order_and_labels_count_from_0() {
    let project = Project::new(&[]);
    let record =
        |label, synset, file, value| shard_record(label, synset, file, &image(6, 4, value));
    project.put("train-00001-of-00002", &record(3, "n03", "c.JPEG", 30));
    project.put(
        "train-00000-of-00002",
        &[
            record(1, "n01", "a.JPEG", 10),
            record(2, "n02", "b.JPEG", 20),
        ]
        .concat(),
    );
    project.put("validation-00000-of-00001", &record(2, "n02", "v.JPEG", 21));
    project
        .import(&json!({"layout": "shards", "size": 4}))
        .0
        .unwrap();
    let train = project.records("train.tfrecord");
    assert_eq!(
        (train.labels.clone(), train.image(1)[0]),
        (vec![0, 1, 2], 20)
    );
    assert_eq!(project.records("test.tfrecord").labels, [1]);
    assert_eq!(project.sources()[1]["path"], "b.JPEG");
    // The 10 % of FixMatch's imagenet part, and mini-ImageNet, whose classes are numbered anew.
    let list = project.folder.path().join("list");
    fs::write(&list, "c.JPEG,train-00001-of-00002,0\n").unwrap();
    project
        .import(&json!({"layout": "shards", "size": 4, "only": {"$input": list}}))
        .0
        .unwrap();
    assert_eq!(project.records("train.tfrecord").labels, [2]);
    fs::write(&list, "n02\nn03\n").unwrap();
    project
        .import(&json!({"layout": "shards", "size": 4, "classes": {"$input": list}}))
        .0
        .unwrap();
    assert_eq!(project.records("train.tfrecord").labels, [0, 1]);
    // What is cut is refused.
    let whole = record(1, "n01", "a.JPEG", 10);
    project.put("train-00001-of-00002", &whole[..whole.len() - 3]);
    assert!(
        project
            .error(&json!({"layout": "shards", "size": 4}))
            .contains("is cut off")
    );
}

#[test]
fn mini_imagenet_comes_from_class_folders() {
    let project = Project::new(&[]);
    let data = project.folder.path().join("data");
    if !unpacked("data/mini_imagenet/mini_imagenet_100x60.tar.xz", &data) {
        return;
    }
    let (train, test) = (walk(&data, "train").unwrap(), walk(&data, "val").unwrap());
    let params = json!({"train": {"$input": train}, "test": {"$input": test}, "size": 84});
    let report = project.import(&params).0.unwrap();
    assert_eq!(
        (report.metrics["train"], report.metrics["test"]),
        (5000.0, 1000.0)
    );
    assert_eq!(report.metrics["classes"], 100.0);
    let test = project.records("test.tfrecord");
    let expected: Vec<i64> = (0..1000).map(|n| n / 10).collect();
    assert_eq!((test.height, test.labels), (84, expected));
}

#[test]
fn tiny_imagenet_has_names_in_capitals() {
    let project = Project::new(&[]);
    let data = project.folder.path().join("data");
    if !unpacked("data/tiny_imagenet32/tiny_imagenet32_200x93.tar.xz", &data) {
        return;
    }
    let (train, test) = (walk(&data, "train").unwrap(), walk(&data, "val").unwrap());
    let params = json!({"train": {"$input": test}, "unlabeled": {"$input": train}});
    let report = project.import(&params).0.unwrap();
    assert_eq!(
        (report.metrics["train"], report.metrics["unlabeled"]),
        (1800.0, 16800.0)
    );
}
