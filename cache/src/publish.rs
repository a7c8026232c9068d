//! Publishing: from a job's files to objects and an entry, so that a kill at any instant leaves
//! either no entry or a whole one, and loses no finished work.
//!
//! 1. Hash every output where it lies; nothing is changed yet.
//! 2. Write the *intent* (the entry-to-be, and which file becomes which object) into the work folder.
//! 3. Rename `work/<id>` to `publish/<id>`: from here on no attempt resumes in that folder.
//! 4. Move the files to `objects/`, write the entry, remove `publish/<id>`.
//!
//! Whoever next claims the key after a kill in step 4 does the rest of it again from the intent.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::durable::Writing;
use crate::entry::{Entry, Meta};
use crate::error::{Error, Result};
use crate::fs::{self, Stat};
use crate::key::{Key, KeyId};
use crate::manifest::{Manifest, Source};
use crate::sealed;
use crate::store::Store;

/// The intent's name in the work folder.
const INTENT: &str = ".rematch-publish.json";

/// Fewer files than this are moved quicker by one thread than handed to several.
const WORTH_THREADS: usize = 32;

#[derive(Serialize, Deserialize)]
struct Intent {
    entry: Entry,
    moves: Vec<Move>,
}

/// A file that becomes an object.
#[derive(Clone, Serialize, Deserialize)]
struct Move {
    /// Relative to the work folder, or absolute.
    from: PathBuf,
    digest: Digest,
    /// As it was when hashed.
    stat: Stat,
}

/// See [`crate::claim::Reservation::publish`].
pub fn publish(
    store: &Store,
    key: &Key,
    work: &Path,
    outputs: &BTreeMap<String, PathBuf>,
    log: Option<&Path>,
    meta: Meta,
) -> Result<Entry> {
    let mut moves = Vec::new();
    let mut manifests = Vec::new();
    let mut artifact = |name: &str, path: &Path| hash(name, path, &mut moves, &mut manifests);
    let outputs = outputs
        .iter()
        .map(|(name, path)| Ok((name.clone(), artifact(name, path)?)))
        .collect::<Result<_>>()?;
    let log = log.map(|path| artifact("log", path)).transpose()?;
    for step in &mut moves {
        if let Ok(inner) = step.from.strip_prefix(work) {
            step.from = inner.to_path_buf();
        }
    }
    let Meta {
        metrics,
        provenance,
    } = meta;
    let entry = Entry {
        key: key.clone(),
        outputs,
        log,
        metrics,
        provenance,
    };
    let intent = Intent { entry, moves };

    let id = key.id();
    let note = work.join(INTENT);
    let bytes = sealed::seal(&intent).map_err(|e| Error::NotJson {
        path: note.clone(),
        why: e.to_string(),
    })?;
    let writing = store.inner.durable.begin()?;
    for (digest, bytes) in &manifests {
        write_object(store, &writing, digest, bytes)?;
    }
    fs::write_atomic(&store.temporary(), &note, &bytes)?;
    let staged = staged(store, &id);
    fs::rename(work, &staged)?;
    carry_out(store, &writing, &id, &staged, &intent)?;
    Ok(intent.entry)
}

