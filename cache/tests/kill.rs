//! A publisher that is killed at random instants: nothing half done is ever a result, and in the end
//! everything is there.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{check_store, key};
use rematch_cache::{Claim, Meta, Store};

const JOBS: u32 = 24;
const STORE: &str = "REMATCH_TEST_STORE";

fn content(job: u32, file: u32) -> Vec<u8> {
    // Some files are shared between jobs, one is larger than a page.
    format!(
        "job {} file {file}\n",
        if file == 0 { job / 2 } else { job }
    )
    .repeat(if file == 1 { 4000 } else { 1 })
    .into_bytes()
}

/// In memory where there is such a place: a kill loses nothing that was written, so what these tests
/// show does not need the disk's syncs, and is quick without.
fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Makes every result that is not there yet.
fn make_all(store: &Store) {
    for job in 0..JOBS {
        let Claim::Reserved(reservation) = store.claim(&key(job), |_| {}).unwrap() else {
            continue;
        };
        let work = reservation.work().to_path_buf();
        // A job that resumes: it takes its checkpoint for proof that its outputs are still there.
        if work.join("checkpoint").exists() {
            assert!(
                work.join("folder/deep/2").exists(),
                "job {job} resumes without its outputs"
            );
        } else {
            std::fs::create_dir_all(work.join("folder/deep")).unwrap();
            for (file, path) in ["single", "folder/1", "folder/deep/2"].iter().enumerate() {
                std::fs::write(work.join(path), content(job, file as u32)).unwrap();
            }
            std::fs::write(work.join("log"), "said something\n").unwrap();
            std::fs::write(work.join("checkpoint"), "done").unwrap();
        }
        let outputs = BTreeMap::from([
            ("single".into(), work.join("single")),
            ("folder".into(), work.join("folder")),
        ]);
        reservation
            .publish(&outputs, Some(&work.join("log")), Meta::default())
            .unwrap();
    }
}

/// Not a test of its own: what the killed process runs. Without the variable it only makes a store.
#[test]
fn child_makes_all() {
    let Some(path) = std::env::var_os(STORE) else {
        let own = quick_folder();
        return made_and_whole(&own.path().join("store"));
    };
    // Without a folder of its own, which a kill would leave behind.
    made_and_whole(Path::new(&path));
}

fn made_and_whole(path: &Path) {
    let store = Store::open(path).unwrap();
    make_all(&store);
    store.sync().unwrap();
    check_store(&store, true);
}

fn child(store: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_makes_all", "--test-threads=1"])
        .env(STORE, store);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn kills_at_random_instants_leave_no_partial_result_and_lose_nothing() {
    let folder = quick_folder();
    let mut seed = std::process::id();
    for round in 0..60 {
        // Every few rounds from the beginning, so that every phase meets its kills.
        let path = folder.path().join(format!("store{}", round / 6));
        let mut child = child(&path).spawn().unwrap();
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_micros(u64::from(seed >> 16) % 25_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&path).unwrap();
        check_store(&store, false);
        if round % 6 == 5 {
            make_all(&store);
            check_store(&store, true);
            for job in 0..JOBS {
                let Claim::Hit(entry) = store.try_claim(&key(job)).unwrap() else {
                    panic!("job {job} is not there")
                };
                assert_eq!(
                    store.read_object(&entry.outputs["single"].digest).unwrap(),
                    content(job, 0)
                );
                let manifest = store.manifest(&entry.outputs["folder"].digest).unwrap();
                assert_eq!(manifest.files().keys().collect::<Vec<_>>(), ["1", "deep/2"]);
            }
        }
    }
}

#[test]
fn two_processes_make_every_result_once() {
    let folder = quick_folder();
    let path = folder.path().join("store");
    let children: Vec<_> = (0..3).map(|_| child(&path).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    check_store(&Store::open(&path).unwrap(), true);
}
