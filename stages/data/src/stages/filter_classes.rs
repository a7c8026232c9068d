//! `filter_classes`: the records of some classes, in their order.

use std::path::Path;

use rematch_spec::class::Names;
use rematch_spec::filter_classes::FilterClasses;
use rematch_spec::input::{Input, Inputs};
use rematch_spec::job::Report;
use serde_json::json;

use super::create_unlabeled::copy_as;
use crate::child::{Child, report};
use crate::error::StageError;
use crate::records::Index;
use crate::{fs, json};

/// Longest file of class names that is read; ImageNet-21k's would have some hundred kilobytes.
const LONGEST_NAMES: u64 = 16 << 20;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: FilterClasses = child.params()?;
    let names = names(params.names.as_ref())?;
    let kept = params.kept(&names)?;
    let labels = params.labels(&kept, &names)?;
    let index = scan(&params.records)?;
    let records: Vec<(usize, i64)> = index
        .labels
        .iter()
        .enumerate()
        .filter_map(|(position, label)| Some((position, *labels.get(label)?)))
        .collect();
    for class in &kept {
        if !index.labels.contains(class) {
            child.warning(format!("no record has class {class}"));
        }
    }
    if records.is_empty() {
        let message = format!(
            "{}: none of {} records has one of the classes {kept:?}",
            first(&params.records).display(),
            index.labels.len()
        );
        return Err(StageError::failed(message).help("keep other classes, or filter other records"));
    }
    copy_as(child, &index, &records, child.output("records")?)?;
    let positions: Vec<usize> = records.iter().map(|(position, _)| *position).collect();
    let document = json!({"classes": kept, "indexes": positions});
    fs::write(child.output("indexes")?, json::python(&document, 2))?;
    Ok(report([
        ("records", records.len() as f64),
        ("classes", kept.len() as f64),
    ]))
}

/// Labels and places of all records.
pub(super) fn scan(records: &Inputs) -> Result<Index, StageError> {
    let paths: Vec<&Path> = records.0.iter().map(Input::path).collect();
    Index::scan(&paths)
}

/// For messages.
pub(super) fn first(records: &Inputs) -> &Path {
    records.0.first().map_or(Path::new(""), Input::path)
}

/// The class names in the file that a parameter names; none where it names none.
pub(super) fn names(file: Option<&Input>) -> Result<Names, StageError> {
    let Some(path) = file.map(Input::path) else {
        return Ok(Names::default());
    };
    let refuse = |what: &str| {
        StageError::failed(format!("{} {what}", path.display()))
            .help("give a dataset's output `classes`, such as {\"0\": \"cat\", \"1\": \"dog\"}")
    };
    if fs::len(path)? > LONGEST_NAMES {
        return Err(refuse("is too long for a file of class names"));
    }
    Names::parse(&fs::read(path)?).map_err(|what| refuse(&what))
}

#[cfg(test)]
mod tests;
