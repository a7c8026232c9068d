//! A MATLAB 5 file, matrix by matrix.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::readers::matlab::Matrices;

/// Most bytes that a matrix may have here.
const LIMIT: u64 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Ok(mut matrices) = Matrices::new(data) else {
        return;
    };
    let mut number = 0;
    while let Ok(Some(mut matrix)) = matrices.next() {
        number += 1;
        // Some are passed over, some read in part, some as a whole.
        match number % 3 {
            0 => {
                let _ = matrix.fill(&mut [0; 5]);
                let _ = matrix.finish();
            }
            1 => {
                if let Ok(values) = matrix.small_numbers(LIMIT) {
                    assert!(values.len() as u64 <= LIMIT);
                }
            }
            _ => {}
        }
    }
});
