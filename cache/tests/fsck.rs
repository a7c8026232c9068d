//! Checking and healing from outside: everything that is wrong is told by its name, healing leaves a sound store, and
//! whatever was not concerned is as it was.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::{check_store, files, key, publish_file, reserve};
use proptest::prelude::*;
use rematch_cache::{
    Checkup, Claim, Digest, Entry, Finding, KeyId, Lack, LeftOver, Lookup, Meta, Provenance, Store,
};

/// In memory where there is such a place: nothing here needs the disk's syncs.
fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Replaces a read-only file.
fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o444)).unwrap();
}

/// As a disk changes bytes: no time tells of it.
fn rot(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let time = std::fs::metadata(path).unwrap().modified().unwrap();
    damage(path, change);
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// Publishes `job[n=N]` with a folder, a file and a log.
fn publish(store: &Store, n: u32) -> Entry {
    let reservation = reserve(store, &key(n));
    let work = reservation.work().to_owned();
    write(&work.join("run/own"), format!("of {n}").as_bytes());
    write(&work.join("run/deep/shared"), &[7; 5000]);
    write(&work.join("stats"), format!("stats {n}").as_bytes());
    write(&work.join("log"), b"said the same");
    let outputs = BTreeMap::from([
        ("run".into(), work.join("run")),
        ("stats".into(), work.join("stats")),
    ]);
    let meta = Meta {
        provenance: Provenance {
            job: format!("job[n={n}]"),
            ..Provenance::default()
        },
        ..Meta::default()
    };
    reservation
        .publish(&outputs, Some(&work.join("log")), meta)
        .unwrap()
}

fn silent(_: &'static str, _: u64, _: u64) {}

fn check(store: &Store) -> Vec<Finding> {
    findings(store.check(false, &silent).unwrap())
}

fn findings(checkup: Checkup) -> Vec<Finding> {
    checkup
        .findings
        .into_iter()
        .map(|reported| reported.finding)
        .collect()
}

/// Heals, checks that all of it was seen before and that nothing is left.
fn heal(store: &Store) -> Vec<Finding> {
    let before = check(store);
    let healed = store
        .lease_alone()
        .unwrap()
        .unwrap()
        .heal(false, &silent)
        .unwrap();
    assert!(healed.is_sound(), "{healed:?}");
    assert_eq!(findings(healed), before);
    assert_eq!(check(store), []);
    before
}

fn is_found(store: &Store, n: u32) -> bool {
    matches!(store.lookup(&key(n).id()).unwrap(), Lookup::Found(_))
}

fn incomplete(
    n: u32,
    output: &str,
    file: Option<&str>,
    object: Digest,
    lack: Lack,
    more: u64,
) -> Finding {
    Finding::IncompleteEntry {
        key: key(n).id(),
        job: format!("job[n={n}]"),
        output: output.into(),
        file: file.map(str::to_owned),
        object,
        lack,
        more,
    }
}

#[test]
fn a_sound_store_has_no_findings_and_is_counted() {
    let (_folder, store) = store();
    assert_eq!(check(&store), []);
    for n in 0..3 {
        publish(&store, n);
    }
    // The work of jobs that did not end well is no finding, and garbage is none.
    write(&store.work_path(&key(7).id()).join("checkpoint"), b"x");
    std::fs::remove_file(store.entry_path(&key(0).id())).unwrap();
    let read = std::sync::atomic::AtomicU64::new(0);
    let tell = |of: &'static str, done: u64, total: u64| {
        assert!(of == "bytes" && done <= total);
        read.fetch_max(done, std::sync::atomic::Ordering::SeqCst);
    };
    let before = files(store.root());
    let checkup = store.check(false, &tell).unwrap();
    assert_eq!(files(store.root()), before);
    assert!(
        checkup.is_sound() && checkup.findings.is_empty(),
        "{checkup:?}"
    );
    assert_eq!(
        (checkup.entries, checkup.objects.count, checkup.unused.count),
        (2, 11, 3)
    );
    assert_eq!(checkup.objects.bytes, read.into_inner());
    let quick = store
        .check(true, &|_, _, _| panic!("nothing is read"))
        .unwrap();
    assert_eq!(quick, checkup);
}

#[test]
fn a_flipped_bit_is_found_and_healing_concerns_only_its_jobs() {
    let (_folder, store) = store();
    let entries: Vec<Entry> = (0..3).map(|n| publish(&store, n)).collect();
    let object = entries[1].outputs["stats"].digest;
    rot(&store.object_path(&object), |bytes| bytes[3] ^= 1);
    assert!(is_found(&store, 1), "a look-up reads nothing");
    assert_eq!(findings(store.check(true, &silent).unwrap()), []);
    assert_eq!(
        heal(&store),
        [
            Finding::DamagedObject {
                object,
                why: "its 7 bytes have another digest".into()
            },
            incomplete(1, "stats", None, object, Lack::Damaged, 0)
        ]
    );
    assert_eq!([0, 1, 2].map(|n| is_found(&store, n)), [true, false, true]);
    assert!(!store.object_path(&object).exists());
    assert_eq!(publish(&store, 1).outputs, entries[1].outputs);
    assert_eq!(check(&store), []);
}

#[test]
fn a_quick_check_reads_what_somebody_wrote_to() {
    let (_folder, store) = store();
    let object = publish(&store, 1).outputs["stats"].digest;
    publish(&store, 2);
    damage(&store.object_path(&object), |bytes| bytes[3] ^= 1);
    let read = std::sync::atomic::AtomicU64::new(0);
    let tell = |_: &'static str, done: u64, total: u64| {
        assert_eq!(total, 7);
        read.fetch_max(done, std::sync::atomic::Ordering::SeqCst);
    };
    let found = findings(store.check(true, &tell).unwrap());
    assert_eq!((found.len(), read.into_inner()), (2, 7));
    assert_eq!(found, check(&store));
}

