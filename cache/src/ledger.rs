//! The ledger of a pipeline: what its last run found of every job. With it the next run can tell, by a look at each
//! file, that nothing changed: it types no parameter and reads no entry.
//!
//! A ledger is a convenience. It is written at the end of a run, never synced, and one that is damaged or gone costs
//! time: whatever it says is checked against the files, and its key ids are those of entries.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags, statat};
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::{self, Stat};
use crate::key::KeyId;
use crate::store::{Store, object_name};

/// What a ledger's file begins with.
const HEADER: &[u8] = b"rematch ledger 1\n";

/// What the last run of a pipeline found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// What the plan was made from; jobs of another plan have the records that bear their names.
    pub plan: Option<Digest>,
    /// The folder below which results were placed.
    pub out: PathBuf,
    /// The jobs in the plan's order.
    pub records: Vec<Record>,
}

/// What a run found of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub job: String,
    /// Its key, where it ran.
    pub key: Option<KeyId>,
    /// Whether its result is in the store. Otherwise it failed, was stopped, or never ran.
    pub done: bool,
    /// Whether it is what the run came to from the outputs that are recorded of the jobs it reads from. Otherwise one
    /// of those has run since.
    pub current: bool,
    /// How long it took when it ran.
    pub seconds: f64,
    /// The user's files that it reads.
    pub files: Vec<UserFile>,
    /// What it made.
    pub outputs: Vec<Made>,
}

/// A file or folder of the user's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserFile {
    /// Absolute.
    pub path: PathBuf,
    /// The state in which it has the content that the job's key says; not there where only its bytes tell.
    pub stat: Option<Stat>,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(with = "as_tuple")]
    pub artifact: Artifact,
    /// Its files, or the only one.
    pub files: Vec<PlacedFile>,
    /// Its folders with the times of their last changes, which tell of new files.
    pub folders: Vec<(PathBuf, i64)>,
}

/// A file of a result, in the store and where people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedFile {
    /// Below the folder of all results.
    pub path: PathBuf,
    /// The object.
    pub object: Digest,
    /// Bytes.
    pub size: u64,
    /// As it was placed; not there where it is the object itself, by a hard link.
    pub stat: Option<Stat>,
}

/// What a look at the files of a record showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The user's files have the recorded content.
    pub files: bool,
    /// Every object is there.
    pub objects: bool,
    /// The result is in its place, and nobody changed it.
    pub placed: bool,
}

/// An artifact for a format without names: there no member can be left out.
mod as_tuple {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Artifact;

    pub fn serialize<S: Serializer>(artifact: &Artifact, to: S) -> Result<S::Ok, S::Error> {
        let Artifact {
            digest,
            size,
            folder,
        } = artifact;
        (digest, size, folder).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Artifact, D::Error> {
        let (digest, size, folder) = Deserialize::deserialize(from)?;
        Ok(Artifact {
            digest,
            size,
            folder,
        })
    }
}

impl Record {
    /// Of a job that never ran.
    pub fn new(job: String) -> Self {
        Self {
            job,
            key: None,
            done: false,
            current: false,
            seconds: 0.0,
            files: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// An output.
    pub fn output(&self, name: &str) -> Option<Artifact> {
        let mut made = self.outputs.iter();
        made.find(|made| made.name == name)
            .map(|made| made.artifact)
    }

    /// Whether both have the same outputs.
    pub fn made_the_same(&self, other: &Self) -> bool {
        let same = |made: &Made| other.output(&made.name) == Some(made.artifact);
        self.outputs.len() == other.outputs.len() && self.outputs.iter().all(same)
    }
}

impl Ledger {
    fn to_bytes(&self) -> std::result::Result<Vec<u8>, postcard::Error> {
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(&[0; 32]);
        let mut bytes = postcard::to_extend(self, bytes)?;
        let start = HEADER.len() + 32;
        let check = Digest::of_bytes(&bytes[start..]);
        bytes[HEADER.len()..start].copy_from_slice(check.as_bytes());
        Ok(bytes)
    }

    /// Reads what [`Store::keep_ledger`] wrote; `None` where it is damaged.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(HEADER)?;
        let (check, body) = rest.split_first_chunk::<32>()?;
        if Digest::of_bytes(body).as_bytes() != check {
            return None;
        }
        postcard::from_bytes(body).ok()
    }
}

impl Store {
    /// The ledger of a pipeline; an empty one where there is none that can be used.
    pub fn ledger(&self, pipeline: &str) -> Result<Ledger> {
        let bytes = fs::read_if_there(&self.ledger_path(pipeline))?;
        Ok(bytes.and_then(|b| Ledger::parse(&b)).unwrap_or_default())
    }

    /// Keeps the ledger of a pipeline; does nothing in a read-only store.
    pub fn keep_ledger(&self, pipeline: &str, ledger: &Ledger) -> Result<()> {
        match self.write_ledger(&self.ledger_path(pipeline), ledger) {
            Err(e) if e.is_read_only() => Ok(()),
            done => done,
        }
    }

    fn write_ledger(&self, path: &Path, ledger: &Ledger) -> Result<()> {
        let bytes = ledger.to_bytes().map_err(|e| Error::not_json(path, &e))?;
        fs::write_atomic(&self.temporary(), path, &bytes)
    }

