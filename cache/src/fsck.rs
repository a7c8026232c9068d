//! Checking the store: whether every object is what its name says, every entry whole, and every file the store's own;
//! and healing, after which the jobs whose results were damaged run again.
//!
//! Garbage is no finding, nor is the work folder of a job that did not end well: the next run may go on there.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::Serialize;

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::durable::{lock, sync_file_system};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::fs::{self, READ_ONLY, Stat};
use crate::inventory::{self, Count, Found, Tell, each_file, on_disk, shown};
use crate::key::KeyId;
use crate::lease::AloneLease;
use crate::publish;
use crate::sealed::{self, Damage};
use crate::store::Store;

/// What was looked at, and what is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Checkup {
    /// Entries that read.
    pub entries: u64,
    /// Objects, and their bytes.
    pub objects: Count,
    /// Those of them that no entry needs: what `gc` would free at least.
    pub unused: Count,
    /// What is not as it should be.
    pub findings: Vec<Reported>,
}

/// A finding, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reported {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// Whether it is no more.
    pub healed: bool,
}

/// Something that is not as it should be. Paths are below the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// An object whose bytes are not what its name says.
    DamagedObject {
        /// The digest that it should have.
        object: Digest,
        /// What was seen.
        why: String,
    },
    /// An entry that needs an object which is not there, or not whole.
    IncompleteEntry {
        /// Its key.
        key: KeyId,
        /// The job that it was made for.
        job: String,
        /// The output (or `log`) that lacks something.
        output: String,
        /// The file of the output that is lacking, where the output is a folder.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The object.
        object: Digest,
        /// What is wrong with that.
        lack: Lack,
        /// How many more objects of the entry lack something.
        more: u64,
    },
    /// An entry file whose bytes changed, or that never was one.
    DamagedEntry {
        /// The key that its name says.
        key: KeyId,
        /// What was seen.
        why: String,
    },
    /// An entry file with the entry of another key.
    MisplacedEntry {
        /// The key that its name says.
        key: KeyId,
        /// The key that it is of.
        holds: KeyId,
    },
    /// A result that the last run of a pipeline knows, and whose entry is gone.
    LostEntry {
        /// Its key.
        key: KeyId,
        /// The job.
        job: String,
    },
    /// An entry that only a newer rematch can read.
    NewerEntry {
        /// Its key.
        key: KeyId,
        /// Its format.
        format: u32,
    },
    /// A file of the store that we may not read.
    Closed {
        /// Which one.
        path: String,
    },
    /// A file whose mode is not `0444`.
    WrongMode {
        /// Which one.
        path: String,
        /// Its mode.
        mode: String,
    },
    /// A whole result that a killed runner did not get to move in.
    Unfinished {
        /// Its key.
        key: KeyId,
    },
    /// Something that a killed runner left and nobody needs.
    LeftOver {
        /// Where.
        path: String,
        /// What it is.
        what: LeftOver,
        /// Bytes on the disk.
        bytes: u64,
    },
    /// A file that is not the store's.
    Foreign {
        /// Where.
        path: String,
    },
}

/// What is wrong with an object that an entry needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// It is not there.
    Missing,
    /// Its bytes are not what its name says.
    Damaged,
    /// It has another size than the entry says.
    Size,
}

/// What killed runners leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOver {
    /// A file on its way.
    Temporary,
    /// The work folder of a job whose result is there.
    Work,
    /// A result that was being moved in, and is there or not whole.
    Publish,
    /// A lock that nobody holds.
    Lock,
    /// The sign of a runner that is gone.
    Sign,
}

impl Checkup {
    /// Whether nothing is wrong, or nothing any more.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|reported| reported.healed)
    }
}

impl Store {
    /// Checks everything: with `quick` whether it is there in its right size, and the bytes of what somebody wrote to;
    /// otherwise every byte. Changes nothing.
    ///
    /// `tell` hears of the `bytes` that are read. Runners may work meanwhile.
    pub fn check(&self, quick: bool, tell: Tell) -> Result<Checkup> {
        let found = Findings::default();
        let objects = find_objects(self, &found)?;
        read_objects(self, &objects, quick, &found, tell);
        let checker = Checker {
            store: self,
            objects: &objects,
            folders: Mutex::default(),
            found: &found,
        };
        let entries = checker.entries()?;
        let mut checkup = Checkup {
            entries,
            ..Checkup::default()
        };
        for (digest, object) in &objects {
            checkup.objects.add(object.size);
            if !object.needed.load(Ordering::Relaxed) {
                checkup.unused.add(object.size);
            }
            if object.whole.load(Ordering::Relaxed) {
                found.mode(self.root(), &self.object_path(digest), object.mode);
            }
        }
        lost_entries(self, &found)?;
        left_overs(self, &found)?;
        for path in inventory::foreign(self.root())? {
            found.foreign(self.root(), &path);
        }
        checkup.findings = found.sorted();
        Ok(checkup)
    }
}

