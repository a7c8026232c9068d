//! Digests: BLAKE3 of bytes and of files. Files are read in parallel pieces with a bounded buffer
//! per thread; they are not mapped into memory, since a mapped file that shrinks kills the process.
//! Large files may be left to [a child that maps them](crate::mapped).

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::fs::{self, Stat};
use crate::mapped::{self, LARGE};

/// BLAKE3 of some bytes; as text 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of bytes in memory.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Of a file's content.
    ///
    /// # Errors
    /// [`Error::Changed`] if the file was written to meanwhile, [`Error::NotAFile`] for anything
    /// but a regular file.
    pub fn of_file(path: &Path) -> Result<Self> {
        Ok(Self::of_file_with_stat(path)?.0)
    }

    /// Of a file's content, with the state of the file that it was read from.
    pub fn of_file_with_stat(path: &Path) -> Result<(Self, Stat)> {
        Self::of_file_telling(path, &|_| {})
    }

    /// As [`of_file_with_stat`](Self::of_file_with_stat); `tell` hears of every piece that was read, by its bytes.
    pub(crate) fn of_file_telling(
        path: &Path,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<(Self, Stat)> {
        let file = fs::open(path)?;
        let meta = file.metadata().map_err(Error::io("look at", path))?;
        if !meta.is_file() {
            return Err(Error::NotAFile {
                path: path.into(),
                what: fs::what_it_is(&meta),
            });
        }
        read(&Reading { file: &file, tell }, path, &Stat::of(&meta))
    }

    /// As [`of_file_with_stat`](Self::of_file_with_stat), for a file that was just seen in a state:
    /// it must still be in that.
    pub fn of_file_in(path: &Path, stat: &Stat) -> Result<(Self, Stat)> {
        let file = fs::open(path)?;
        let reading = Reading {
            file: &file,
            tell: &|_| {},
        };
        read(&reading, path, stat)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.to_string()
    }
}

/// Bytes that one thread reads and hashes at a time: a power of two, small enough to stay in a
/// second-level cache between the read and the hash.
const PIECE: u64 = 256 << 10;

/// A file that is being read.
struct Reading<'a> {
    file: &'a File,
    tell: &'a (dyn Fn(u64) + Sync),
}

/// The content of a file that is in the state `before`, if it still is after reading.
fn read(file: &Reading, path: &Path, before: &Stat) -> Result<(Digest, Stat)> {
    let changed = || Error::Changed { path: path.into() };
    let large = before.size >= LARGE;
    let digest = match large.then(|| mapped::digest(file.file)).flatten() {
        Some(digest) => {
            (file.tell)(before.size);
            digest
        }
        None => of_open_file(file, before.size).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => changed(),
            _ => Error::io("read", path)(e),
        })?,
    };
    let meta = file.file.metadata().map_err(Error::io("look at", path))?;
    let after = Stat::of(&meta);
    // The status time alone may move: someone may link the file meanwhile.
    let same = before.same_file(&after) && (before.size, before.mtime) == (after.size, after.mtime);
    if same {
        Ok((digest, *before))
    } else {
        Err(changed())
    }
}

fn of_open_file(file: &Reading, size: u64) -> io::Result<Digest> {
    let hash = if size <= PIECE {
        with_piece(file, 0, size, |bytes| *blake3::hash(bytes).as_bytes())?
    } else {
        let (left, right) = halves(file, 0, size)?;
        *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
    };
    Ok(Digest(hash))
}

/// The chaining values of the two halves (as BLAKE3 splits) of `size` bytes at `offset`.
fn halves(file: &Reading, offset: u64, size: u64) -> io::Result<(ChainingValue, ChainingValue)> {
    let left = left_subtree_len(size);
    let (a, b) = rayon::join(
        || subtree(file, offset, left),
        || subtree(file, offset + left, size - left),
    );
    Ok((a?, b?))
}

fn subtree(file: &Reading, offset: u64, size: u64) -> io::Result<ChainingValue> {
    if size <= PIECE {
        return with_piece(file, offset, size, |bytes| {
            blake3::Hasher::new()
                .set_input_offset(offset)
                .update(bytes)
                .finalize_non_root()
        });
    }
    let (left, right) = halves(file, offset, size)?;
    Ok(merge_subtrees_non_root(&left, &right, Mode::Hash))
}

fn with_piece<T>(
    reading: &Reading,
    offset: u64,
    size: u64,
    hash: impl FnOnce(&[u8]) -> T,
) -> io::Result<T> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < size as usize {
            buffer.resize(size as usize, 0);
        }
        let piece = &mut buffer[..size as usize];
        reading.file.read_exact_at(piece, offset)?;
        (reading.tell)(size);
        Ok(hash(piece))
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match blake3::Hash::from_hex(text) {
            Ok(hash) if lower => Ok(Self(*hash.as_bytes())),
            _ => Err(Error::NotADigest {
                text: text.chars().take(80).collect(),
            }),
        }
    }
}

/// As text in formats for people, as bytes in others.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.0);
        }
        serializer.serialize_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_bytes<E: serde::de::Error>(
                self,
                bytes: &[u8],
            ) -> std::result::Result<Digest, E> {
                let digest = bytes.try_into().map(Digest);
                digest.map_err(|_| E::invalid_length(bytes.len(), &"32 bytes"))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_hashes_like_its_bytes_at_every_kind_of_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let piece = PIECE as usize;
        for size in [
            0,
            1,
            1023,
            1024,
            1025,
            piece - 1,
            piece,
            piece + 1,
            2 * piece,
            3 * piece + 7,
            5 * piece + 1024,
        ] {
            let bytes: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(
                Digest::of_file(&path).unwrap(),
                Digest::of_bytes(&bytes),
                "{size} bytes"
            );
        }
    }

    #[test]
    fn the_empty_digest_is_the_published_one() {
        // BLAKE3 specification, test vector for input length 0.
        let hex = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of_bytes(b"").to_string(), hex);
        assert_eq!(hex.parse::<Digest>().unwrap(), Digest::of_bytes(b""));
    }

    #[test]
    fn only_64_lower_hexadecimal_digits_are_a_digest() {
        let hex = Digest::of_bytes(b"x").to_hex();
        for bad in [
            "",
            "12",
            &hex[1..],
            &format!("{hex}0"),
            &hex.to_uppercase(),
            &hex.replace(&hex[..1], "g"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert_eq!(
            serde_json::from_str::<Digest>(&serde_json::to_string(&hex).unwrap())
                .unwrap()
                .to_hex(),
            hex
        );
        assert!(serde_json::from_str::<Digest>("12").is_err());
    }

    #[test]
    fn a_file_that_is_no_longer_what_was_seen_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "seen").unwrap();
        let (digest, seen) = Digest::of_file_with_stat(&path).unwrap();
        assert_eq!(Digest::of_file_in(&path, &seen).unwrap(), (digest, seen));
        for (size, mtime, inode) in [(3, 0, 0), (5, 0, 0), (4, 1, 0), (4, 0, 1)] {
            let mut other = seen;
            (other.size, other.mtime, other.inode) = (size, seen.mtime + mtime, seen.inode + inode);
            let result = Digest::of_file_in(&path, &other);
            assert!(matches!(result, Err(Error::Changed { .. })), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [folder.path(), &pipe, Path::new("/dev/zero")] {
            assert!(matches!(Digest::of_file(path), Err(Error::NotAFile { .. })));
        }
    }
}
