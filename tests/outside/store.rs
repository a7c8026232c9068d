//! `gc` and `fsck`: what goes, what stays, and what runs again.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rematch_cache::{Digest, Store};

use super::project::Project;

const CHAIN: &str = r#"
vars: {words: hello}
axes:
  seed: [1, 2]
stages:
  shared:
    command:
      run: "echo shared >> COUNT; echo ${var.words} > ${out.data}"
      outputs: {data: data.txt}
  work:
    command:
      run: "echo work${axis.seed} >> COUNT; mkdir ${out.run}; cp ${shared.data} ${out.run}/a; seq ${axis.seed} > ${out.run}/b"
      outputs: {run: run}
  all:
    command:
      run: "echo all >> COUNT; for run in ${work[*].run}; do cat $run/*; done > ${out.sum}"
      outputs: {sum: sum.txt}
"#;

fn chain() -> Project {
    let project = Project::new(CHAIN);
    project.done();
    assert_eq!(project.counted(), ["all", "shared", "work1", "work2"]);
    project
}

fn store(project: &Project) -> Store {
    Store::open(&project.path(".rematch")).unwrap()
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for member in std::fs::read_dir(folder).into_iter().flatten() {
        let path = member.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Everything in the store that is part of a result.
fn results(project: &Project) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = files(&project.path(".rematch/objects"));
    found.extend(files(&project.path(".rematch/entries")));
    found
}

/// The file of the entry of a job.
fn entry(project: &Project, job: &str) -> PathBuf {
    let name = format!("\"job\":\"{job}\"");
    let entries = files(&project.path(".rematch/entries"));
    let mut found = entries
        .into_iter()
        .filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains(&name));
    found
        .next()
        .unwrap_or_else(|| panic!("no entry of {job}"))
        .0
}

/// Writes into a file of the store where it lies, as only its owner can.
fn write_into(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o444)).unwrap();
}

#[test]
fn a_store_after_runs_is_sound() {
    let project = chain();
    project.run(&["fsck"]).code(0).says("sound: 4 results");
    let json = project.run(&["fsck", "--quick", "--json"]).code(0).json();
    assert_eq!(
        (&json["sound"], &json["quick"], &json["entries"]),
        (&true.into(), &true.into(), &4.into())
    );
    assert_eq!(json["findings"], serde_json::json!([]));
    Project::new(CHAIN)
        .run(&["fsck"])
        .code(2)
        .says("there is no store at");
}

#[test]
fn what_is_damaged_runs_again_and_nothing_else() {
    type Harm = fn(&Path);
    let flip: Harm = |path| write_into(path, |bytes| bytes[0] ^= 1);
    let cut: Harm = |path| write_into(path, |bytes| bytes.truncate(1));
    let delete: Harm = |path| std::fs::remove_file(path).unwrap();
    // A file of a folder, a whole output, and what several jobs print.
    let own = Digest::of_bytes(b"1\n2\n");
    let sum = Digest::of_bytes(b"hello\n1\nhello\n1\n2\n");
    for harm in [flip, cut, delete] {
        for (object, job, reruns) in [(own, "work[seed=2]", "work2"), (sum, "all", "all")] {
            let project = chain();
            let before = results(&project);
            harm(&store(&project).object_path(&object));
            project
                .run(&["fsck"])
                .code(1)
                .says(&format!("the result of {job} is not whole"));
            project.run(&["fsck", "--heal"]).code(0).says("healed");
            project.run(&["fsck"]).code(0).says("sound: 3 results");
            project.done();
            assert_eq!(project.counted(), [reruns]);
            let after = results(&project);
            let objects = |all: &BTreeMap<PathBuf, Vec<u8>>| -> Vec<PathBuf> {
                all.keys()
                    .filter(|path| path.extension().is_none_or(|e| e != "json"))
                    .cloned()
                    .collect()
            };
            assert_eq!(objects(&after), objects(&before));
            assert_eq!(project.read("out/p/work/seed=2/run/b"), "1\n2\n");
            assert_eq!(project.read("out/p/all/sum.txt"), "hello\n1\nhello\n1\n2\n");
            project.run(&["fsck"]).code(0).says("sound: 4 results");
        }
    }
}

