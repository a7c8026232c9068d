//! `rematch digest`, which rematch calls for large files: the digest of standard input.

use std::process::ExitCode;

use rematch_cache::mapped;

use crate::commands::print_line;
use crate::error::{Error, Result};

pub fn exec() -> Result<ExitCode> {
    let digest = mapped::of_stdin()
        .map_err(|e| Error::system(format!("cannot read standard input: {e}")))?;
    print_line(&digest.to_string());
    Ok(ExitCode::SUCCESS)
}
