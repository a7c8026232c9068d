//! `command`: runs any program and looks after what it leaves, files as well as processes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rematch_spec::command::{Command, Piece, Run, pieces};
use rematch_spec::input::{Part, Template};
use rematch_spec::job::Report;
use rematch_spec::kind::Stage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::child::Child;
use crate::error::StageError;
use crate::fs;

/// Variables that every command sees.
const VARIABLES: [&str; 5] = ["PATH", "HOME", "TMPDIR", "LANG", "CUDA_VISIBLE_DEVICES"];
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
    let params: Command = child.params()?;
    params.check()?;
    let folder = child.work().join("folder");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(fs::at("empty", &folder))?;
    }
    fs::create_dir_all(&folder)?;
    let outputs = outputs(child, &params)?;
    let mut command = command(&params, &outputs)?;
    command.current_dir(&folder).stdin(Stdio::null());
    // What it says belongs into the log; our standard output is for events.
    let log = || {
        let log = io::stderr().as_fd().try_clone_to_owned();
        log.map_err(|e| StageError::failed(format!("cannot write the log: {e}")))
    };
    command.stdout(log()?).stderr(log()?);
    let status = wait(start(command)?, child)?;
    judge(child, status)?;
    for (name, path) in &outputs {
        collect(name, path, &folder.join(&params.outputs[name]))?;
    }
    Ok(Report::default())
}

/// Where each output belongs, with the folders above it.
fn outputs(child: &Child, params: &Command) -> Result<BTreeMap<String, PathBuf>, StageError> {
    let mut all = BTreeMap::new();
    for name in params.outputs.keys() {
        let path = child.output(name)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        all.insert(name.clone(), path.to_owned());
    }
    Ok(all)
}

/// The process to start, without its standard streams.
fn command(
    params: &Command,
    outputs: &BTreeMap<String, PathBuf>,
) -> Result<process::Command, StageError> {
    let text = |template: &Template, shell| resolve(template, params, outputs, shell);
    let mut command = match &params.run {
        Run::Shell(line) => {
            let mut command = process::Command::new("sh");
            command.arg("-c").arg(text(line, true)?);
            command
        }
        Run::Arguments(list) => {
            let list: Result<Vec<String>, _> = list.iter().map(|t| text(t, false)).collect();
            let list = list?;
            let (program, arguments) = list
                .split_first()
                .ok_or_else(|| StageError::usage("`run` names no program"))?;
            let mut command = process::Command::new(program);
            command.args(arguments);
            command
        }
    };
    command.env_clear();
    for name in VARIABLES
        .into_iter()
        .chain(params.pass_env.iter().map(String::as_str))
    {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (name, value) in &params.env {
        command.env(name, text(value, false)?);
    }
    Ok(command)
}

/// A text with paths in place of references, quoted for the shell if it is for one.
fn resolve(
    template: &Template,
    params: &Command,
    outputs: &BTreeMap<String, PathBuf>,
    shell: bool,
) -> Result<String, StageError> {
    let mut resolved = String::new();
    let word = |path: &Path| {
        let text = path
            .to_str()
            .ok_or_else(|| StageError::usage(format!("{} is not UTF-8", path.display())))?;
        Ok::<String, StageError>(if shell { quoted(text) } else { text.to_owned() })
    };
    let unknown = |name: &str| StageError::usage(format!("nothing is called `{name}`"));
    for part in &template.0 {
        let text = match part {
            Part::Input(input) => {
                resolved.push_str(&word(input.path())?);
                continue;
            }
            Part::Text(text) => text,
        };
        for piece in pieces(text) {
            match piece {
                Piece::In(name) => {
                    let input = params.inputs.get(name).ok_or_else(|| unknown(name))?;
                    resolved.push_str(&word(input.path())?);
                }
                Piece::Out(name) => {
                    let output = outputs.get(name).ok_or_else(|| unknown(name))?;
                    resolved.push_str(&word(output)?);
                }
                Piece::Text(text) => resolved.push_str(text),
            }
        }
    }
    Ok(resolved)
}

/// A text that the shell takes as one word, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
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
        if let Some(status) = ended.map_err(|e| StageError::failed(format!("cannot wait for the command: {e}")))? {
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

/// What a command's end means.
fn judge(child: &Child, status: ExitStatus) -> Result<(), StageError> {
    if status.success() {
        return Ok(());
    }
    child.check()?;
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (_, Some(9)) => "was killed (signal 9); out of memory, perhaps".to_owned(),
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        _ => format!("ended: {status}"),
    };
    Err(StageError::failed(format!("the command {how}")))
}

/// Checks that an output is there; one that was left in the command's own folder is moved.
fn collect(name: &str, path: &Path, left: &Path) -> Result<(), StageError> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    if left.symlink_metadata().is_ok() {
        return Ok(fs::rename(left, path)?);
    }
    let message = format!("the command succeeded but did not make its output `{name}`");
    Err(StageError::failed(message).help(format!("let it write to ${{out.{name}}}")))
}

#[cfg(test)]
mod tests;
