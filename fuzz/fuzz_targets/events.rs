//! TensorBoard event files, behind right checksums.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use rematch_data::events::EventReader;
use rematch_data::tfrecord::put_record;
use rematch_fuzz::folder;

fuzz_target!(|data: &[u8]| {
    let mut file = Vec::new();
    put_record(&mut file, data);
    put_record(&mut file, b"");
    let path = folder().join("events");
    fs::write(&path, file).expect("a file");
    let mut reader = EventReader::open(&path).expect("a file that opens");
    while let Ok(Some(_)) = reader.read() {}
});
