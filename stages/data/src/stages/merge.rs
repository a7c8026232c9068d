//! `merge`: several record files as one.

use rematch_spec::job::Report;
use rematch_spec::merge::Merge;

use super::record_files::{copy, scan};
use crate::child::{Child, report};
use crate::error::StageError;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Merge = child.params()?;
    let index = scan(child, &params.records.0)?;
    let positions: Vec<usize> = (0..index.labels.len()).collect();
    copy(child, &index, &positions, child.output("records")?)?;
    Ok(report([
        ("records", positions.len() as f64),
        ("files", params.records.0.len() as f64),
    ]))
}
