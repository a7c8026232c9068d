//! The stat cache: digests of files by path and state, so that unchanged files are not read again.
//! Losing it costs time and nothing else: a damaged file is an empty cache, and of two runners that
//! save at once each keeps what the other learned.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::{self, Stat};

const HEADER: &[u8] = b"rematch stat cache 1\n";

/// A digest counts only if the file was left alone for so long before it was hashed: a later write
/// within one tick of the clock would leave the same times. Linux ticks take up to 10 ms.
const RACY_FINE: i64 = 100_000_000;

/// The same where a file system counts whole seconds (or two, as FAT does).
const RACY_COARSE: i64 = 2_100_000_000;

/// Beyond so many files, those that are gone or changed are forgotten at the next save.
const MANY: usize = 1 << 18;

/// Digests of files seen before. Threads share it.
#[derive(Debug)]
pub struct StatCache {
    path: PathBuf,
    temporary: PathBuf,
    memory: RwLock<Memory>,
}

type Files = HashMap<Box<[u8]>, Known>;

#[derive(Debug, Default)]
struct Memory {
    /// As saved; read at first use.
    saved: OnceLock<Saved>,
    /// Learned since.
    fresh: Files,
}

/// A file's content in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    stat: Stat,
    digest: Digest,
}

impl StatCache {
    /// Of the store at `root`; reads nothing yet.
    pub fn new(root: &Path) -> Self {
        Self {
            path: root.join("stat-cache"),
            temporary: root.join("tmp"),
            memory: RwLock::default(),
        }
    }

    /// The digest of a file, and the state that it belongs to. Reads the file only if its state is
    /// not known. `path` should be absolute.
    pub fn digest(&self, path: &Path) -> Result<(Digest, Stat)> {
        let meta = std::fs::metadata(path).map_err(Error::io("look at", path))?;
        if !meta.is_file() {
            return Err(Error::NotAFile {
                path: path.into(),
                what: fs::what_it_is(&meta),
            });
        }
        self.digest_in(path, &Stat::of(&meta))
    }

    /// As [`digest`](Self::digest), where the state of the file was just looked at.
    pub fn digest_in(&self, path: &Path, stat: &Stat) -> Result<(Digest, Stat)> {
        if let Some(digest) = self.recall(path, stat) {
            return Ok((digest, *stat));
        }
        let began = now();
        let (digest, stat) = match Digest::of_file_in(path, stat) {
            // Nobody promised to leave a user's file alone since it was looked at.
            Err(Error::Changed { .. }) => Digest::of_file_with_stat(path)?,
            read => read?,
        };
        self.learn(path, stat, digest, began);
        Ok((digest, stat))
    }

    /// The digest of `path` if it was seen in exactly this state.
    pub fn recall(&self, path: &Path, stat: &Stat) -> Option<Digest> {
        let name = path.as_os_str().as_bytes();
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let known = match memory.fresh.get(name) {
            Some(known) => *known,
            None => memory.saved.get_or_init(|| load(&self.path)).get(name)?,
        };
        (known.stat == *stat).then_some(known.digest)
    }

    /// Remembers what the file's content was in a state. `seen` is when reading it began,
    /// nanoseconds since 1970; a file written just before is not remembered.
    pub fn learn(&self, path: &Path, stat: Stat, digest: Digest, seen: i64) {
        let changed = stat.mtime.max(stat.ctime);
        let coarse = stat.ctime % 1_000_000_000 == 0;
        if seen.saturating_sub(changed) >= if coarse { RACY_COARSE } else { RACY_FINE } {
            self.know(path, stat, digest);
        }
    }

    /// Remembers a file that was just written from known content. An edit within the same tick of
    /// the clock would go unseen; it could cost that edit, but never reach a result, since jobs read
    /// objects and not placed copies.
    pub fn know(&self, path: &Path, stat: Stat, digest: Digest) {
        self.lock()
            .fresh
            .insert(path.as_os_str().as_bytes().into(), Known { stat, digest });
    }

