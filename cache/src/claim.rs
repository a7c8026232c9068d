//! Claims: who may make a result. One runner at a time holds a key's lock (of the operating system, so it ends
//! with its holder); only the holder can publish.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::entry::{Entry, Meta};
use crate::error::{Error, Result};
use crate::fs;
use crate::key::{Key, KeyId};
use crate::publish;
use crate::sealed;
use crate::store::{KEY, Store};

/// How often a waiting runner looks again.
const POLL: Duration = Duration::from_millis(100);

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// The result is there.
    Hit(Entry),
    /// It is ours to make.
    Reserved(Reservation),
    /// Another runner, or a job that outlived its runner, is making it.
    Busy,
}

/// The right to make one result: a locked key and a work folder.
///
/// Dropping it gives up the key and keeps the work folder for the next attempt.
#[derive(Debug)]
pub struct Reservation {
    store: Store,
    key: Key,
    id: KeyId,
    work: PathBuf,
    /// Whether nothing but the key is in the work folder.
    new: bool,
    lock: Lock,
}

impl Store {
    /// Takes the key's result, or the right to make it, or says that somebody else has that right.
    ///
    /// If the last holder was killed while publishing, this finishes its work first.
    pub fn try_claim(&self, key: &Key) -> Result<Claim> {
        let id = key.id();
        if let Some(entry) = self.get(&id)? {
            return Ok(Claim::Hit(entry));
        }
        let Some(lock) = Lock::take(self.lock_path(&id))? else {
            return Ok(Claim::Busy);
        };
        // Published, or left half published, between the look and the lock.
        if let Some(entry) = self.get(&id)? {
            publish::discard(self, &id)?;
            return Ok(Claim::Hit(entry));
        }
        if let Some(entry) = publish::finish_interrupted(self, &id)? {
            return Ok(Claim::Hit(entry));
        }
        self.reserve(key, id, lock)
    }

    /// Like [`try_claim`](Self::try_claim), but never a hit: the result is to be made again.
    /// The present entry stays until the new one replaces it.
    pub fn try_reclaim(&self, key: &Key) -> Result<Claim> {
        let id = key.id();
        let Some(lock) = Lock::take(self.lock_path(&id))? else {
            return Ok(Claim::Busy);
        };
        publish::discard(self, &id)?;
        self.reserve(key, id, lock)
    }

    /// Like [`try_claim`](Self::try_claim), but waits while the key is busy; never [`Claim::Busy`].
    /// `wait` is told at each look who holds it.
    pub fn claim(&self, key: &Key, mut wait: impl FnMut(&str)) -> Result<Claim> {
        loop {
            match self.try_claim(key)? {
                Claim::Busy => {
                    wait(&self.holder(&key.id()));
                    std::thread::sleep(POLL);
                }
                other => return Ok(other),
            }
        }
    }

    /// Who holds a key, in words, as far as known.
    pub fn holder(&self, id: &KeyId) -> String {
        crate::lease::in_words(&self.lock_path(id))
    }

    fn reserve(&self, key: &Key, id: KeyId, lock: Lock) -> Result<Claim> {
        let work = self.work_path(&id);
        let new = fs::create_one_folder(&work)?;
        if new {
            keep_key(&work, key)?;
        } else {
            publish::forget_intent(&work)?;
        }
        Ok(Claim::Reserved(Reservation {
            store: self.clone(),
            key: key.clone(),
            id,
            work,
            new,
            lock,
        }))
    }

    /// Does something while nobody else holds the key; nothing where somebody does.
    pub(crate) fn while_locked(&self, id: &KeyId, act: impl FnOnce() -> Result<()>) -> Result<()> {
        match Lock::take(self.lock_path(id))? {
            Some(_lock) => act(),
            None => Ok(()),
        }
    }

    /// The keys that are held, by runners or by jobs that outlived theirs. Changes nothing.
    pub(crate) fn busy_keys(&self) -> Result<HashSet<KeyId>> {
        let mut busy = HashSet::new();
        for lock in fs::list_if_there(&self.root().join("locks"))? {
            let Some(id) = lock.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if self.is_busy(&id)? {
                busy.insert(id);
            }
        }
        Ok(busy)
    }

