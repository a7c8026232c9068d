//! `command`: runs any program and takes what it leaves.
//!
//! The runner starts a command on its own machine itself, by [`prepare`] and [`collect`]; as a stage, in a process
//! around it, it runs elsewhere and by hand.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rematch_spec::command::{Command, Piece, Run, pieces};
use rematch_spec::input::{Input, Part, Template};
use rematch_spec::job::{Job, Report};
use rematch_spec::kind::{Stage, typed};
use rematch_spec::shell::Quotes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::child::Child;
use crate::error::StageError;
use crate::fs;

/// Variables that every command sees.
const VARIABLES: [&str; 5] = ["PATH", "HOME", "TMPDIR", "LANG", "CUDA_VISIBLE_DEVICES"];
/// A longer line goes to the shell as a file: Linux takes 128 kB in one argument.
const LONGEST_LINE: usize = 100_000;
/// How long a command may take to stop when told to.
const GRACE: Duration = Duration::from_secs(5);
/// How often to look whether it is to stop.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// How often to look whether it ended, on systems that do not tell (Linux before 5.3).
const SHORT_TICK: Duration = Duration::from_millis(10);

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let mut command = prepare(&child.job, |name| std::env::var_os(name))?;
    // What it says belongs into the log; our standard output is for events.
    let log = || {
        let log = io::stderr().as_fd().try_clone_to_owned();
        log.map_err(|e| StageError::failed(format!("cannot write the log: {e}")))
    };
    command.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
    let status = wait(start(command)?, child)?;
    if !status.success() {
        child.check()?;
        return Err(StageError::failed(how_it_ended(
            status.code(),
            status.signal(),
        )));
    }
    collect(&child.job)?;
    Ok(Report::default())
}

/// Lays out the command's folder, and makes its process without standard streams. `variable` is the environment of
/// which it sees a part.
pub fn prepare(
    job: &Job,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<process::Command, StageError> {
    let params: Command = typed(job.params.clone())?;
    params.check()?;
    let folder = folder(job);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(fs::at("empty", &folder))?;
    }
    fs::create_dir_all(&folder)?;
    for parent in job.outputs.values().filter_map(|path| path.parent()) {
        if !parent.is_dir() {
            fs::create_dir_all(parent)?;
        }
    }
    let text = |template: &Template, shell| resolve(template, &params, &job.outputs, shell);
    let mut command = match &params.run {
        Run::Shell(line) => {
            let (mut command, line) = (program("sh", &variable), text(line, true)?);
            // A program that fails in the middle of a line must not pass for a result.
            command.arg("-e");
            if line.len() < LONGEST_LINE {
                command.arg("-c").arg(line);
            } else {
                let script = job.work.join("command.sh");
                std::fs::write(&script, line).map_err(fs::at("write", &script))?;
                command.arg(script);
            }
            command
        }
        Run::Arguments(list) => {
            let list: Result<Vec<String>, _> = list.iter().map(|t| text(t, false)).collect();
            let list = list?;
            let (name, arguments) = list
                .split_first()
                .ok_or_else(|| StageError::usage("`run` names no program"))?;
            let mut command = program(name, &variable);
            command.args(arguments);
            command
        }
    };
    command.env_clear();
    let passed = params.pass_env.iter().map(String::as_str);
    for name in VARIABLES.into_iter().chain(passed) {
        if let Some(value) = variable(name) {
            command.env(name, value);
        }
    }
    for (name, value) in &params.env {
        command.env(name, text(value, false)?);
    }
    command.current_dir(&folder);
    Ok(command)
}

