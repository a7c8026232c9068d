//! Everything that ships is true: pipelines expand, the pictures in the documentation are fresh.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::project::Project;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pipelines(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pipelines(&path, found);
        } else if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\nstages:")) {
            found.push(path);
        }
    }
}

/// Stands for the folders of data that pipelines of `pipelines/prepare` take.
fn data(project: &Project) -> String {
    let domains = [
        "clipart",
        "infograph",
        "painting",
        "quickdraw",
        "real",
        "sketch",
    ];
    let archives = domains.iter().flat_map(|name| {
        ["{}.zip", "{}_train.txt", "{}_test.txt"].map(|file| file.replace("{}", name))
    });
    let lists = (1..=5).map(|seed| format!("train128116.{seed}.txt"));
    let others = ["train.csv", "val.csv", "test.csv", "10percent.txt"];
    let prepared = ["train.tfrecord", "test.tfrecord", "classes.json"];
    let folders = ["train/a/1.png", "val/a/1.png", "test/a/1.png"];
    let fixed = others.iter().chain(&prepared).chain(&folders);
    let all = fixed.map(|&name| name.to_owned());
    for name in all.chain(archives).chain(lists) {
        let name = format!("data/{name}");
        std::fs::create_dir_all(project.path(&name).parent().unwrap()).unwrap();
        project.file(&name, "");
    }
    let folder = project.path("data");
    format!("folder={}", folder.display())
}

/// Whether a pipeline reads images of one's own.
fn needs_folder(pipeline: &Path) -> bool {
    std::fs::read_to_string(pipeline)
        .unwrap()
        .contains("\n  folder: ")
}

#[test]
fn every_shipped_pipeline_expands_and_opens_with_what_it_is() {
    let project = Project::new("stages: {}\n");
    let mut found = Vec::new();
    pipelines(&root().join("pipelines"), &mut found);
    assert!(found.len() >= 2, "{found:?}");
    for path in found {
        let mut words = vec!["plan", path.to_str().unwrap(), "--json"];
        let folder = data(&project);
        if needs_folder(&path) {
            words.extend(["--set", &folder]);
        }
        let ran = project.run(&words).code(0);
        assert!(
            !ran.json()["jobs"].as_array().unwrap().is_empty(),
            "{}",
            path.display()
        );
        assert!(ran.stderr.is_empty(), "{}: {}", path.display(), ran.stderr);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# ") && text.contains("rematch run"),
            "{} has no head",
            path.display()
        );
    }
}

