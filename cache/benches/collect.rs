//! What collecting and checking cost in a store of 100,000 results: `cargo bench -p rematch-cache --bench collect
//! [-- FOLDER]`. The folder says on which file system to measure; default is the system's place for temporary files.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use rematch_cache::{Claim, Key, KeyId, Meta, Store};
use serde_json::json;

const JOBS: u32 = 100_000;

fn key(n: u32) -> Key {
    Key {
        kind: "train".into(),
        version: 1,
        params: json!({"algorithm": {"fixmatch": {"confidence": 0.95}}, "seed": n, "steps": 65536}),
        inputs: BTreeMap::new(),
    }
}

/// A folder of two files, one of them its own, and a log that is like others.
fn publish(store: &Store, n: u32) {
    let Claim::Reserved(reservation) = store.try_claim(&key(n)).unwrap() else {
        panic!("{n} is there")
    };
    let work = reservation.work().to_owned();
    std::fs::create_dir_all(work.join("run/events")).unwrap();
    std::fs::write(work.join("run/model"), n.to_string().repeat(500)).unwrap();
    std::fs::write(work.join("run/events/a"), (n / 10).to_string()).unwrap();
    std::fs::write(work.join("log"), (n % 1000).to_string()).unwrap();
    let outputs = BTreeMap::from([("run".into(), work.join("run"))]);
    reservation
        .publish(&outputs, Some(&work.join("log")), Meta::default())
        .unwrap();
}

fn time<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let made = act();
    let took = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("?");
    println!("{what:40} {took:8.2} s, peak memory so far {}", peak.trim());
    made
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let folder = match wanted {
        Some(at) => tempfile::tempdir_in(at),
        None => tempfile::tempdir(),
    }
    .unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let silent = |_: &'static str, _: u64, _: u64| {};
    time("publish 100,000 results", || {
        (0..JOBS).for_each(|n| publish(&store, n));
        store.sync().unwrap();
    });
    let keep: HashSet<KeyId> = (0..JOBS).step_by(2).map(|n| key(n).id()).collect();
    let checkup = time("fsck --quick", || store.check(true, &silent).unwrap());
    println!("{} entries, {:?}", checkup.entries, checkup.objects);
    assert!(checkup.is_sound());
    assert!(time("fsck", || store.check(false, &silent).unwrap()).is_sound());
    time("gc --dry-run", || store.garbage(&keep, &silent).unwrap());
    let alone = store.lease_alone().unwrap().unwrap();
    let collection = time("gc, the look", || alone.collection(&keep, &silent).unwrap());
    let dropped = collection.garbage().objects.dropped;
    time("gc, dropping half of all", || {
        collection.carry_out(&silent).unwrap();
    });
    println!("dropped {dropped:?}");
}