/// A program by its name, looked for in PATH here: a path can be started by `posix_spawn`, while a name in a changed
/// environment makes the standard library copy this process first.
fn program(name: &str, variable: &impl Fn(&str) -> Option<OsString>) -> process::Command {
    let found = (!name.contains('/'))
        .then(|| variable("PATH"))
        .flatten()
        .and_then(|path| {
            let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
            places.find(|place| place.is_absolute() && is_program(place))
        });
    let mut command = process::Command::new(found.as_deref().unwrap_or(Path::new(name)));
    command.arg0(name);
    command
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Where the command runs.
fn folder(job: &Job) -> PathBuf {
    job.work.join("folder")
}

/// A text with paths in place of references, quoted for the shell if it is for one.
fn resolve(
    template: &Template,
    params: &Command,
    outputs: &BTreeMap<String, PathBuf>,
    shell: bool,
) -> Result<String, StageError> {
    let mut resolved = String::new();
    let mut quotes = Quotes::default();
    let word = |path: &Path, quotes: Quotes| {
        let text = path
            .to_str()
            .ok_or_else(|| StageError::usage(format!("{} is not UTF-8", path.display())))?;
        Ok::<String, StageError>(if shell {
            quotes.write(text)
        } else {
            text.to_owned()
        })
    };
    let unknown = |name: &str| StageError::usage(format!("nothing is called `{name}`"));
    for part in &template.0 {
        let text = match part {
            Part::Input(input) => {
                resolved.push_str(&word(input.path(), quotes)?);
                continue;
            }
            Part::Text(text) => text,
        };
        for piece in pieces(text) {
            let path = match piece {
                Piece::In(name) => params
                    .inputs
                    .get(name)
                    .map(Input::path)
                    .ok_or_else(|| unknown(name))?,
                Piece::Out(name) => outputs.get(name).ok_or_else(|| unknown(name))?,
                Piece::Text(text) => {
                    quotes = quotes.after(text);
                    resolved.push_str(text);
                    continue;
                }
            };
            resolved.push_str(&word(path, quotes)?);
        }
    }
    Ok(resolved)
}

/// Starts the command. It stays in our process group: whoever stops or kills that, reaches both.
fn start(mut command: process::Command) -> Result<process::Child, StageError> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|error| {
        let error = StageError::failed(format!("cannot start `{name}`: {error}"));
        error.help("give the program's path, or put its folder into PATH")
    })
}

/// Waits for the command, and passes on the order to stop. What it leaves running is ended with the job.
fn wait(mut command: process::Child, child: &Child) -> Result<ExitStatus, StageError> {
    let pid = Pid::from_child(&command);
    let handle = pidfd_open(pid, PidfdFlags::empty()).ok();
    let mut told: Option<Instant> = None;
    loop {
        let ended = command.try_wait();
        if let Some(status) =
            ended.map_err(|e| StageError::failed(format!("cannot wait for the command: {e}")))?
        {
            return Ok(status);
        }
        match told {
            None if child.interrupted() => {
                told = Some(Instant::now());
                if !child.signalled() {
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
            Some(since) if since.elapsed() > GRACE => {
                let _ = command.kill();
            }
            _ => {}
        }
        match &handle {
            // Ends early when the command does, or a signal comes.
            Some(handle) => drop(poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&TICK))),
            None => thread::sleep(SHORT_TICK),
        }
    }
}

/// What the end of a command that did not succeed is called.
pub fn how_it_ended(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("the command ended with code {code}"),
        (_, Some(9)) => "the command was killed (signal 9); out of memory, perhaps".to_owned(),
        (_, signal) => format!(
            "the command was killed by signal {}",
            signal.unwrap_or_default()
        ),
    }
}

/// Checks that all outputs are there; those that were left in the command's own folder are moved.
pub fn collect(job: &Job) -> Result<(), StageError> {
    let params: Command = typed(job.params.clone())?;
    for (name, path) in &job.outputs {
        if path.symlink_metadata().is_ok() {
            continue;
        }
        let left = params.outputs.get(name).map(|left| folder(job).join(left));
        match left.filter(|left| left.symlink_metadata().is_ok()) {
            Some(left) => fs::rename(&left, path)?,
            None => {
                let message = format!("the command succeeded but did not make its output `{name}`");
                return Err(
                    StageError::failed(message).help(format!("let it write to ${{out.{name}}}"))
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
