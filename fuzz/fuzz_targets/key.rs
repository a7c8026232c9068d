//! Keys: the canonical JSON, its id, and the changes between two of them.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use rematch_cache::{Digest, Key, changes};
use serde_json::{Deserializer, Value};

fuzz_target!(|data: &[u8]| {
    let mut values = Deserializer::from_slice(data).into_iter::<Value>();
    let (Some(Ok(a)), Some(Ok(b))) = (values.next(), values.next()) else {
        return;
    };
    // A key's parameters stand one level deeper than alone, and readers stop at a depth of 128.
    if depth(&a).max(depth(&b)) > 100 {
        return;
    }
    let (a, b) = (key(a), key(b));
    for key in [&a, &b] {
        let read: Key = serde_json::from_str(&key.to_json()).expect("its own text");
        assert_eq!(read.id(), key.id());
        assert!(changes(key, &read).is_empty());
    }
    assert_eq!(a.id() == b.id(), changes(&a, &b).is_empty());
    assert_eq!(changes(&a, &b).len(), changes(&b, &a).len());
});

fn key(params: Value) -> Key {
    Key {
        kind: "train".into(),
        version: 1,
        params,
        inputs: BTreeMap::from([("labeled".into(), Digest::of_bytes(b"x"))]),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
