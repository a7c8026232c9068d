//! What the scenario tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rematch_cache::{Claim, Digest, Entry, Key, KeyId, Meta, Reservation, Store};
use serde_json::json;

/// The key of the n-th job.
pub fn key(n: u32) -> Key {
    Key {
        kind: "test".into(),
        version: 1,
        params: json!({"n": n}),
        inputs: BTreeMap::new(),
    }
}

/// Claims a key that nobody holds.
#[allow(dead_code)]
pub fn reserve(store: &Store, key: &Key) -> Reservation {
    match store.try_claim(key).unwrap() {
        Claim::Reserved(reservation) => reservation,
        other => panic!("{other:?}"),
    }
}

/// Publishes one file as the output `out`.
#[allow(dead_code)]
pub fn publish_file(store: &Store, key: &Key, content: &[u8]) -> Entry {
    let reservation = reserve(store, key);
    let out = reservation.work().join("out");
    std::fs::write(&out, content).unwrap();
    reservation
        .publish(
            &BTreeMap::from([("out".into(), out)]),
            None,
            Meta::default(),
        )
        .unwrap()
}

/// Files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for member in std::fs::read_dir(folder).into_iter().flatten() {
        let path = member.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn name_of(path: &Path) -> String {
    let (folder, file) = (
        path.parent().unwrap().file_name().unwrap(),
        path.file_stem().unwrap(),
    );
    format!("{}{}", folder.to_str().unwrap(), file.to_str().unwrap())
}

/// Every object holds what its name says and every entry is whole; at rest, nothing else is left.
pub fn check_store(store: &Store, at_rest: bool) {
    for object in files(&store.root().join("objects")) {
        assert_eq!(Digest::of_file(&object).unwrap().to_hex(), name_of(&object));
    }
    for entry in files(&store.root().join("entries")) {
        let id: KeyId = name_of(&entry).parse().unwrap();
        assert!(
            store.get(&id).unwrap().is_some(),
            "{} is not whole",
            entry.display()
        );
    }
    if at_rest {
        for folder in ["work", "publish", "locks"] {
            let left: Vec<_> = std::fs::read_dir(store.root().join(folder))
                .unwrap()
                .collect();
            assert!(left.is_empty(), "{folder}: {left:?}");
        }
    }
}
