//! A `.tar.gz` that says it is STL-10's.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use rematch_data::readers::{Opened, find};
use rematch_fuzz::folder;
use rematch_spec::download::Download;

fuzz_target!(|data: &[u8]| {
    let params: Download =
        serde_json::from_value(serde_json::json!({"dataset": "stl10"})).expect("parameters");
    let source = params.source().expect("a source");
    let path = folder().join("stl10_binary.tar.gz");
    std::fs::write(&path, data).expect("a file in memory");
    let opened = Opened {
        params,
        source,
        archives: BTreeMap::from([("stl10_binary.tar.gz", path)]),
        extras: BTreeMap::from([("folds", folder().join("fold_indices.txt"))]),
    };
    let read = find("stl10").expect("a reader")(&opened, &mut |batch| {
        assert_eq!(batch.images.len(), batch.labels.len() * batch.shape.bytes());
        Ok(())
    });
    // An archive with all members is out of reach.
    assert!(!read.expect_err("an error").to_string().is_empty());
});
