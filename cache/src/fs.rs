//! File system calls with the path in every error, and the few that the store adds: atomic writes,
//! read-only files, removal of any tree, the [`Stat`] by which an unchanged file is recognised.

use std::fs::{self, DirEntry, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Mode of a file that nobody is to change: objects and entries.
pub const READ_ONLY: u32 = 0o444;

/// The nanoseconds in the time of an object's last change. Whoever writes to an object, through a hard link and with a
/// superuser's rights, say, sets that time and so removes the stamp.
const STAMP: i64 = 271_828_182;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Time of the last change of content, nanoseconds since 1970.
    pub mtime: i64,
    /// Time of the last change of content or status, nanoseconds since 1970. Nobody can set it back.
    pub ctime: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
}

/// Of a file's status as the system call gives it.
impl From<&rustix::fs::Stat> for Stat {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self {
            size: stat.st_size.cast_unsigned(),
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            ctime: nanos(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
            inode: stat.st_ino,
            device: stat.st_dev,
        }
    }
}

fn nanos(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

impl Stat {
    /// Of a file's metadata.
    pub fn of(meta: &Metadata) -> Self {
        Self {
            size: meta.len(),
            mtime: nanos(meta.mtime(), meta.mtime_nsec()),
            ctime: nanos(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            device: meta.dev(),
        }
    }

    /// Whether nobody wrote to this object since it was [stamped](stamp). File systems that count whole seconds
    /// cannot tell.
    pub fn is_stamped(&self) -> bool {
        matches!(self.mtime.rem_euclid(1_000_000_000), 0 | STAMP)
    }

    /// Whether both are names of one file.
    pub fn same_file(&self, other: &Self) -> bool {
        (self.inode, self.device) == (other.inode, other.device)
    }
}

/// What a non-regular file is called in messages.
pub fn what_it_is(meta: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = meta.file_type();
    if kind.is_symlink() {
        "symbolic link"
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_dir() {
        "folder"
    } else if kind.is_file() {
        "file"
    } else {
        "device"
    }
}

/// Opens for reading. Does not wait for the other end of a named pipe, as a plain open would.
pub fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(Error::io("open", path))
}

/// Writes a file where it is to stay; a kill may leave a part of it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::io("write", path))
}

/// Reads a whole file; `None` where there is none.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path)(e)),
    }
}

/// Metadata of what is at `path` itself, never of what a link points to; `None` where nothing is.
pub fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        // A parent that is a file means that nothing is there, too.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(Error::io("look at", path)(e)),
    }
}

/// Creates a folder and its parents; fine where it exists.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("create the folder", path))
}

/// Creates a folder, with its parents if need be; tells whether it was not there.
pub fn create_one_folder(path: &Path) -> Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) => create_folder(path).map(|()| true),
    }
}

/// The members of a folder, in no order.
pub fn list(path: &Path) -> Result<Vec<DirEntry>> {
    fs::read_dir(path)
        .and_then(Iterator::collect)
        .map_err(Error::io("list the folder", path))
}

/// The members of a folder; none where it does not exist.
pub fn list_if_there(path: &Path) -> Result<Vec<DirEntry>> {
    match list(path) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Sets permission bits.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(Error::io("set the mode of", path))
}

/// Marks an object as whole: sets the nanoseconds of its last change.
pub fn stamp(path: &Path, stat: &Stat) -> Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: stat.mtime.div_euclid(1_000_000_000),
            tv_nsec: STAMP,
        },
    };
    utimensat(CWD, path, &times, AtFlags::empty())
        .map_err(|e| Error::io("set the time of", path)(e.into()))
}

/// Renames, replacing what is there.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("rename to", to))
}

/// Removes a file or link; fine where nothing is.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Removes whatever is at `path`, also a tree with folders that forbid it; never follows a link.
pub fn remove_all(path: &Path) -> Result<()> {
    let Some(meta) = look(path)? else {
        return Ok(());
    };
    if !meta.is_dir() {
        return remove_file(path);
    }
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    open_up(path);
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove the folder", path)(e))
        }
        _ => Ok(()),
    }
}

/// Makes every folder of a tree writable for its owner, as far as that goes.
fn open_up(folder: &Path) {
    let _ = set_mode(folder, 0o700);
    for member in list(folder).unwrap_or_default() {
        if member.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&member.path());
        }
    }
}

/// Writes a file that is either whole or not there: temporary name in `temporary` (same file
/// system), then rename. The mode is [`READ_ONLY`]. No sync: see [`crate::durable`].
pub fn write_atomic(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_as(READ_ONLY, temporary, path, bytes)
}

/// [`write_atomic`] with another mode.
pub fn write_atomic_as(mode: u32, temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = temporary_file(temporary)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    let mode = Permissions::from_mode(mode);
    file.as_file()
        .set_permissions(mode)
        .map_err(Error::io("set the mode of", path))?;
    persist(file.into_temp_path(), path)
}