#[test]
fn a_shared_file_of_a_folder_concerns_every_job_that_has_it() {
    let (_folder, store) = store();
    let runs = [0, 1].map(|n| publish(&store, n).outputs["run"].digest);
    let shared = Digest::of_bytes(&[7; 5000]);
    damage(&store.object_path(&shared), |bytes| bytes[4999] = 0);
    std::fs::remove_file(store.object_path(&Digest::of_bytes(b"of 1"))).unwrap();
    let lacking = |n, more| incomplete(n, "run", Some("deep/shared"), shared, Lack::Damaged, more);
    let found = heal(&store);
    assert_eq!(found.len(), 3);
    assert!(
        found.contains(&lacking(0, 0)) && found.contains(&lacking(1, 1)),
        "{found:?}"
    );
    let text = found
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        text.contains("the result of job[n=1] is not whole: `run/deep/shared` is damaged, and so is 1 other file"),
        "{text}"
    );
    assert!(!is_found(&store, 0) && !is_found(&store, 1));
    assert!(runs.iter().all(|run| store.object_path(run).exists()));
}

#[test]
fn what_is_cut_short_or_gone_is_found_without_reading() {
    let (_folder, store) = store();
    let entries: Vec<Entry> = (0..4).map(|n| publish(&store, n)).collect();
    let (cut, gone) = (
        entries[0].outputs["stats"].digest,
        entries[1].outputs["stats"].digest,
    );
    let (member, manifest) = (Digest::of_bytes(b"of 2"), entries[3].outputs["run"].digest);
    damage(&store.object_path(&cut), |bytes| bytes.truncate(2));
    std::fs::remove_file(store.object_path(&gone)).unwrap();
    std::fs::remove_file(store.object_path(&member)).unwrap();
    damage(&store.object_path(&manifest), |bytes| bytes[40] ^= 1);
    let mut expected = vec![
        Finding::DamagedObject {
            object: cut,
            why: "its 2 bytes have another digest".into(),
        },
        Finding::DamagedObject {
            object: manifest,
            why: format!(
                "its {} bytes have another digest",
                std::fs::metadata(store.object_path(&manifest))
                    .unwrap()
                    .len()
            ),
        },
        incomplete(0, "stats", None, cut, Lack::Damaged, 0),
        incomplete(1, "stats", None, gone, Lack::Missing, 0),
        incomplete(2, "run", Some("own"), member, Lack::Missing, 0),
        incomplete(3, "run", None, manifest, Lack::Damaged, 0),
    ];
    expected.sort();
    assert_eq!(findings(store.check(true, &silent).unwrap()), expected);
    let healed = store
        .lease_alone()
        .unwrap()
        .unwrap()
        .heal(true, &silent)
        .unwrap();
    assert!(healed.is_sound());
    assert_eq!(check(&store), []);
    assert!((0..4).all(|n| !is_found(&store, n)));
}

