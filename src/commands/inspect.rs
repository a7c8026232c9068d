//! `rematch inspect`: what is in record files, without a pipeline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rematch_data::error::StageError;
use rematch_data::{classes, fs, inspect};
use rematch_spec::inspect::Sheet;

use crate::cli::Global;
use crate::commands::gauge::Gauge;
use crate::commands::{print_json, print_line, say, short};
use crate::error::{Error, Result};

pub fn exec(
    global: &Global,
    files: &[PathBuf],
    classes: Option<&Path>,
    sheet: Option<&Path>,
) -> Result<ExitCode> {
    let names = classes::read(classes).map_err(|e| error(&e))?;
    let gauge = Gauge::new();
    let watch = |done, total| {
        gauge.tell("bytes", done, total);
        Ok(())
    };
    let found =
        inspect::inspect(files, &names, &Sheet::default(), &watch).map_err(|e| error(&e))?;
    drop(gauge);
    if global.json {
        print_json(&found.facts);
    } else {
        print_line(inspect::report(&found.facts).trim_end());
    }
    if let Some(path) = sheet {
        fs::write_atomically(path, &found.sheet).map_err(|e| error(&e.into()))?;
        say(&format!("contact sheet: {}", short(path)));
    }
    Ok(ExitCode::SUCCESS)
}

fn error(error: &StageError) -> Error {
    let failure = error.failure();
    let error = Error::system(failure.message);
    match failure.help {
        Some(help) => error.help(help),
        None => error,
    }
}
