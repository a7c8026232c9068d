//! A file of a CIFAR archive: Matlab, pickle or bare bytes. The first byte chooses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::readers::cifar::{Format, Options, parse};

fuzz_target!(|data: &[u8]| {
    let Some((first, file)) = data.split_first() else {
        return;
    };
    let format = [Format::Matlab, Format::Python, Format::Binary][usize::from(*first) % 3];
    let columns = ["coarse_labels", "fine_labels"].map(str::to_owned);
    let (labels, columns) = match first / 3 % 2 {
        0 => ("labels", vec!["labels".to_owned()]),
        _ => ("fine_labels", columns.to_vec()),
    };
    let options = Options {
        format,
        labels: labels.into(),
        columns,
    };
    match parse(&options, file) {
        Ok(file) => assert_eq!(file.images.len(), file.labels.len() * 3072),
        Err(error) => assert!(!error.is_empty()),
    }
});