    /// Whether anybody holds a key. Changes nothing.
    pub(crate) fn is_busy(&self, id: &KeyId) -> Result<bool> {
        let path = self.lock_path(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(Error::io("lock", &path)(e)),
        }
    }

    fn lock_path(&self, id: &KeyId) -> PathBuf {
        self.root().join("locks").join(id.to_string())
    }
}

impl Reservation {
    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The job's own folder, in the store. It holds what an interrupted attempt left.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Empties the work folder.
    pub fn fresh(&self) -> Result<()> {
        if self.new {
            return Ok(());
        }
        fs::remove_all(&self.work)?;
        fs::create_folder(&self.work)?;
        keep_key(&self.work, &self.key)
    }

    /// A second handle of the lock that child processes inherit: as long as one of them lives, the
    /// key stays busy, also when the runner is killed. Drop it right after starting the child, and
    /// start no other child meanwhile.
    pub fn inheritable(&self) -> Result<OwnedFd> {
        let Lock { path, file, shared } = &self.lock;
        shared.store(true, Ordering::Relaxed);
        file.as_ref()
            .ok_or(rustix::io::Errno::BADF)
            .and_then(rustix::io::dup)
            .map_err(|e| Error::io("pass on the lock", path)(e.into()))
    }

    /// Puts the outputs (name to path) and the log into the store and writes the entry.
    ///
    /// The files are moved, not copied, where they lie in the store's file system. At any instant
    /// the entry is either whole or absent. On success the work folder is gone.
    ///
    /// # Errors
    /// [`Error::MissingOutput`], [`Error::NotAFile`], [`Error::NotUtf8`], [`Error::Changed`]; the
    /// work folder is then as it was.
    pub fn publish(
        self,
        outputs: &BTreeMap<String, PathBuf>,
        log: Option<&Path>,
        meta: Meta,
    ) -> Result<Entry> {
        let entry = publish::publish(&self.store, &self.key, &self.work, outputs, log, meta)?;
        // Only now may others look; a sync that fails leaves the flag of `durable` in place.
        self.lock.give_up();
        self.store.inner.durable.flush_if_due()?;
        Ok(entry)
    }

    /// Gives up the key and removes the work folder.
    pub fn discard(self) -> Result<()> {
        fs::remove_all(&self.work)
    }
}

/// Writes the key into a work folder, for `explain`, should the job not end well.
fn keep_key(work: &Path, key: &Key) -> Result<()> {
    let path = work.join(KEY);
    let bytes = sealed::seal(key).map_err(|e| Error::not_json(&path, &e))?;
    fs::write(&path, &bytes)
}

/// A lock file, removed by whoever holds its lock.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    /// There until the lock is dropped.
    file: Option<File>,
    /// Child processes may hold it, too.
    shared: AtomicBool,
}

impl Lock {
    fn take(path: PathBuf) -> Result<Option<Self>> {
        let Some(mut file) = fs::open_locked(&path, false)? else {
            return Ok(None);
        };
        // For people only; a killed holder's text may still stand there. An empty file is not cut:
        // ext4 would write such a file to the disk at once when it is closed, and its removal would
        // wait for that (5 ms per job).
        if file.metadata().is_ok_and(|meta| meta.len() > 0) {
            let _ = file.set_len(0);
        }
        let _ = writeln!(file, "{}", crate::lease::ourselves());
        Ok(Some(Self {
            path,
            file: Some(file),
            shared: AtomicBool::new(false),
        }))
    }

    /// Lets others have the key, whoever else still holds the lock.
    fn give_up(self) {
        self.shared.store(false, Ordering::Relaxed);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that still lives keeps the key: without its file, the lock would not count any more.
        // Whether there is one shows once our handle, which such a child shares, is closed.
        if self.shared.load(Ordering::Relaxed) {
            self.file = None;
            match fs::open_locked(&self.path, false) {
                Ok(Some(file)) => self.file = Some(file),
                _ => return,
            }
        }
        // While locked: who waits for this file finds it gone and makes a new one.
        let _ = fs::remove_file(&self.path);
    }
}
