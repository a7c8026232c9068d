//! Files of the store that are cut short, changed by a bit, emptied, gone, or not files at all.
//!
//! What cannot be told without reading everything: a changed bit in an object that keeps its size.
//! `rematch fsck` reads everything; a run does not.

use std::collections::BTreeMap;
use std::path::Path;

use super::{sweep, swept, times};
use crate::outside::project::{Project, files};
use crate::outside::random::Random;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    Gone,
    Empty,
    Cut,
    Bit,
    Longer,
    Folder,
}

const HARMS: [Harm; 6] = [
    Harm::Gone,
    Harm::Empty,
    Harm::Cut,
    Harm::Bit,
    Harm::Longer,
    Harm::Folder,
];

fn harm(path: &Path, how: Harm, random: &mut Random) {
    let mut bytes = std::fs::read(path).unwrap();
    std::fs::remove_file(path).unwrap();
    match how {
        Harm::Gone => return,
        Harm::Folder => return std::fs::create_dir(path).unwrap(),
        Harm::Empty => bytes.clear(),
        Harm::Cut => bytes.truncate(bytes.len() / 2),
        Harm::Bit if bytes.is_empty() => return,
        Harm::Bit => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        Harm::Longer => bytes.extend(*b"\n{\"more\": 1}\0"),
    }
    std::fs::write(path, bytes).unwrap();
}

/// Copies a store; hard links to results are cut, so that damage stays in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for member in std::fs::read_dir(from).unwrap() {
        let path = member.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Damages a file of a store in one way, looks, runs, and looks at the results.
fn survives(project: &Project, whole: &Path, name: &str, how: Harm, random: &mut Random) {
    let what = format!("{name} {how:?}");
    let store = project.path(".rematch");
    let _ = std::fs::remove_dir_all(&store);
    let _ = std::fs::remove_dir_all(project.path("out"));
    copy(whole, &store);
    harm(&store.join(name), how, random);
    for arguments in [
        &["status", "p.yaml"][..],
        &["plan", "p.yaml"],
        &["explain", "p.yaml", "all"],
        &["log", "p.yaml", "all"],
        &["status"],
    ] {
        project.run(arguments).calm();
    }
    let ran = project.run(&["run", "p.yaml"]).calm();
    // The limit: an object's bytes are only read by who uses them.
    let unseen = name.starts_with("objects/") && how == Harm::Bit;
    if ran.code != 0 {
        // It says which file, and what to do about it.
        let named = ran.stderr.contains(store.join(name).to_str().unwrap())
            || name == "format" && ran.stderr.contains(store.to_str().unwrap());
        assert!(named, "{what}: {}", ran.stderr);
        let advice = ["delete", "remove", "fsck", "--store", "write"];
        assert!(
            advice.iter().any(|word| ran.stderr.contains(word)),
            "{what}: {}",
            ran.stderr
        );
        return;
    }
    if !unseen {
        let all = std::fs::read_to_string(project.path("out/p/all/all.txt"));
        assert_eq!(all.ok(), Some(swept("hello\n")), "{what}");
    }
    project.done().says("nothing to do");
    project.file("f.txt", "other\n");
    project.run(&["run", "p.yaml"]).calm();
    project.file("f.txt", "# one\nhello\n");
}

#[test]
fn damage_anywhere_in_the_store_is_healed_or_named() {
    let mut random = Random::new(5);
    let project = sweep();
    project.done();
    project.file("f.txt", "other\n");
    project.done();
    project.file("f.txt", "# one\nhello\n");
    project.done();
    let whole = project.path("whole");
    std::fs::rename(project.path(".rematch"), &whole).unwrap();
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in files(&whole).into_keys() {
        let kind = name.split('/').next().unwrap().to_owned();
        kinds.entry(kind).or_default().push(name);
    }
    assert!(kinds.len() >= 4, "{kinds:?}");
    // Some of each kind; with more time, all.
    for names in kinds.values() {
        for how in HARMS {
            for _ in 0..times().min(names.len()) {
                let name = &names[random.below(names.len())];
                survives(&project, &whole, name, how, &mut random);
            }
        }
    }
}

#[test]
fn strangers_in_the_store_are_left_alone() {
    let project = sweep();
    project.done();
    for folder in [
        "objects",
        "objects/zz",
        "entries/ab",
        "keys",
        "locks",
        "publish",
        "tmp",
        "work",
        "unsynced",
        "runs",
    ] {
        project.file(&format!(".rematch/{folder}/stranger"), "?");
        std::fs::create_dir_all(project.path(&format!(".rematch/{folder}/folder/inside"))).unwrap();
    }
    project.run(&["status", "p.yaml"]).code(0);
    project.done().says("nothing to do");
    project.file("f.txt", "other\n");
    project.done();
    assert_eq!(project.read("out/p/all/all.txt"), swept("other\n"));
}

#[test]
fn a_store_that_lost_whole_folders_is_one_that_knows_less() {
    for folder in [
        "entries", "keys", "locks", "publish", "runs", "tmp", "unsynced", "work", "objects",
    ] {
        let project = sweep();
        project.done();
        let path = project.path(&format!(".rematch/{folder}"));
        if std::fs::remove_dir_all(&path).is_err() {
            // The store has no such folder.
            continue;
        }
        std::fs::remove_dir_all(project.path("out")).unwrap();
        project.run(&["status", "p.yaml"]).code(0);
        project.done();
        assert_eq!(
            project.read("out/p/all/all.txt"),
            swept("hello\n"),
            "{folder}"
        );
    }
}