#[test]
fn a_damaged_entry_runs_its_job_again() {
    for harm in ["flip", "cut", "delete"] {
        let project = chain();
        let path = entry(&project, "work[seed=1]");
        match harm {
            "flip" => write_into(&path, |bytes| *bytes.iter_mut().rev().nth(90).unwrap() ^= 1),
            "cut" => write_into(&path, |bytes| bytes.truncate(200)),
            _ => std::fs::remove_file(&path).unwrap(),
        }
        let says = if harm == "delete" {
            "the result of work[seed=1] is gone"
        } else {
            "is damaged"
        };
        project.run(&["fsck", "--quick"]).code(1).says(says);
        project.run(&["fsck", "--quick", "--heal"]).code(0);
        assert!(!path.exists());
        project.done();
        assert_eq!(project.counted(), ["work1"], "{harm}");
    }
}

#[test]
fn foreign_files_are_named_and_stay() {
    let project = chain();
    project.file(".rematch/objects/ab/mine.txt", "thesis");
    for arguments in [&["fsck"][..], &["fsck", "--heal"], &["gc"]] {
        let ran = project.run(arguments).says("the store's");
        assert_eq!(ran.code, i32::from(arguments[0] == "fsck"), "{arguments:?}");
        assert_eq!(project.read(".rematch/objects/ab/mine.txt"), "thesis");
    }
    let json = project.run(&["fsck", "--json"]).code(1).json();
    let expected =
        serde_json::json!({"finding": "foreign", "path": "objects/ab/mine.txt", "healed": false});
    assert_eq!(json["findings"][0], expected);
}

#[test]
fn a_collection_drops_what_no_pipeline_uses_and_a_run_then_has_nothing_to_do() {
    let project = chain();
    let first = results(&project);
    project.pipeline(&CHAIN.replace("hello", "good-bye"));
    project.done();
    assert_eq!(project.counted().len(), 4);
    let both = results(&project);
    let ran = project.run(&["gc", "--runs", "1", "--dry-run"]).code(0);
    assert_eq!(results(&project), both, "a dry run changes nothing");
    let freed = ran
        .stdout
        .split("would free ")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    project
        .run(&["gc", "--runs", "1"])
        .code(0)
        .says(&format!("\nfreed {freed}\n"));
    let kept = results(&project);
    let second: BTreeMap<_, _> = both
        .iter()
        .filter(|(path, _)| !first.contains_key(*path))
        .collect();
    assert!(second.keys().all(|path| kept.contains_key(*path)));
    // `seq` writes the same as before; all else of the first run is gone.
    let both = kept.iter().filter(|(path, _)| !second.contains_key(path));
    let shared: BTreeSet<&str> = both
        .map(|(_, bytes)| std::str::from_utf8(bytes).unwrap())
        .collect();
    assert!(
        shared
            .iter()
            .all(|text| ["1\n", "1\n2\n", ""].contains(text)),
        "{shared:?}"
    );
    assert!(shared.contains("1\n"));
    project
        .done()
        .says("nothing to do: all 4 jobs are up to date");
    project.run(&["fsck"]).code(0).says("sound: 4 results");
    project.pipeline(CHAIN);
    project.done();
    assert_eq!(project.counted(), ["all", "shared", "work1", "work2"]);
}

