//! Reads `.tar.gz` archives as hostile: nothing is unpacked to disk, only expected members are read,
//! links and devices are refused, every size is bounded, the gzip checksum counts.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use tar::EntryType;

use crate::error::StageError;
use crate::fs;

/// Most bytes of an extension header (long names, attributes), which is skipped.
const EXTENSION: u64 = 1 << 16;

/// An archive that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// It ends early: a download that was cut, most likely.
    #[error("{} is cut off", .0.display())]
    Cut(PathBuf),
    /// It is no `.tar.gz`, or damaged.
    #[error("{} is damaged or no .tar.gz file: {}", .0.display(), .1)]
    Damaged(PathBuf, io::Error),
    /// It holds what a dataset archive has no business to hold.
    #[error("{} holds `{}`, {}; it is refused", .0.display(), .1, .2)]
    Refused(PathBuf, String, &'static str),
    /// Expected members are not there.
    #[error("{} lacks {}", .0.display(), .1)]
    Missing(PathBuf, String),
}

impl From<Error> for StageError {
    fn from(error: Error) -> Self {
        let help = match error {
            Error::File(error) => return error.into(),
            Error::Cut(_) | Error::Damaged(..) => "download it again",
            Error::Refused(..) | Error::Missing(..) => {
                "check that this is the official archive, in the layout that `layout` names"
            }
        };
        Self::failed(error.to_string()).help(help)
    }
}

/// A file in an archive, while the archive is read.
pub struct Member<'a> {
    /// Its number among those that are wanted.
    pub number: usize,
    /// Its size in bytes.
    pub size: u64,
    archive: &'a Path,
    name: &'a str,
    content: &'a mut dyn Read,
}

impl Member<'_> {
    /// Reads as many bytes as `buffer` has.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.content
            .read_exact(buffer)
            .map_err(|error| broken(self.archive, error))
    }

    /// Reads all of it, if it has no more than `limit` bytes.
    pub fn whole(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        if self.size > limit {
            return Err(self.refused("larger than such a file can be"));
        }
        // Grown as bytes come: the size may lie.
        let mut content = Vec::new();
        let read = self.content.read_to_end(&mut content);
        read.map_err(|error| broken(self.archive, error))?;
        if content.len() as u64 != self.size {
            return Err(Error::Cut(self.archive.to_owned()));
        }
        Ok(content)
    }

    /// That it cannot be used.
    pub fn refused(&self, why: &'static str) -> Error {
        Error::Refused(self.archive.to_owned(), self.name.to_owned(), why)
    }
}

fn broken(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Cut(path.to_owned()),
        _ => Error::Damaged(path.to_owned(), error),
    }
}

/// Calls `each` with the number and the content of every member of `wanted`, in the archive's
/// order. A member may have up to `limit` bytes, all of them up to `unpacked`; all must be there, once.
pub fn read<E: From<Error>>(
    path: &Path,
    wanted: &[&str],
    unpacked: u64,
    limit: u64,
    mut each: impl FnMut(usize, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    stream(path, wanted, unpacked, |mut member| {
        let content = member.whole(limit)?;
        each(member.number, content)
    })
}

/// Calls `each` with every member of `wanted`, in the archive's order, for it to read as much of it
/// as it wants. Everything together may unpack to `unpacked` bytes; all must be there, once.
pub fn stream<E: From<Error>>(
    path: &Path,
    wanted: &[&str],
    unpacked: u64,
    mut each: impl FnMut(Member) -> Result<(), E>,
) -> Result<(), E> {
    let file: File = fs::open(path).map_err(Error::File)?;
    let gzip = GzDecoder::new(BufReader::with_capacity(1 << 18, file));
    // One byte past the limit tells an archive that ends there from one that goes on.
    let mut archive = tar::Archive::new(gzip.take(unpacked + 1));
    let read = members(&mut archive, path, wanted, &mut each);
    // The rest, for the checksum at the end.
    let mut rest = archive.into_inner();
    let read = read.and_then(|seen| {
        io::copy(&mut rest, &mut io::sink()).map_err(|error| broken(path, error))?;
        Ok(seen)
    });
    if rest.limit() == 0 {
        let why = "more than this dataset's archive unpacks to";
        return Err(Error::Refused(path.to_owned(), "…".into(), why).into());
    }
    let seen = read?;
    let missing: Vec<&str> = wanted
        .iter()
        .zip(&seen)
        .filter_map(|(name, seen)| (!seen).then_some(*name))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Missing(path.to_owned(), missing.join(", ")).into());
    }
    Ok(())
}

