//! Record files as stages read and copy them: with progress, and a look at the order to stop.

use std::path::Path;

use rematch_spec::input::Input;

use crate::child::Child;
use crate::error::StageError;
use crate::records::Index;
use crate::tfrecord::Writer;

/// Records between two looks at the order to stop.
const CHUNK: usize = 10_000;

/// Reads labels and places of all records of `files`.
pub(super) fn scan(child: &Child, files: &[Input]) -> Result<Index, StageError> {
    let paths: Vec<&Path> = files.iter().map(Input::path).collect();
    Index::scan_with(&paths, |records| {
        child.check()?;
        child.progress(records as u64, 0, "records read");
        Ok(())
    })
}

/// Copies all records of `files`, one file after the other; returns how many there are.
pub(super) fn copy_all(child: &Child, files: &[Input], to: &Path) -> Result<usize, StageError> {
    let index = scan(child, files)?;
    let records: Vec<(usize, i64)> = index.labels.iter().copied().enumerate().collect();
    copy_as(child, &index, &records, to)?;
    Ok(records.len())
}

/// Copies records as they are.
pub(super) fn copy(
    child: &Child,
    index: &Index,
    positions: &[usize],
    to: &Path,
) -> Result<(), StageError> {
    let label = |n: &usize| (*n, index.labels[*n]);
    let records: Vec<(usize, i64)> = positions.iter().map(label).collect();
    copy_as(child, index, &records, to)
}

/// Copies records, each with the label beside its position.
pub(super) fn copy_as(
    child: &Child,
    index: &Index,
    records: &[(usize, i64)],
    to: &Path,
) -> Result<(), StageError> {
    let mut writer = Writer::create(to)?;
    let mut done = 0;
    for chunk in records.chunks(CHUNK) {
        child.check()?;
        index.copy_as(chunk.iter().copied(), &mut writer)?;
        done += chunk.len();
        child.progress(done as u64, records.len() as u64, "records");
    }
    Ok(writer.finish()?)
}

/// Tells the runner how far a scan is, and stops it when the job is to stop.
pub(super) fn watch(child: &Child) -> impl Fn(u64, u64) -> Result<(), StageError> + '_ {
    |done, total| {
        child.progress(done, total, "bytes");
        child.check()
    }
}