/// A new file with a name of its own, removed unless persisted; creates a missing folder.
pub fn temporary_file(folder: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let mut made = builder.prefix(".rematch-").tempfile_in(folder);
    if is_missing(&made) {
        create_folder(folder)?;
        made = builder.tempfile_in(folder);
    }
    made.map_err(Error::io("create a file in", folder))
}

fn is_missing<T>(done: &io::Result<T>) -> bool {
    done.as_ref()
        .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Gives a temporary file its name; creates the folder of `path` where it is missing.
pub fn persist(temporary: tempfile::TempPath, path: &Path) -> Result<()> {
    match temporary.persist(path) {
        Ok(()) => Ok(()),
        Err(e) if e.error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                create_folder(parent)?;
            }
            e.path
                .persist(path)
                .map_err(|e| Error::io("rename to", path)(e.error))
        }
        Err(e) => Err(Error::io("rename to", path)(e.error)),
    }
}

/// Copies a file's bytes to a new temporary file in `folder`, sharing them where the file system can.
pub fn copy_to_temporary(from: &Path, folder: &Path) -> Result<tempfile::TempPath> {
    let made = tempfile::Builder::new()
        .prefix(".rematch-")
        .make_in(folder, |to| {
            // It refuses a file that exists, which is what `make_in` asks for.
            let copied = reflink_copy::reflink_or_copy(from, to);
            if let Err(error) = &copied
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                // What a full disk let through would only keep it full.
                let _ = fs::remove_file(to);
            }
            copied.map(drop)
        });
    Ok(made.map_err(Error::io("copy", from))?.into_temp_path())
}

/// Flushes a file or a folder to the disk.
pub fn sync(path: &Path) -> Result<()> {
    match File::open(path) {
        // Replaced or removed meanwhile: then there is nothing to keep.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened
            .and_then(|f| f.sync_all())
            .map_err(Error::io("sync", path)),
    }
}

/// Opens `path` for reading and appending, and locks it; creates it where it is missing, and its
/// folder.
///
/// Whoever replaces or removes such a file does so while holding its lock, so the lock counts only
/// if the name still leads to the locked file. `None` if `wait` is false and another holds it.
pub fn open_locked(path: &Path, wait: bool) -> Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    loop {
        let mut opened = options.open(path);
        if is_missing(&opened) {
            create_folder(&parent(path))?;
            opened = options.open(path);
        }
        let file = opened.map_err(Error::io("open", path))?;
        if wait {
            file.lock().map_err(Error::io("lock", path))?;
        } else {
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(e)) => return Err(Error::io("lock", path)(e)),
            }
        }
        let locked = Stat::of(&file.metadata().map_err(Error::io("look at", path))?);
        if look(path)?.is_some_and(|meta| Stat::of(&meta).same_file(&locked)) {
            return Ok(Some(file));
        }
    }
}

/// Everything that is left to read in an open file.
pub fn read_rest(mut file: &File, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// A file name for any text: letters, digits, `-`, `_` and inner dots stay, the rest becomes `%xx`.
/// Different texts get different names; long ones end in a digest.
pub fn file_name_for(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut name = String::new();
    for (n, byte) in text.bytes().enumerate() {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if n > 0 => name.push('.'),
            _ => name.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    if name.is_empty() {
        name.push('%');
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST);
        name.push('%');
        name.push_str(&blake3::hash(text.as_bytes()).to_hex()[..32]);
    }
    name
}

/// The parent of a path, `.` where it has none.
pub fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_path() {
        for text in [
            "", ".", "..", "../x", "/etc", "a/b", "a\0b", "%2f", ".hidden",
        ] {
            let name = file_name_for(text);
            assert!(
                !name.contains('/') && !name.starts_with('.') && !name.is_empty(),
                "{name}"
            );
        }
        assert_ne!(file_name_for("a/b"), file_name_for("a%2fb"));
        let (a, b) = ("x".repeat(500), "x".repeat(501));
        assert_ne!(file_name_for(&a), file_name_for(&b));
        assert!(file_name_for(&a).len() < 255);
    }

    #[test]
    fn a_tree_with_closed_folders_goes() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("c"), "x").unwrap();
        set_mode(&inner, 0o500).unwrap();
        set_mode(&folder.path().join("a"), 0o500).unwrap();
        remove_all(&folder.path().join("a")).unwrap();
        assert!(look(&folder.path().join("a")).unwrap().is_none());
    }

    #[test]
    fn a_lock_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = open_locked(&path, false).unwrap().unwrap();
        assert!(open_locked(&path, false).unwrap().is_none());
        remove_file(&path).unwrap();
        drop(held);
        assert!(open_locked(&path, false).unwrap().is_some());
    }
}
