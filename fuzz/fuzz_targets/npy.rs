//! numpy's array files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::npy::{Array, Header, Number};
use rematch_fuzz::folder;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let Ok(header) = Header::read(&mut rest) else {
        return;
    };
    let path = folder().join("array.npy");
    std::fs::write(&path, data).expect("a file");
    let Ok(mut array) = Array::open(&path) else {
        return;
    };
    assert_eq!(array.header, header);
    if let Some(number) = Number::of(&header.descr) {
        // What the header promises is there.
        let mut bytes = vec![0; header.values().expect("a number") as usize * number.size];
        array.read(&mut bytes).expect("the values");
        for value in bytes.chunks_exact(number.size) {
            let _ = number.value(value);
        }
    }
});
