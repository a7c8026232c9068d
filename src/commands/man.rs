//! `rematch man`: the manual pages.

use std::path::Path;
use std::process::ExitCode;

use clap_mangen::{Man, generate_to};

use crate::cli;
use crate::commands::print_line;
use crate::error::{Error, Result};

pub fn exec(folder: Option<&Path>) -> Result<ExitCode> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(cli::command())
            .render(&mut page)
            .map_err(|e| Error::system(format!("cannot make the manual page: {e}")))?;
        print_line(String::from_utf8_lossy(&page).trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| generate_to(cli::command(), folder))
        .map_err(|e| {
            let text = format!("cannot write manual pages into {}: {e}", folder.display());
            Error::system(text).help("name a folder that you may write to")
        })?;
    Ok(ExitCode::SUCCESS)
}
