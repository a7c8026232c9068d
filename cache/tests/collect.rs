//! Leases and garbage collection from outside: what is asked for stays whole, what nobody asks for goes, and what
//! somebody works with is left alone.

mod common;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{check_store, files, key, publish_file, reserve};
use proptest::prelude::*;
use rematch_cache::{Claim, Digest, Entry, Error, Garbage, KeyId, Lookup, Meta, Store};

const STORE: &str = "REMATCH_TEST_STORE";

/// In memory where there is such a place: nothing here needs the disk's syncs.
fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = quick_folder();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Publishes a folder as the output `run`.
fn publish_folder(store: &Store, n: u32, members: &[(&str, &[u8])]) -> Entry {
    let reservation = reserve(store, &key(n));
    let run = reservation.work().join("run");
    std::fs::create_dir_all(&run).unwrap();
    for (name, content) in members {
        write(&run.join(name), content);
    }
    let outputs = BTreeMap::from([("run".into(), run)]);
    reservation
        .publish(&outputs, None, Meta::default())
        .unwrap()
}

fn ids(keys: impl IntoIterator<Item = u32>) -> HashSet<KeyId> {
    keys.into_iter().map(|n| key(n).id()).collect()
}

fn silent(_: &'static str, _: u64, _: u64) {}

/// Collects, and checks that the look before told the same.
fn collect(store: &Store, keep: &HashSet<KeyId>) -> Garbage {
    let look = store.garbage(keep, &silent).unwrap();
    let alone = store.lease_alone().unwrap().expect("nobody uses the store");
    let collection = alone.collection(keep, &silent).unwrap();
    assert_eq!(*collection.garbage(), look);
    collection.carry_out(&silent).unwrap();
    look
}

/// The objects that some entries need.
fn needed(store: &Store, keys: impl IntoIterator<Item = u32>) -> BTreeSet<PathBuf> {
    let mut needed = BTreeSet::new();
    for n in keys {
        let Lookup::Found(entry) = store.lookup(&key(n).id()).unwrap() else {
            panic!("job {n} is not there");
        };
        for (_, artifact) in entry.artifacts() {
            needed.insert(store.object_path(&artifact.digest));
            if artifact.folder {
                let manifest = store.manifest(&artifact.digest).unwrap();
                needed.extend(
                    manifest
                        .files()
                        .values()
                        .map(|file| store.object_path(&file.digest)),
                );
            }
        }
    }
    needed
}

fn objects(store: &Store) -> BTreeSet<PathBuf> {
    files(&store.root().join("objects")).into_iter().collect()
}

#[test]
fn runners_share_a_store_and_a_collector_has_it_alone() {
    let (_folder, store) = store();
    let one = store.try_lease().unwrap().unwrap();
    let two = store.lease(|_| panic!("nobody is in the way")).unwrap();
    assert!(store.lease_alone().unwrap().is_none());
    let users = store.users().unwrap();
    assert_eq!(users.len(), 2);
    assert!(
        users[0].contains(&format!("process {}", std::process::id())),
        "{users:?}"
    );
    drop(one);
    assert!(store.lease_alone().unwrap().is_none());
    drop(two);
    assert!(store.users().unwrap().is_empty());

    let alone = store.lease_alone().unwrap().unwrap();
    assert!(store.try_lease().unwrap().is_none());
    assert!(store.lease_alone().unwrap().is_none());
    let mut alone = Some(alone);
    let mut said = String::new();
    store
        .lease(|who| {
            who.clone_into(&mut said);
            alone = None;
        })
        .unwrap();
    assert!(said.contains(&std::process::id().to_string()), "{said}");
}

/// Not a test of its own: what a killed process runs. Without the variable it does nothing.
#[test]
fn child_holds_a_lease() {
    if let Some(path) = std::env::var_os(STORE) {
        let store = Store::open(Path::new(&path)).unwrap();
        let _lease = store.lease(|_| {}).unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn child(test: &str, store: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--test-threads=1"])
        .env(STORE, store);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn a_lease_ends_with_its_holder_however_that_went() {
    let (_folder, store) = store();
    let mut child = child("child_holds_a_lease", store.root());
    while store.users().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(store.lease_alone().unwrap().is_none());
    assert!(store.users().unwrap()[0].contains(&child.id().to_string()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(store.users().unwrap().is_empty());
    assert_eq!(files(&store.root().join("users")).len(), 1);
    let alone = store.lease_alone().unwrap();
    assert!(alone.is_some() && files(&store.root().join("users")).is_empty());
}

#[test]
fn a_look_changes_nothing_and_says_what_would_go() {
    let (_folder, store) = store();
    let kept = publish_file(&store, &key(1), b"kept");
    publish_file(&store, &key(2), &[7; 10_000]);
    write(&store.work_path(&key(3).id()).join("checkpoint"), b"3");
    write(&store.work_path(&key(4).id()).join("checkpoint"), b"4");
    store.sync().unwrap();
    let before = files(store.root());
    let garbage = store.garbage(&ids([1, 3]), &silent).unwrap();
    assert_eq!(files(store.root()), before);
    let test = garbage.entries["test"];
    assert_eq!((test.kept.count, test.kept.bytes), (1, 4));
    assert_eq!((test.dropped.count, test.dropped.bytes), (1, 10_000));
    assert_eq!(
        (garbage.objects.kept.count, garbage.objects.dropped.count),
        (1, 1)
    );
    assert_eq!(
        (garbage.work.kept.count, garbage.work.dropped.count),
        (1, 1)
    );
    // The object, the entry and the work folder.
    let least = garbage.objects.dropped.bytes + garbage.work.dropped.bytes;
    assert!(
        garbage.objects.dropped.bytes >= 10_000 && garbage.freed > least,
        "{garbage:?}"
    );

    assert_eq!(collect(&store, &ids([1, 3])), garbage);
    assert_eq!(
        objects(&store),
        BTreeSet::from([store.object_path(&kept.outputs["out"].digest)])
    );
    assert!(store.work_path(&key(3).id()).exists() && !store.work_path(&key(4).id()).exists());
    assert!(matches!(
        store.lookup(&key(2).id()).unwrap(),
        Lookup::Absent
    ));
    assert_eq!(collect(&store, &ids([1, 3])).freed, 0);
}

#[test]
fn what_out_still_links_is_not_counted_as_freed() {
    let (folder, store) = store();
    let object = |n: u32, content: &[u8]| {
        store.object_path(&publish_file(&store, &key(n), content).outputs["out"].digest)
    };
    let (in_out, in_work, alone) = (
        object(1, &[1; 9000]),
        object(2, &[2; 9000]),
        object(3, &[3; 9000]),
    );
    std::fs::hard_link(&in_out, folder.path().join("result")).unwrap();
    // A folder among the inputs of a job that did not end: its links go with it.
    let work = store.work_path(&key(4).id()).join("in");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::hard_link(&in_work, work.join("a")).unwrap();
    std::fs::hard_link(&in_work, work.join("b")).unwrap();
    let garbage = collect(&store, &HashSet::new());
    let Garbage {
        linked,
        objects: all,
        ..
    } = &garbage;
    assert_eq!((linked.count, all.dropped.count), (1, 3));
    assert_eq!(3 * linked.bytes, all.dropped.bytes);
    let entries = garbage.freed - 2 * linked.bytes;
    assert!((1..=3 * 8192).contains(&entries), "{garbage:?}");
    assert!(
        [in_out, in_work, alone]
            .iter()
            .all(|object| !object.exists())
    );
    assert_eq!(
        std::fs::read(folder.path().join("result")).unwrap(),
        [1; 9000]
    );
}

#[test]
fn a_job_that_outlived_its_runner_keeps_its_work_its_entry_and_its_inputs() {
    let (_folder, store) = store();
    let input = publish_file(&store, &key(1), b"input").outputs["out"];
    let tree = publish_folder(&store, 2, &[("a", b"in a tree")]).outputs["run"];
    publish_file(&store, &key(3), b"old result");
    let Claim::Reserved(held) = store.try_reclaim(&key(3)).unwrap() else {
        panic!("not ours")
    };
    store
        .link_input(&input, &held.work().join("in/0/file"))
        .unwrap();
    store
        .link_input(&tree, &held.work().join("in/1/tree"))
        .unwrap();
    let work = held.work().to_owned();
    let garbage = collect(&store, &HashSet::new());
    assert_eq!((garbage.running, garbage.work.kept.count), (1, 1));
    assert_eq!(std::fs::read(work.join("in/0/file")).unwrap(), b"input");
    assert_eq!(
        std::fs::read(work.join("in/1/tree/a")).unwrap(),
        b"in a tree"
    );
    assert!(matches!(
        store.lookup(&key(3).id()).unwrap(),
        Lookup::Found(_)
    ));
    for n in [1, 2] {
        assert!(
            matches!(store.lookup(&key(n).id()).unwrap(), Lookup::Absent),
            "{n}"
        );
    }
    drop(held);
    collect(&store, &HashSet::new());
    assert!(!work.exists() && objects(&store).is_empty());
}

#[test]
fn a_result_that_was_left_while_it_was_moved_in_is_kept_if_its_key_is() {
    let (_folder, store) = store();
    for n in [1, 2] {
        let reservation = reserve(&store, &key(n));
        let run = reservation.work().join("run");
        write(&run.join("a"), &[n as u8]);
        write(&run.join("b"), b"both");
        // The last step fails.
        let entry = store.entry_path(&key(n).id());
        std::fs::create_dir_all(&entry).unwrap();
        let outputs = BTreeMap::from([("run".into(), run)]);
        reservation
            .publish(&outputs, None, Meta::default())
            .unwrap_err();
        std::fs::remove_dir(&entry).unwrap();
    }
    assert_eq!(objects(&store).len(), 5);
    let garbage = collect(&store, &ids([1]));
    assert_eq!(
        (garbage.work.kept.count, garbage.work.dropped.count),
        (1, 1)
    );
    assert_eq!(
        (garbage.objects.dropped.count, garbage.missing_objects),
        (2, 0)
    );
    assert!(matches!(store.try_claim(&key(1)).unwrap(), Claim::Hit(_)));
    assert_eq!(objects(&store), needed(&store, [1]));
    assert!(matches!(
        store.try_claim(&key(2)).unwrap(),
        Claim::Reserved(_)
    ));
}

#[test]
fn a_file_that_is_also_a_manifest_does_not_hide_the_members_of_the_folder() {
    let (_folder, store) = store();
    let run = publish_folder(&store, 1, &[("a", b"1"), ("b/c", b"2")]).outputs["run"];
    let manifest = store.read_object(&run.digest).unwrap();
    // In whatever order entries are read.
    for n in 2..10 {
        publish_file(&store, &key(n), &manifest);
    }
    collect(&store, &ids(1..10));
    assert_eq!(objects(&store).len(), 3);
    collect(&store, &ids(2..10));
    assert_eq!(objects(&store).len(), 1);
}

#[test]
fn foreign_files_are_left_alone_and_counted() {
    let (_folder, store) = store();
    publish_file(&store, &key(1), b"x");
    let object = key(9).id().to_string();
    let foreign: Vec<PathBuf> = [
        "README",
        "objects/notes.txt",
        "objects/ab/notes.txt",
        &format!("objects/ab/{}.bak", &object[2..]),
        &format!("objects/abc/{}", &object[2..]),
        &format!("entries/ab/{}", &object[2..]),
        "work/mine/file",
        "publish/mine",
        "locks/mine",
        "runs/mine.txt",
    ]
    .iter()
    .map(|name| store.root().join(name))
    .collect();
    for path in &foreign {
        write(path, b"mine");
    }
    let link = store.root().join("objects/ab").join(&object[2..]);
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let garbage = collect(&store, &HashSet::new());
    assert_eq!(garbage.foreign, foreign.len() as u64 + 1);
    assert!(foreign.iter().all(|path| path.exists()) && link.is_symlink());
    assert_eq!(objects(&store).len(), 5);
}

/// Replaces a read-only file.
fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_entries_go_and_missing_objects_are_counted() {
    let (_folder, store) = store();
    for n in 1..4 {
        publish_folder(&store, n, &[("a", &[n as u8]), ("b", b"both")]);
    }
    damage(&store.entry_path(&key(1).id()), |bytes| bytes.truncate(20));
    std::fs::remove_file(store.object_path(&Digest::of_bytes(&[2]))).unwrap();
    let garbage = collect(&store, &ids([1, 2, 3]));
    assert_eq!(
        (garbage.damaged_entries.count, garbage.missing_objects),
        (1, 1)
    );
    assert!(!store.entry_path(&key(1).id()).exists());
    assert!(matches!(
        store.lookup(&key(2).id()).unwrap(),
        Lookup::Incomplete { .. }
    ));
    // Two manifests, `b`, and `a` of one of them.
    assert_eq!((needed(&store, [3]).len(), objects(&store).len()), (3, 4));
}

#[test]
fn an_entry_of_a_newer_rematch_stops_the_collection() {
    let (_folder, store) = store();
    publish_file(&store, &key(1), b"x");
    publish_file(&store, &key(2), b"y");
    damage(&store.entry_path(&key(2).id()), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("\"format\":1", "\"format\":2").into_bytes();
    });
    let error = store.garbage(&ids([1]), &silent).unwrap_err();
    assert!(
        matches!(error, Error::NewerEntry { found: 2, .. }),
        "{error}"
    );
    assert_eq!(objects(&store).len(), 2);
}

#[test]
fn old_temporary_files_go() {
    let (_folder, store) = store();
    let temporary = |name: &str, age: u64| {
        let path = store.root().join("tmp").join(name);
        write(&path, b"half");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age))
            .unwrap();
        path
    };
    let (old, young) = (
        temporary(".rematch-old", 4000),
        temporary(".rematch-young", 5),
    );
    let garbage = collect(&store, &HashSet::new());
    assert_eq!(garbage.left_over.count, 1);
    assert!(!old.exists() && young.exists());
}

/// An output of a random job.
#[derive(Clone, Debug)]
enum Output {
    File(u8),
    Folder(Vec<(u8, u8)>),
    /// A file whose bytes are the manifest of such a folder.
    Manifest(Vec<(u8, u8)>),
}

fn any_output() -> impl Strategy<Value = Output> {
    let folder = || proptest::collection::vec((0..3_u8, 0..4_u8), 0..4);
    prop_oneof![
        (0..4_u8).prop_map(Output::File),
        folder().prop_map(Output::Folder),
        folder().prop_map(Output::Manifest),
    ]
}

/// Few contents, so that jobs share some.
fn content(n: u8) -> Vec<u8> {
    vec![n; usize::from(n) * 3000]
}

fn write_folder(path: &Path, members: &[(u8, u8)]) {
    std::fs::create_dir_all(path).unwrap();
    for (name, n) in members {
        write(
            &path.join(["a", "b/c", "b/d"][usize::from(*name)]),
            &content(*n),
        );
    }
}

fn publish_random(store: &Store, n: u32, outputs: &[Output]) {
    let reservation = reserve(store, &key(n));
    let mut paths = BTreeMap::new();
    for (n, output) in outputs.iter().enumerate() {
        let path = reservation.work().join(n.to_string());
        match output {
            Output::File(n) => write(&path, &content(*n)),
            Output::Folder(members) => write_folder(&path, members),
            Output::Manifest(members) => {
                let folder = quick_folder();
                write_folder(&folder.path().join("f"), members);
                let artifact = store.artifact_of(&folder.path().join("f")).unwrap();
                // The store has these bytes only if some job had this folder.
                let bytes = store.read_object(&artifact.digest).unwrap_or_default();
                write(&path, &bytes);
            }
        }
        paths.insert(n.to_string(), path);
    }
    reservation.publish(&paths, None, Meta::default()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_stays_whole_and_nothing_else_stays(
        jobs in proptest::collection::vec(proptest::collection::vec(any_output(), 0..4), 1..7),
        keep in proptest::collection::vec(any::<bool>(), 7),
        work in proptest::collection::vec(any::<bool>(), 7),
    ) {
        let (_folder, store) = store();
        for (n, outputs) in jobs.iter().enumerate() {
            publish_random(&store, n as u32, outputs);
        }
        for n in (0..7).filter(|n| work[*n]) {
            write(&store.work_path(&key(n as u32).id()).join("checkpoint"), b"x");
        }
        let (kept, dropped): (Vec<u32>, Vec<u32>) = (0..7).partition(|n| keep[*n as usize]);
        let there = |n: &u32| (*n as usize) < jobs.len();
        let needed_before = needed(&store, kept.iter().copied().filter(there));
        let mut bytes = 0;
        for object in objects(&store).difference(&needed_before) {
            bytes += std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(object).unwrap()) * 512;
        }
        let garbage = collect(&store, &ids(kept.clone()));
        prop_assert_eq!(garbage.objects.dropped.bytes, bytes);
        prop_assert_eq!(garbage.linked.count + garbage.missing_objects, 0);
        prop_assert_eq!(&objects(&store), &needed_before);
        prop_assert_eq!(needed(&store, kept.iter().copied().filter(there)), needed_before);
        check_store(&store, false);
        let works = std::fs::read_dir(store.root().join("work")).unwrap().count();
        prop_assert_eq!(works, kept.iter().filter(|n| work[**n as usize]).count());
        for n in dropped {
            prop_assert!(matches!(store.lookup(&key(n).id()).unwrap(), Lookup::Absent));
        }
    }
}

const JOBS: u32 = 16;

fn make_all(store: &Store) {
    let _lease = store.lease(|_| {}).unwrap();
    for n in 0..JOBS {
        let Claim::Reserved(reservation) = store.claim(&key(n), |_| {}).unwrap() else {
            continue;
        };
        reservation.fresh().unwrap();
        let run = reservation.work().join("run");
        write(
            &run.join("shared"),
            format!("of {}", n / 2).repeat(2000).as_bytes(),
        );
        write(&run.join("deep/own"), format!("{n}").as_bytes());
        let outputs = BTreeMap::from([("run".into(), run)]);
        reservation
            .publish(&outputs, None, Meta::default())
            .unwrap();
    }
}

/// Not a test of its own: what a killed process runs. Without the variable it does one round.
#[test]
fn child_makes_and_collects() {
    let own = quick_folder();
    let path = std::env::var_os(STORE);
    let store = Store::open(&path.clone().map_or(own.path().join("store"), Into::into)).unwrap();
    for round in 0..if path.is_some() { 10_000 } else { 1 } {
        make_all(&store);
        collect(&store, &ids((0..JOBS).filter(|n| n % 3 == round % 3)));
    }
}

#[test]
fn collections_killed_at_random_instants_leave_a_whole_store_and_lose_nothing_kept() {
    let folder = quick_folder();
    let mut seed = std::process::id();
    let mut unfinished = 0;
    for round in 0..60 {
        let path = folder.path().join(format!("store{}", round / 10));
        let mut child = child("child_makes_and_collects", &path);
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_micros(u64::from(seed >> 16)));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&path).unwrap();
        check_store(&store, false);
        // A result whose outputs were hashed completely is not lost by a collection that keeps it.
        let whole: Vec<u32> = (0..JOBS)
            .filter(|n| {
                let staged = store.root().join("publish").join(key(*n).id().to_string());
                staged.join(".rematch-publish.json").exists()
            })
            .collect();
        collect(&store, &ids(whole.iter().copied()));
        for n in &whole {
            assert!(
                matches!(store.try_claim(&key(*n)).unwrap(), Claim::Hit(_)),
                "job {n}"
            );
        }
        unfinished += whole.len();
        make_all(&store);
        collect(&store, &ids([3, 4, 9]));
        check_store(&store, true);
        assert_eq!(objects(&store), needed(&store, [3, 4, 9]));
        assert_eq!(files(&store.root().join("entries")).len(), 3);
    }
    println!("{unfinished} results were finished after a kill");
}
