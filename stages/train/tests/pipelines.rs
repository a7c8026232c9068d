//! Pipelines that train, run for a few steps on generated images in place of their datasets. Left out are
//! those that need folds, extra images, or folders of images (but ImageNet's), and FeatMatch's that whiten:
//! `tests/outside` of the runner plans them.
//!
//! The runner is another package's program; `cargo test --workspace` builds it first. Where it is not
//! there these tests say so and do nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use rematch_data::image::Shape;
use rematch_data::png;

/// What makes any of them small.
const TINY: &[&str] = &[
    "axis.seed=[1]",
    "steps=3",
    "report=2",
    "train.network={resnet: {filters: 2, repeat: 1, scales: 1}}",
    "train.batch=4",
    "train.resources.gpus=0",
];
/// The same where the pipeline says all but the number of steps.
const TINY_STEPS: &[&str] = &["steps=3", "train.batch=4", "train.resources.gpus=0"];
/// Generated images in place of a download.
const SHAPES: &[&str] = &[
    "dataset.dataset=shapes",
    "dataset.train_images=600",
    "dataset.test_images=20",
];

/// Pipelines below `pipelines/`, with what else to set.
const PIPELINES: &[(&str, &[&[&str]])] = &[
    (
        "fixmatch/benchmark",
        &[
            TINY,
            SHAPES,
            &[
                "axis.dataset=[{name: cifar10, filters: 2, weight_decay: 0.0005}]",
                "axis.labels=[250]",
            ],
        ],
    ),
    ("fixmatch/ablations", &[TINY, SHAPES, &["labels=20"]]),
    (
        "fixmatch/cifar10",
        &[TINY, SHAPES, &["axis.labels=[20]", "axis.valid=[1]"]],
    ),
    (
        "realmix/supervised",
        &[
            TINY,
            SHAPES,
            &[
                "axis.labels=[250]",
                "all.batch=4",
                "all.network={resnet: {filters: 2, repeat: 1, scales: 1}}",
                "all.resources.gpus=0",
            ],
        ],
    ),
    ("mnist", &[TINY_STEPS, SHAPES, &["axis.seed=[1]"]]),
    ("methods", &[TINY_STEPS, SHAPES, &["axis.seed=[1]"]]),
    (
        "realmix/benchmark",
        &[
            TINY,
            SHAPES,
            &["axis.dataset=[cifar10]", "axis.labels=[250]"],
        ],
    ),
    (
        "realmix/mismatch",
        &[
            TINY,
            SHAPES,
            &[
                "axis.labels=[250]",
                "axis.mismatch=[50]",
                "copies=2",
                "supervised.batch=4",
                "supervised.network={resnet: {filters: 2, repeat: 1, scales: 1}}",
                "supervised.resources.gpus=0",
            ],
        ],
    ),
    (
        "realmix/foreign",
        &[
            TINY,
            SHAPES,
            &[
                "foreign=shapes",
                "other.train_images=100",
                "axis.share=[{name: 50, each: 9, foreign: 36}]",
                "axis.labels=[250]",
                "copies=2",
            ],
        ],
    ),
    (
        "cadr/imbalanced",
        &[
            TINY,
            SHAPES,
            &["axis.tail=[50]", "tail_accuracy.resources.gpus=0"],
        ],
    ),
    (
        "cadr/cifar10",
        &[
            TINY,
            SHAPES,
            &[
                "axis.labels=[20]",
                "balanced_train.batch=4",
                "balanced_train.network={resnet: {filters: 2, repeat: 1, scales: 1}}",
                "balanced_train.resources.gpus=0",
            ],
        ],
    ),
    ("cadr/cifar100", &[TINY, SHAPES, &["axis.labels=[20]"]]),
    (
        "featmatch/svhn",
        &[
            TINY,
            SHAPES,
            &[
                "axis.labels=[250]",
                "train.algorithm={featmatch: {k: 1, of: 3, pretrain: 1, sample: 1, rampup: 3}}",
            ],
        ],
    ),
    (
        "four_methods/comparison",
        &[
            SHAPES,
            &[
                "axis.labels=[64]",
                "axis.batch=[8]",
                "split.protocol={first_k_per_class: {valid: 5}}",
                "batch_split.protocol={first_k_per_class: {valid: 5}}",
                "axis.batch_labels=[64]",
                "report=2",
                "train.length={steps: 3}",
                "train.network={wrn: {filters: 2, repeat: 1}}",
                "train.batch=4",
                "train.resources.gpus=0",
                "batch_train.length={steps: 3}",
                "batch_train.network={wrn: {filters: 2, repeat: 1}}",
                "batch_train.resources.gpus=0",
            ],
        ],
    ),
];

fn programs() -> Option<PathBuf> {
    // target/debug/deps/pipelines-… is this program.
    let folder = std::env::current_exe().ok()?;
    let folder = folder.parent()?.parent()?.to_owned();
    let there = |name: &str| folder.join(name).is_file();
    if there("rematch") && there("rematch-train") {
        return Some(folder);
    }
    eprintln!(
        "skipped: {} has no rematch and rematch-train",
        folder.display()
    );
    None
}

fn run<S: AsRef<str>>(programs: &Path, pipeline: &str, sets: &[&[S]]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(programs.join("rematch"));
    command
        .arg("run")
        .arg(root.join(format!("{pipeline}.yaml")))
        .current_dir(place.path())
        .env("REMATCH_STORE", place.path().join("store"))
        .env("NO_COLOR", "1");
    for set in sets.iter().flat_map(|sets| sets.iter()) {
        command.args(["--set", set.as_ref()]);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{pipeline}:\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn pipelines_that_train_run_on_generated_images() {
    let Some(programs) = programs() else { return };
    for (pipeline, sets) in PIPELINES {
        run(&programs, pipeline, sets);
    }
}

#[test]
fn imagenets_pipeline_trains_on_a_folder_of_images() {
    let Some(programs) = programs() else { return };
    let place = tempfile::tempdir().unwrap();
    let shape = Shape {
        height: 12,
        width: 16,
        channels: 3,
    };
    let mut labeled = String::new();
    for n in 0..12_u8 {
        let (class, name) = (["cat", "dog"][usize::from(n % 2)], format!("{n}.png"));
        let pixels: Vec<u8> = (0..shape.bytes())
            .map(|i| n.wrapping_mul(i as u8))
            .collect();
        for part in ["train", "val"] {
            let folder = place.path().join(part).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(&name), png::encode(shape, &pixels)).unwrap();
        }
        labeled.push_str(&format!("{name}\n"));
    }
    std::fs::write(place.path().join("train128116.1.txt"), labeled).unwrap();
    let folder = format!("folder={}", place.path().display());
    let sets = [
        "axis.seed=[1]",
        "size=16",
        "batch=2",
        "steps=3",
        "report=2",
        "train.network={resnet: {filters: 2, repeat: 1, scales: 1}}",
        "train.resources.gpus=0",
        &folder,
    ];
    run(&programs, "fixmatch/imagenet", &[&sets]);
}
