//! Garbage collection: keeps the results of the keys that are asked for, and gives back the disk that the others take.
//!
//! First a look ([`Garbage`]): every entry is read, and every object that a kept entry needs is marked. Then, with the
//! store alone, entries that are not kept go, and after them (synced, so that a power cut keeps the order) the objects
//! without a mark. A kill in between leaves objects that the next collection finds.
//!
//! What a job works with that outlived its runner stays: its work folder, its entry, the objects that its inputs link
//! to. So does a result that a killed runner had hashed and not yet moved in, if its key is kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use serde::Serialize;

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::durable::{lock, sync_file_system};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::fs;
use crate::inventory::{self, Count, Found, Tell, each_file, on_disk};
use crate::key::KeyId;
use crate::lease::AloneLease;
use crate::publish;
use crate::sealed::Damage;
use crate::store::Store;

/// What a collection would keep and drop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// Entries by stage kind, and the bytes of their outputs (several entries may share some).
    pub entries: BTreeMap<String, Sides>,
    /// Entry files that do not read: dropped, for they are nobody's result.
    pub damaged_entries: Count,
    /// Objects, and the bytes that they take on the disk.
    pub objects: Sides,
    /// Those of the dropped objects that have other names, in `out/` say: their bytes come back when these go, too.
    pub linked: Count,
    /// Objects that kept entries need and that are not there; `fsck` tells more.
    pub missing_objects: u64,
    /// Work folders of jobs that did not end well.
    pub work: Sides,
    /// Files that killed runners left.
    pub left_over: Count,
    /// Jobs that run now though no lease stands for them; nothing of theirs is touched.
    pub running: u64,
    /// Files that are not the store's; they are left alone.
    pub foreign: u64,
    /// Bytes that the disk gets back.
    pub freed: u64,
}

/// What is kept and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sides {
    /// Kept.
    pub kept: Count,
    /// Dropped.
    pub dropped: Count,
}

/// A collection that is ready to be carried out. Nobody else uses the store meanwhile.
#[derive(Debug)]
pub struct Collection<'a> {
    alone: &'a AloneLease,
    survey: Survey,
}

impl Store {
    /// What a collection that keeps these keys would do. Changes nothing.
    ///
    /// # Errors
    /// [`Error::NewerEntry`]: what such an entry needs is not known. I/O.
    pub fn garbage(&self, keep: &HashSet<KeyId>, tell: Tell) -> Result<Garbage> {
        Ok(Survey::of(self, keep, tell)?.garbage)
    }
}

impl AloneLease {
    /// Prepares a collection that keeps these keys. Changes nothing yet.
    ///
    /// # Errors
    /// As [`Store::garbage`].
    pub fn collection(&self, keep: &HashSet<KeyId>, tell: Tell) -> Result<Collection<'_>> {
        Ok(Collection {
            alone: self,
            survey: Survey::of(self.store(), keep, tell)?,
        })
    }
}

impl Collection<'_> {
    /// What it will do.
    pub fn garbage(&self) -> &Garbage {
        &self.survey.garbage
    }

    /// Does it.
    pub fn carry_out(self, tell: Tell) -> Result<()> {
        let (store, survey) = (self.alone.store(), &self.survey);
        let root = store.root();
        store.forget_results(|id| !survey.keeps_entry(id))?;
        let dropped = |sides: &Sides| sides.dropped.count;
        let entries = survey.garbage.entries.values().map(dropped).sum::<u64>()
            + survey.garbage.damaged_entries.count;
        let done = Steps::new("entries", entries, tell);
        inventory::sharded(&root.join("entries"), ".json", |found| {
            if let Found::Own(digest, file) = found
                && !survey.keeps_entry(&KeyId(digest))
            {
                fs::remove_file(&file.path())?;
                done.one();
            }
            Ok(())
        })?;
        // Entries first: no entry is ever without an object of its own.
        sync_file_system(root)?;
        let done = Steps::new("objects", dropped(&survey.garbage.objects), tell);
        inventory::sharded(&root.join("objects"), "", |found| {
            if let Found::Own(digest, file) = found
                && !survey.marks.has(&digest)
            {
                fs::remove_file(&file.path())?;
                done.one();
            }
            Ok(())
        })?;
        for folder in ["publish", "work"] {
            let folders = inventory::by_key(&root.join(folder))?;
            folders
                .into_par_iter()
                .filter(|(id, _)| !survey.keep.contains(id))
                .try_for_each(|(id, path)| store.while_locked(&id, || fs::remove_all(&path)))?;
        }
        for (path, _) in inventory::old_temporaries(root)? {
            fs::remove_all(&path)?;
        }
        Ok(())
    }
}

/// What was found, and what of it is to stay.
#[derive(Debug)]
struct Survey {
    garbage: Garbage,
    /// Those asked for, and those of running jobs.
    keep: HashSet<KeyId>,
    /// Those of them whose entry does not read.
    spoiled: HashSet<KeyId>,
    marks: Marks,
}

