//! Grouped syncs: what makes results survive a power cut without an fsync per job.
//!
//! A killed process loses nothing that it has written, so kills need no sync at all. A power cut
//! can leave a file of the right size with wrong bytes. Therefore: before a runner writes what is not
//! yet synced, it places a *flag* (itself synced) in `unsynced/`, holding the machine's boot id, and
//! keeps it locked; after a group of results is synced, it removes the flag. Who finds a flag whose
//! holder is gone ([`Durable::recover`]) takes it over if the machine has not restarted since, and
//! otherwise rehashes the objects written since the flag and deletes the damaged ones, so that their
//! entries count as absent.
//!
//! A *sync that fails* is reported by Linux once; the next one ends well although the bytes never got
//! to the disk, and reading finds them in memory. Flags of that time are marked, and stay until the
//! machine has restarted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::{self, Stat};

/// While results keep coming, they wait about this long for their common sync.
const GROUP: Duration = Duration::from_millis(500);

/// And at least so many times as long as the last sync took (4 ms on an idle disk with ext4, seconds
/// on a busy one), so that syncs take no more than a tenth of a run of tiny jobs.
const SHARE: u32 = 10;

/// Up to so many paths are synced one by one; more by syncing the whole file system.
const FEW: usize = 24;

/// What a flag says beside the boot id once a sync has failed.
const FAILED: &str = "a sync failed\n";

/// Clocks may step back a little between a flag and the objects after it.
const CLOCK_MARGIN: i64 = 3600 * 1_000_000_000;

/// A flag, held locked.
#[derive(Debug)]
struct Flag {
    path: PathBuf,
    held: File,
}

/// The syncs of one open store.
#[derive(Debug)]
pub struct Durable {
    root: PathBuf,
    state: Mutex<State>,
    /// One sync at a time; taken before `state`.
    syncing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    flag: Option<Flag>,
    /// Flags of killed runners: they go with the next sync.
    others: Vec<Flag>,
    /// Flags from before a sync that failed: they stay.
    failed: Vec<Flag>,
    /// Written, not yet synced.
    pending: Vec<PathBuf>,
    /// Publishers between their first write and their last.
    active: usize,
    /// Not before this is the next sync due.
    due: Option<Instant>,
}

/// Held by a publisher while it writes.
#[derive(Debug)]
pub struct Writing<'a>(&'a Durable);

impl Durable {
    /// For the store at `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.into(),
            state: Mutex::default(),
            syncing: Mutex::default(),
        }
    }

    /// To be called before writing; places the flag.
    pub fn begin(&self) -> Result<Writing<'_>> {
        let mut state = lock(&self.state);
        if state.flag.is_none() {
            state.flag = Some(place_flag(&self.root)?);
        }
        state.active += 1;
        Ok(Writing(self))
    }

    /// Syncs everything written so far.
    pub fn flush(&self) -> Result<()> {
        self.flush_alone(&lock(&self.syncing))
    }

    /// Syncs if the last sync was a while ago, and nobody else is syncing.
    pub fn flush_if_due(&self) -> Result<()> {
        let Ok(alone) = self.syncing.try_lock() else {
            return Ok(());
        };
        if lock(&self.state)
            .due
            .is_none_or(|due| due <= Instant::now())
        {
            self.flush_alone(&alone)?;
        }
        Ok(())
    }

    fn flush_alone(&self, _alone: &MutexGuard<'_, ()>) -> Result<()> {
        let began = Instant::now();
        let mut state = lock(&self.state);
        // The flag also stands for what active publishers have written without saying so yet.
        let flag = if state.active == 0 {
            state.flag.take()
        } else {
            None
        };
        let mut done = std::mem::take(&mut state.pending);
        if done.is_empty() {
            // Flags of others wait until we have something to sync ourselves.
            return flag.map_or(Ok(()), |flag| fs::remove_file(&flag.path));
        }
        let others: Vec<Flag> = state.others.drain(..).collect();
        drop(state);

        done.sort_unstable();
        done.dedup();
        let synced = if done.len() <= FEW && others.is_empty() {
            done.par_iter().try_for_each(|path| fs::sync(path))
        } else {
            sync_file_system(&self.root)
        };
        let mut state = lock(&self.state);
        let flags = flag.into_iter().chain(others);
        if let Err(error) = synced {
            // Also the flag that active publishers count on: it still stands for what they write.
            let flags: Vec<Flag> = flags.chain(state.flag.take()).collect();
            for flag in &flags {
                let _ = (&flag.held).write_all(FAILED.as_bytes());
            }
            state.failed.extend(flags);
            state.pending.append(&mut done);
            return Err(error);
        }
        state.due = Some(Instant::now() + GROUP.max(SHARE * began.elapsed()));
        drop(state);
        for flag in flags {
            fs::remove_file(&flag.path)?;
        }
        Ok(())
    }

    /// Cleans up after runners that ended without a sync. Returns the damaged objects that it deleted.
    ///
    /// Costs one folder listing where there is nothing to do.
    pub fn recover(&self) -> Result<Vec<Digest>> {
        let mut deleted = Vec::new();
        for flag in fs::list_if_there(&flags(&self.root))? {
            let path = flag.path();
            // Opening must not create: the holder may just have removed it.
            let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else {
                continue;
            };
            if file.try_lock().is_err() {
                continue;
            }
            let (text, boot) = (fs::read_rest(&file, &path)?, boot_id());
            if text == boot.as_bytes() {
                lock(&self.state).others.push(Flag { path, held: file });
                continue;
            }
            if text.starts_with(boot.as_bytes()) {
                continue;
            }
            let meta = file.metadata().map_err(Error::io("look at", &path))?;
            deleted.extend(delete_damaged(
                &self.root,
                Stat::of(&meta).mtime - CLOCK_MARGIN,
            )?);
            fs::remove_file(&path)?;
        }
        Ok(deleted)
    }
}

