//! The standard library's file functions with the path in every error, and atomic writing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An operation on a file or folder that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct Error {
    /// What was tried: `read`, `write`.
    pub action: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl Error {
    /// Names the file of an I/O error.
    pub fn new(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            action,
            path: path.into(),
            source,
        }
    }

    /// What a user can do about it.
    pub fn help(&self) -> Option<String> {
        let help = match self.source.kind() {
            io::ErrorKind::NotFound => "check that the path exists",
            io::ErrorKind::PermissionDenied => "check who may read and write there",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free space on that disk, then run again"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }
}

/// For `map_err`: names the file of an I/O error.
pub fn at<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::new(action, path, source)
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(at("open", path))
}

/// Creates or empties a file for writing.
pub fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(at("create", path))
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(at("read", path))
}

/// Reads a whole file that must be UTF-8.
pub fn read_to_string(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(at("read", path))
}

/// Writes a whole file.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    fs::write(path, bytes).map_err(at("write", path))
}

/// Creates a folder and those above it, where they are not there yet.
pub fn create_dir_all(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(at("create the folder", path))
}

/// Renames a file, replacing what has the new name.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(at("rename", from))
}

/// Gives the file behind `from` a second name, or its bytes to a new file where that cannot be; the file
/// system may share the bytes then.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<(), Error> {
    // A link to a symbolic link would be a symbolic link.
    let file = fs::canonicalize(from).map_err(at("find", from))?;
    if fs::hard_link(&file, to).is_ok() {
        return Ok(());
    }
    fs::copy(&file, to).map(drop).map_err(at("copy to", to))
}

/// Removes a file; it is fine if there is none.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::new("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it; one that is not there is fine.
pub fn remove_dir_all(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::new("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Size of a file in bytes.
pub fn len(path: &Path) -> Result<u64, Error> {
    fs::metadata(path)
        .map(|m| m.len())
        .map_err(at("look at", path))
}

/// Paths in a folder, sorted by name.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries: io::Result<Vec<PathBuf>> =
        fs::read_dir(path).and_then(|all| all.map(|e| e.map(|e| e.path())).collect());
    let mut entries = entries.map_err(at("list", path))?;
    entries.sort();
    Ok(entries)
}

/// Writes a file so that its path holds the old content or the whole new one, whatever happens:
/// a temporary file in the same folder, fsync, rename.
pub fn write_atomically(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let act = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".writing-")
            .tempfile_in(folder)?;
        file.write_all(bytes.as_ref())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    act().map_err(at("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_names_its_path() {
        let error = read(Path::new("/no/such/file")).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot read /no/such/file: "),
            "{error}"
        );
        assert_eq!(error.help().as_deref(), Some("check that the path exists"));
    }

    #[test]
    fn an_atomic_write_replaces_the_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, "one").unwrap();
        write_atomically(&path, "two").unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "two");
        assert_eq!(list(folder.path()).unwrap(), [path]);
    }
}
