//! `relabel`: the same records with other labels.

use rematch_spec::input::Input;
use rematch_spec::job::Report;
use rematch_spec::relabel::Relabel;

use super::record_files::{copy_as, scan};
use crate::child::{Child, report};
use crate::classes;
use crate::error::StageError;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Relabel = child.params()?;
    let names = classes::read_distinct(params.names.as_ref().map(Input::path))?;
    let map = params
        .map
        .as_ref()
        .map(|map| names.map(map, "map"))
        .transpose()?;
    let value = params
        .value
        .as_ref()
        .map(|value| names.number(value, "value"))
        .transpose()?;
    let index = scan(child, &params.records.0)?;
    let label = |(position, old): (usize, &i64)| {
        let new = value.or_else(|| map.as_ref()?.get(old).copied());
        let new = new.ok_or_else(|| {
            let files = params.records.names();
            StageError::failed(format!(
                "{files}: record {position} has class {old}, which `map` does not mention"
            ))
            .help(format!("to keep that class, add `{old}: {old}` to `map`"))
        })?;
        Ok((position, new))
    };
    let records: Result<Vec<_>, StageError> = index.labels.iter().enumerate().map(label).collect();
    let records = records?;
    copy_as(child, &index, &records, child.output("records")?)?;
    let changed = records.iter().filter(|(n, new)| index.labels[*n] != *new);
    Ok(report([
        ("records", records.len() as f64),
        ("changed", changed.count() as f64),
    ]))
}