#[test]
fn results_of_other_settings_and_other_pipelines_of_recent_runs_stay() {
    let project = chain();
    project.file("q.yaml", &project.read("p.yaml").replace("[1, 2]", "[3]"));
    project
        .run(&["run", "p.yaml", "--set", "words=other"])
        .code(0);
    project.run(&["run", "q.yaml"]).code(0);
    project.counted();
    let before = results(&project);
    project
        .run(&["gc"])
        .code(0)
        .says("p.yaml --set words=other");
    assert_eq!(results(&project), before);
    // With a pipeline that never ran, and no run.
    project.run(&["gc", "q.yaml", "--runs", "0"]).code(0);
    project
        .run(&["run", "q.yaml"])
        .code(0)
        .says("nothing to do");
    project.done();
    assert_eq!(project.counted(), ["all", "work1", "work2"]);
}

#[test]
fn a_dropped_result_does_not_count_as_there_because_another_has_its_bytes() {
    let pipeline = |name: &str| {
        format!(
            "stages:\n  a: {{command: {{run: 'echo {name} >> COUNT; echo same > ${{out.x}}', outputs: {{x: x}}}}}}\n"
        )
    };
    let project = Project::new(&pipeline("p"));
    let count = project.path("count").display().to_string();
    project.file("q.yaml", &pipeline("q").replace("COUNT", &count));
    project.done();
    project.run(&["run", "q.yaml"]).code(0);
    project.counted();
    project.run(&["gc", "p.yaml", "--runs", "0"]).code(0);
    project.run(&["fsck"]).code(0);
    project.run(&["run", "q.yaml"]).code(0);
    project.done();
    assert_eq!(project.counted(), ["q"]);
}

#[test]
fn a_pipeline_that_is_gone_stops_the_collection() {
    let project = chain();
    project.file("q.yaml", &project.read("p.yaml").replace("hello", "other"));
    project.run(&["run", "q.yaml"]).code(0);
    let before = results(&project);
    std::fs::rename(project.path("p.yaml"), project.path("away.yaml")).unwrap();
    project
        .run(&["gc"])
        .code(2)
        .says("p.yaml: cannot read")
        .says("--forget-missing");
    project.file("p.yaml", "stages: {a: {comand: {}}}");
    project.run(&["gc", "--dry-run"]).code(2).says("p.yaml: ");
    assert_eq!(results(&project), before);
    project.run(&["gc", "--forget-missing"]).code(0);
    project
        .run(&["run", "q.yaml"])
        .code(0)
        .says("nothing to do");
    assert!(results(&project).len() < before.len());
    std::fs::remove_file(project.path("q.yaml")).unwrap();
    project
        .run(&["gc", "--forget-missing"])
        .code(2)
        .says("nothing says what to keep");
}

#[test]
fn a_store_in_use_is_neither_collected_nor_healed() {
    let project = chain();
    let store = store(&project);
    let lease = store.lease(|_| {}).unwrap();
    let me = format!("process {}", std::process::id());
    project.run(&["gc"]).code(3).says("is in use by").says(&me);
    project.run(&["fsck", "--heal"]).code(3).says(&me);
    project.run(&["fsck"]).code(0);
    project.run(&["gc", "--dry-run"]).code(0).says("is in use");
    drop(lease);
    project.run(&["gc"]).code(0).says("freed");
}

#[test]
fn the_work_of_a_job_that_failed_stays_until_its_key_is_of_no_use() {
    let project =
        Project::new("stages:\n  a: {command: {run: 'echo words >&2; exit 1', outputs: {x: x}}}\n");
    project.run(&["run", "p.yaml"]).code(1);
    project.run(&["gc"]).code(0);
    project.run(&["log", "a"]).code(0).says("words");
    project.file(
        "q.yaml",
        "stages: {b: {command: {run: 'echo > ${out.x}', outputs: {x: x}}}}\n",
    );
    let json = project
        .run(&["gc", "q.yaml", "--runs", "0", "--json"])
        .code(0)
        .json();
    assert_eq!(json["garbage"]["work"]["dropped"]["count"], 1);
    assert!(
        std::fs::read_dir(project.path(".rematch/work"))
            .unwrap()
            .next()
            .is_none()
    );
}