#[test]
fn an_entry_that_lies_about_sizes_is_not_whole_and_its_objects_stay() {
    let (_folder, store) = store();
    let mut entry = publish(&store, 1);
    let object = entry.outputs["stats"].digest;
    entry.outputs.get_mut("stats").unwrap().size = 3;
    damage(&store.entry_path(&key(1).id()), |bytes| {
        *bytes = entry.to_bytes().unwrap();
    });
    assert_eq!(
        heal(&store),
        [incomplete(1, "stats", None, object, Lack::Size, 0)]
    );
    assert!(store.object_path(&object).exists());
    let mut entry = publish(&store, 1);
    let run = entry.outputs["run"].digest;
    entry.outputs.get_mut("run").unwrap().size += 1;
    damage(&store.entry_path(&key(1).id()), |bytes| {
        *bytes = entry.to_bytes().unwrap();
    });
    assert_eq!(
        heal(&store),
        [incomplete(1, "run", None, run, Lack::Size, 0)]
    );
    let mut entry = publish(&store, 1);
    entry.outputs.get_mut("stats").unwrap().folder = true;
    damage(&store.entry_path(&key(1).id()), |bytes| {
        *bytes = entry.to_bytes().unwrap();
    });
    assert_eq!(
        heal(&store),
        [incomplete(1, "stats", None, object, Lack::Damaged, 0)]
    );
    assert!(store.object_path(&object).exists());
}

#[test]
fn entries_that_are_damaged_or_in_the_wrong_place_go_and_newer_ones_stay() {
    let (_folder, store) = store();
    for n in 0..4 {
        publish(&store, n);
    }
    let path = |n| store.entry_path(&key(n).id());
    damage(&path(0), |bytes| bytes.truncate(bytes.len() / 2));
    std::fs::create_dir_all(path(9).parent().unwrap()).unwrap();
    std::fs::rename(path(1), path(9)).unwrap();
    damage(&path(2), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("\"format\":1", "\"format\":2").into_bytes();
    });
    let healed = store
        .lease_alone()
        .unwrap()
        .unwrap()
        .heal(false, &silent)
        .unwrap();
    assert!(!healed.is_sound());
    let newer = Finding::NewerEntry {
        key: key(2).id(),
        format: 2,
    };
    let misplaced = Finding::MisplacedEntry {
        key: key(9).id(),
        holds: key(1).id(),
    };
    let found: Vec<(Finding, bool)> = healed
        .findings
        .into_iter()
        .map(|r| (r.finding, r.healed))
        .collect();
    assert!(
        matches!(&found[0], (Finding::DamagedEntry { key: id, .. }, true) if *id == key(0).id()),
        "{found:?}"
    );
    assert_eq!(found[1..], [(misplaced, true), (newer.clone(), false)]);
    assert_eq!(check(&store), [newer]);
    assert_eq!(
        [0, 9, 2, 3].map(|n| path(n).exists()),
        [false, false, true, true]
    );
}

