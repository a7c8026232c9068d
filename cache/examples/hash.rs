//! Hashes files and folders as the runner does, and prints digests and paths as b3sum does.
//!
//! ```sh
//! cargo run --release -p rematch-cache --example hash -- [--threads N] [--store FOLDER] [--rematch PROGRAM] PATH…
//! ```
//!
//! Large files are left to `PROGRAM digest`, as in the runner. With a store, its stat cache knows the files that an earlier call has read.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rematch_cache::{Digest, Manifest, Result, Store, mapped};

fn main() -> ExitCode {
    let (mut store, mut paths) = (None, Vec::new());
    let mut args = std::env::args();
    args.next();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--threads" => {
                let threads = args.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                pool.build_global().expect("the pool is not in use yet");
            }
            "--rematch" => {
                let program = args.next().map(PathBuf::from).unwrap_or_default();
                mapped::leave_large_files_to(program, "digest");
            }
            "--store" => store = args.next().map(PathBuf::from),
            _ => paths.push(PathBuf::from(arg)),
        }
    }
    match print(store.as_deref(), &paths) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print(store: Option<&Path>, paths: &[PathBuf]) -> Result<()> {
    let store = store.map(Store::open).transpose()?;
    for path in paths {
        let digest = match &store {
            Some(store) => store.artifact_of(path)?.digest,
            None if path.is_dir() => {
                let (manifest, _) = Manifest::of_folder(path, Digest::of_file_in)?;
                manifest.artifact().digest
            }
            None => Digest::of_file(path)?,
        };
        println!("{digest}  {}", path.display());
    }
    Ok(())
}
