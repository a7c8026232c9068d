//! The command line: flags and words, nothing else.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

/// Exit codes, for `--help` and the documentation.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done: every wanted result is there
  1    a job failed, or what was asked for is not there
  2    the pipeline, a flag or a name is wrong; nothing ran
  3    the store, the file system or a program failed
  130  stopped by Ctrl-C or SIGTERM; run again to go on";

/// Exit codes of `fsck`.
const FSCK_CODES: &str = "\
Exit codes:
  0    the store is sound, or was healed
  1    something is wrong that was not healed
  2    a flag is wrong, or there is no store
  3    the store is in use, or the file system failed";

/// The commands by what they are for, as `--help` shows them.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Run", &["run", "plan", "status", "explain"]),
    ("Results", &["out", "log", "history", "diff"]),
    ("Data", &["inspect"]),
    ("Pipelines", &["graph", "stages", "schema"]),
    ("The store", &["gc", "fsck"]),
    ("This program", &["doctor", "completions", "man"]),
];

/// Runs pipelines of semi-supervised-learning experiments; reruns only what changed.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Folder of the store [default: .rematch at the project root]
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        value_hint = ValueHint::DirPath,
        env = "REMATCH_STORE",
        help_heading = "Common flags"
    )]
    pub store: Option<PathBuf>,
    /// Folder where results appear [default: out at the project root]
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        value_hint = ValueHint::DirPath,
        env = "REMATCH_OUT",
        help_heading = "Common flags"
    )]
    pub out: Option<PathBuf>,
    /// Print facts as JSON
    #[arg(long, global = true, help_heading = "Common flags")]
    pub json: bool,
}

/// A pipeline and changes to it.
#[derive(Clone, Debug, Args)]
pub struct Pipelines {
    /// Change a variable (steps=100), an axis (axis.seed=[1,2]) or a stage's parameter (train.batch=16)
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub settings: Vec<(String, String)>,
}

/// What is selected.
#[derive(Clone, Debug, Args)]
pub struct Selection {
    /// The pipeline file [default: that of the last run]
    #[arg(value_hint = ValueHint::FilePath)]
    pub pipeline: Option<PathBuf>,
    /// Jobs, with all that they need: train, train[seed=1], train[labels=40,seed=*] [default: all]
    #[arg(value_name = "JOB-PATTERN")]
    pub patterns: Vec<String>,
    /// How far beyond the matching jobs the selection goes.
    #[command(flatten)]
    pub reach: Reach,
    /// Changes to the pipeline.
    #[command(flatten)]
    pub changes: Pipelines,
}

/// How far beyond the matching jobs a selection goes: to everything that they need, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, Args)]
#[group(multiple = false)]
pub struct Reach {
    /// The matching jobs alone; what they read must be there
    #[arg(long)]
    pub only: bool,
    /// The matching jobs and all that read from them; what else those read must be there
    #[arg(long)]
    pub downstream: bool,
    /// What the matching jobs need, without themselves
    #[arg(long)]
    pub upstream: bool,
}

