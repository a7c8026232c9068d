//! What the targets share: a folder in memory, and a small pipeline.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Parts of an input are separated by this line.
pub const BETWEEN: &str = "\n%%%\n";

/// A pipeline with a bit of everything: variables, axes of scalars and maps, references of all kinds.
pub const PIPELINE: &str = r#"
name: small
vars:
  steps: 10
  method: {name: fixmatch, confidence: 0.95}
axes:
  seed: [1, 2]
  labels: [40, 250]
  method: [{name: a, rate: 0.5}, {name: b*c, rate: 3e-2}]
exclude: [{seed: 2, labels: 250}]
include: [{seed: 3, labels: 40}]
stages:
  data: {download: {dataset: shapes}}
  pool: {create_unlabeled: {train: "${data.train}"}}
  split: {create_split: {train: "${data.train}", seed: "${axis.seed}", size: "${axis.labels}"}}
  fit:
    command:
      run: "cat ${split.labeled} ${pool.unlabeled} ${axis.method.rate} ${var.steps} > ${out.stats}"
      outputs: {stats: stats.json}
      env: {WORD: "$${x}"}
    resources: {cpus: 2, gpus: 0.5, memory: 1GB}
    timeout: 2h
    retries: 1
  table: {tabulate: {results: "${fit[*].stats}", over: seed, columns: labels}}
"#;

/// A folder of this process in memory, where the system has such a place.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let memory = Path::new("/dev/shm");
            let made = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
            made.expect("a temporary folder")
        })
        .path()
}

/// The file with [`PIPELINE`].
pub fn pipeline() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = folder().join("small.yaml");
        std::fs::write(&path, PIPELINE).expect("a file");
        path
    })
    .clone()
}
