//! Files of record positions: STL-10's folds, and lists.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::split::listed::{fold, list};

fuzz_target!(|input: (u8, u16, &str)| {
    let (line, records, text) = input;
    let records = usize::from(records);
    for found in [list(text, records), fold(text, u32::from(line), records)] {
        match found {
            Ok(positions) => {
                assert!(positions.is_sorted_by(|a, b| a < b));
                assert!(positions.iter().all(|position| *position < records));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