/// Of each pipeline below `pipelines/` the stages whose number of jobs the published sweep decides, and how that number
/// follows from it. A stage `*_split` stands for the sum over all that end so; what pipelines do not name themselves, the
/// parts of a named split, is counted by its ending as well.
const SWEEPS: &[(&str, &[(&str, u64)])] = &[
    // spec/fixmatch.md 3.2: three datasets × seeds 0 to 5 × 8 sizes × 2 validation sizes = 288; CIFAR-100 and STL-10 × seeds 1 to
    // 5 × 1 size × 2 validation sizes = 10 each; stl10.1@5000-1. A label file serves both validation sizes: 144 + 5 + 5 + 1.
    (
        "fixmatch/all_names",
        &[("*-label", 155), ("*-unlabel", 5), ("train", 309)],
    ),
    // One of the three datasets: 6 seeds × 8 sizes, each with 2 validation sizes.
    (
        "fixmatch/cifar10",
        &[("split", 48), ("train", 96), ("accuracy", 96)],
    ),
    // Table 2 (spec/fixmatch.md 12) without STL-10 has 9 columns, of which 5 methods fill all and 3 those with more than
    // 400 labels, 6: 5 × 9 + 3 × 6 = 63 cells × 5 folds.
    (
        "fixmatch/benchmark",
        &[("dataset", 3), ("split", 45), ("train", 315)],
    ),
    // Its STL-10 column: 8 methods × 5 folds.
    ("fixmatch/stl10", &[("split", 5), ("train", 40)]),
    // Five lists of 10 % of the labels (spec/fixmatch.md 11).
    ("fixmatch/imagenet", &[("labeled", 5), ("train", 5)]),
    // Eleven scripts (spec/fixmatch.md 8). Without values adam, meanteacher, meanteacher_train, nocutout, onlycutout, ra are a
    // run each, 6; anchoring 3 besides its default, momentum 3, linearlr and constant 2, sharpen and sharpen_conditional at
    // 0.5 2; then soft labels, 4 thresholds, 3 ratios, 3 weight decays = 11, and FixMatch itself: 6 + 3 + 3 + 2 + 2 + 11 + 1.
    ("fixmatch/ablations", &[("split", 1), ("train", 28)]),
    // fully_supervised/runs/all.sh: nine, two of them with SVHN's extra images.
    ("fixmatch/supervised", &[("train", 7), ("svhn_train", 2)]),
    // spec/fixmatch.md 2.6: of CIFAR-10 and twice SVHN 6 seeds × 8 sizes each, of CIFAR-100 6 × 4, of STL-10 6 folds and all
    // 5,000: 144 + 24 + 7.
    (
        "fixmatch/prepare",
        &[
            ("cifar10_split", 48),
            ("cifar100_split", 24),
            ("svhn_split", 48),
            ("svhn_noextra_split", 48),
            ("stl10_split", 6),
            ("stl10_split_5000", 1),
            ("*_unlabeled", 5),
        ],
    ),
    // 3 variants × 2 datasets × 5 sizes × 3 seeds.
    ("realmix/benchmark", &[("split", 30), ("train", 90)]),
    // spec/realmix.md 4.1: 5 levels. 3 methods × 5 levels × 3 seeds × 2 sizes; the supervised baseline reads no unlabeled
    // images, so that levels make no difference to it: 3 seeds × 2 sizes.
    (
        "realmix/mismatch",
        &[
            ("labeled", 6),
            ("unlabeled", 30),
            ("copies", 30),
            ("train", 90),
            ("supervised", 6),
        ],
    ),
    // 2 methods × 3 sizes × 3 seeds, and both with all labels.
    ("realmix/supervised", &[("train", 18), ("all", 2)]),
    // 2 datasets × 3 seeds × 5 sizes.
    // 4 methods × 3 shares × 3 seeds × 2 sizes; images are the same for all methods.
    ("realmix/foreign", &[("copies", 18), ("train", 72)]),
    ("realmix/prepare", &[("*_split", 30)]),
    // spec/cadr.md 4, with and without CADR: 3 long-tailed label sets, and 40 balanced labels.
    ("cadr/cifar10", &[("train", 6), ("balanced_train", 2)]),
    ("cadr/cifar100", &[("train", 6)]),
    ("cadr/stl10", &[("train", 4)]),
    ("cadr/mini_imagenet", &[("train", 2)]),
    // spec/cadr.md 2.5: 3 + 3 + 1 balanced sets and 3 + 3 + 2 with tails.
    // 2 methods × 6 tails; a training is measured on two test sets.
    (
        "cadr/imbalanced",
        &[("unlabeled", 6), ("train", 12), ("*accuracy", 24)],
    ),
    ("cadr/prepare", &[("*_split", 7), ("*_LT", 8)]),
    // spec/featmatch.md 2: the 14 configurations, 3 seeds each. Whitening is of all training images, once.
    (
        "featmatch/cifar10",
        &[("zca", 1), ("split", 9), ("train", 9)],
    ),
    ("featmatch/cifar100", &[("zca", 1), ("train", 6)]),
    ("featmatch/svhn", &[("train", 9)]),
    ("featmatch/mini_imagenet", &[("train", 6)]),
    // rl5-ru00 to rl5-ru75: 4 shares of foreign images, of five domains.
    ("featmatch/domainnet", &[("split", 12), ("train", 12)]),
    // 3 seeds × (3 + 2 + 3) sizes.
    ("featmatch/prepare", &[("*_split", 24)]),
    // spec/four_methods.md 4.1: 4 methods × 5 numbers of labels; 4 methods × 5 batch sizes with 1,024 labels, or 4,000.
    (
        "four_methods/comparison",
        &[
            ("split", 5),
            ("train", 20),
            ("batch_split", 2),
            ("batch_train", 20),
        ],
    ),
    // Those five and 4,000.
    ("four_methods/prepare", &[("split", 6)]),
    // spec/fixmatch.md 2.6: 6 seeds × 8 sizes, CIFAR-100 × 4; STL-10's 6 folds and all of its labels.
    ("prepare/cifar10", &[("split", 48)]),
    ("prepare/cifar100", &[("split", 24)]),
    ("prepare/svhn", &[("split", 48)]),
    ("prepare/svhn_noextra", &[("split", 48)]),
    ("prepare/stl10", &[("split", 6), ("split_5000", 1)]),
    ("prepare/mnist", &[("split", 48)]),
    ("prepare/fashion_mnist", &[("split", 48)]),
    // Every method that there is, with 3 splits.
    ("methods", &[("split", 3), ("train", 60)]),
    // 2 methods × 2 seeds.
    ("mnist", &[("train", 4)]),
    ("quickstart", &[("train", 4)]),
];

