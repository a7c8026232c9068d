//! What lies in a store's folders, and what of it is the store's own. A file with a name that the store never gives is
//! foreign: it is told about, and left alone.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;
use serde::Serialize;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs;
use crate::key::KeyId;

/// The store's own at its top: files, then folders.
const TOP: [&str; 15] = [
    ".gitignore",
    "format",
    "history.jsonl",
    "lease",
    "stat-cache",
    "stat-cache.lock",
    "entries",
    "locks",
    "objects",
    "publish",
    "runs",
    "tmp",
    "unsynced",
    "users",
    "work",
];

/// A temporary file older than this is left over: whoever writes one writes to it all the time. Opening a store waits
/// for a day, since a clock may be wrong and a job may do what it wants.
const OLD: Duration = Duration::from_secs(3600);

/// Is told how far something is: of what (`entries`, `bytes`), how many, of how many (0: nobody knows).
pub type Tell<'a> = &'a (dyn Fn(&'static str, u64, u64) + Sync);

/// A number of things and what they weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Something in `objects/` or `entries/`.
pub(crate) enum Found {
    /// With the digest that its name says.
    Own(Digest, DirEntry),
    /// Anything else.
    Foreign(PathBuf),
}

/// Visits everything in a folder whose files are named `ab/cdef…` and an ending, with all cores.
pub(crate) fn sharded(
    folder: &Path,
    ending: &str,
    visit: impl Fn(Found) -> Result<()> + Sync,
) -> Result<()> {
    fs::list_if_there(folder)?
        .into_par_iter()
        .try_for_each(|shard| {
            let path = shard.path();
            let first = shard.file_name().into_string().unwrap_or_default();
            let kind = shard.file_type().map_err(Error::io("look at", &path))?;
            if first.len() != 2 || !kind.is_dir() {
                return visit(Found::Foreign(path));
            }
            let members = fs::list_if_there(&path)?;
            members.into_par_iter().try_for_each(|member| {
                let name = member.file_name();
                let rest = name.to_str().and_then(|name| name.strip_suffix(ending));
                let digest = rest.and_then(|rest| format!("{first}{rest}").parse().ok());
                let path = member.path();
                let kind = member.file_type().map_err(Error::io("look at", &path))?;
                visit(match digest {
                    Some(digest) if kind.is_file() => Found::Own(digest, member),
                    _ => Found::Foreign(path),
                })
            })
        })
}

/// The members of a folder that are named by keys.
pub(crate) fn by_key(folder: &Path) -> Result<Vec<(KeyId, PathBuf)>> {
    let members = fs::list_if_there(folder)?.into_iter();
    Ok(members
        .filter_map(|member| Some((member.file_name().to_str()?.parse().ok()?, member.path())))
        .collect())
}

/// What killed runners left in `tmp/`.
pub(crate) fn old_temporaries(root: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let mut found = Vec::new();
    for member in fs::list_if_there(&root.join("tmp"))? {
        let Some(meta) = fs::look(&member.path())? else {
            continue;
        };
        let age = meta
            .modified()
            .ok()
            .and_then(|then| SystemTime::now().duration_since(then).ok());
        if age.is_some_and(|age| age > OLD) {
            found.push((member.path(), meta));
        }
    }
    Ok(found)
}

fn is_named(member: &DirEntry, own: impl Fn(&str) -> bool) -> bool {
    member.file_name().to_str().is_some_and(own)
}

/// Everything foreign outside `objects/` and `entries/`.
pub(crate) fn foreign(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut look = |folder: &Path, own: &dyn Fn(&DirEntry) -> bool| -> Result<()> {
        let members = fs::list_if_there(folder)?.into_iter();
        found.extend(
            members
                .filter(|member| !own(member))
                .map(|member| member.path()),
        );
        Ok(())
    };
    look(root, &|member| is_named(member, |name| TOP.contains(&name)))?;
    for folder in ["locks", "publish", "work"] {
        let is_key = |name: &str| name.parse::<KeyId>().is_ok();
        look(&root.join(folder), &|member| is_named(member, is_key))?;
    }
    let is_ledger = |name: &str| {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        matches!(ending, Some("ledger" | "jobs" | "live"))
    };
    look(&root.join("runs"), &|member| is_named(member, is_ledger))?;
    // Here names say nothing.
    for folder in ["unsynced", "users"] {
        look(&root.join(folder), &|member| {
            member.file_type().is_ok_and(|kind| kind.is_file())
        })?;
    }
    Ok(found)
}

/// Visits every file below a folder, or the file itself; links and special files count as files. What is gone by then
/// or closed to us is passed over.
pub(crate) fn each_file(path: &Path, visit: &mut dyn FnMut(&Path, &Metadata)) -> Result<()> {
    let Some(meta) = fs::look(path)? else {
        return Ok(());
    };
    if !meta.is_dir() {
        visit(path, &meta);
        return Ok(());
    }
    let members = match fs::list_if_there(path) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(());
        }
        members => members?,
    };
    members
        .iter()
        .try_for_each(|member| each_file(&member.path(), visit))
}

/// The bytes that a file takes on the disk.
pub(crate) fn on_disk(meta: &Metadata) -> u64 {
    meta.blocks() * 512
}

/// A path of the store as people read it, without that of the store.
pub(crate) fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}