/// Goes through the members of an archive; returns which of `wanted` were there.
fn members<E: From<Error>>(
    archive: &mut tar::Archive<impl Read>,
    path: &Path,
    wanted: &[&str],
    each: &mut impl FnMut(Member) -> Result<(), E>,
) -> Result<Vec<bool>, E> {
    let broken = |error| broken(path, error);
    let refused = |name: &str, why| Error::Refused(path.to_owned(), name.to_owned(), why);
    let mut seen = vec![false; wanted.len()];
    // Raw: extension headers are left to us, so that none of them makes the reader allocate.
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.header().path_bytes()).into_owned();
        let size = entry.header().size().map_err(broken)?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Directory => {}
            EntryType::XHeader | EntryType::XGlobalHeader if size <= EXTENSION => continue,
            EntryType::Link | EntryType::Symlink => return Err(refused(&name, "a link").into()),
            _ => return Err(refused(&name, "which is neither a file nor a folder").into()),
        }
        let plain = name.strip_prefix("./").unwrap_or(&name);
        let Some(number) = wanted.iter().position(|w| *w == plain) else {
            continue;
        };
        if entry.header().entry_type() != EntryType::Regular {
            return Err(refused(&name, "a folder where a file belongs").into());
        }
        if std::mem::replace(&mut seen[number], true) {
            return Err(refused(&name, "twice").into());
        }
        each(Member {
            number,
            size,
            archive: path,
            name: &name,
            content: &mut entry,
        })?;
    }
    Ok(seen)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    /// Packs files, or whatever `kind` says.
    pub(crate) fn pack(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, content) in members {
            let mut header = Header::new_ustar();
            // Past the builder's own checks: hostile names are wanted here.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn read_bytes(bytes: &[u8]) -> Result<Vec<(usize, Vec<u8>)>, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut found = Vec::new();
        read(file.path(), &["d/a", "d/b"], 1 << 16, 1000, |n, content| {
            found.push((n, content));
            Ok::<(), Error>(())
        })?;
        Ok(found)
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn wanted_members_come_in_the_order_of_the_archive() {
        let bytes = pack(&[
            ("d/", EntryType::Directory, b""),
            ("d/b", FILE, b"two"),
            ("d/readme", FILE, b"x"),
            ("./d/a", FILE, b"one"),
        ]);
        assert_eq!(
            read_bytes(&bytes).unwrap(),
            [(1, b"two".to_vec()), (0, b"one".to_vec())]
        );
    }

    #[test]
    fn an_archive_cut_anywhere_is_refused() {
        let bytes = pack(&[("d/a", FILE, &[7; 900]), ("d/b", FILE, &[9; 900])]);
        for length in 0..bytes.len() {
            let error = read_bytes(&bytes[..length]).unwrap_err();
            assert!(
                matches!(error, Error::Cut(_) | Error::Damaged(..)),
                "{length}: {error}"
            );
        }
    }

    #[test]
    fn a_wrong_gzip_checksum_is_noticed() {
        let mut bytes = pack(&[("d/a", FILE, b"one"), ("d/b", FILE, b"two")]);
        let crc = bytes.len() - 8;
        bytes[crc] ^= 1;
        assert!(matches!(read_bytes(&bytes), Err(Error::Damaged(..))));
    }

    #[test]
    fn what_has_no_business_in_a_dataset_is_refused() {
        let refused = |members: &[(&str, EntryType, &[u8])]| {
            let error = read_bytes(&pack(members)).unwrap_err();
            assert!(
                matches!(error, Error::Refused(..) | Error::Missing(..)),
                "{error}"
            );
            error.to_string()
        };
        assert!(refused(&[("d/a", EntryType::Symlink, b"")]).contains("a link"));
        assert!(refused(&[("x", EntryType::Link, b"")]).contains("a link"));
        assert!(refused(&[("x", EntryType::Block, b"")]).contains("neither a file nor a folder"));
        assert!(
            refused(&[("d/a", EntryType::Directory, b"")])
                .contains("a folder where a file belongs")
        );
        assert!(refused(&[("d/a", FILE, &[0; 1001])]).contains("larger"));
        assert!(refused(&[("d/a", FILE, b"1"), ("d/a", FILE, b"2")]).contains("twice"));
        assert!(
            refused(&[("../d/a", FILE, b"1"), ("/d/b", FILE, b"2")]).ends_with("lacks d/a, d/b")
        );
        assert!(refused(&[("l", EntryType::GNULongName, &[b'x'; 2000])]).contains("neither"));
    }

    #[test]
    fn an_archive_that_unpacks_to_more_than_its_limit_is_refused() {
        let bytes = pack(&[
            ("d/a", FILE, b"one"),
            ("d/b", FILE, b"two"),
            ("d/bomb", FILE, &vec![0; 1 << 17]),
        ]);
        let error = read_bytes(&bytes).unwrap_err();
        assert!(matches!(error, Error::Refused(..)), "{error}");
    }
}
