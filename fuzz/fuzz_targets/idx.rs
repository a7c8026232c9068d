//! An idx file: labels, or images.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::readers::idx::{Images, labels};

fuzz_target!(|data: &[u8]| {
    if let Ok(labels) = labels(data, 1 << 20) {
        assert!(labels.len() < data.len());
    }
    let Ok(mut images) = Images::open(data) else {
        return;
    };
    let mut read = 0;
    while read < images.count && images.next(1).is_ok() {
        read += 1;
    }
    if read == images.count {
        let _ = images.finish();
    }
});
