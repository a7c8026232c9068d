//! What a store remembers of earlier runs: the history, the lists of jobs, and ledgers.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use rematch_cache::history::RunStart;
use rematch_cache::{Ledger, Store};
use rematch_fuzz::folder;

fuzz_target!(|data: &[u8]| {
    let root = folder().join("store");
    drop(Store::open(&root).expect("a store"));
    fs::create_dir_all(root.join("runs")).expect("a folder");
    fs::write(root.join("history.jsonl"), data).expect("a file");
    let _ = fs::remove_file(root.join("runs/p.ledger"));
    fs::write(root.join("runs/p.ledger"), data).expect("a file");
    let _ = Ledger::parse(data);

    let store = Store::open(&root).expect("a store");
    let _ = store.ledger("p").expect("a look");
    let _ = store.runs().expect("a history");
    // Whatever was there: what is added is read again.
    let start = RunStart {
        pipeline: "p.yaml".into(),
        ..RunStart::default()
    };
    drop(store.begin_run(&start).expect("a note"));
    assert_eq!(store.last_run().expect("a history"), Some(start));
});
