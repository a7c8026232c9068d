//! Leases: who uses the store. Runners share it; whoever collects garbage or heals has it alone, so that nothing is
//! removed that a runner has just looked up or is about to refer to.
//!
//! A lease is a lock of the operating system on the file `lease`, so it ends with its holder. Whoever shares it leaves
//! a sign in `users/`, for messages only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::durable;
use crate::error::{Error, Result};
use crate::fs;
use crate::store::Store;

/// How often a waiting runner looks again.
const POLL: Duration = Duration::from_millis(100);

/// The store is in use, together with others. Ends when it is dropped.
#[derive(Debug)]
pub struct Lease {
    // In this order: who finds the lock free finds no sign of ours.
    _sign: Option<Sign>,
    _lock: Option<File>,
}

/// Nobody else uses the store. Ends when it is dropped.
#[derive(Debug)]
pub struct AloneLease {
    store: Store,
    _lock: File,
}

/// A file that says who holds a lease; locked as long as its holder lives.
#[derive(Debug)]
struct Sign {
    path: PathBuf,
    _held: File,
}

impl Store {
    /// Says that the store is in use; to be held while results are looked up, made and placed. `None` while somebody
    /// has the store alone.
    ///
    /// In a store that cannot be written to there may be nothing to lock; then the lease is granted without a lock.
    pub fn try_lease(&self) -> Result<Option<Lease>> {
        let path = self.lease_path();
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path);
        let (file, writable) = match opened.map_err(Error::io("open", &path)) {
            Ok(file) => (file, true),
            Err(e) if e.is_read_only() => match File::open(&path) {
                Ok(file) => (file, false),
                Err(_) => return Ok(Some(Lease::without_lock())),
            },
            Err(e) => return Err(e),
        };
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(_)) if !writable => return Ok(Some(Lease::without_lock())),
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
        }
        let sign = if writable {
            Some(Sign::leave(&self.users_path())?)
        } else {
            None
        };
        Ok(Some(Lease {
            _sign: sign,
            _lock: Some(file),
        }))
    }

    /// Like [`try_lease`](Self::try_lease), but waits while somebody has the store alone. `wait` is told at each look
    /// who that is.
    pub fn lease(&self, mut wait: impl FnMut(&str)) -> Result<Lease> {
        loop {
            if let Some(lease) = self.try_lease()? {
                return Ok(lease);
            }
            wait(&in_words(&self.lease_path()));
            std::thread::sleep(POLL);
        }
    }

    /// The store for us alone; `None` while anybody uses it ([`users`](Self::users) tells who).
    pub fn lease_alone(&self) -> Result<Option<AloneLease>> {
        let path = self.lease_path();
        let Some(mut lock) = fs::open_locked(&path, false)? else {
            return Ok(None);
        };
        // For people only, like the signs.
        let _ = lock.set_len(0);
        let _ = writeln!(lock, "{}", ourselves());
        for sign in self.stale_signs()? {
            fs::remove_file(&sign)?;
        }
        Ok(Some(AloneLease {
            store: self.clone(),
            _lock: lock,
        }))
    }

    /// Who uses the store, in words, as far as known.
    pub fn users(&self) -> Result<Vec<String>> {
        let signs = fs::list_if_there(&self.users_path())?.into_iter();
        let mut users: Vec<String> = signs
            .map(|sign| sign.path())
            .filter(|path| !Sign::is_stale(path))
            .map(|path| in_words(&path))
            .collect();
        users.sort();
        Ok(users)
    }

    /// Signs of killed runners.
    pub(crate) fn stale_signs(&self) -> Result<Vec<PathBuf>> {
        let signs = fs::list_if_there(&self.users_path())?.into_iter();
        Ok(signs
            .map(|sign| sign.path())
            .filter(|path| Sign::is_stale(path))
            .collect())
    }

    fn lease_path(&self) -> PathBuf {
        self.root().join("lease")
    }

    fn users_path(&self) -> PathBuf {
        self.root().join("users")
    }
}

impl Lease {
    fn without_lock() -> Self {
        Self {
            _sign: None,
            _lock: None,
        }
    }
}

impl AloneLease {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Sign {
    fn leave(folder: &Path) -> Result<Self> {
        fs::create_folder(folder)?;
        let name = format!(
            "{}-{}",
            fs::file_name_for(&durable::host()),
            std::process::id()
        );
        let mut n = 0;
        // A process may hold several leases, and in two containers two processes may have one name.
        loop {
            let path = folder.join(format!("{name}-{n}"));
            if let Some(mut file) = fs::open_locked(&path, false)? {
                let _ = file.set_len(0);
                let _ = writeln!(file, "{}", ourselves());
                return Ok(Self { path, _held: file });
            }
            n += 1;
        }
    }

    /// Whether nobody holds it any more.
    fn is_stale(path: &Path) -> bool {
        File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok())
    }
}

impl Drop for Sign {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Who we are, for messages to others.
pub(crate) fn ourselves() -> String {
    format!("process {} on {}", std::process::id(), durable::host())
}

/// What the holder of a lock wrote into its file; anything may stand there.
pub(crate) fn in_words(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match text.trim() {
        "" => "another runner".into(),
        who => who.chars().filter(|c| !c.is_control()).take(200).collect(),
    }
}
