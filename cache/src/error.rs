//! What can go wrong in the store, in words: what, where, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// A result of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Every failure of this package.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}{}", .path.display(), hint(.source))]
    Io {
        /// What was tried, `read`, `create the folder`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds something else.
    #[error(
        "{} is not a rematch store: it has no usable `format` file; choose another folder with --store; if it was a store, write `rematch store {}` into that file",
        .path.display(), crate::store::FORMAT
    )]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// The store's layout is from the future.
    #[error(
        "the store {} has format {found}, and this rematch knows up to {known}; update rematch, or choose another store with --store",
        .path.display()
    )]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// An entry from the future.
    #[error(
        "the entry {} has format {found}, and this rematch knows up to {}; update rematch",
        .path.display(), crate::sealed::FORMAT
    )]
    NewerEntry {
        /// Its file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A job ended well without one of its outputs.
    #[error(
        "the job did not make its output `{name}`, which belongs at {}; look at the job's log, and check the declared path",
        .path.display()
    )]
    MissingOutput {
        /// The output.
        name: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// Something that cannot be kept by content.
    #[error("{} is a {what}, and only files and folders can be kept; write a regular file in its place", .path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What it is, `symbolic link`.
        what: &'static str,
    },
    /// A file name that no manifest can hold.
    #[error("the name of {} is not UTF-8; rename the file", .path.display())]
    NotUtf8 {
        /// Where (shown lossily).
        path: PathBuf,
    },
    /// A file was written to while it was hashed or moved.
    #[error("{} changed while it was read; end whatever still writes to it, and run again", .path.display())]
    Changed {
        /// Which one.
        path: PathBuf,
    },
    /// An object that should be in the store is not.
    #[error(
        "object {digest} is missing or cut short at {}; run again: the job that made it will run anew",
        .path.display()
    )]
    MissingObject {
        /// Its digest.
        digest: Digest,
        /// Where it should be.
        path: PathBuf,
    },
    /// An object's bytes are not what its name says.
    #[error("object {digest} at {} is damaged ({why}); delete it and run again: the job that made it will run anew", .path.display())]
    DamagedObject {
        /// The digest it should have.
        digest: Digest,
        /// Where it is.
        path: PathBuf,
        /// What was seen.
        why: String,
    },
    /// A text that is no digest.
    #[error("`{text}` is not a digest: expected 64 hexadecimal digits in lower case")]
    NotADigest {
        /// The text, cut short.
        text: String,
    },
    /// Something could not be written as JSON.
    #[error("cannot write {} as JSON: {why}", .path.display())]
    NotJson {
        /// Where it was to go.
        path: PathBuf,
        /// What was wrong.
        why: String,
    },
}

impl Error {
    /// For `map_err`: an I/O error with what was tried and where.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Something at `path` could not be written as JSON.
    pub(crate) fn not_json(path: &Path, why: &impl std::fmt::Display) -> Self {
        Self::NotJson {
            path: path.into(),
            why: why.to_string(),
        }
    }

    /// Whether the place does not let us write.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
        ))
    }
}

/// What to do about an I/O error, where there is something.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space and run again: finished jobs are kept"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the file system is read-only: results can be read from it, but not added"
        }
        io::ErrorKind::IsADirectory => "; remove this folder, which lies where a file belongs",
        io::ErrorKind::PermissionDenied => "; check who owns it and its permissions",
        _ => "",
    }
}
