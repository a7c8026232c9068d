//! What a store remembers of earlier runs: last keys and history, both logs of lines.

#![no_main]

use std::collections::BTreeMap;
use std::fs;

use libfuzzer_sys::fuzz_target;
use rematch_cache::{Key, Store};
use rematch_fuzz::folder;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let root = folder().join("store");
    drop(Store::open(&root).expect("a store"));
    fs::create_dir_all(root.join("runs")).expect("a folder");
    fs::write(root.join("runs/p.keys"), data).expect("a file");
    fs::write(root.join("history.jsonl"), data).expect("a file");

    let store = Store::open(&root).expect("a store");
    let before = store.history().expect("a history").len();
    let _ = store.last_key("p", "a").expect("a look");
    // Whatever was there: what is added is read again, and spoils nothing.
    let key = Key {
        kind: "train".into(),
        version: 1,
        params: Value::Null,
        inputs: BTreeMap::new(),
    };
    store.remember("p", "a", &key).expect("a note");
    store.append_history(&json!({"n": 1})).expect("a note");
    let store = Store::open(&root).expect("a store");
    assert_eq!(store.last_key("p", "a").expect("a look"), Some(key));
    let history = store.history().expect("a history");
    assert_eq!(history.last(), Some(&json!({"n": 1})));
    assert_eq!(history.len(), before + 1);
});
