//! The store itself: its folders, opening it, looking up entries and reading objects. Claiming and
//! publishing are in [`crate::claim`], placing results in [`crate::place`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::durable::Durable;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::fs::{self, Stat};
use crate::key::{Key, KeyId};
use crate::manifest::Manifest;
use crate::publish;
use crate::sealed::{self, Damage};
use crate::stat_cache::StatCache;

/// The newest layout of a store's folders.
pub const FORMAT: u32 = 1;

/// The name of a job's key in its work folder.
pub(crate) const KEY: &str = ".rematch-key.json";

/// An open store. Clones are cheap and share everything.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub root: PathBuf,
    pub durable: Durable,
    pub stat_cache: StatCache,
    /// Whether files reach a device (by number) as reflinks; not there before the first attempt.
    pub reflinks: Mutex<HashMap<u64, bool>>,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The entry, with all its objects there.
    Found(Entry),
    /// Nothing: the job never ran, or its entry was collected.
    Absent,
    /// An entry file that cannot be used.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: Damage,
    },
    /// An entry without one of its objects.
    Incomplete {
        /// Which output (or `log`) lacks its bytes.
        output: String,
        /// The entry.
        entry: Entry,
    },
}

impl Store {
    /// Opens the store at `path`; creates it where there is none.
    ///
    /// On a read-only file system an existing store opens as well, and look-ups work.
    ///
    /// # Errors
    /// [`Error::NotAStore`] for a folder with other things in it, [`Error::NewerFormat`].
    pub fn open(path: &Path) -> Result<Self> {
        let root = std::path::absolute(path).map_err(Error::io("find", path))?;
        if !check_format(&root)? {
            create(&root)?;
        }
        let store = Self {
            inner: Arc::new(Inner {
                durable: Durable::new(&root),
                stat_cache: StatCache::new(&root),
                reflinks: Mutex::default(),
                root,
            }),
        };
        // Where we may not write, there is nothing to repair for us.
        match store
            .inner
            .durable
            .recover()
            .and_then(|_| publish::tidy(&store))
        {
            Err(e) if !e.is_read_only() => Err(e),
            _ => Ok(store),
        }
    }

