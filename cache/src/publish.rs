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
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;
use rustix::io::Errno;
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

/// After this long, a temporary file is one that a killed process left.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

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
    let bytes = sealed::seal(&intent).map_err(|e| Error::not_json(&note, &e))?;
    let writing = store.inner.durable.begin()?;
    for (digest, bytes) in &manifests {
        write_object(store, &writing, digest, bytes)?;
    }
    // It counts only behind the rename that follows, and tells whether it is whole.
    fs::write(&note, &bytes)?;
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
        // An object that was moved and not looked at since bears no stamp, and is read.
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

/// Removes what killed publishers left beside a whole entry, locks that nobody holds, and what lies
/// in `tmp/` for a day. A result that still lacks its entry stays for the next claim. Costs three
/// listings of nearly empty folders.
pub fn tidy(store: &Store) -> Result<()> {
    for left in fs::list_if_there(&store.temporary())? {
        // Whoever is still writing to it has done so since.
        let old = left
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED));
        if old {
            fs::remove_all(&left.path())?;
        }
    }
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
        let (manifest, files) = Manifest::of_folder(path, Digest::of_file_in)?;
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
    let bytes = intent
        .entry
        .to_bytes()
        .map_err(|e| Error::not_json(&path, &e))?;
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
    if let Some(meta) = fs::look(&object)? {
        fs::stamp(&object, &Stat::of(&meta))?;
    }
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
    // A file with a second name may be written to through that name: leave it, take its bytes. The
    // same for a file or a folder that is not ours to change, as containers leave them.
    if meta.nlink() == 1 && move_to(from, &object)? {
        // Whoever found the object before us has read it and stamped it.
        let now = fs::look(&object)?.map(|meta| Stat::of(&meta));
        if !now.is_some_and(|now| {
            now.size == stat.size && (now.mtime == stat.mtime || now.is_stamped())
        }) {
            fs::remove_file(&object)?;
            return Err(changed());
        }
        fs::stamp(&object, stat)?;
        writing.wrote(&object);
        return Ok(());
    }
    // Another job may have made the same bytes meanwhile.
    if store.has_object(digest, stat.size)? {
        return Ok(());
    }
    let temporary = fs::copy_to_temporary(from, &store.temporary())?;
    if unchanged(from)?.is_none() {
        return Err(changed());
    }
    fs::set_mode(&temporary, fs::READ_ONLY)?;
    fs::stamp(&temporary, stat)?;
    fs::persist(temporary, &object)?;
    writing.wrote(&object);
    Ok(())
}

/// Gives a file an object's name, read-only; false where only its bytes can be had.
fn move_to(from: &Path, object: &Path) -> Result<bool> {
    match fs::set_mode(from, fs::READ_ONLY) {
        Err(e) if e.is_read_only() => return Ok(false),
        done => done?,
    }
    let mut moved = rename_new(from, object);
    if moved == Err(Errno::NOENT) {
        fs::create_folder(&fs::parent(object))?;
        moved = rename_new(from, object);
    }
    match moved {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::XDEV | Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(e) => Err(Error::io("move into the store", from)(e.into())),
    }
}

/// Renames to a name that nobody has. Two jobs may make the same bytes at once, and each looks at its own file after
/// the move: neither may put its file in the place of the other's.
fn rename_new(from: &Path, to: &Path) -> std::result::Result<(), Errno> {
    use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system has that.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(CWD, from, CWD, to, AtFlags::empty())?;
            rustix::fs::unlink(from)
        }
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Claim, Reservation};

    /// A store in which the publisher of `key` was killed after its only file, `good`, was moved.
    fn killed_after_the_move(folder: &Path) -> (Store, Key) {
        let store = Store::open(&folder.join("store")).unwrap();
        let key = Key {
            kind: "test".into(),
            version: 1,
            params: serde_json::json!({}),
            inputs: BTreeMap::new(),
        };
        let reservation = reserve(&store, &key);
        let out = reservation.work().join("out");
        std::fs::write(&out, "good").unwrap();
        let mut moves = Vec::new();
        let artifact = hash("out", &out, &mut moves, &mut Vec::new()).unwrap();
        moves[0].from = "out".into();
        let entry = Entry {
            key: key.clone(),
            outputs: BTreeMap::from([("out".into(), artifact)]),
            log: None,
            metrics: BTreeMap::new(),
            provenance: Meta::default().provenance,
        };
        let note = sealed::seal(&Intent { entry, moves }).unwrap();
        std::fs::write(reservation.work().join(INTENT), note).unwrap();
        assert!(move_to(&out, &store.object_path(&artifact.digest)).unwrap());
        std::fs::rename(reservation.work(), staged(&store, &key.id())).unwrap();
        (store, key)
    }

    fn reserve(store: &Store, key: &Key) -> Reservation {
        match store.try_claim(key).unwrap() {
            Claim::Reserved(reservation) => reservation,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_result_whose_publisher_was_killed_is_finished_by_the_next_claim() {
        let folder = tempfile::tempdir().unwrap();
        let (store, key) = killed_after_the_move(folder.path());
        assert!(matches!(store.try_claim(&key).unwrap(), Claim::Hit(_)));
    }

    #[test]
    fn a_file_that_was_written_to_while_its_publisher_was_killed_is_no_result() {
        let folder = tempfile::tempdir().unwrap();
        let (store, key) = killed_after_the_move(folder.path());
        let object = store.object_path(&Digest::of_bytes(b"good"));
        // Through a handle that a stray process had opened before the move.
        fs::set_mode(&object, 0o644).unwrap();
        std::fs::write(&object, "evil").unwrap();
        let file = std::fs::File::options().write(true).open(&object).unwrap();
        file.set_modified(std::time::SystemTime::now() + Duration::from_secs(1))
            .unwrap();
        reserve(&store, &key);
        assert!(!object.exists());
    }

    #[test]
    fn what_killed_processes_left_in_tmp_goes_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        for (name, hours) in [("young", 1), ("old", 25)] {
            let path = store.temporary().join(name);
            let file = std::fs::File::create(&path).unwrap();
            let time = std::time::SystemTime::now() - Duration::from_secs(hours * 3600);
            file.set_modified(time).unwrap();
        }
        tidy(&store).unwrap();
        assert!(store.temporary().join("young").exists());
        assert!(!store.temporary().join("old").exists());
    }
}
