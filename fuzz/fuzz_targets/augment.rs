//! The originals' grammar of augmentation, `d.d.rac`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::augment::Augment;

fuzz_target!(|text: &str| {
    for views in [1, 2] {
        if let Err(error) = Augment::parse(text, views) {
            assert!(!error.to_string().is_empty());
        }
    }
});
