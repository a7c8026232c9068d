//! `merge`: several record files as one.

use rematch_spec::job::Report;
use rematch_spec::merge::Merge;

use super::record_files::copy_all;
use crate::child::{Child, report};
use crate::error::StageError;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Merge = child.params()?;
    let records = copy_all(child, &params.records.0, child.output("records")?)?;
    Ok(report([
        ("records", records as f64),
        ("files", params.records.0.len() as f64),
    ]))
}
