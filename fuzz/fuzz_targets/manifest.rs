//! Manifests of folders.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use rematch_cache::Manifest;

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::parse(data) else {
        return;
    };
    assert_eq!(manifest.to_bytes(), data);
    let _ = manifest.artifact();
    for path in manifest.files().keys() {
        let inside = |part| matches!(part, Component::Normal(_));
        assert!(Path::new(path).components().all(inside), "{path:?}");
    }
});
