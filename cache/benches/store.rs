//! What the store costs, by operation: `cargo bench -p rematch-cache [-- FOLDER]`. The folder says on
//! which file system to measure; default is the system's place for temporary files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rematch_cache::{
    Claim, Digest, JobRecord, JobState, Key, KeyId, Meta, RunEnd, RunStart, StatCache, Store,
};
use serde_json::json;

const JOBS: u32 = 10_000;

fn key(n: u32) -> Key {
    let inputs = BTreeMap::from([
        ("labeled".to_owned(), Digest::of_bytes(b"labeled")),
        ("unlabeled".to_owned(), Digest::of_bytes(b"unlabeled")),
    ]);
    let params =
        json!({"algorithm": {"fixmatch": {"confidence": 0.95}}, "seed": n, "steps": 65536});
    Key {
        kind: "train".into(),
        version: 1,
        params,
        inputs,
    }
}

fn time<T>(what: &str, count: u64, unit: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let made = act();
    let took = start.elapsed();
    let each = took.as_secs_f64() * 1e6 / count as f64;
    println!(
        "{what:44} {:9.1} ms, {each:9.2} us per {unit}",
        took.as_secs_f64() * 1e3
    );
    made
}

fn publish(store: &Store, jobs: std::ops::Range<u32>) {
    for n in jobs {
        let Claim::Reserved(reservation) = store.try_claim(&key(n)).unwrap() else {
            panic!("{n} is there")
        };
        let out = reservation.work().join("out");
        std::fs::write(&out, n.to_string()).unwrap();
        reservation
            .publish(
                &BTreeMap::from([("out".into(), out)]),
                None,
                Meta::default(),
            )
            .unwrap();
    }
}

fn hashing(folder: &Path) {
    const SIZE: usize = 1 << 30;
    let path = folder.join("large");
    let bytes: Vec<u8> = (0..SIZE)
        .map(|n| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[7])
        .collect();
    std::fs::write(&path, &bytes).unwrap();
    for _ in 0..3 {
        time("1 GiB in memory, update_rayon", 1024, "MiB", || {
            blake3::Hasher::new().update_rayon(&bytes).finalize()
        });
        time("1 GiB file", 1024, "MiB", || {
            Digest::of_file(&path).unwrap()
        });
    }
    drop(bytes);
    std::fs::remove_file(&path).unwrap();
}

fn runs(store: &Store, ids: &[KeyId]) {
    let jobs = || {
        ids.iter().enumerate().map(|(n, id)| JobRecord {
            job: format!("train[seed={n}]"),
            key: Some(*id),
            state: JobState::Fresh,
            seconds: 0.0,
        })
    };
    for what in ["keep a list of jobs", "keep a list of jobs that is there"] {
        time(what, JOBS.into(), "job", || {
            store.keep_job_list(jobs()).unwrap()
        });
    }
    let list = store.keep_job_list(jobs()).unwrap();
    time("read a list of jobs", JOBS.into(), "job", || {
        store.job_list(&list).unwrap()
    });
    let start = RunStart {
        pipeline: "/pipeline.yaml".into(),
        ..RunStart::default()
    };
    let end = RunEnd {
        jobs: Some(list),
        ..RunEnd::default()
    };
    time("begin and end runs", 1000, "run", || {
        for _ in 0..1000 {
            store.begin_run(&start).unwrap().end(&end).unwrap();
        }
    });
    time("read the history", 1, "history", || store.runs().unwrap());
    time("read what ran last", 1, "run", || store.last_run().unwrap());
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let folder = match wanted {
        Some(at) => tempfile::tempdir_in(at),
        None => tempfile::tempdir(),
    }
    .unwrap();
    let root = folder.path().join("store");
    hashing(folder.path());

    let store = Store::open(&root).unwrap();
    time("publish small results, grouped syncs", 1000, "job", || {
        publish(&store, 0..1000);
        store.sync().unwrap();
    });
    publish(&store, 1000..JOBS);
    store.sync().unwrap();
    let keys: Vec<Key> = (0..JOBS).map(key).collect();
    let ids = time("ids of keys", JOBS.into(), "key", || {
        keys.iter().map(Key::id).collect::<Vec<_>>()
    });
    let entries = time("look-ups", JOBS.into(), "entry", || {
        ids.iter()
            .map(|id| store.get(id).unwrap().unwrap())
            .collect::<Vec<_>>()
    });
    let out = folder.path().join("out");
    for what in ["place results", "place results, all there"] {
        time(what, JOBS.into(), "file", || {
            for (n, entry) in entries.iter().enumerate() {
                let path = n.to_string();
                store
                    .materialise(&entry.outputs["out"], &out, Path::new(&path), None)
                    .unwrap();
            }
        });
    }
    runs(&store, &ids);
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for n in 0..100_000 {
        std::fs::write(files.join(format!("image-{n:06}.png")), n.to_string()).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    time("folder of files, all read", 100_000, "file", || {
        store.artifact_of(&files).unwrap()
    });
    time("folder of files, all known", 100_000, "file", || {
        store.artifact_of(&files).unwrap()
    });
    time("save the stat cache", 100_000, "file", || {
        store.sync().unwrap();
    });
    let first = files.join("image-000000.png");
    let cache = StatCache::new(&root);
    time("load the stat cache", 100_000, "file", || {
        cache.digest(&first).unwrap()
    });
    drop(store);
    time("open the store", 1, "store", || Store::open(&root).unwrap());
}
