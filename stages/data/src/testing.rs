//! What unit tests share.

use std::path::{Path, PathBuf};

/// A path in the folder of golden outputs and real data beside the repository; `None`, said aloud,
/// where that folder is not there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    if !found.exists() {
        eprintln!("skipped: {} is not here", found.display());
        return None;
    }
    Some(found)
}
