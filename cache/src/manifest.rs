//! Folders by content: a manifest lists every file below a folder, sorted by path.
//!
//! As bytes: a line `rematch manifest 1`, then one line per file: digest, `x` (executable) or `-`,
//! size, path as a JSON string. There is exactly one way to write a manifest, so equal folders have
//! equal digests. Empty folders are not recorded, nor are owners, times and other modes.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::{self, Stat};

const HEADER: &str = "rematch manifest 1";

/// One file of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Of its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// Where a file of a manifest lies, and the state in which it was hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Below the folder's path as it was given.
    pub path: PathBuf,
    /// Of its content.
    pub digest: Digest,
    /// When that was read.
    pub stat: Stat,
}

/// The files of a folder by relative path, with `/` between components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    files: BTreeMap<String, FileEntry>,
}

/// Why some bytes or paths are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Not this format.
    #[error("it does not start with `{HEADER}`")]
    Header,
    /// A line that does not read as written by [`Manifest::to_bytes`].
    #[error("line {0} is not a manifest line")]
    Line(usize),
    /// A path that would leave the folder or cannot exist in one.
    #[error("`{0}` is not a plain relative path")]
    Path(String),
    /// Twice the same path, or a file that is also a folder.
    #[error("`{0}` is there twice, or both a file and a folder")]
    Twice(String),
    /// Right members, but not in the one way to write them.
    #[error("it is not in canonical form")]
    NotCanonical,
}

impl Manifest {
    /// From files by path.
    pub fn new(
        files: impl IntoIterator<Item = (String, FileEntry)>,
    ) -> std::result::Result<Self, BadManifest> {
        let mut all = BTreeMap::new();
        for (path, file) in files {
            if !is_plain(&path) {
                return Err(BadManifest::Path(path));
            }
            if all.insert(path.clone(), file).is_some() {
                return Err(BadManifest::Twice(path));
            }
        }
        // Nothing lies below a file.
        for path in all.keys() {
            for (n, _) in path.match_indices('/') {
                if all.contains_key(&path[..n]) {
                    return Err(BadManifest::Twice(path[..n].to_owned()));
                }
            }
        }
        Ok(Self { files: all })
    }

    /// Of a folder on disk; `digest` says the content of each of its files, given its path and the
    /// state that the file was in when its folder was listed.
    ///
    /// # Errors
    /// [`Error::NotAFile`] for links and special files, [`Error::NotUtf8`].
    pub fn of_folder(
        folder: &Path,
        digest: impl Fn(&Path, &Stat) -> Result<(Digest, Stat)> + Sync,
    ) -> Result<(Self, Vec<Source>)> {
        let hashed: Vec<((String, FileEntry), Source)> = walk(folder)?
            .into_par_iter()
            .map(|found| {
                let path = folder.join(&found.name);
                let (digest, stat) = digest(&path, &found.stat)?;
                let entry = FileEntry {
                    digest,
                    size: stat.size,
                    executable: found.executable,
                };
                Ok(((found.name, entry), Source { path, digest, stat }))
            })
            .collect::<Result<_>>()?;
        let (files, sources): (Vec<_>, _) = hashed.into_iter().unzip();
        let files = files.into_iter().collect();
        Ok((Self { files }, sources))
    }

    /// The files by relative path, sorted.
    pub fn files(&self) -> &BTreeMap<String, FileEntry> {
        &self.files
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files
            .values()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// What the folder is in the store.
    pub fn artifact(&self) -> Artifact {
        Artifact {
            digest: Digest::of_bytes(&self.to_bytes()),
            size: self.size(),
            folder: true,
        }
    }

    /// The one way to write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        use std::fmt::Write;
        let mut text = String::with_capacity(32 + self.files.len() * 120);
        text.push_str(HEADER);
        text.push('\n');
        for (path, file) in &self.files {
            let mark = if file.executable { 'x' } else { '-' };
            let path = serde_json::Value::from(path.as_str());
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{} {mark} {} {path}", file.digest, file.size);
        }
        text.into_bytes()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, and nothing else.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, BadManifest> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadManifest::Header)?;
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(BadManifest::Header);
        }
        let files: Vec<(String, FileEntry)> = lines
            .enumerate()
            .map(|(n, line)| parse_line(line).ok_or(BadManifest::Line(n + 2)))
            .collect::<std::result::Result<_, _>>()?;
        let manifest = Self::new(files)?;
        if manifest.to_bytes() == bytes {
            Ok(manifest)
        } else {
            Err(BadManifest::NotCanonical)
        }
    }
}

fn parse_line(line: &str) -> Option<(String, FileEntry)> {
    let mut parts = line.splitn(4, ' ');
    let digest = parts.next()?.parse().ok()?;
    let executable = match parts.next()? {
        "x" => true,
        "-" => false,
        _ => return None,
    };
    let size = parts.next()?.parse().ok()?;
    let path = serde_json::from_str(parts.next()?).ok()?;
    Some((
        path,
        FileEntry {
            digest,
            size,
            executable,
        },
    ))
}

/// Whether a path stays inside its folder, on any file system.
fn is_plain(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// A file below a folder.
struct Found {
    /// Its path from there.
    name: String,
    stat: Stat,
    executable: bool,
}

/// Every file below a folder. Level by level, so that a deep tree costs no stack.
fn walk(folder: &Path) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut level = vec![String::new()];
    while !level.is_empty() {
        let listed: Vec<_> = level
            .into_par_iter()
            .map(|name| list(folder, &name))
            .collect::<Result<_>>()?;
        level = Vec::new();
        for (files, folders) in listed {
            found.extend(files);
            level.extend(folders);
        }
    }
    Ok(found)
}