/// How many jobs the stages of a pipeline have whose name is `name`, or ends as `*name` does.
fn jobs(stages: &[Value], name: &str) -> u64 {
    let wanted = |stage: &str| {
        name.strip_prefix('*')
            .map_or(stage == name, |ending| stage.ends_with(ending))
    };
    let rows = stages
        .iter()
        .filter(|row| wanted(row["stage"].as_str().unwrap()));
    rows.map(|row| row["to_run"].as_u64().unwrap() + row["waiting"].as_u64().unwrap())
        .sum()
}

#[test]
fn every_sweep_has_the_published_number_of_jobs() {
    let project = Project::new("stages: {}\n");
    let folder = data(&project);
    for (pipeline, expected) in SWEEPS {
        let path = root().join(format!("pipelines/{pipeline}.yaml"));
        let mut words = vec!["status", path.to_str().unwrap(), "--json"];
        if needs_folder(&path) {
            words.extend(["--set", &folder]);
        }
        let status = project.run(&words).code(0).json();
        let stages = status["stages"].as_array().unwrap();
        for (stage, count) in *expected {
            assert_eq!(jobs(stages, stage), *count, "{pipeline}: {stage}");
        }
    }
}

#[test]
fn every_pipeline_that_trains_has_its_sweep_counted() {
    let mut found = Vec::new();
    let folder = root().join("pipelines");
    pipelines(&folder, &mut found);
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains("\n    train:\n") {
            continue;
        }
        let name = path.strip_prefix(&folder).unwrap().with_extension("");
        assert!(
            SWEEPS
                .iter()
                .any(|(pipeline, _)| name == Path::new(pipeline)),
            "{} is not in SWEEPS",
            name.display()
        );
    }
}

#[test]
fn the_table_of_methods_has_every_method() {
    let text = std::fs::read_to_string(root().join("pipelines/methods.yaml")).unwrap();
    for method in rematch_spec::method::Method::names() {
        assert!(text.contains(&format!("{{name: {method}, ")), "{method}");
    }
}

/// Pipelines in the documentation are code blocks that begin with a line `# pipeline`; those that
/// would download or train are planned only.
#[test]
fn pipelines_in_the_documentation_run() {
    let mut texts = vec![std::fs::read_to_string(root().join("README.md")).unwrap()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "md") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    let mut count = 0;
    for text in &texts {
        for block in text.split("```yaml\n# pipeline").skip(1) {
            let body = block.split("```").next().unwrap();
            let (how, body) = body.split_once('\n').unwrap();
            let project = Project::new(body);
            let verb = if how.contains("plan only") {
                "plan"
            } else {
                "run"
            };
            project.run(&[verb, "p.yaml"]).code(0);
            count += 1;
        }
    }
    assert!(count >= 4, "only {count} pipelines in README.md and docs/");
}

/// Files that the program makes: `UPDATE=1 cargo test` writes them anew.
#[test]
fn generated_files_are_fresh() {
    let project = Project::new("stages: {}\n");
    for (file, arguments) in [
        ("docs/stages.md", vec!["stages", "--markdown"]),
        ("docs/json.md", vec!["schema", "--markdown"]),
        ("pipelines/schema.json", vec!["schema"]),
    ] {
        let fresh = project.run(&arguments).code(0).stdout;
        let path = root().join(file);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &fresh).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == fresh,
            "{file} is stale; run `UPDATE=1 cargo test -p rematch generated`"
        );
    }
}