    /// Opens the store at `path` if there is one, and creates nothing.
    pub fn open_existing(path: &Path) -> Result<Option<Self>> {
        let root = std::path::absolute(path).map_err(Error::io("find", path))?;
        if check_format(&root)? {
            Self::open(&root).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The entry of a key, if it is there with every object at its right size.
    ///
    /// A damaged entry counts as absent; [`lookup`](Self::lookup) tells the difference.
    pub fn get(&self, id: &KeyId) -> Result<Option<Entry>> {
        Ok(match self.lookup(id)? {
            Lookup::Found(entry) => Some(entry),
            _ => None,
        })
    }

    /// The entry of a key, or why there is none.
    pub fn lookup(&self, id: &KeyId) -> Result<Lookup> {
        let path = self.entry_path(id);
        let Some(bytes) = fs::read_if_there(&path)? else {
            return Ok(Lookup::Absent);
        };
        let entry = match Entry::parse(&bytes, id) {
            Ok(entry) => entry,
            Err(why) => return Ok(Lookup::Damaged { path, why }),
        };
        let mut lacking = None;
        for (name, artifact) in entry.artifacts() {
            if !self.has(artifact)? {
                lacking = Some(name.to_owned());
                break;
            }
        }
        Ok(match lacking {
            Some(output) => Lookup::Incomplete { output, entry },
            None => Lookup::Found(entry),
        })
    }

    /// The key with an id, from its entry or from the work folder of a job that did not get so far.
    pub fn key(&self, id: &KeyId) -> Result<Option<Key>> {
        let entry = fs::read_if_there(&self.entry_path(id))?;
        if let Some(entry) = entry.and_then(|bytes| Entry::parse(&bytes, id).ok()) {
            return Ok(Some(entry.key));
        }
        let key = fs::read_if_there(&self.work_path(id).join(KEY))?;
        let key = key.and_then(|bytes| sealed::unseal::<Key>(&bytes).ok());
        Ok(key.filter(|key| key.id() == *id))
    }

    /// Whether every object of an artifact is there with its right size.
    pub fn has(&self, artifact: &Artifact) -> Result<bool> {
        if !artifact.folder {
            return self.has_object(&artifact.digest, artifact.size);
        }
        let manifest = match self.manifest(&artifact.digest) {
            Ok(manifest) => manifest,
            Err(Error::MissingObject { .. } | Error::DamagedObject { .. }) => return Ok(false),
            Err(e) => return Err(e),
        };
        if manifest.size() != artifact.size {
            return Ok(false);
        }
        for file in manifest.files().values() {
            if !self.has_object(&file.digest, file.size)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an object is there with its right size. One that somebody wrote to (see [`fs::stamp`]) is read, and
    /// removed where its bytes are not what its name says.
    pub(crate) fn has_object(&self, digest: &Digest, size: u64) -> Result<bool> {
        let path = self.object_path(digest);
        let Some(meta) = fs::look(&path)?.filter(|meta| meta.is_file() && meta.len() == size)
        else {
            return Ok(false);
        };
        let stat = Stat::of(&meta);
        if stat.is_stamped() {
            return Ok(true);
        }
        let whole = Digest::of_file(&path)? == *digest;
        let mended = if whole {
            fs::stamp(&path, &stat)
        } else {
            fs::remove_file(&path)
        };
        match mended {
            Err(e) if !e.is_read_only() => Err(e),
            _ => Ok(whole),
        }
    }

    /// Where an object lies; read-only, and the same file for everyone who links it.
    pub fn object_path(&self, digest: &Digest) -> PathBuf {
        sharded(&self.inner.root, "objects", digest, "")
    }

    /// Where an entry lies.
    pub fn entry_path(&self, id: &KeyId) -> PathBuf {
        sharded(&self.inner.root, "entries", &id.0, ".json")
    }

    /// Where a job that was claimed works; may exist from an interrupted attempt.
    pub fn work_path(&self, id: &KeyId) -> PathBuf {
        self.inner.root.join("work").join(id.to_string())
    }

    /// The bytes of an object, checked against its digest.
    pub fn read_object(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.object_path(digest);
        let Some(bytes) = fs::read_if_there(&path)? else {
            return Err(Error::MissingObject {
                digest: *digest,
                path,
            });
        };
        if Digest::of_bytes(&bytes) != *digest {
            let why = format!("its {} bytes have another digest", bytes.len());
            return Err(Error::DamagedObject {
                digest: *digest,
                path,
                why,
            });
        }
        Ok(bytes)
    }

    /// The manifest of a folder.
    pub fn manifest(&self, digest: &Digest) -> Result<Manifest> {
        let bytes = self.read_object(digest)?;
        Manifest::parse(&bytes).map_err(|why| Error::DamagedObject {
            digest: *digest,
            path: self.object_path(digest),
            why: why.to_string(),
        })
    }

    /// What a file or folder of the user's is by content. Unchanged files are not read again.
    pub fn artifact_of(&self, path: &Path) -> Result<Artifact> {
        let path = std::path::absolute(path).map_err(Error::io("find", path))?;
        let meta = std::fs::metadata(&path).map_err(Error::io("look at", &path))?;
        if meta.is_dir() {
            let (manifest, _) = Manifest::of_folder(&path, |file, stat| {
                self.inner.stat_cache.digest_in(file, stat)
            })?;
            return Ok(manifest.artifact());
        }
        let (digest, stat) = self.inner.stat_cache.digest(&path)?;
        Ok(Artifact {
            digest,
            size: stat.size,
            folder: false,
        })
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.inner.root.join("tmp")
    }

    /// Makes everything published so far survive a power cut, and saves what is only a convenience
    /// (the stat cache). Called at the end of a run; dropping the last clone does it, too.
    pub fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
}

impl Inner {
    fn sync(&self) -> Result<()> {
        self.durable.flush()?;
        // Where we may not write, whoever may will learn it again.
        match self.stat_cache.save() {
            Err(e) if e.is_read_only() => Ok(()),
            saved => saved,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What fails here is only late: the flag in `unsynced/` stays, and the next open recovers.
        let _ = self.sync();
    }
}

/// An object's path in its folder, `ab/cdef…`: at most 256 subfolders.
pub(crate) fn object_name(digest: &Digest) -> String {
    let mut name = digest.to_hex();
    name.insert(2, '/');
    name
}

fn sharded(root: &Path, folder: &str, digest: &Digest, ending: &str) -> PathBuf {
    let mut path = PathBuf::with_capacity(root.as_os_str().len() + 90);
    path.push(root);
    path.push(folder);
    path.push(object_name(digest) + ending);
    path
}

/// Whether `root` is a store that this version can use; `false` where nothing is yet.
fn check_format(root: &Path) -> Result<bool> {
    let bytes = match fs::read_if_there(&root.join("format")) {
        Err(Error::Io { source, .. })
            if matches!(
                source.kind(),
                std::io::ErrorKind::NotADirectory | std::io::ErrorKind::IsADirectory
            ) =>
        {
            return Err(Error::NotAStore { path: root.into() });
        }
        read => read?,
    };
    let Some(bytes) = bytes else { return Ok(false) };
    let found = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim().strip_prefix("rematch store ")?.parse().ok())
        .ok_or_else(|| Error::NotAStore { path: root.into() })?;
    if found > FORMAT {
        return Err(Error::NewerFormat {
            path: root.into(),
            found,
            known: FORMAT,
        });
    }
    Ok(true)
}

fn create(root: &Path) -> Result<()> {
    // Anything that a creation interrupted midway leaves is fine; anything else is not ours.
    let ours = [
        "objects",
        "entries",
        "locks",
        "work",
        "publish",
        "tmp",
        "runs",
        "unsynced",
        ".gitignore",
    ];
    let members = fs::list_if_there(root)?;
    if members.iter().any(|m| {
        m.file_name()
            .to_str()
            .is_none_or(|name| !ours.contains(&name))
    }) {
        // Unless another runner was quicker.
        return if check_format(root)? {
            Ok(())
        } else {
            Err(Error::NotAStore { path: root.into() })
        };
    }
    for folder in &ours[..8] {
        fs::create_folder(&root.join(folder))?;
    }
    let temporary = root.join("tmp");
    fs::write_atomic(&temporary, &root.join(".gitignore"), b"*\n")?;
    let format = root.join("format");
    fs::write_atomic(
        &temporary,
        &format,
        format!("rematch store {FORMAT}\n").as_bytes(),
    )?;
    fs::sync(&format)?;
    fs::sync(root)
}