/// Finishes what a killed publisher began, if it got as far as step 3. To be called by the holder of
/// the key's lock.
pub fn finish_interrupted(store: &Store, id: &KeyId) -> Result<Option<Entry>> {
    let staged = staged(store, id);
    if fs::look(&staged)?.is_none() {
        return Ok(None);
    }
    if let Some(intent) = intent(&staged, id)? {
        let writing = store.inner.durable.begin()?;
        match carry_out(store, &writing, id, &staged, &intent) {
            Ok(()) if store.get(id)?.is_some() => return Ok(Some(intent.entry)),
            // What lay there is not what was hashed (a power cut, a stray writer): make it anew.
            Ok(()) | Err(Error::Changed { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    discard(store, id)?;
    Ok(None)
}

/// The entry that a killed publisher was about to write, if it got as far as step 3.
pub fn intended(store: &Store, id: &KeyId) -> Result<Option<Entry>> {
    Ok(intent(&staged(store, id), id)?.map(|intent| intent.entry))
}

fn intent(staged: &Path, id: &KeyId) -> Result<Option<Intent>> {
    let bytes = fs::read_if_there(&staged.join(INTENT))?;
    let intent = bytes.and_then(|bytes| sealed::unseal::<Intent>(&bytes).ok());
    Ok(intent.filter(|intent| intent.entry.key.id() == *id))
}

/// Removes what killed publishers left beside a whole entry, and locks that nobody holds. A result
/// that still lacks its entry stays for the next claim. Costs two listings of nearly empty folders.
pub fn tidy(store: &Store) -> Result<()> {
    for folder in ["publish", "locks"] {
        for left in fs::list_if_there(&store.root().join(folder))? {
            let Some(id) = left.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            store.while_locked(&id, || {
                if fs::look(&store.entry_path(&id))?.is_some() {
                    discard(store, &id)
                } else {
                    Ok(())
                }
            })?;
        }
    }
    Ok(())
}

/// Forgets an intent that did not get as far as step 3; `work` is going to be used again.
pub fn forget_intent(work: &Path) -> Result<()> {
    fs::remove_file(&work.join(INTENT))
}

/// Removes what a killed publisher left.
pub fn discard(store: &Store, id: &KeyId) -> Result<()> {
    fs::remove_all(&staged(store, id))
}

fn staged(store: &Store, id: &KeyId) -> PathBuf {
    store.root().join("publish").join(id.to_string())
}

/// Step 1 for one output.
fn hash(
    name: &str,
    path: &Path,
    moves: &mut Vec<Move>,
    manifests: &mut Vec<(Digest, Vec<u8>)>,
) -> Result<Artifact> {
    let Some(meta) = fs::look(path)? else {
        return Err(Error::MissingOutput {
            name: name.to_owned(),
            path: path.into(),
        });
    };
    if meta.is_dir() {
        let (manifest, files) = Manifest::of_folder(path, Digest::of_file_with_stat)?;
        moves.extend(files.into_iter().map(
            |Source {
                 path: from,
                 digest,
                 stat,
             }| Move { from, digest, stat },
        ));
        let artifact = manifest.artifact();
        manifests.push((artifact.digest, manifest.to_bytes()));
        return Ok(artifact);
    }
    if !meta.is_file() {
        return Err(Error::NotAFile {
            path: path.into(),
            what: fs::what_it_is(&meta),
        });
    }
    let (digest, stat) = Digest::of_file_with_stat(path)?;
    moves.push(Move {
        from: path.into(),
        digest,
        stat,
    });
    Ok(Artifact {
        digest,
        size: stat.size,
        folder: false,
    })
}

/// Step 4; does no harm when done twice.
fn carry_out(
    store: &Store,
    writing: &Writing,
    id: &KeyId,
    staged: &Path,
    intent: &Intent,
) -> Result<()> {
    let step = |Move { from, digest, stat }: &Move| {
        adopt(store, writing, &staged.join(from), digest, stat)
    };
    if intent.moves.len() < WORTH_THREADS {
        intent.moves.iter().try_for_each(step)?;
    } else {
        intent.moves.par_iter().try_for_each(step)?;
    }
    let path = store.entry_path(id);
    let bytes = intent.entry.to_bytes().map_err(|e| Error::NotJson {
        path: path.clone(),
        why: e.to_string(),
    })?;
    fs::write_atomic(&store.temporary(), &path, &bytes)?;
    writing.wrote(&path);
    // The result is in; what cannot be removed now is removed by the next claim.
    let _ = fs::remove_all(staged);
    Ok(())
}

fn write_object(store: &Store, writing: &Writing, digest: &Digest, bytes: &[u8]) -> Result<()> {
    // By content: a damaged manifest would make its entry absent again and again.
    if store.read_object(digest).is_ok() {
        return Ok(());
    }
    let object = store.object_path(digest);
    fs::write_atomic(&store.temporary(), &object, bytes)?;
    writing.wrote(&object);
    Ok(())
}

/// Makes a file an object, by moving it where that is possible.
fn adopt(
    store: &Store,
    writing: &Writing,
    from: &Path,
    digest: &Digest,
    stat: &Stat,
) -> Result<()> {
    if store.has_object(digest, stat.size)? {
        return Ok(());
    }
    let changed = || Error::Changed { path: from.into() };
    let unchanged = |path: &Path| -> Result<Option<std::fs::Metadata>> {
        let Some(meta) = fs::look(path)? else {
            return Ok(None);
        };
        let now = Stat::of(&meta);
        Ok(((now.size, now.mtime) == (stat.size, stat.mtime)).then_some(meta))
    };
    let meta = unchanged(from)?.ok_or_else(changed)?;
    let object = store.object_path(digest);
    // A file with a second name may be written to through that name: leave it, take its bytes.
    if meta.nlink() == 1 {
        fs::set_mode(from, fs::READ_ONLY)?;
        let mut moved = std::fs::rename(from, &object);
        if moved
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            fs::create_folder(&fs::parent(&object))?;
            moved = std::fs::rename(from, &object);
        }
        match moved {
            Ok(()) if unchanged(&object)?.is_some() => {
                writing.wrote(&object);
                return Ok(());
            }
            Ok(()) => {
                fs::remove_file(&object)?;
                return Err(changed());
            }
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {}
            Err(e) => return Err(Error::io("move into the store", from)(e)),
        }
    }
    let temporary = fs::copy_to_temporary(from, &store.temporary())?;
    if unchanged(from)?.is_none() {
        return Err(changed());
    }
    fs::set_mode(&temporary, fs::READ_ONLY)?;
    fs::persist(temporary, &object)?;
    writing.wrote(&object);
    Ok(())
}
