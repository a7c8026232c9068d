//! Parses the command line, calls the command, shows the error, sets the exit code.

use std::io::Write;
use std::process::ExitCode;

use rematch::cli;
use rematch::commands;
use rematch::error::Class;
use rematch::style::Style;

fn main() -> ExitCode {
    match commands::run(cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            let style = Style::of(&std::io::stderr());
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            // Not `eprintln!`, which panics where that cannot be written.
            let _ = writeln!(std::io::stderr(), "{} {text}", style.red("error:"));
            match error.class() {
                Class::Absent => ExitCode::from(1),
                Class::Usage => ExitCode::from(2),
                Class::System => ExitCode::from(3),
            }
        }
    }
}