    /// Writes what was learned, together with what others saved meanwhile.
    pub fn save(&self) -> Result<()> {
        let mut memory = self.lock();
        if memory.fresh.is_empty() {
            return Ok(());
        }
        let _alone = fs::open_locked(&self.path.with_extension("lock"), true)?;
        let saved = load(&self.path);
        let mut files: Vec<(&[u8], Known)> = saved
            .iter()
            .filter(|(name, _)| !memory.fresh.contains_key(*name))
            .chain(memory.fresh.iter().map(|(name, known)| (&**name, *known)))
            .collect();
        if files.len() > MANY {
            files.retain(|(name, known)| {
                let path = Path::new(std::ffi::OsStr::from_bytes(name));
                std::fs::metadata(path).is_ok_and(|meta| Stat::of(&meta) == known.stat)
            });
        }
        let bytes = to_bytes(&mut files);
        fs::write_atomic(&self.temporary, &self.path, &bytes)?;
        memory.saved = OnceLock::from(Saved::parse(bytes).unwrap_or_default());
        memory.fresh.clear();
        Ok(())
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// A cache as it lies on disk: a header, records in the order of their paths, a digest of all that.
/// It is searched as it is: most runs ask for few of its files.
#[derive(Debug, Default)]
struct Saved {
    bytes: Vec<u8>,
    /// Where each record begins.
    records: Vec<usize>,
}

/// Bytes of a record after its path, which begins with its length: five numbers and a digest.
const RECORD: usize = 5 * 8 + 32;

fn to_bytes(files: &mut [(&[u8], Known)]) -> Vec<u8> {
    files.sort_unstable_by_key(|(path, _)| *path);
    let mut bytes = Vec::with_capacity(64 + files.len() * (RECORD + 84));
    bytes.extend_from_slice(HEADER);
    for (path, Known { stat, digest }) in files {
        bytes.extend_from_slice(&(path.len() as u32).to_le_bytes());
        bytes.extend_from_slice(path);
        let Stat {
            size,
            mtime,
            ctime,
            inode,
            device,
        } = *stat;
        for number in [
            size,
            mtime.cast_unsigned(),
            ctime.cast_unsigned(),
            inode,
            device,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(digest.as_bytes());
    }
    let check = Digest::of_bytes(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    bytes
}

/// Reads a saved cache; empty where there is none or it is damaged.
fn load(path: &Path) -> Saved {
    fs::read_if_there(path)
        .ok()
        .flatten()
        .and_then(Saved::parse)
        .unwrap_or_default()
}

impl Saved {
    /// Finds where the records are; `None` for anything that is not a whole cache.
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<32>()?;
        if Digest::of_bytes(body).as_bytes() != check {
            return None;
        }
        let mut rest = body.strip_prefix(HEADER)?;
        let mut records = Vec::with_capacity(rest.len() / (RECORD + 84));
        while !rest.is_empty() {
            records.push(body.len() - rest.len());
            rest = Record::first(rest)?.rest;
        }
        let path = |at: usize| Record::first(&body[at..]).map(|record| record.path);
        // Earlier versions wrote them in no order.
        records.sort_by(|a, b| path(*a).cmp(&path(*b)));
        Some(Self { bytes, records })
    }

    fn at(&self, at: usize) -> Option<Record<'_>> {
        Record::first(&self.bytes[at..])
    }

    fn get(&self, path: &[u8]) -> Option<Known> {
        let order = |at: &usize| self.at(*at).map(|record| record.path).cmp(&Some(path));
        let found = self.records.binary_search_by(order).ok()?;
        self.at(self.records[found])?.known()
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], Known)> {
        self.records.iter().filter_map(|at| {
            let record = self.at(*at)?;
            Some((record.path, record.known()?))
        })
    }
}

/// One file of a saved cache.
struct Record<'a> {
    path: &'a [u8],
    facts: &'a [u8; RECORD],
    /// The bytes behind it.
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (facts, rest) = rest.split_first_chunk::<RECORD>()?;
        Some(Self { path, facts, rest })
    }

    fn known(&self) -> Option<Known> {
        let (numbers, digest) = self.facts.split_last_chunk::<32>()?;
        let mut numbers = numbers
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || numbers.next();
        let stat = Stat {
            size: next()?,
            mtime: next()?.cast_signed(),
            ctime: next()?.cast_signed(),
            inode: next()?,
            device: next()?,
        };
        let digest = Digest::from_bytes(*digest);
        Some(Known { stat, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::FileTimes;
    use std::time::Duration;

    fn cache() -> (tempfile::TempDir, StatCache) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("tmp")).unwrap();
        let cache = StatCache::new(root.path());
        (root, cache)
    }

    /// A file that was left alone long enough.
    fn old_file(folder: &Path, content: &str) -> PathBuf {
        let path = folder.join("f");
        std::fs::write(&path, content).unwrap();
        std::thread::sleep(
            Duration::from_nanos(RACY_FINE.unsigned_abs()) + Duration::from_millis(20),
        );
        path
    }

    #[test]
    fn an_unchanged_file_is_not_read_again_also_after_saving() {
        let (root, cache) = cache();
        let path = old_file(root.path(), "x");
        let (digest, stat) = cache.digest(&path).unwrap();
        assert_eq!(cache.recall(&path, &stat), Some(digest));
        cache.save().unwrap();
        assert_eq!(
            StatCache::new(root.path()).recall(&path, &stat),
            Some(digest)
        );
    }

    #[test]
    fn a_touched_file_is_read_again_and_has_the_same_digest() {
        let (root, cache) = cache();
        let path = old_file(root.path(), "x");
        let (digest, stat) = cache.digest(&path).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(UNIX_EPOCH))
            .unwrap();
        let now = Stat::of(&std::fs::metadata(&path).unwrap());
        assert_ne!(stat, now);
        assert_eq!(cache.recall(&path, &now), None);
        assert_eq!(cache.digest(&path).unwrap(), (digest, now));
    }

    #[test]
    fn a_file_written_just_now_is_not_trusted() {
        let (root, cache) = cache();
        let path = root.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let (_, stat) = cache.digest(&path).unwrap();
        assert_eq!(cache.recall(&path, &stat), None);
    }

    #[test]
    fn what_two_runners_learned_is_kept() {
        let (root, a) = cache();
        let b = StatCache::new(root.path());
        let stat = Stat {
            size: 1,
            mtime: 5,
            ctime: 7,
            inode: 3,
            device: 4,
        };
        a.learn(Path::new("/a"), stat, Digest::of_bytes(b"a"), now());
        b.learn(Path::new("/b"), stat, Digest::of_bytes(b"b"), now());
        a.save().unwrap();
        b.save().unwrap();
        let read = StatCache::new(root.path());
        assert_eq!(
            read.recall(Path::new("/a"), &stat),
            Some(Digest::of_bytes(b"a"))
        );
        assert_eq!(
            read.recall(Path::new("/b"), &stat),
            Some(Digest::of_bytes(b"b"))
        );
    }

    #[test]
    fn a_damaged_cache_is_an_empty_one() {
        let stat = Stat {
            size: 1,
            mtime: -5,
            ctime: 7,
            inode: 3,
            device: 4,
        };
        let known = Known {
            stat,
            digest: Digest::of_bytes(b""),
        };
        let bytes = to_bytes(&mut [(b"/bc", known), (b"/a", known)]);
        let saved = Saved::parse(bytes.clone()).unwrap();
        assert_eq!(saved.iter().count(), 2);
        for name in [&b"/a"[..], b"/bc"] {
            assert_eq!(saved.get(name), Some(known));
        }
        for name in [&b"/"[..], b"/b", b"/bcd"] {
            assert_eq!(saved.get(name), None);
        }
        for at in 0..bytes.len() {
            assert!(Saved::parse(bytes[..at].to_vec()).is_none(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 16;
            assert!(Saved::parse(flipped).is_none(), "flipped at {at}");
        }
    }

    fn any_files() -> impl Strategy<Value = Files> {
        let numbers = (
            any::<u64>(),
            any::<i64>(),
            any::<i64>(),
            any::<u64>(),
            any::<u64>(),
        );
        let known = (numbers, any::<[u8; 32]>()).prop_map(|(numbers, digest)| {
            let (size, mtime, ctime, inode, device) = numbers;
            Known {
                stat: Stat {
                    size,
                    mtime,
                    ctime,
                    inode,
                    device,
                },
                digest: Digest::from_bytes(digest),
            }
        });
        let path = any::<Vec<u8>>().prop_map(Vec::into_boxed_slice);
        proptest::collection::hash_map(path, known, 0..5)
    }

    proptest! {
        #[test]
        fn what_is_saved_is_read(files in any_files()) {
            let mut list: Vec<(&[u8], Known)> =
                files.iter().map(|(path, known)| (&**path, *known)).collect();
            let saved = Saved::parse(to_bytes(&mut list)).unwrap();
            prop_assert_eq!(saved.iter().count(), files.len());
            for (path, known) in &files {
                prop_assert_eq!(saved.get(path), Some(*known));
            }
        }

        #[test]
        fn any_bytes_behind_a_right_checksum_are_survived(body: Vec<u8>, whole: bool) {
            let mut bytes = if whole { HEADER.to_vec() } else { Vec::new() };
            bytes.extend(body);
            let check = Digest::of_bytes(&bytes);
            bytes.extend(check.as_bytes());
            if let Some(saved) = Saved::parse(bytes) {
                prop_assert!(saved.iter().count() < 1000);
                let _ = saved.get(b"x");
            }
        }
    }
}
