//! `create_split`: the labeled records of a published split, in file order.

use rematch_spec::create_split::CreateSplit;
use rematch_spec::input::Input;
use rematch_spec::job::Report;

use super::create_unlabeled::{copy, scan, unusable};
use crate::child::{Child, report};
use crate::error::StageError;
use crate::split;
use crate::{fs, json};

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: CreateSplit = child.params()?;
    let (index, distribution) = scan(&params.train.0, params.uniform)?;
    let labeled = split::labeled(&distribution, params.seed, params.size).map_err(|error| {
        let paths: Vec<_> = params.train.0.iter().map(Input::path).collect();
        unusable(&paths, &error)
    })?;
    copy(child, &index, &labeled, child.output("labeled")?)?;
    let document = split::document(&distribution.shares, "label", &labeled);
    fs::write(child.output("indexes")?, json::python(&document, 2))?;
    Ok(report([
        ("records", labeled.len() as f64),
        ("classes", distribution.counts.len() as f64),
    ]))
}
