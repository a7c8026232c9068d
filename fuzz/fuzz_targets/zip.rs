//! A zip archive that says it has DomainNet's images.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rematch_data::image::file::LONGEST_FILE;
use rematch_data::origin::{Origin, Place, Zip};
use rematch_fuzz::folder;

/// Those that the seeds have.
const MEMBERS: [&str; 2] = ["real/a/1.png", "real/a/2.png"];

fuzz_target!(|data: &[u8]| {
    let path = folder().join("real.zip");
    std::fs::write(&path, data).expect("a file in memory");
    let Ok(zip) = Zip::open(&path) else { return };
    let found = MEMBERS.map(|name| zip.find(name));
    let origin = Origin::Zips(vec![zip]);
    // Any member there is, and one that is not there.
    let places = found.into_iter().flatten().chain([0, u32::MAX]);
    for place in places.map(|member| Place::Member(0, member)) {
        if let Ok(bytes) = origin.read(Path::new(MEMBERS[0]), place) {
            assert!(bytes.len() as u64 <= LONGEST_FILE);
        }
    }
});
