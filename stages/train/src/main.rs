//! `rematch-train`: runs one `train`, `predict` or `export_weights` job, in a process of its own.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use rematch_data::child;
use rematch_spec::export_weights::ExportWeights;
use rematch_spec::job::exit;
use rematch_spec::kind::Stage;
use rematch_spec::predict::Predict;
use rematch_train::workers::Place;
use rematch_train::{device, export_weights, predict, train};

const USAGE: &str = "usage: rematch-train JOB_FILE
       rematch-train --probe     what libtorch can use here, as JSON
       rematch-train --version

`rematch run` starts this program; a job file is what it hands over.";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let code = match &arguments[..] {
        [one] if one == "--version" => {
            println!("rematch-train {}", env!("CARGO_PKG_VERSION"));
            exit::DONE
        }
        [one] if one == "--probe" => {
            println!("{}", device::probe());
            exit::DONE
        }
        [one] if one == "--help" || one == "-h" => {
            println!("{USAGE}");
            exit::DONE
        }
        [place @ .., job] if place.len() == 4 => match Place::parse(place) {
            Some(place) => child::run(Path::new(job), |child| train::run(child, Some(&place))),
            None => usage(),
        },
        [job] if !job.to_string_lossy().starts_with('-') => {
            child::run(Path::new(job), |child| match &child.job.kind[..] {
                Predict::NAME => predict::predict(child),
                ExportWeights::NAME => export_weights::export_weights(child),
                _ => train::train(child),
            })
        }
        _ => usage(),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn usage() -> i32 {
    eprintln!("{USAGE}");
    exit::USAGE
}