/// Locks, also after a panic of another thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writing<'_> {
    /// Notes a file that was written or renamed; its folder is synced with it.
    pub fn wrote(&self, path: &Path) {
        let mut state = lock(&self.0.state);
        state.pending.push(path.into());
        let folder = fs::parent(path);
        if state.pending.iter().rev().take(8).all(|p| *p != folder) {
            state.pending.push(folder);
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).active -= 1;
    }
}

/// Syncs everything in the file system of the store.
pub fn sync_file_system(root: &Path) -> Result<()> {
    let folder = fs::open(root)?;
    rustix::fs::syncfs(&folder).map_err(|e| Error::io("sync", root)(e.into()))
}

/// What is the same until the machine restarts.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{} {}\n", host(), id.trim())
}

/// The machine's name.
pub fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn flags(root: &Path) -> PathBuf {
    root.join("unsynced")
}

fn place_flag(root: &Path) -> Result<Flag> {
    let folder = flags(root);
    fs::create_folder(&folder)?;
    let temporary = fs::temporary_file(&root.join("tmp"))?;
    let (mut file, temporary) = temporary.into_parts();
    let name = temporary
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .replace(".rematch-", "");
    // The process id keeps names apart even where random names repeat.
    let path = folder.join(format!(
        "{}-{}-{name}",
        fs::file_name_for(&host()),
        std::process::id()
    ));
    file.lock().map_err(Error::io("lock", &path))?;
    file.write_all(boot_id().as_bytes())
        .map_err(Error::io("write", &path))?;
    // Whoever shares the store must be able to open it, to see that we are gone.
    fs::set_mode(&temporary, 0o666)?;
    file.sync_all().map_err(Error::io("sync", &path))?;
    fs::persist(temporary, &path)?;
    fs::sync(&folder)?;
    Ok(Flag { path, held: file })
}

/// Rehashes the objects that were written since a time.
fn delete_damaged(root: &Path, since: i64) -> Result<Vec<Digest>> {
    let folders = fs::list_if_there(&root.join("objects"))?;
    let deleted: Vec<Vec<Digest>> = folders
        .into_par_iter()
        .map(|folder| {
            let prefix = folder.file_name();
            let mut deleted = Vec::new();
            if !folder.file_type().is_ok_and(|kind| kind.is_dir()) {
                return Ok(deleted);
            }
            for object in fs::list(&folder.path())? {
                let path = object.path();
                let name = format!(
                    "{}{}",
                    prefix.to_string_lossy(),
                    object.file_name().to_string_lossy()
                );
                let Ok(digest) = name.parse::<Digest>() else {
                    continue;
                };
                let Some(meta) = fs::look(&path)? else {
                    continue;
                };
                if Stat::of(&meta).ctime >= since && Digest::of_file(&path)? != digest {
                    fs::remove_file(&path)?;
                    deleted.push(digest);
                }
            }
            Ok(deleted)
        })
        .collect::<Result<_>>()?;
    Ok(deleted.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags_in(root: &Path) -> Vec<String> {
        let all = fs::list_if_there(&flags(root)).unwrap();
        let read = |flag: std::fs::DirEntry| std::fs::read_to_string(flag.path()).unwrap();
        all.into_iter().map(read).collect()
    }

    #[test]
    fn a_sync_that_failed_is_remembered_until_the_machine_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join("file"), "").unwrap();
        let durable = Durable::new(root);
        let writing = durable.begin().unwrap();
        // It cannot be opened, and so not synced.
        writing.wrote(&root.join("file/below"));
        drop(writing);
        durable.flush().unwrap_err();
        std::fs::remove_file(root.join("file")).unwrap();
        // What is written later, by us or by others, says nothing of what was lost.
        for durable in [durable, Durable::new(root)] {
            durable.recover().unwrap();
            let writing = durable.begin().unwrap();
            writing.wrote(&root.join("other"));
            drop(writing);
            assert_eq!(flags_in(root).len(), 2);
            durable.flush().unwrap();
            assert_eq!(flags_in(root), [format!("{}{FAILED}", boot_id())]);
        }
        // As after a restart.
        let flag = fs::list(&flags(root)).unwrap().remove(0).path();
        std::fs::write(&flag, format!("host another-boot\n{FAILED}")).unwrap();
        Durable::new(root).recover().unwrap();
        assert!(flags_in(root).is_empty());
    }
}