    /// The ledgers of all pipelines that can be used, with their files.
    pub(crate) fn ledgers(&self) -> Result<Vec<(PathBuf, Ledger)>> {
        let mut ledgers = Vec::new();
        for file in fs::list_if_there(&self.root().join("runs"))? {
            let path = file.path();
            let ledger = fs::read_if_there(&path)?.and_then(|bytes| Ledger::parse(&bytes));
            ledgers.extend(ledger.map(|ledger| (path, ledger)));
        }
        Ok(ledgers)
    }

    /// Notes in every ledger that the results of some keys are gone; to be called before they go, by whoever has the
    /// store alone. Otherwise a job whose objects are all there, because others need them, would count as up to date.
    pub(crate) fn forget_results(&self, gone: impl Fn(&KeyId) -> bool) -> Result<()> {
        for (path, mut ledger) in self.ledgers()? {
            let mut changed = false;
            for record in &mut ledger.records {
                if record.done && record.key.as_ref().is_some_and(&gone) {
                    record.done = false;
                    changed = true;
                }
            }
            if changed {
                self.write_ledger(&path, &ledger)?;
            }
        }
        Ok(())
    }

    fn ledger_path(&self, pipeline: &str) -> PathBuf {
        let name = format!("{}.ledger", fs::file_name_for(pipeline));
        self.root().join("runs").join(name)
    }

    /// Looks at the files of the given records of a ledger; results are expected below `out`.
    pub fn look_over(
        &self,
        ledger: &Ledger,
        out: &Path,
        wanted: impl Fn(usize) -> bool + Sync,
    ) -> Vec<Seen> {
        let objects = open_folder(&self.root().join("objects"));
        let placed = if ledger.out == out {
            open_folder(out)
        } else {
            None
        };
        let look = |(n, record): (usize, &Record)| {
            if wanted(n) {
                look_at(record, objects.as_ref(), placed.as_ref())
            } else {
                Seen::default()
            }
        };
        ledger
            .records
            .par_iter()
            .enumerate()
            .with_min_len(64)
            .map(look)
            .collect()
    }

    /// The state of a user's file, if it is known to have this content in it.
    pub fn known_state(&self, path: &Path, content: &Digest) -> Option<Stat> {
        let stat = Stat::of(&std::fs::metadata(path).ok()?);
        let digest = self.inner.stat_cache.recall(path, &stat)?;
        (digest == *content).then_some(stat)
    }
}

fn look_at(record: &Record, objects: Option<&OwnedFd>, out: Option<&OwnedFd>) -> Seen {
    let mut seen = Seen {
        files: record.files.iter().all(is_unchanged),
        objects: true,
        placed: true,
    };
    for made in &record.outputs {
        if made.artifact.folder {
            seen.objects &= object(objects, &made.artifact.digest).is_some_and(|o| o.is_stamped());
        }
        // A result that was never placed has neither.
        seen.placed &= !(made.files.is_empty() && made.folders.is_empty());
        for file in &made.files {
            let there = object(objects, &file.object)
                .filter(|stat| stat.size == file.size && stat.is_stamped());
            seen.objects &= there.is_some();
            seen.placed &= below(out, &file.path).is_some_and(|placed| match file.stat {
                Some(stat) => stat == placed,
                None => there.is_some_and(|object| object.same_file(&placed)),
            });
        }
        for (folder, changed) in &made.folders {
            seen.placed &= below(out, folder).is_some_and(|stat| stat.mtime == *changed);
        }
    }
    seen
}

/// Whether a user's file is in the recorded state.
fn is_unchanged(file: &UserFile) -> bool {
    let now = std::fs::metadata(&file.path).map(|meta| Stat::of(&meta));
    now.is_ok_and(|now| file.stat == Some(now))
}

fn open_folder(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// The state of what lies at a path below a folder, never of what a link there points to. Short paths are what makes
/// ten thousand looks quick.
fn below(folder: Option<&OwnedFd>, path: &Path) -> Option<Stat> {
    let stat = statat(folder?.as_fd(), path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(Stat::from(&stat))
}

fn object(objects: Option<&OwnedFd>, digest: &Digest) -> Option<Stat> {
    below(objects, Path::new(&object_name(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let digest = Digest::of_bytes(b"x");
        let stat = Stat {
            size: 1,
            mtime: -5,
            ctime: 7,
            inode: u64::MAX,
            device: 4,
        };
        let made = Made {
            name: "x".into(),
            artifact: Artifact {
                digest,
                size: 1,
                folder: false,
            },
            files: vec![PlacedFile {
                path: "p/a/x".into(),
                object: digest,
                size: 1,
                stat: Some(stat),
            }],
            folders: vec![("p/a".into(), 3)],
        };
        let record = Record {
            job: "a[n=1]".into(),
            key: Some(KeyId(digest)),
            done: true,
            current: true,
            seconds: 0.5,
            files: vec![UserFile {
                path: "/f".into(),
                stat: None,
            }],
            outputs: vec![made],
        };
        Ledger {
            plan: Some(digest),
            out: "/out".into(),
            records: vec![record],
        }
    }

    #[test]
    fn a_ledger_reads_back_and_a_damaged_one_is_none() {
        let bytes = ledger().to_bytes().unwrap();
        assert_eq!(Ledger::parse(&bytes), Some(ledger()));
        for at in 0..bytes.len() {
            assert_eq!(Ledger::parse(&bytes[..at]), None, "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert_eq!(Ledger::parse(&flipped), None, "flipped at {at}");
        }
    }
}
