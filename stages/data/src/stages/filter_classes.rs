//! `filter_classes`: the records of some classes, in their order.

use std::collections::BTreeSet;

use rematch_spec::filter_classes::FilterClasses;
use rematch_spec::input::Input;
use rematch_spec::job::Report;
use serde_json::json;

use super::record_files::{copy_as, scan};
use crate::child::{Child, report};
use crate::error::StageError;
use crate::{classes, json};

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: FilterClasses = child.params()?;
    let names = classes::read_distinct(params.names.as_ref().map(Input::path))?;
    let kept = params.kept(&names)?;
    let labels = params.labels(&kept, &names)?;
    let index = scan(child, &params.records.0)?;
    let records: Vec<(usize, i64)> = index
        .labels
        .iter()
        .enumerate()
        .filter_map(|(position, label)| Some((position, *labels.get(label)?)))
        .collect();
    let there: BTreeSet<i64> = index.labels.iter().copied().collect();
    for class in &kept {
        if !there.contains(class) {
            child.warning(format!("no record has class {class}"));
        }
    }
    if records.is_empty() {
        let message = format!(
            "{}: none of {} records has one of the classes {kept:?}",
            params.records.names(),
            index.labels.len()
        );
        return Err(StageError::failed(message).help("keep other classes, or filter other records"));
    }
    copy_as(child, &index, &records, child.output("records")?)?;
    let positions: Vec<usize> = records.iter().map(|(position, _)| *position).collect();
    let document = json!({"classes": kept, "indexes": positions});
    json::write(child.output("indexes")?, &document, 2)?;
    Ok(report([
        ("records", records.len() as f64),
        ("classes", kept.len() as f64),
    ]))
}

#[cfg(test)]
mod tests;