/// One job.
#[derive(Clone, Debug, Args)]
pub struct OneJob {
    /// The pipeline file [default: that of the last run]
    #[arg(value_hint = ValueHint::FilePath)]
    pub pipeline: Option<PathBuf>,
    /// The job: train, or train[seed=1] where the stage has several
    #[arg(required = true)]
    pub job: String,
    /// Changes to the pipeline.
    #[command(flatten)]
    pub changes: Pipelines,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline, or the jobs that match, with everything that they need
    Run {
        /// What to run.
        #[command(flatten)]
        selection: Selection,
        /// At most this many jobs at once [default: one per CPU core]
        #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        jobs: Option<u16>,
        /// Run the jobs that match (all, without a pattern) even if their results are there
        #[arg(long)]
        force: bool,
        /// After a failure, go on with whatever does not depend on it
        #[arg(long, short)]
        keep_going: bool,
        /// Show what would run, and run nothing
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Show what would run, and why
    Plan {
        /// What to plan.
        #[command(flatten)]
        selection: Selection,
    },
    /// Show how many jobs of every stage are up to date
    Status {
        /// What to look at.
        #[command(flatten)]
        selection: Selection,
    },
    /// Show which fields of a job's key changed, old and new
    #[command(allow_missing_positional = true)]
    Explain {
        /// Which job.
        #[command(flatten)]
        job: OneJob,
    },
    /// Print the path of a job's output, or of all its outputs
    ///
    /// Of several outputs prints a line each: name, tab, path. Exit code 1 if there is no result.
    #[command(override_usage = "rematch out [OPTIONS] [PIPELINE] <JOB> [OUTPUT]")]
    Out {
        /// The job, train or train[seed=1]; after it the output [default: all]; before it the pipeline file [default: that of the last run]
        #[arg(value_name = "JOB", num_args = 1..=3, required = true, value_hint = ValueHint::FilePath)]
        words: Vec<String>,
        /// Print where the bytes are in the store (of a folder: its manifest); never write there
        #[arg(long)]
        object: bool,
        /// Take the result of an earlier key where the job is out of date
        #[arg(long)]
        stale: bool,
        /// Changes to the pipeline.
        #[command(flatten)]
        changes: Pipelines,
    },
    /// Print what a job wrote
    #[command(allow_missing_positional = true)]
    Log {
        /// Which job.
        #[command(flatten)]
        job: OneJob,
    },
    /// List the last runs: when, of what, how they ended; or the jobs of one
    History {
        /// A run, as it is listed: its jobs with what they took; `last` is the last one
        run: Option<String>,
        /// How many runs
        #[arg(short, long, value_name = "N", default_value_t = 20)]
        number: usize,
    },
    /// Show which parameters and metrics differ between two runs or two jobs
    ///
    /// A run is an id as `rematch history` lists it, or its beginning; `last`, `last~1` for the one before; or `now`, the
    /// pipeline as it stands. A job is train[seed=1].
    Diff {
        /// What is compared
        a: String,
        /// With what
        b: String,
        /// The pipeline file of the jobs, or of `now` [default: that of the run]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        pipeline: Option<PathBuf>,
        /// Changes to the pipeline.
        #[command(flatten)]
        changes: Pipelines,
    },
    /// Show what is in record files: sizes, classes, pixel statistics, duplicates
    ///
    /// Several files are looked at as one set. A stage of kind `inspect` does the same in a pipeline.
    Inspect {
        /// TFRecord files with images and labels
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// Names of the classes, a JSON file {"0": "airplane", …}
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        classes: Option<PathBuf>,
        /// Write a contact sheet, a PNG with the first ten images of each class
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        sheet: Option<PathBuf>,
    },
    /// Draw the stages and what they read
    Graph {
        /// What to draw.
        #[command(flatten)]
        selection: Selection,
        /// How to draw it
        #[arg(long, short, value_enum, default_value_t = GraphFormat::Text)]
        format: GraphFormat,
        /// Draw every job, not every stage
        #[arg(long)]
        all: bool,
    },
    /// List the stage kinds, or the parameters of one
    Stages {
        /// A stage kind, such as create_split
        kind: Option<String>,
        /// Print the reference page of all of them
        #[arg(long, conflicts_with = "kind")]
        markdown: bool,
    },
    /// Print the JSON Schema of pipeline files, for editors, or of a command's --json
    Schema {
        /// A command that prints facts, such as plan [default: pipeline files]
        command: Option<String>,
        /// Print the reference page of what commands print with --json
        #[arg(long, conflicts_with = "command")]
        markdown: bool,
    },
    /// Drop the results that no pipeline and no recent run uses
    ///
    /// Keeps what the given pipelines use as they are now, what those of the last runs use as they are now, and what
    /// the last run of each used. Needs the store alone: no runner may use it meanwhile.
    Gc {
        /// Pipelines whose results to keep, beside those of the last runs
        #[arg(value_name = "PIPELINE")]
        pipelines: Vec<PathBuf>,
        /// Keep the results of the pipelines of the last N runs
        #[arg(long, value_name = "N", default_value_t = 10)]
        runs: usize,
        /// Show what would go, and change nothing
        #[arg(long, short = 'n')]
        dry_run: bool,
        /// Drop the results of recent runs whose pipelines are gone or do not read any more
        #[arg(long)]
        forget_missing: bool,
    },
    /// Check every file of the store: damaged, missing, left over, foreign
    #[command(after_help = FSCK_CODES)]
    Fsck {
        /// Mend it: drop what is damaged or left over, so that the jobs concerned run again; foreign files stay
        #[arg(long)]
        heal: bool,
        /// Look whether everything is there in its right size; read only objects that somebody wrote to
        #[arg(long)]
        quick: bool,
    },
    /// Check the programs, libtorch, GPUs, the store and the file system
    Doctor,
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands into a folder
    Man {
        /// Where to write rematch.1 and a page for every command
        #[arg(value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
    },
    /// End the jobs of a runner that was killed (the runner calls this)
    #[command(hide = true)]
    Guard,
    /// Print the digest of the file at standard input (rematch calls this for large files)
    #[command(hide = true)]
    Digest,
    /// Run one light job (the runner calls this)
    #[command(hide = true)]
    Stage {
        /// The job file.
        job_file: PathBuf,
    },
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Lines for the terminal
    Text,
    /// Graphviz
    Dot,
    /// Mermaid, which Markdown viewers draw
    Mermaid,
    /// A picture
    Svg,
}

/// Reads the command line; ends the program where it is wrong, or asks for help.
pub fn parse() -> Cli {
    Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
}

/// The command line as clap knows it, with a help page that shows the commands in [`GROUPS`].
pub fn command() -> clap::Command {
    let command = Cli::command();
    let header = command.get_styles().get_header();
    let literal = command.get_styles().get_literal();
    let mut page = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS {
        let _ = writeln!(page, "\n{header}{title}:{header:#}");
        for name in names {
            let about = command
                .find_subcommand(name)
                .and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(page, "  {literal}{name:11}{literal:#}  {about}");
        }
    }
    let _ = write!(
        page,
        "\n{header}Flags:{header:#}\n{{options}}{{after-help}}"
    );
    command.help_template(page)
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE, such as steps=100".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_stands_in_one_group() {
        command().debug_assert();
        let mut shown: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let command = Cli::command();
        let all = command.get_subcommands().filter(|c| !c.is_hide_set());
        let mut all: Vec<&str> = all.map(clap::Command::get_name).collect();
        shown.sort_unstable();
        all.sort_unstable();
        assert_eq!(shown, all);
    }
}
