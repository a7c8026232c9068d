//! The stat cache, behind a right checksum.

#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rematch_cache::{Digest, Stat, StatCache};
use rematch_fuzz::folder;

const STAT: Stat = Stat {
    size: 1,
    mtime: 2,
    ctime: 3,
    inode: 4,
    device: 5,
};

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    bytes.extend_from_slice(Digest::of_bytes(data).as_bytes());
    fs::create_dir_all(folder().join("tmp")).expect("a folder");
    fs::write(folder().join("stat-cache"), bytes).expect("a file");
    let cache = StatCache::new(folder());
    let _ = cache.recall(Path::new("/a"), &STAT);
    // Whatever was there: what is learned and saved is read again.
    let digest = Digest::of_bytes(b"a");
    cache.know(Path::new("/a"), STAT, digest);
    cache.save().expect("a save");
    let read = StatCache::new(folder()).recall(Path::new("/a"), &STAT);
    assert_eq!(read, Some(digest));
});
