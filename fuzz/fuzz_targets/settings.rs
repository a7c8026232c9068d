//! Changes as `--set` has them, on a pipeline with a bit of everything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch::pipeline::Pipeline;
use rematch::plan::Plan;
use rematch_fuzz::{BETWEEN, pipeline};

fuzz_target!(|text: &str| {
    let settings: Option<Vec<(String, String)>> = text
        .split(BETWEEN)
        .map(|setting| {
            let (key, value) = setting.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        })
        .collect();
    let Some(settings) = settings else { return };
    let read = Pipeline::read(&pipeline(), &settings);
    if let Err(error) = read.and_then(|pipeline| Plan::new(pipeline)) {
        assert!(!error.message().is_empty());
        let _ = error.to_string();
    }
});
