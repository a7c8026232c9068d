//! Digests of large files, by a child process that maps the file into memory: nothing is copied, so it takes a
//! quarter less time than reading. If somebody shortens a mapped file, whoever touches its lost pages is killed
//! (SIGBUS). So a child does it, and where that dies or says anything but a digest, the file is read.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::digest::Digest;

/// Smaller files are read: starting a child takes 2 to 4 ms, all that it saves on some 48 MiB (two cores of a
/// Xeon with AVX-512; on 64 MiB it saves an eighth, on 128 MiB a fifth, from 256 MiB on a quarter).
pub(crate) const LARGE: u64 = 64 << 20;

/// The program that becomes the child, and its argument.
static PROGRAM: OnceLock<(PathBuf, &str)> = OnceLock::new();

/// From now on this process leaves large files to `program argument`, which prints the result of [`of_stdin`].
/// The first call counts; without any, all files are read.
pub fn leave_large_files_to(program: PathBuf, argument: &'static str) {
    PROGRAM.get_or_init(|| (program, argument));
}

/// What the child does: the digest of the file that is its standard input.
pub fn of_stdin() -> io::Result<Digest> {
    // Its death is no crash to look into.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(Path::new("/dev/stdin"))?;
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// The digest of an open file as a child found it.
pub(crate) fn digest(file: &File) -> Option<Digest> {
    let (program, argument) = PROGRAM.get()?;
    let child = Command::new(program)
        .arg(argument)
        .env(
            "RAYON_NUM_THREADS",
            rayon::current_num_threads().to_string(),
        )
        .stdin(file.try_clone().ok()?)
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|child| child.status.success())?;
    let said = String::from_utf8(child.stdout).ok()?;
    said.strip_suffix('\n')?.parse().ok()
}
