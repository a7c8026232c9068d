//! What the light stages do. Each file reads the inputs of one stage kind and writes its outputs;
//! parameters, defaults and versions are in [`rematch_spec`].

use rematch_spec::job::Report;

use crate::child::Child;
use crate::error::StageError;

mod check_split;
pub mod command;
mod convert;
mod create_split;
mod create_unlabeled;
mod download;
mod export;
mod extract_accuracy;
mod inspect;
mod tabulate;
mod zca;

/// Does a job of a light stage kind: the body for [`crate::child::run`].
pub fn run(child: &Child) -> Result<Report, StageError> {
    match child.job.kind.as_str() {
        "download" => download::run(child),
        "create_unlabeled" => create_unlabeled::run(child),
        "create_split" => create_split::run(child),
        "inspect" => inspect::run(child),
        "check_split" => check_split::run(child),
        "zca" => zca::run(child),
        "export" => export::run(child),
        "convert" => convert::run(child),
        "extract_accuracy" => extract_accuracy::run(child),
        "tabulate" => tabulate::run(child),
        "command" => command::run(child),
        other => Err(StageError::usage(format!(
            "`{other}` is no stage kind that this program runs"
        ))),
    }
}
