//! What stands between `${` and `}`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch::reference::{Piece, Reference, pieces};

fuzz_target!(|text: &str| {
    match pieces(text) {
        Ok(found) => {
            assert!(!found.is_empty());
            for piece in found {
                if let Piece::Reference(Reference::Named { split, .. }) = piece {
                    assert_eq!(split.to_string().parse(), Ok(split));
                }
            }
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
});