impl AloneLease {
    /// Checks everything and mends what it can: damaged objects go, and the entries that need what is not there, so that
    /// their jobs run again; left-overs go; modes are set. Foreign files stay.
    pub fn heal(&self, quick: bool, tell: Tell) -> Result<Checkup> {
        let store = self.store();
        let mut checkup = store.check(quick, tell)?;
        let root = store.root();
        let gone = checkup
            .findings
            .iter()
            .filter_map(|reported| reported.finding.concerns());
        let gone: HashSet<KeyId> = gone.collect();
        store.forget_results(|id| gone.contains(id))?;
        // Entries go before the objects that they need, as in a collection.
        for object in [false, true] {
            for Reported { finding, healed } in &mut checkup.findings {
                if matches!(finding, Finding::DamagedObject { .. }) == object {
                    *healed = mend(store, finding)?;
                }
            }
            sync_file_system(root)?;
        }
        Ok(checkup)
    }
}

fn mend(store: &Store, finding: &Finding) -> Result<bool> {
    let root = store.root();
    match finding {
        Finding::DamagedObject { object, .. } => fs::remove_file(&store.object_path(object))?,
        Finding::IncompleteEntry { key, .. }
        | Finding::DamagedEntry { key, .. }
        | Finding::MisplacedEntry { key, .. }
        | Finding::LostEntry { key, .. } => fs::remove_file(&store.entry_path(key))?,
        Finding::WrongMode { path, .. } => fs::set_mode(&root.join(path), READ_ONLY)?,
        Finding::Unfinished { key } => {
            store.while_locked(key, || publish::finish_interrupted(store, key).map(drop))?;
        }
        Finding::LeftOver { path, what, .. } => {
            let path = root.join(path);
            let id = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            match (what, id) {
                (LeftOver::Work | LeftOver::Publish | LeftOver::Lock, Some(id)) => {
                    store.while_locked(&id, || match what {
                        // It goes with its lock.
                        LeftOver::Lock => Ok(()),
                        _ => fs::remove_all(&path),
                    })?;
                }
                _ => fs::remove_all(&path)?,
            }
        }
        Finding::NewerEntry { .. } | Finding::Closed { .. } | Finding::Foreign { .. } => {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An object as it was found.
struct Object {
    size: u64,
    mode: u32,
    /// Nobody wrote to it since it came into the store.
    stamped: bool,
    /// As far as is known.
    whole: AtomicBool,
    needed: AtomicBool,
}

impl Object {
    /// Notes that it is damaged; false if that was known.
    fn spoil(&self) -> bool {
        self.whole.swap(false, Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Findings(Mutex<Vec<Finding>>);

impl Findings {
    fn add(&self, finding: Finding) {
        lock(&self.0).push(finding);
    }

    fn foreign(&self, root: &Path, path: &Path) {
        let path = shown(root, path);
        self.add(Finding::Foreign { path });
    }

    fn closed(&self, store: &Store, path: &Path) {
        let path = shown(store.root(), path);
        self.add(Finding::Closed { path });
    }

    fn mode(&self, root: &Path, path: &Path, mode: u32) {
        if mode != READ_ONLY {
            self.add(Finding::WrongMode {
                path: shown(root, path),
                mode: format!("{mode:04o}"),
            });
        }
    }

    /// The keys of results that are not whole.
    fn concerned(&self) -> HashSet<KeyId> {
        lock(&self.0).iter().filter_map(Finding::concerns).collect()
    }

    fn sorted(self) -> Vec<Reported> {
        let mut all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.sort_unstable();
        all.dedup();
        let healed = false;
        all.into_iter()
            .map(|finding| Reported { finding, healed })
            .collect()
    }
}

fn is_closed(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

fn mode(meta: &Metadata) -> u32 {
    meta.permissions().mode() & 0o7777
}

fn find_objects(store: &Store, found: &Findings) -> Result<HashMap<Digest, Object>> {
    let objects = Mutex::new(HashMap::new());
    inventory::sharded(&store.root().join("objects"), "", |member| {
        match member {
            Found::Own(digest, file) => {
                if let Some(meta) = fs::look(&file.path())? {
                    let object = Object {
                        size: meta.len(),
                        mode: mode(&meta),
                        stamped: Stat::of(&meta).is_stamped(),
                        whole: true.into(),
                        needed: false.into(),
                    };
                    lock(&objects).insert(digest, object);
                }
            }
            Found::Foreign(path) => found.foreign(store.root(), &path),
        }
        Ok(())
    })?;
    Ok(objects.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Reads every byte of every object; with `quick` of those alone that somebody wrote to.
fn read_objects(
    store: &Store,
    objects: &HashMap<Digest, Object>,
    quick: bool,
    found: &Findings,
    tell: Tell,
) {
    let wanted = |object: &Object| !quick || !object.stamped;
    let sizes = objects
        .values()
        .filter(|object| wanted(object))
        .map(|object| object.size);
    let total = sizes.fold(0, u64::saturating_add);
    let done = AtomicU64::new(0);
    let read = |bytes| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        tell("bytes", done, total);
    };
    objects.par_iter().for_each(|(digest, object)| {
        if wanted(object) {
            read_object(store, digest, object, found, &read);
        }
    });
}

fn read_object(
    store: &Store,
    digest: &Digest,
    object: &Object,
    found: &Findings,
    read: &(dyn Fn(u64) + Sync),
) {
    let path = store.object_path(digest);
    let why = match Digest::of_file_telling(&path, read) {
        Ok((digest_now, _)) if digest_now == *digest => return,
        Ok(_) => format!("its {} bytes have another digest", object.size),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            // Somebody found it damaged and removed it.
            object.spoil();
            return;
        }
        Err(e) if is_closed(&e) => {
            found.closed(store, &path);
            return;
        }
        // A bad disk, or somebody who writes to it.
        Err(e) => e.to_string(),
    };
    if object.spoil() {
        let object = *digest;
        found.add(Finding::DamagedObject { object, why });
    }
}

/// An output, or a file of one, that lacks its object.
#[derive(Clone)]
struct Lacking {
    file: Option<String>,
    object: Digest,
    lack: Lack,
}

/// What is known of a folder.
#[derive(Clone)]
struct Folder {
    /// Of its files together, as far as is known.
    size: Option<u64>,
    first: Option<Lacking>,
    /// How many files lack something.
    lacking: u64,
}

struct Checker<'a> {
    store: &'a Store,
    objects: &'a HashMap<Digest, Object>,
    /// Many entries may have the same folder.
    folders: Mutex<HashMap<Digest, Folder>>,
    found: &'a Findings,
}

impl Checker<'_> {
    /// Checks all entries; returns how many read.
    fn entries(&self) -> Result<u64> {
        let root = self.store.root();
        let count = AtomicU64::new(0);
        inventory::sharded(&root.join("entries"), ".json", |member| {
            match member {
                Found::Own(digest, file) => {
                    if self.entry(KeyId(digest), &file.path())? {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Found::Foreign(path) => self.found.foreign(root, &path),
            }
            Ok(())
        })?;
        Ok(count.into_inner())
    }

    fn entry(&self, key: KeyId, path: &Path) -> Result<bool> {
        let root = self.store.root();
        let Some(meta) = fs::look(path)? else {
            return Ok(false);
        };
        let bytes = match fs::read_if_there(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(false),
            Err(e) if is_closed(&e) => {
                self.found.closed(self.store, path);
                self.found.mode(root, path, mode(&meta));
                return Ok(false);
            }
            Err(e) => {
                let why = e.to_string();
                self.found.add(Finding::DamagedEntry { key, why });
                return Ok(false);
            }
        };
        let finding = match sealed::unseal::<Entry>(&bytes) {
            Ok(entry) if entry.key.id() == key => {
                if self.outputs(key, &entry)? {
                    self.found.mode(root, path, mode(&meta));
                }
                return Ok(true);
            }
            Ok(entry) => Finding::MisplacedEntry {
                key,
                holds: entry.key.id(),
            },
            Err(Damage::Newer(format)) => Finding::NewerEntry { key, format },
            Err(why) => Finding::DamagedEntry {
                key,
                why: why.to_string(),
            },
        };
        self.found.add(finding);
        Ok(false)
    }

    /// Checks the outputs of an entry; whether they are whole.
    fn outputs(&self, key: KeyId, entry: &Entry) -> Result<bool> {
        let mut first = None;
        let mut lacking = 0;
        for (output, artifact) in entry.artifacts() {
            let folder = self.artifact(artifact)?;
            lacking += folder.lacking;
            if first.is_none() {
                first = folder.first.map(|first| (output, first));
            }
        }
        let Some((output, Lacking { file, object, lack })) = first else {
            return Ok(true);
        };
        self.found.add(Finding::IncompleteEntry {
            key,
            job: entry.provenance.job.clone(),
            output: output.to_owned(),
            file,
            object,
            lack,
            more: lacking - 1,
        });
        Ok(false)
    }

    fn artifact(&self, artifact: &Artifact) -> Result<Folder> {
        let Artifact { digest, size, .. } = *artifact;
        if !artifact.folder {
            return Ok(Folder::of(None, &digest, self.lack(&digest, Some(size))?));
        }
        let known = lock(&self.folders).get(&digest).cloned();
        let folder = match known {
            Some(folder) => folder,
            None => {
                let folder = self.folder(&digest)?;
                lock(&self.folders).insert(digest, folder.clone());
                folder
            }
        };
        if folder.first.is_none() && folder.size.is_some_and(|known| known != size) {
            return Ok(Folder::of(None, &digest, Some(Lack::Size)));
        }
        Ok(folder)
    }

    fn folder(&self, digest: &Digest) -> Result<Folder> {
        let lack = self.lack(digest, None)?;
        if lack.is_some() {
            return Ok(Folder::of(None, digest, lack));
        }
        let manifest = match self.store.manifest(digest) {
            Ok(manifest) => manifest,
            Err(Error::MissingObject { .. }) => {
                return Ok(Folder::of(None, digest, Some(Lack::Missing)));
            }
            Err(Error::DamagedObject { .. }) => {
                // Its bytes may be right, and yet no manifest.
                if let Some(object) = self.objects.get(digest) {
                    read_object(self.store, digest, object, self.found, &|_| {});
                }
                return Ok(Folder::of(None, digest, Some(Lack::Damaged)));
            }
            Err(e) if is_closed(&e) => {
                self.found
                    .closed(self.store, &self.store.object_path(digest));
                return Ok(Folder::of(None, digest, None));
            }
            Err(e) => return Err(e),
        };
        let mut folder = Folder::of(Some(manifest.size()), digest, None);
        for (name, file) in manifest.files() {
            let Some(lack) = self.lack(&file.digest, Some(file.size))? else {
                continue;
            };
            folder.lacking += 1;
            folder.first.get_or_insert_with(|| Lacking {
                file: Some(name.clone()),
                object: file.digest,
                lack,
            });
        }
        Ok(folder)
    }

    /// What is wrong with an object that somebody needs.
    fn lack(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Lack>> {
        let Some(object) = self.objects.get(digest) else {
            // It may have been made since we looked.
            let there = fs::look(&self.store.object_path(digest))?;
            return Ok(match there {
                None => Some(Lack::Missing),
                Some(meta) if !meta.is_file() => Some(Lack::Missing),
                Some(meta) if size.is_some_and(|size| size != meta.len()) => Some(Lack::Size),
                Some(_) => None,
            });
        };
        object.needed.store(true, Ordering::Relaxed);
        let right = size.is_none_or(|size| size == object.size);
        if !right {
            // Of the two, the bytes tell who is wrong.
            read_object(self.store, digest, object, self.found, &|_| {});
        }
        Ok(if !object.whole.load(Ordering::Relaxed) {
            Some(Lack::Damaged)
        } else if right {
            None
        } else {
            Some(Lack::Size)
        })
    }
}

impl Folder {
    fn of(size: Option<u64>, object: &Digest, lack: Option<Lack>) -> Self {
        Self {
            size,
            lacking: lack.is_some().into(),
            first: lack.map(|lack| Lacking {
                file: None,
                object: *object,
                lack,
            }),
        }
    }
}

fn lost_entries(store: &Store, found: &Findings) -> Result<()> {
    for (_, ledger) in store.ledgers()? {
        for record in ledger.records.into_iter().filter(|record| record.done) {
            if let Some(key) = record.key
                && fs::look(&store.entry_path(&key))?.is_none()
            {
                let job = record.job;
                found.add(Finding::LostEntry { key, job });
            }
        }
    }
    Ok(())
}

fn left_overs(store: &Store, found: &Findings) -> Result<()> {
    let root = store.root();
    let add = |path: &Path, what| -> Result<()> {
        let mut bytes = 0;
        each_file(path, &mut |_, meta| bytes += on_disk(meta))?;
        let path = shown(root, path);
        found.add(Finding::LeftOver { path, what, bytes });
        Ok(())
    };
    for (path, _) in inventory::old_temporaries(root)? {
        add(&path, LeftOver::Temporary)?;
    }
    for path in store.stale_signs()? {
        add(&path, LeftOver::Sign)?;
    }
    // Whoever works in a folder holds its key's lock, so it is asked for after the folder was seen.
    let idle = |folder: &str| -> Result<Vec<(KeyId, PathBuf)>> {
        let mut idle = inventory::by_key(&root.join(folder))?;
        let mut failed = Ok(());
        idle.retain(|(id, _)| match store.is_busy(id) {
            Ok(busy) => !busy,
            Err(e) => {
                failed = Err(e);
                false
            }
        });
        failed.map(|()| idle)
    };
    for (_, path) in idle("locks")? {
        if fs::look(&path)?.is_some() {
            add(&path, LeftOver::Lock)?;
        }
    }
    let broken = found.concerned();
    let is_there = |id: &KeyId| -> Result<bool> {
        let bytes = fs::read_if_there(&store.entry_path(id))?;
        let entry = bytes.and_then(|bytes| Entry::parse(&bytes, id).ok());
        Ok(entry.is_some() && !broken.contains(id))
    };
    for (id, path) in idle("work")? {
        if is_there(&id)? && fs::look(&path)?.is_some() {
            add(&path, LeftOver::Work)?;
        }
    }
    for (key, path) in idle("publish")? {
        if fs::look(&path)?.is_none() {
            continue;
        }
        if !is_there(&key)? && publish::intended(store, &key)?.is_some() {
            found.add(Finding::Unfinished { key });
        } else {
            add(&path, LeftOver::Publish)?;
        }
    }
    Ok(())
}

impl Finding {
    /// The key whose job has to run again for that.
    fn concerns(&self) -> Option<KeyId> {
        match self {
            Self::IncompleteEntry { key, .. }
            | Self::DamagedEntry { key, .. }
            | Self::MisplacedEntry { key, .. }
            | Self::LostEntry { key, .. } => Some(*key),
            _ => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedObject { object, why } => {
                write!(f, "object {object} is damaged: {why}")
            }
            Self::IncompleteEntry {
                key,
                job,
                output,
                file,
                lack,
                more,
                ..
            } => {
                let name = if job.is_empty() {
                    &key.to_string()
                } else {
                    job
                };
                write!(f, "the result of {name} is not whole: `{output}")?;
                if let Some(file) = file {
                    write!(f, "/{file}")?;
                }
                write!(f, "` {lack}")?;
                match more {
                    0 => Ok(()),
                    1 => f.write_str(", and so is 1 other file"),
                    _ => write!(f, ", and so are {more} other files"),
                }
            }
            Self::DamagedEntry { key, why } => write!(f, "entry {key} is damaged: {why}"),
            Self::MisplacedEntry { key, holds } => {
                write!(f, "entry {key} is that of another key, {holds}")
            }
            Self::LostEntry { key, job } => {
                write!(f, "the result of {job} is gone: there is no entry {key}")
            }
            Self::NewerEntry { key, format } => {
                write!(
                    f,
                    "entry {key} has format {format}, which a newer rematch wrote"
                )
            }
            Self::Closed { path } => write!(f, "{path} may not be read; check its owner and mode"),
            Self::WrongMode { path, mode } => write!(f, "{path} has mode {mode}, not 0444"),
            Self::Unfinished { key } => write!(
                f,
                "the result of {key} was left while it was moved in; the next run finishes that"
            ),
            Self::LeftOver { path, what, .. } => write!(f, "{path} is {what}"),
            Self::Foreign { path } => write!(f, "{path} is not the store's"),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::Damaged => "is damaged",
            Self::Size => "has another size",
        })
    }
}

impl fmt::Display for LeftOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Temporary => "a temporary file of a killed runner",
            Self::Work => "the work folder of a job whose result is there",
            Self::Publish => "what a killed runner left after its result was in, or not whole",
            Self::Lock => "a lock that nobody holds",
            Self::Sign => "the sign of a runner that is gone",
        })
    }
}
