//! TFRecord files, and the examples in them.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rematch_data::tfrecord::{Example, Reader, put_record};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data, Path::new("x"));
    while let Ok(Some(record)) = reader.read() {
        let _ = Example::decode(record.data());
    }
    if let Ok(example) = Example::decode(data) {
        let mut bytes = Vec::new();
        example.encode(&mut bytes);
        let mut frame = Vec::new();
        put_record(&mut frame, &bytes);
        let mut reader = Reader::new(&frame[..], Path::new("x"));
        let record = reader.read().expect("its own bytes").expect("a record");
        assert_eq!(
            Example::decode(record.data()).expect("its own bytes"),
            example
        );
    }
});
