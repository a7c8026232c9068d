//! `create_unlabeled`: every record once, in an order whose prefixes follow the class distribution, or a
//! long-tailed part of them.

use rematch_spec::create_unlabeled::{CreateUnlabeled, Imbalance};
use rematch_spec::input::Inputs;
use rematch_spec::job::Report;

use super::record_files::{copy, scan};
use crate::child::{Child, report};
use crate::error::StageError;
use crate::json;
use crate::split::{self, Distribution, cadr};

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: CreateUnlabeled = child.params()?;
    let imbalance = params.imbalance.as_ref();
    reorder(child, &params.train, params.uniform, imbalance, "unlabeled")
}

/// Writes the records of `files` in class-proportional order to the output of that name.
pub(super) fn reorder(
    child: &Child,
    files: &Inputs,
    uniform: bool,
    imbalance: Option<&Imbalance>,
    output: &str,
) -> Result<Report, StageError> {
    let index = scan(child, &files.0)?;
    let distribution = Distribution::of(&index.labels, uniform).map_err(unusable(files))?;
    let (tail, order) = match imbalance {
        Some(Imbalance { lambda, size }) => {
            let (shares, order) = cadr::imbalanced(&distribution, *lambda, *size);
            (Some(shares), order)
        }
        None => (None, split::unlabeled_order(&distribution)),
    };
    copy(child, &index, &order, child.output(output)?)?;
    let shares = tail.as_ref().unwrap_or(&distribution.shares);
    let document = split::document(shares, "indexes", &order);
    json::write(child.output("indexes")?, &document, 2)?;
    Ok(report([
        ("records", order.len() as f64),
        ("classes", distribution.counts.len() as f64),
    ]))
}

/// For `map_err`: names the files in an error about their labels.
pub(super) fn unusable(files: &Inputs) -> impl Fn(split::Error) -> StageError + '_ {
    move |error| {
        let help = match error {
            split::Error::Exhausted { .. } | split::Error::Few { .. } => "ask for a smaller `size`",
            split::Error::NoneEach { .. } => "ask for at least one per class",
            split::Error::Empty | split::Error::Classes(_) => "check what wrote these files",
        };
        StageError::failed(format!("{}: {error}", files.names())).help(help)
    }
}
