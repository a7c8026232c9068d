//! Entries and the sealed files that they are, as they stand and behind a right checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_cache::sealed::unseal;
use rematch_cache::{Digest, Entry, Key};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    check(data);
    // No fuzzer finds a digest; what it wrote gets the right one.
    if let Ok(content) = std::str::from_utf8(data) {
        let digest = Digest::of_bytes(content.trim().as_bytes());
        let sealed = format!(r#"{{"format":1,"blake3":"{digest}","content":{content}}}"#);
        check(sealed.as_bytes());
    }
});

fn check(bytes: &[u8]) {
    let _ = unseal::<Value>(bytes);
    let _ = unseal::<Key>(bytes);
    let Ok(entry) = unseal::<Entry>(bytes) else {
        return;
    };
    let id = entry.key.id();
    assert!(Entry::parse(bytes, &id).is_ok());
    let _ = entry.artifacts().count();
    let written = entry.to_bytes().expect("JSON");
    // Numbers that JSON has no form for are equal as texts only.
    let again = Entry::parse(&written, &id).expect("its own bytes");
    assert_eq!(again.to_bytes().expect("JSON"), written);
}
