//! `create_unlabeled`: every record once, in an order whose prefixes follow the class distribution.

use std::path::Path;

use rematch_spec::create_unlabeled::CreateUnlabeled;
use rematch_spec::input::Input;
use rematch_spec::job::Report;

use crate::child::{Child, report};
use crate::error::StageError;
use crate::records::Index;
use crate::split::{self, Distribution};
use crate::tfrecord::Writer;
use crate::{fs, json};

/// Records between two looks at the order to stop.
const CHUNK: usize = 10_000;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: CreateUnlabeled = child.params()?;
    let (index, distribution) = scan(&params.train.0, params.uniform)?;
    let order = split::unlabeled_order(&distribution);
    copy(child, &index, &order, child.output("unlabeled")?)?;
    let document = split::document(&distribution.shares, "indexes", &order);
    fs::write(child.output("indexes")?, json::python(&document, 2))?;
    Ok(report([
        ("records", order.len() as f64),
        ("classes", distribution.counts.len() as f64),
    ]))
}

/// Reads labels and places of all records of the training files.
pub(super) fn scan(train: &[Input], uniform: bool) -> Result<(Index, Distribution), StageError> {
    let paths: Vec<&Path> = train.iter().map(Input::path).collect();
    let index = Index::scan(&paths)?;
    let distribution =
        Distribution::of(&index.labels, uniform).map_err(|error| unusable(&paths, &error))?;
    Ok((index, distribution))
}

/// Names the training files in an error about their labels.
pub(super) fn unusable<P: AsRef<Path>>(paths: &[P], error: &split::Error) -> StageError {
    let names: Vec<String> = paths
        .iter()
        .map(|p| p.as_ref().display().to_string())
        .collect();
    let help = match error {
        split::Error::Exhausted { .. } => "ask for a smaller `size`",
        _ => "check what wrote these files",
    };
    StageError::failed(format!("{}: {error}", names.join(", "))).help(help)
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