impl Survey {
    fn of(store: &Store, keep: &HashSet<KeyId>, tell: Tell) -> Result<Self> {
        let root = store.root();
        let busy = store.busy_keys()?;
        let keep: HashSet<KeyId> = keep.union(&busy).copied().collect();
        let garbage = Mutex::new(Garbage {
            running: busy.len() as u64,
            foreign: inventory::foreign(root)?.len() as u64,
            ..Garbage::default()
        });
        let marks = Marks::default();
        let spoiled = mark_entries(store, &keep, &marks, &garbage, tell)?;
        let linked = weigh_folders(store, &keep, &marks, &garbage)?;
        for id in &busy {
            mark_inputs(&store.work_path(id), &marks)?;
        }
        weigh_objects(store, &marks, &linked, &garbage, tell)?;

        let mut garbage = garbage.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (path, _) in inventory::old_temporaries(root)? {
            each_file(&path, &mut |_, meta| {
                garbage.left_over.add(on_disk(meta));
                garbage.freed += on_disk(meta);
            })?;
        }
        Ok(Self {
            garbage,
            keep,
            spoiled,
            marks,
        })
    }

    fn keeps_entry(&self, id: &KeyId) -> bool {
        self.keep.contains(id) && !self.spoiled.contains(id)
    }
}

