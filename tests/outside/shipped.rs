//! Everything that ships is true: pipelines expand, the pictures in the documentation are fresh.

use std::path::{Path, PathBuf};

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
    let lists = ["train.csv", "val.csv", "test.csv", "10percent.txt"];
    let prepared = ["train.tfrecord", "test.tfrecord", "classes.json"];
    let folders = ["train/a/1.png", "val/a/1.png", "test/a/1.png"];
    let all = lists.iter().chain(&prepared).chain(&folders);
    let all = all.map(|&name| name.to_owned());
    for name in all.chain(archives) {
        let name = format!("data/{name}");
        std::fs::create_dir_all(project.path(&name).parent().unwrap()).unwrap();
        project.file(&name, "");
    }
    let folder = project.path("data");
    format!("folder={}", folder.display())
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
        if std::fs::read_to_string(&path)
            .unwrap()
            .contains("\n  folder: ")
        {
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

#[test]
fn the_full_sweep_has_the_published_number_of_jobs() {
    let project = Project::new("stages: {}\n");
    let path = root().join("pipelines/fixmatch/cifar10.yaml");
    let ran = project
        .run(&["status", path.to_str().unwrap(), "--json"])
        .code(0);
    let stages = ran.json()["stages"].as_array().unwrap().clone();
    let jobs = |stage: &str| {
        let row = stages.iter().find(|row| row["stage"] == stage).unwrap();
        row["to_run"].as_u64().unwrap() + row["waiting"].as_u64().unwrap()
    };
    // 6 seeds × 8 sizes, and each with two validation sizes (spec/fixmatch.md 3.2).
    assert_eq!(
        (jobs("split"), jobs("train"), jobs("accuracy")),
        (48, 96, 96)
    );
}

#[test]
fn the_whole_preparation_makes_the_published_number_of_files() {
    let project = Project::new("stages: {}\n");
    let path = root().join("pipelines/fixmatch/prepare.yaml");
    let ran = project
        .run(&["status", path.to_str().unwrap(), "--json"])
        .code(0);
    let stages = ran.json()["stages"].as_array().unwrap().clone();
    let jobs = |ending: &str| -> u64 {
        let rows = stages.iter().filter(|row| {
            let name = row["stage"].as_str().unwrap();
            name.split_once('_')
                .is_some_and(|(_, rest)| rest.contains(ending))
        });
        rows.map(|row| row["to_run"].as_u64().unwrap() + row["waiting"].as_u64().unwrap())
            .sum()
    };
    // spec/fixmatch.md 2.6
    assert_eq!((jobs("split"), jobs("unlabeled")), (175, 5));
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