#[test]
fn modes_are_restored() {
    let (_folder, store) = store();
    let object = store.object_path(&publish_file(&store, &key(1), b"x").outputs["out"].digest);
    let entry = store.entry_path(&key(1).id());
    std::fs::set_permissions(&object, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::set_permissions(&entry, PermissionsExt::from_mode(0o600)).unwrap();
    let found = heal(&store);
    let modes: Vec<&str> = found
        .iter()
        .map(|finding| match finding {
            Finding::WrongMode { mode, .. } => mode.as_str(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(modes, ["0600", "0644"]);
    for path in [object, entry] {
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o7777,
            0o444
        );
    }
}

#[test]
fn what_killed_runners_leave_goes_and_what_lives_stays() {
    let (_folder, store) = store();
    for n in [1, 2] {
        publish(&store, n);
    }
    let left = |name: &str, age: u64| {
        let path = store.root().join(name);
        write(&path, b"left");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age))
            .unwrap();
    };
    left("tmp/.rematch-old", 4000);
    left("tmp/.rematch-young", 4);
    left("users/somewhere-17-0", 0);
    left(&format!("locks/{}", key(5).id()), 0);
    // Beside a result a work folder is of no use, unless somebody works there.
    write(&store.work_path(&key(1).id()).join("x"), b"x");
    let Claim::Reserved(held) = store.try_reclaim(&key(2)).unwrap() else {
        panic!("not ours")
    };
    write(&held.work().join("x"), b"x");
    write(
        &store
            .root()
            .join("publish")
            .join(key(6).id().to_string())
            .join("x"),
        b"x",
    );
    let found = check(&store);
    let kinds: Vec<LeftOver> = found
        .iter()
        .map(|finding| match finding {
            Finding::LeftOver { what, .. } => *what,
            other => panic!("{other}"),
        })
        .collect();
    use LeftOver::{Lock, Publish, Sign, Temporary, Work};
    assert_eq!(kinds, [Lock, Publish, Temporary, Sign, Work]);
    let healed = store
        .lease_alone()
        .unwrap()
        .unwrap()
        .heal(false, &silent)
        .unwrap();
    // A sign goes as soon as somebody has the store alone.
    assert!(
        healed.is_sound() && healed.findings.len() == 4,
        "{healed:?}"
    );
    assert_eq!(check(&store), []);
    assert!(held.work().join("x").exists() && store.root().join("tmp/.rematch-young").exists());
    drop(held);
    assert_eq!(heal(&store).len(), 1);
    assert!(is_found(&store, 1) && is_found(&store, 2));
}

#[test]
fn a_result_that_was_left_while_it_was_moved_in_is_finished() {
    let (_folder, store) = store();
    let reservation = reserve(&store, &key(1));
    let out = reservation.work().join("out");
    write(&out, b"result");
    let entry = store.entry_path(&key(1).id());
    std::fs::create_dir_all(&entry).unwrap();
    let outputs = BTreeMap::from([("out".into(), out)]);
    // The last step fails.
    reservation
        .publish(&outputs, None, Meta::default())
        .unwrap_err();
    std::fs::remove_dir(&entry).unwrap();
    assert_eq!(heal(&store), [Finding::Unfinished { key: key(1).id() }]);
    assert!(is_found(&store, 1));
    check_store(&store, true);
}

#[test]
fn foreign_files_anywhere_are_told_and_never_touched() {
    let (_folder, store) = store();
    publish(&store, 1);
    let id = key(9).id().to_string();
    let mut names = vec![
        "README".to_owned(),
        "objects/notes".into(),
        "objects/ab/notes".into(),
        format!("objects/ab/{}", id[2..].to_uppercase() + "A"),
        format!("entries/ab/{}", &id[2..]),
        "locks/mine".into(),
        "work/mine".into(),
        "publish/mine".into(),
        "runs/mine".into(),
    ];
    for name in &names {
        write(&store.root().join(name), b"mine");
    }
    std::fs::create_dir_all(store.root().join("objects/cd").join(&id[2..])).unwrap();
    names.push(format!("objects/cd/{}", &id[2..]));
    std::os::unix::fs::symlink("..", store.root().join("unsynced/link")).unwrap();
    names.push("unsynced/link".into());
    names.sort();
    let told = |found: Vec<Finding>| -> Vec<String> {
        let paths = found.into_iter().map(|finding| match finding {
            Finding::Foreign { path } => path,
            other => panic!("{other}"),
        });
        paths.collect()
    };
    assert_eq!(told(check(&store)), names);
    let healed = store
        .lease_alone()
        .unwrap()
        .unwrap()
        .heal(false, &silent)
        .unwrap();
    assert!(!healed.is_sound());
    assert_eq!(told(findings(healed)), names);
    assert_eq!(told(check(&store)), names);
}

#[test]
fn findings_are_json_with_their_names() {
    let (_folder, store) = store();
    let object = publish_file(&store, &key(1), b"x").outputs["out"].digest;
    std::fs::remove_file(store.object_path(&object)).unwrap();
    let json = serde_json::to_value(store.check(false, &silent).unwrap()).unwrap();
    let finding = &json["findings"][0];
    assert_eq!(
        (&finding["finding"], &finding["lack"], &finding["healed"]),
        (&"incomplete_entry".into(), &"missing".into(), &false.into())
    );
    assert_eq!(finding["object"], object.to_hex());
}

/// What happens to a file.
#[derive(Clone, Debug)]
enum Harm {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Grow,
    Remove,
}

fn any_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0..8_u8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        any::<prop::sample::Index>().prop_map(Harm::Cut),
        Just(Harm::Grow),
        Just(Harm::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_harm_healing_leaves_a_sound_store_and_what_was_not_concerned(
        harms in proptest::collection::vec((any::<prop::sample::Index>(), any_harm()), 0..5),
    ) {
        let (_folder, store) = store();
        let entries: Vec<Entry> = (0..5).map(|n| publish(&store, n)).collect();
        let mut all = files(&store.root().join("objects"));
        all.extend(files(&store.root().join("entries")));
        all.sort();
        let before: BTreeMap<_, _> = all.iter().map(|path| (path, std::fs::read(path).unwrap())).collect();
        for (file, harm) in &harms {
            let path = file.get(&all);
            if !path.exists() {
                continue;
            }
            match harm {
                Harm::Remove => std::fs::remove_file(path).unwrap(),
                Harm::Grow => damage(path, |bytes| bytes.push(b'\n')),
                Harm::Cut(at) => damage(path, |bytes| bytes.truncate(at.index(bytes.len().max(1)))),
                Harm::Flip(at, bit) => damage(path, |bytes| {
                    let at = at.index(bytes.len().max(1));
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }),
            }
        }
        let harmed = |path: &Path| std::fs::read(path).ok().as_ref() != before.get(&path.to_path_buf());
        let mut whole = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            let path = store.entry_path(&key(n as u32).id());
            // An end of line more or less says nothing.
            let reads = std::fs::read(&path).is_ok_and(|bytes| Entry::parse(&bytes, &key(n as u32).id()).as_ref() == Ok(entry));
            let run = [Digest::of_bytes(format!("of {n}").as_bytes()), Digest::of_bytes(&[7; 5000])];
            let mut objects: Vec<Digest> = entry.artifacts().map(|(_, artifact)| artifact.digest).collect();
            objects.extend(run);
            if reads && !objects.iter().any(|object| harmed(&store.object_path(object))) {
                whole.push(n);
            }
        }
        heal(&store);
        check_store(&store, true);
        for (n, entry) in entries.iter().enumerate() {
            let id: KeyId = key(n as u32).id();
            let found = store.get(&id).unwrap();
            prop_assert_eq!(found.as_ref(), whole.contains(&n).then_some(entry), "job {}", n);
        }
        for (n, entry) in entries.iter().enumerate() {
            if !whole.contains(&n) {
                prop_assert_eq!(&publish(&store, n as u32).outputs, &entry.outputs);
            }
        }
        prop_assert_eq!(check(&store), []);
    }
}
