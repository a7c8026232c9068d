//! The content-addressed store of rematch: results by what they were made from, bytes by what they
//! are. It knows no stage and no graph.
//!
//! Reading order:
//! - [`digest`]: BLAKE3 of bytes and files; [`mapped`]: of large files, in a child process; [`manifest`]: folders;
//!   [`artifact`]: a file or a folder;
//! - [`key`]: what identifies a result, and in which fields two keys differ;
//! - [`entry`]: what a finished job left; [`sealed`]: files that tell whether they are whole;
//! - [`store`]: folders, look-ups; [`claim`]: who may make a result; `publish`: how it gets in;
//!   [`place`]: how it gets out;
//! - [`lease`]: who uses the store; [`collect`]: garbage; [`fsck`]: damage; `inventory`: what lies in its folders;
//! - [`stat_cache`]: files that need no second reading; [`ledger`]: what the last run of a pipeline found;
//!   [`history`]: when runs were, of what, and how each ended;
//! - `durable`: grouped syncs and what a power cut may cost; `fs`: `std::fs` with paths in errors.
//!
//! # What is in a key
//!
//! | | in the key | why |
//! |---|---|---|
//! | stage kind, its version | yes | the version stands for the code, and is raised when results change |
//! | typed parameters | yes | as values: comments, order, `3e-2` or `0.03` make no difference |
//! | content of every input | yes | a stage that ran again to the same bytes stops the change there |
//! | names and places of files | no | the same bytes elsewhere are the same input |
//! | keys of earlier stages | no | their outputs' content says it, see above |
//! | host, device, threads, resources, log intervals | no | they change how a job runs, not what it makes; they are in the provenance |
//! | the time, the user | no | as above |
//!
//! # Folders of a store
//!
//! | path | what | written |
//! |---|---|---|
//! | `format` | `rematch store 1` | once, synced |
//! | `objects/ab/cdef…` | a file's bytes or a folder's manifest, by digest; mode 0444, time stamped | renamed into place |
//! | `entries/ab/cdef….json` | an [`Entry`], by key id | temporary file, rename |
//! | `locks/<id>` | exists, locked, while a key is claimed | by its holder |
//! | `lease` | locked by whoever uses the store, see [`lease`] | once |
//! | `users/…` | signs of runners that use the store | locked |
//! | `work/<id>/` | a job's own folder; stays after an interruption | by the job |
//! | `publish/<id>/` | a work folder whose outputs are just moving into `objects/` | renamed from `work/` |
//! | `unsynced/…` | flags of runners that have results not yet synced | synced, locked |
//! | `runs/<pipeline>.ledger` | see [`ledger`] | temporary file, rename |
//! | `history.jsonl` | start and end of every run, see [`history`] | whole lines, under a lock |
//! | `runs/<run>.live` | exists, locked, while a run goes on | by the run |
//! | `runs/<digest>.jobs` | what became of every job of some runs | temporary file, rename |
//! | `stat-cache` | see [`stat_cache`] | temporary file, rename, under a lock |
//! | `tmp/` | files on their way | |
//!
//! # What is promised
//!
//! - *A kill* (of the runner, of a job, of both; at any instant): no entry is ever partial, since it
//!   appears by a rename after its objects did. A result whose outputs were hashed completely is not
//!   lost: the next claim finishes the move. A work folder whose outputs have begun to move is never
//!   resumed in. Nothing here needs a sync.
//! - *A power cut*: entries and objects published up to the last sync survive; there is one at the
//!   first result, about twice a second while results keep coming (less often where a sync takes
//!   more than 50 ms), and at [`Store::sync`]. Later ones either survive or count as absent;
//!   objects that lost their bytes are found by rehashing what was written since the flag, at the
//!   next open on a writable file system. Checkpoints in work folders are the job's to sync; placed
//!   results, the stat cache, `runs/` and `history.jsonl` are not synced, since they can be made again
//!   or are a convenience.
//! - *Several runners*, also on several machines: locks are those of the operating system (`flock`;
//!   on NFS this needs version 4 or a lock daemon). The key of a killed runner is free at once,
//!   unless a job of its still lives and [inherited](Reservation::inheritable) the lock.
//! - *Damage*: an entry or manifest with a flipped bit or a missing end counts as absent. An object
//!   is checked by size at every look-up, and by digest when a manifest is read; its mode keeps all
//!   but root from writing to it.
//! - *Not kept*: owners, times, links, empty folders, and the executable bit of a single file
//!   (that of files in folders is).

pub mod artifact;
pub mod claim;
pub mod collect;
pub mod digest;
mod durable;
pub mod entry;
pub mod error;
mod fs;
pub mod fsck;
pub mod history;
mod inventory;
pub mod key;
pub mod lease;
pub mod ledger;
pub mod manifest;
pub mod mapped;
pub mod place;
mod publish;
pub mod sealed;
pub mod stat_cache;
pub mod store;

pub use artifact::Artifact;
pub use claim::{Claim, Reservation};
pub use collect::{Collection, Garbage, Sides};
pub use digest::Digest;
pub use entry::{Entry, Meta, Provenance};
pub use error::{Error, Result};
pub use fs::{Stat, file_name_for};
pub use fsck::{Checkup, Finding, Lack, LeftOver, Reported};
pub use history::{JobRecord, JobState, Run, RunEnd, RunId, RunRecord, RunStart, RunState};
pub use inventory::{Count, Tell};
pub use key::{Change, Key, KeyId, changes};
pub use lease::{AloneLease, Lease};
pub use ledger::{Ledger, Made, PlacedFile, Record, Seen, UserFile};
pub use manifest::{FileEntry, Manifest};
pub use place::How;
pub use stat_cache::StatCache;
pub use store::{Lookup, Store};
