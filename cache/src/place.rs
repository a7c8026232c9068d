//! Placing: from objects to files that people and jobs see, by reflink, hard link or copy.
//! A place is replaced whole or not at all, and left alone where it is right already. What a person
//! put there instead of a result is kept beside it. What is not ready yet lies in the store's `tmp/`, so that a
//! kill leaves nothing among the results; on another file system it lies beside its place.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rustix::io::Errno;

use crate::artifact::Artifact;
use crate::error::{Error, Result};
use crate::fs::{self, Stat};
use crate::ledger::PlacedFile;
use crate::manifest::{FileEntry, Manifest};
use crate::store::Store;

/// How something came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It was there, unchanged.
    Already,
    /// Bytes shared with the object until one of them is written to.
    Reflink,
    /// Another name of the object, read-only.
    HardLink,
    /// Bytes of its own.
    Copy,
}

/// Mode of placed files that are not the object itself.
fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

/// A result in its place.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The costliest way that one of its files took.
    pub how: How,
    /// Its files, or the only one.
    pub files: Vec<PlacedFile>,
    /// Its folders with the times of their last changes.
    pub folders: Vec<(PathBuf, i64)>,
    /// Where something that lay there is now: no result, but the work of a person.
    pub aside: Option<PathBuf>,
}

impl Store {
    /// Puts an artifact at `path` below `out`, replacing what is there; creates the folders above.
    ///
    /// What is there is replaced without more ado where it is `was`, or where the store has its bytes. Anything else is
    /// somebody's work, and is moved aside.
    ///
    /// # Errors
    /// [`Error::MissingObject`], [`Error::DamagedObject`] (a manifest), I/O.
    pub fn materialise(
        &self,
        artifact: &Artifact,
        out: &Path,
        path: &Path,
        was: Option<&Artifact>,
    ) -> Result<Placement> {
        let dest = std::path::absolute(out.join(path)).map_err(Error::io("find", path))?;
        let right = self.is_right(&dest, artifact)?;
        let aside = if right {
            None
        } else {
            self.keep_aside(&dest, was)?
        };
        let mut placed = Placement {
            how: How::Already,
            files: Vec::new(),
            folders: Vec::new(),
            aside,
        };
        if !artifact.folder {
            let file = FileEntry {
                digest: artifact.digest,
                size: artifact.size,
                executable: false,
            };
            if !right {
                placed.how = self.place_file(&file, &dest, true)?;
            }
            placed.files.push(self.placed(&file, &dest, path)?);
            return Ok(placed);
        }
        let manifest = self.manifest(&artifact.digest)?;
        if !right {
            placed.how = self.place_folder(&manifest, &dest, true)?;
        }
        let mut folders = BTreeSet::from([Path::new("")]);
        for (name, file) in manifest.files() {
            folders.extend(Path::new(name).ancestors().skip(1));
            placed
                .files
                .push(self.placed(file, &dest.join(name), &path.join(name))?);
        }
        for folder in folders {
            if let Some(meta) = fs::look(&dest.join(folder))? {
                placed
                    .folders
                    .push((path.join(folder), Stat::of(&meta).mtime));
            }
        }
        Ok(placed)
    }

    /// What is noted of a file that was placed.
    fn placed(&self, file: &FileEntry, dest: &Path, path: &Path) -> Result<PlacedFile> {
        let stat = |path: &Path| Ok(fs::look(path)?.map(|meta| Stat::of(&meta)));
        let (there, object) = (stat(dest)?, stat(&self.object_path(&file.digest))?);
        let linked = there
            .zip(object)
            .is_some_and(|(there, object)| there.same_file(&object));
        Ok(PlacedFile {
            path: path.into(),
            object: file.digest,
            size: file.size,
            stat: if linked { None } else { there },
        })
    }

    /// Moves aside what lies at `dest`, where it is neither `was` nor in the store. Returns where it is then.
    pub fn keep_aside(&self, dest: &Path, was: Option<&Artifact>) -> Result<Option<PathBuf>> {
        let Some(meta) = fs::look(dest)? else {
            return Ok(None);
        };
        if meta.is_symlink()
            || matches!(was, Some(was) if self.is_right(dest, was).unwrap_or(false))
        {
            return Ok(None);
        }
        match self.knows(dest, &meta) {
            Ok(false) => move_aside(dest),
            // Another runner replaces it at this moment.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            known => known.map(|_| None),
        }
    }

