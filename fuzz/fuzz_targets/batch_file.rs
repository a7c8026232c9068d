//! A file of a CIFAR-10 archive: Matlab, pickle or bare bytes. The first byte chooses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::readers::cifar::{Format, Options, parse};
use rematch_spec::download::Layout;

fuzz_target!(|data: &[u8]| {
    let Some((first, file)) = data.split_first() else {
        return;
    };
    let layout = [Layout::Matlab, Layout::Python, Layout::Binary][usize::from(*first) % 3];
    if let Err(error) = parse(layout, file) {
        assert!(!error.is_empty());
    }
});
