//! What the light stages do. Each file reads the inputs of one stage kind and writes its outputs;
//! parameters, defaults and versions are in [`rematch_spec`].

use rematch_spec::job::Report;

use crate::child::Child;
use crate::error::StageError;

mod augment_copies;
mod check_split;
pub mod command;
mod convert;
mod create_split;
mod create_test;
mod create_unlabeled;
mod download;
mod export;
mod extract_accuracy;
mod filter_classes;
mod import;
mod inspect;
mod merge;
mod record_files;
mod relabel;
mod sample;
mod tabulate;
mod zca;

/// Does a job of a light stage kind: the body for [`crate::child::run`].
pub fn run(child: &Child) -> Result<Report, StageError> {
    match child.job.kind.as_str() {
        "download" => download::run(child),
        "import" => import::run(child),
        "create_unlabeled" => create_unlabeled::run(child),
        "create_test" => create_test::run(child),
        "create_split" => create_split::run(child),
        "filter_classes" => filter_classes::run(child),
        "relabel" => relabel::run(child),
        "merge" => merge::run(child),
        "sample" => sample::run(child),
        "augment_copies" => augment_copies::run(child),
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
