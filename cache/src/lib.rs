//! The content-addressed store of rematch.
pub mod artifact;
pub mod claim;
pub mod digest;
mod durable;
pub mod entry;
pub mod error;
mod fs;
pub mod key;
pub mod manifest;
pub mod place;
mod publish;
pub mod runs;
pub mod sealed;
pub mod stat_cache;
pub mod store;

pub use artifact::Artifact;
pub use claim::{Claim, Reservation};
pub use digest::Digest;
pub use entry::{Entry, Meta, Provenance};
pub use error::{Error, Result};
pub use fs::{Stat, file_name_for};
pub use key::{Change, Key, KeyId, changes};
pub use manifest::{FileEntry, Manifest};
pub use place::How;
pub use stat_cache::StatCache;
pub use store::{Lookup, Store};
