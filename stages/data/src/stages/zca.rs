//! `zca`: mean and whitening matrix of images, as a numpy archive.

use rematch_spec::job::Report;
use rematch_spec::zca::Zca as Params;

use super::record_files::watch;
use crate::child::{Child, report};
use crate::error::StageError;
use crate::zca::Zca;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Params = child.params()?;
    let zca = Zca::of(&params.records.paths(), &watch(child))?;
    child.check()?;
    let lost = zca.lost();
    if lost > 0 {
        child.warning(format!(
            "{lost} of {} eigenvalues are lost in rounding: too few different images, or pixels that never change; whitening makes noise of these directions",
            zca.values.len()
        ));
    }
    zca.write(child.output("zca")?)?;
    let mut report = report([
        ("records", zca.records as f64),
        ("largest_eigenvalue", zca.values[0]),
        ("smallest_eigenvalue", zca.values[zca.values.len() - 1]),
    ]);
    // The original does not say which images its file is of; the provenance of ours does.
    let names: Vec<_> = params
        .records
        .0
        .iter()
        .map(|i| i.path().to_string_lossy())
        .collect();
    report.facts.insert("images".into(), names.into());
    Ok(report)
}