/// The files in the folder that `name` is below `root`, and the names of the folders in it.
fn list(root: &Path, name: &str) -> Result<(Vec<Found>, Vec<String>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let folder = if name.is_empty() {
        root.to_owned()
    } else {
        root.join(name)
    };
    for member in fs::list(&folder)? {
        let base = member.file_name();
        let Some(base) = base.to_str() else {
            return Err(Error::NotUtf8 {
                path: member.path(),
            });
        };
        let name = if name.is_empty() {
            base.to_owned()
        } else {
            format!("{name}/{base}")
        };
        let meta = member
            .metadata()
            .map_err(|e| Error::io("look at", &member.path())(e))?;
        if meta.is_dir() {
            folders.push(name);
        } else if meta.is_file() {
            files.push(Found {
                name,
                stat: Stat::of(&meta),
                executable: meta.permissions().mode() & 0o100 != 0,
            });
        } else {
            return Err(Error::NotAFile {
                what: fs::what_it_is(&meta),
                path: member.path(),
            });
        }
    }
    Ok((files, folders))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(content: &str) -> FileEntry {
        FileEntry {
            digest: Digest::of_bytes(content.as_bytes()),
            size: content.len() as u64,
            executable: false,
        }
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn manifest_of(folder: &Path) -> Result<Manifest> {
        Ok(Manifest::of_folder(folder, Digest::of_file_in)?.0)
    }

    #[test]
    fn equal_folders_have_equal_manifests_in_any_order_of_writing() {
        let a = folder(&[("b/c", "1"), ("a", "2"), ("b-d", "3")]);
        let b = folder(&[("b-d", "3"), ("a", "2"), ("b/c", "1")]);
        std::fs::create_dir(b.path().join("empty")).unwrap();
        let manifest = manifest_of(a.path()).unwrap();
        assert_eq!(manifest, manifest_of(b.path()).unwrap());
        assert_eq!(manifest.artifact().size, 3);
        assert_eq!(
            manifest.files().keys().collect::<Vec<_>>(),
            ["a", "b-d", "b/c"]
        );
    }

    #[test]
    fn names_modes_and_contents_count() {
        let plain = folder(&[("a", "1")]);
        let mut digests = vec![manifest_of(plain.path()).unwrap().artifact().digest];
        fs::set_mode(&plain.path().join("a"), 0o755).unwrap();
        digests.push(manifest_of(plain.path()).unwrap().artifact().digest);
        for other in [
            folder(&[("a", "2")]),
            folder(&[("b", "1")]),
            folder(&[("x/a", "1")]),
        ] {
            digests.push(manifest_of(other.path()).unwrap().artifact().digest);
        }
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 5);
    }

    #[test]
    fn links_and_special_files_and_odd_names_are_refused_by_name() {
        use std::os::unix::ffi::OsStrExt;
        let with_link = folder(&[("a", "1")]);
        std::os::unix::fs::symlink("a", with_link.path().join("l")).unwrap();
        let message = manifest_of(with_link.path()).unwrap_err().to_string();
        assert!(
            message.contains("symbolic link") && message.contains("/l"),
            "{message}"
        );

        let socket = folder(&[]);
        let _listener = std::os::unix::net::UnixListener::bind(socket.path().join("s")).unwrap();
        assert!(
            manifest_of(socket.path())
                .unwrap_err()
                .to_string()
                .contains("socket")
        );

        let odd = folder(&[]);
        std::fs::write(odd.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        assert!(matches!(
            manifest_of(odd.path()),
            Err(Error::NotUtf8 { .. })
        ));
    }

    #[test]
    fn hostile_manifests_are_refused() {
        for path in ["", "/a", "../a", "a/../b", "./a", "a//b", "a/", "a\0b"] {
            let made = Manifest::new([(path.to_owned(), file("x"))]);
            assert_eq!(made, Err(BadManifest::Path(path.to_owned())));
            let line = format!(
                "{HEADER}\n{} - 1 {}\n",
                file("x").digest,
                serde_json::Value::from(path)
            );
            assert!(Manifest::parse(line.as_bytes()).is_err(), "{path}");
        }
        let both = Manifest::new([
            ("a".into(), file("x")),
            ("a-b".into(), file("x")),
            ("a/b".into(), file("x")),
        ]);
        assert_eq!(both, Err(BadManifest::Twice("a".into())));
        let twice = Manifest::new([("a".into(), file("x")), ("a".into(), file("y"))]);
        assert_eq!(twice, Err(BadManifest::Twice("a".into())));
    }

    fn any_manifest() -> impl Strategy<Value = Manifest> {
        let path = proptest::collection::vec("[a-c \"\\\\\n.é]{1,3}", 1..3)
            .prop_map(|parts| parts.join("/"));
        let file = (any::<[u8; 32]>(), any::<u64>(), any::<bool>()).prop_map(
            |(digest, size, executable)| FileEntry {
                digest: Digest::from_bytes(digest),
                size,
                executable,
            },
        );
        proptest::collection::vec((path, file), 0..6)
            .prop_filter_map("no manifest", |files| Manifest::new(files).ok())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(manifest in any_manifest()) {
            prop_assert_eq!(Manifest::parse(&manifest.to_bytes()).unwrap(), manifest);
        }

        #[test]
        fn no_bytes_are_read_two_ways(manifest in any_manifest(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = manifest.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = Manifest::parse(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }

        #[test]
        fn a_manifest_cut_short_is_no_manifest_or_a_smaller_one(manifest in any_manifest(), at in any::<prop::sample::Index>()) {
            let bytes = manifest.to_bytes();
            let cut = &bytes[..at.index(bytes.len())];
            if let Ok(read) = Manifest::parse(cut) {
                prop_assert!(read.files().len() < manifest.files().len());
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = Manifest::parse(&bytes);
        }
    }
}
