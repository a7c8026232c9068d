//! What an output is once it is in the store.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A file or folder by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Of the file's bytes, or of the folder's [manifest](crate::manifest).
    pub digest: Digest,
    /// Bytes of the file, or of all files in the folder together.
    pub size: u64,
    /// Whether it is a folder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folder: bool,
}