    /// Whether the store has all bytes of a file or folder.
    fn knows(&self, path: &Path, meta: &Metadata) -> Result<bool> {
        if meta.is_file() {
            let (digest, stat) = self.inner.stat_cache.digest(path)?;
            return self.has_object(&digest, stat.size);
        }
        if !meta.is_dir() {
            return Ok(false);
        }
        for member in fs::list(path)? {
            let path = member.path();
            let meta = member.metadata().map_err(Error::io("look at", &path))?;
            if !self.knows(&path, &meta)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts an input where a job expects it: a file as a symbolic link to its object, a folder as a
    /// tree of hard links or copies. Inputs are read-only.
    pub fn link_input(&self, artifact: &Artifact, dest: &Path) -> Result<()> {
        let dest = std::path::absolute(dest).map_err(Error::io("find", dest))?;
        if artifact.folder {
            let manifest = self.manifest(&artifact.digest)?;
            return self.place_folder(&manifest, &dest, false).map(drop);
        }
        let object = self.object_path(&artifact.digest);
        if !self.has(artifact)? {
            return Err(Error::MissingObject {
                digest: artifact.digest,
                path: object,
            });
        }
        let folder = fs::parent(&dest);
        fs::create_folder(&folder)?;
        let link = |at: &Path| std::os::unix::fs::symlink(&object, at);
        self.place(&folder, &dest, link)
            .map_err(Error::io("create the link", &dest))
    }

    /// Where to make what then moves into `folder`: the store's `tmp/`, if a rename leads from there.
    fn scratch(&self, folder: &Path) -> PathBuf {
        let temporary = self.temporary();
        match (mount(&temporary), mount(folder)) {
            (Some(here), Some(there)) if here == there => temporary,
            _ => folder.into(),
        }
    }

    /// Makes something at `dest` in `folder`; where something is, at another name, and moves it there.
    fn place(
        &self,
        folder: &Path,
        dest: &Path,
        make: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        match make(dest) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done,
        }
        let made = tempfile::Builder::new()
            .prefix(".rematch-")
            .make_in(self.scratch(folder), make)?;
        // Not `persist`: where another runner just made `dest` a link to the same file, a rename does
        // nothing, and the name that is left must go.
        std::fs::rename(&made, dest)
    }

    /// One file. With `reflink`, sharing bytes is tried before sharing the file.
    fn place_file(&self, file: &FileEntry, dest: &Path, reflink: bool) -> Result<How> {
        let object = self.object_path(&file.digest);
        let missing = || Error::MissingObject {
            digest: file.digest,
            path: object.clone(),
        };
        let meta = fs::look(&object)?.ok_or_else(missing)?;
        if meta.len() != file.size {
            return Err(missing());
        }
        let there = fs::look(dest)?;
        if let Some(there) = &there {
            if self.file_is_right(file, dest, there, &Stat::of(&meta)) {
                return Ok(How::Already);
            }
            if there.is_dir() {
                fs::remove_all(dest)?;
            }
        }
        let folder = fs::parent(dest);
        fs::create_folder(&folder)?;
        if reflink && self.try_reflink(&object, dest, file)? {
            return Ok(How::Reflink);
        }
        if !file.executable {
            let link = |at: &Path| std::fs::hard_link(&object, at);
            match self.place(&folder, dest, link) {
                Ok(()) => return Ok(How::HardLink),
                Err(e) if no_hard_link(&e) => {}
                Err(e) => return Err(Error::io("link", dest)(e)),
            }
        }
        let temporary = fs::copy_to_temporary(&object, &self.scratch(&folder))?;
        self.finish_copy(temporary, dest, file)?;
        Ok(How::Copy)
    }

    fn try_reflink(&self, object: &Path, dest: &Path, file: &FileEntry) -> Result<bool> {
        let folder = fs::parent(dest);
        let device = std::fs::metadata(&folder)
            .map_err(Error::io("look at", &folder))?
            .dev();
        let known = || {
            self.inner
                .reflinks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if known().get(&device) == Some(&false) {
            return Ok(false);
        }
        let made = tempfile::Builder::new()
            .prefix(".rematch-")
            .make_in(self.scratch(&folder), |at| {
                reflink_copy::reflink(object, at)
            });
        // Whatever the reason, the other ways say it better.
        known().insert(device, made.is_ok());
        let Ok(made) = made else { return Ok(false) };
        self.finish_copy(made.into_temp_path(), dest, file)?;
        Ok(true)
    }

    /// Gives a copy its mode and name, and remembers what it holds.
    fn finish_copy(
        &self,
        temporary: tempfile::TempPath,
        dest: &Path,
        file: &FileEntry,
    ) -> Result<()> {
        fs::set_mode(&temporary, mode(file.executable))?;
        // By its handle: another runner may put something else in its place right away.
        let copy = fs::open(&temporary)?;
        fs::persist(temporary, dest)?;
        let meta = copy.metadata().map_err(Error::io("look at", dest))?;
        self.inner
            .stat_cache
            .know(dest, Stat::of(&meta), file.digest);
        Ok(())
    }

    /// Whether `dest` is the object itself, or an untouched copy of it.
    fn file_is_right(
        &self,
        file: &FileEntry,
        dest: &Path,
        there: &Metadata,
        object: &Stat,
    ) -> bool {
        if !there.is_file() {
            return false;
        }
        let stat = Stat::of(there);
        if stat.same_file(object) {
            return !file.executable;
        }
        stat.size == file.size
            && there.mode() & 0o777 == mode(file.executable)
            && self
                .inner
                .stat_cache
                .digest(dest)
                .is_ok_and(|(digest, _)| digest == file.digest)
    }

    fn folder_is_right(&self, manifest: &Manifest, dest: &Path) -> Result<bool> {
        if !fs::look(dest)?.is_some_and(|meta| meta.is_dir()) {
            return Ok(false);
        }
        for (name, file) in manifest.files() {
            let (path, object) = (dest.join(name), self.object_path(&file.digest));
            let (Some(there), Some(object)) = (fs::look(&path)?, fs::look(&object)?) else {
                return Ok(false);
            };
            if !self.file_is_right(file, &path, &there, &Stat::of(&object)) {
                return Ok(false);
            }
        }
        Ok(count_files(dest)? == manifest.files().len())
    }

    /// Builds the tree elsewhere, then swaps it in.
    fn place_folder(&self, manifest: &Manifest, dest: &Path, reflink: bool) -> Result<How> {
        let above = fs::parent(dest);
        fs::create_folder(&above)?;
        let scratch = self.scratch(&above);
        let building = tempfile::Builder::new()
            .prefix(".rematch-")
            .tempdir_in(&scratch)
            .map_err(Error::io("create a folder in", &scratch))?;
        let tree = building.path().join("new");
        fs::create_folder(&tree)?;
        let mut how = How::Already;
        for (name, file) in manifest.files() {
            how = how.max(self.place_file(file, &tree.join(name), reflink)?);
        }
        swap_in(&tree, dest, building.path())?;
        let rest = building.keep();
        fs::remove_all(&rest)?;
        Ok(how)
    }

    /// Whether what lies at `dest` is this artifact, untouched.
    pub fn is_right(&self, dest: &Path, artifact: &Artifact) -> Result<bool> {
        let dest = std::path::absolute(dest).map_err(Error::io("find", dest))?;
        if artifact.folder {
            return self.folder_is_right(&self.manifest(&artifact.digest)?, &dest);
        }
        let object = self.object_path(&artifact.digest);
        let (Some(there), Some(object)) = (fs::look(&dest)?, fs::look(&object)?) else {
            return Ok(false);
        };
        let file = FileEntry {
            digest: artifact.digest,
            size: artifact.size,
            executable: false,
        };
        Ok(self.file_is_right(&file, &dest, &there, &Stat::of(&object)))
    }
}

/// Gives something a name beside its own: `x.edited`, or `x.edited-2` where that is taken. `None` where it is gone.
fn move_aside(path: &Path) -> Result<Option<PathBuf>> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let name = path.file_name().unwrap_or_default();
    let mut n = 0;
    loop {
        n += 1;
        let mut other = name.to_owned();
        other.push(".edited");
        if n > 1 {
            other.push(format!("-{n}"));
        }
        let other = path.with_file_name(other);
        let moved = match renameat_with(CWD, path, CWD, &other, RenameFlags::NOREPLACE) {
            // Not every file system has that; a look before is nearly as good.
            Err(Errno::INVAL | Errno::NOSYS) if fs::look(&other)?.is_none() => {
                fs::rename(path, &other)?;
                Ok(())
            }
            moved => moved,
        };
        match moved {
            Ok(()) => return Ok(Some(other)),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {}
            Err(e) => return Err(Error::io("move aside", path)(e.into())),
        }
    }
}

/// Gives a tree the name `dest`; what has it now ends up in `aside`.
fn swap_in(tree: &Path, dest: &Path, aside: &Path) -> Result<()> {
    // Another runner may do the same at the same time: what was not there a moment ago is now.
    for n in 0..100 {
        let refused = match std::fs::rename(tree, dest) {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        let taken = matches!(
            refused.kind(),
            io::ErrorKind::AlreadyExists
                | io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::NotADirectory
        );
        if !taken {
            return Err(Error::io("rename to", dest)(refused));
        }
        // One step, but not every file system has it.
        if exchange(tree, dest).is_ok() {
            return Ok(());
        }
        match std::fs::rename(dest, aside.join(n.to_string())) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("move away", dest)(e));
            }
            _ => {}
        }
    }
    let again_and_again = io::ErrorKind::DirectoryNotEmpty.into();
    Err(Error::io("rename to", dest)(again_and_again))
}

fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

/// Files below a folder; links and special files count, too.
fn count_files(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for member in fs::list_if_there(folder)? {
        let kind = member.file_type().map_err(Error::io("look at", folder))?;
        count += if kind.is_dir() {
            count_files(&member.path())?
        } else {
            1
        };
    }
    Ok(count)
}

/// What a rename cannot leave: a file system's number, and that of its mount. Two mounts of one file
/// system share the first.
fn mount(path: &Path) -> Option<(u32, u32, u64)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some((
        found.stx_dev_major,
        found.stx_dev_minor,
        found.stx_mnt_id,
    ))
}

/// Whether a copy is the answer: another file system, one without links, too many links, or a
/// system that forbids links to files of others.
fn no_hard_link(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::TooManyLinks
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
    )
}
