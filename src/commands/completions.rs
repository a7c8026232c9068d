//! `rematch completions`: a script that completes commands and flags in a shell.

use std::process::ExitCode;

use clap_complete::{Shell, generate};

use crate::cli;
use crate::commands::print_line;

pub fn exec(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    generate(shell, &mut cli::command(), "rematch", &mut script);
    print_line(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}
