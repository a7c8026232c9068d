//! The pipeline language from end to end: a file, files that it includes, the jobs.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use rematch::pipeline::Pipeline;
use rematch::plan::Plan;
use rematch_fuzz::{BETWEEN, folder};

const FILES: [&str; 3] = ["p.yaml", "a.yaml", "b.yaml"];

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split(BETWEEN);
    for name in FILES {
        let path = folder().join(name);
        match parts.next() {
            Some(part) => fs::write(path, part).expect("a file"),
            None => drop(fs::remove_file(path)),
        }
    }
    let read = Pipeline::read(&folder().join(FILES[0]), &[]);
    let planned = read.and_then(|pipeline| Plan::new(pipeline));
    if let Err(error) = planned {
        assert!(!error.message().is_empty());
        assert!(
            error.to_string().len() < 16384,
            "{} bytes of error",
            error.to_string().len()
        );
    }
});