/// Reads every entry and marks what the kept ones need. Returns the kept keys whose entries do not read.
fn mark_entries(
    store: &Store,
    keep: &HashSet<KeyId>,
    marks: &Marks,
    garbage: &Mutex<Garbage>,
    tell: Tell,
) -> Result<HashSet<KeyId>> {
    let spoiled = Mutex::new(HashSet::new());
    let done = Steps::new("entries", 0, tell);
    inventory::sharded(&store.root().join("entries"), ".json", |found| {
        let (id, file) = match found {
            Found::Own(digest, file) => (KeyId(digest), file),
            Found::Foreign(_) => {
                lock(garbage).foreign += 1;
                return Ok(());
            }
        };
        let path = file.path();
        let (Some(bytes), Some(meta)) = (fs::read_if_there(&path)?, fs::look(&path)?) else {
            return Ok(());
        };
        done.one();
        match Entry::parse(&bytes, &id) {
            Ok(entry) => {
                let sizes = entry.artifacts().map(|(_, artifact)| artifact.size);
                let size = sizes.fold(0, u64::saturating_add);
                if keep.contains(&id) {
                    mark(store, &entry, marks, false, garbage)?;
                    let mut garbage = lock(garbage);
                    garbage
                        .entries
                        .entry(entry.key.kind)
                        .or_default()
                        .kept
                        .add(size);
                } else {
                    let mut garbage = lock(garbage);
                    garbage
                        .entries
                        .entry(entry.key.kind)
                        .or_default()
                        .dropped
                        .add(size);
                    garbage.freed += on_disk(&meta);
                }
            }
            Err(Damage::Newer(found)) => return Err(Error::NewerEntry { path, found }),
            Err(_) => {
                lock(&spoiled).insert(id);
                let mut garbage = lock(garbage);
                garbage.damaged_entries.add(on_disk(&meta));
                garbage.freed += on_disk(&meta);
            }
        }
        Ok(())
    })?;
    Ok(spoiled.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Marks all objects of an entry; with `coming`, of one that is not there yet.
fn mark(
    store: &Store,
    entry: &Entry,
    marks: &Marks,
    coming: bool,
    garbage: &Mutex<Garbage>,
) -> Result<()> {
    let add = |digest: &Digest| {
        if coming {
            marks.spare(digest);
        } else {
            marks.add(digest);
        }
    };
    for (_, Artifact { digest, folder, .. }) in entry.artifacts() {
        add(digest);
        // A manifest may have been marked as the plain file that it also is.
        if !folder || !lock(&marks.folders).insert(*digest) {
            continue;
        }
        match store.manifest(digest) {
            Ok(manifest) => {
                for file in manifest.files().values() {
                    add(&file.digest);
                }
            }
            // Missing ones are counted with the other objects.
            Err(Error::MissingObject { .. }) => {}
            Err(Error::DamagedObject { .. }) => lock(garbage).missing_objects += 1,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The objects that a job's inputs link to; see [`Store::link_input`].
fn mark_inputs(work: &Path, marks: &Marks) -> Result<()> {
    each_file(work, &mut |path, meta| {
        if !meta.is_symlink() {
            return;
        }
        // By its last two parts alone: the store may have had another path.
        let digest = std::fs::read_link(path).ok().and_then(|target| {
            let shard = target.parent()?.file_name()?.to_str()?.to_owned();
            let digest: Digest = (shard + target.file_name()?.to_str()?).parse().ok()?;
            Some(digest)
        });
        if let Some(digest) = digest {
            marks.spare(&digest);
        }
    })
}

/// Names of a file by (device, inode).
type Names = HashMap<(u64, u64), u64>;

/// Weighs the work folders, and marks what a kept result needs that is not moved in yet. Returns how many names of
/// files that have several go with the dropped folders.
fn weigh_folders(
    store: &Store,
    keep: &HashSet<KeyId>,
    marks: &Marks,
    garbage: &Mutex<Garbage>,
) -> Result<Names> {
    let mut going: HashMap<(u64, u64), (u64, u64, u64)> = HashMap::new();
    for name in ["publish", "work"] {
        for (id, path) in inventory::by_key(&store.root().join(name))? {
            let kept = keep.contains(&id);
            if kept
                && name == "publish"
                && let Some(entry) = publish::intended(store, &id)?
            {
                mark(store, &entry, marks, true, garbage)?;
            }
            let mut bytes = 0;
            let mut alone = 0;
            each_file(&path, &mut |_, meta| {
                bytes += on_disk(meta);
                if meta.nlink() == 1 {
                    alone += on_disk(meta);
                } else if !kept {
                    let known = going.entry((meta.dev(), meta.ino()));
                    known.or_insert((0, meta.nlink(), on_disk(meta))).0 += 1;
                }
            })?;
            let mut garbage = lock(garbage);
            if kept {
                garbage.work.kept.add(bytes);
            } else {
                garbage.work.dropped.add(bytes);
                garbage.freed += alone;
            }
        }
    }
    // Files all of whose names are in dropped folders.
    let whole = going.values().filter(|(names, all, _)| names == all);
    lock(garbage).freed += whole.map(|(_, _, bytes)| bytes).sum::<u64>();
    Ok(going
        .into_iter()
        .map(|(file, (names, ..))| (file, names))
        .collect())
}

/// Weighs the objects, those with a mark and those without.
fn weigh_objects(
    store: &Store,
    marks: &Marks,
    going: &Names,
    garbage: &Mutex<Garbage>,
    tell: Tell,
) -> Result<()> {
    let done = Steps::new("objects", 0, tell);
    let seen = AtomicU64::new(0);
    inventory::sharded(&store.root().join("objects"), "", |found| {
        let Found::Own(digest, file) = found else {
            lock(garbage).foreign += 1;
            return Ok(());
        };
        let Some(meta) = fs::look(&file.path())? else {
            return Ok(());
        };
        done.one();
        let bytes = on_disk(&meta);
        if marks.has(&digest) {
            if marks.needs(&digest) {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            lock(garbage).objects.kept.add(bytes);
            return Ok(());
        }
        let elsewhere = meta.nlink() - 1;
        let going = going.get(&(meta.dev(), meta.ino())).copied().unwrap_or(0);
        let mut garbage = lock(garbage);
        garbage.objects.dropped.add(bytes);
        if elsewhere > going {
            garbage.linked.add(bytes);
        } else {
            garbage.freed += bytes;
        }
        Ok(())
    })?;
    lock(garbage).missing_objects += marks.needed() - seen.into_inner();
    Ok(())
}

/// The objects that are to stay.
#[derive(Debug)]
struct Marks {
    /// Those that kept entries need: 32 bytes each, by their first byte, so that threads rarely meet.
    needed: Vec<Mutex<HashSet<Digest>>>,
    /// Those that somebody else uses; nobody misses them where they are not there.
    spared: Mutex<HashSet<Digest>>,
    /// Those whose manifest was read.
    folders: Mutex<HashSet<Digest>>,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            needed: (0..256).map(|_| Mutex::default()).collect(),
            spared: Mutex::default(),
            folders: Mutex::default(),
        }
    }
}

impl Marks {
    fn shard(&self, digest: &Digest) -> MutexGuard<'_, HashSet<Digest>> {
        lock(&self.needed[usize::from(digest.as_bytes()[0])])
    }

    fn add(&self, digest: &Digest) {
        self.shard(digest).insert(*digest);
    }

    fn spare(&self, digest: &Digest) {
        lock(&self.spared).insert(*digest);
    }

    fn needs(&self, digest: &Digest) -> bool {
        self.shard(digest).contains(digest)
    }

    fn has(&self, digest: &Digest) -> bool {
        self.needs(digest) || lock(&self.spared).contains(digest)
    }

    fn needed(&self) -> u64 {
        self.needed
            .iter()
            .map(|shard| lock(shard).len() as u64)
            .sum()
    }
}

/// Counts what is done, and tells.
struct Steps<'a> {
    of: &'static str,
    done: AtomicU64,
    total: u64,
    tell: Tell<'a>,
}

impl<'a> Steps<'a> {
    fn new(of: &'static str, total: u64, tell: Tell<'a>) -> Self {
        Self {
            of,
            done: AtomicU64::new(0),
            total,
            tell,
        }
    }

    fn one(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        (self.tell)(self.of, done, self.total);
    }
}
