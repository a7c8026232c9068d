//! A job's work folder: the job file that goes in, the report and the log that come out.
//!
//! ```text
//! work/<key>/job.json     what the child gets
//!            in/NAME/…    its inputs, as links
//!            out/…        where its outputs belong
//!            log          what it wrote for people
//!            report.json  how it went
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use rematch_cache::claim::Reservation;
use rematch_cache::store::Store;
use rematch_data::error::StageError;
use rematch_data::stages::command;
use rematch_spec::input::INPUT;
use rematch_spec::job::{self, Failure, REPORT, Report};
use rustix::fs::OFlags;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::executor::Ended;
use crate::freshness::Freshness;
use crate::plan::job::swap_inputs;
use crate::plan::{From, Job, Plan};
use crate::slots::Share;

/// The log's name in a work folder.
pub const LOG: &str = "log";
/// As much of a log as an error message shows.
const TAIL: u64 = 2000;
/// A report with more bytes is none.
const LARGEST_REPORT: u64 = 64 << 20;
/// A disk with fewer bytes left is full: a job that found no room for a block leaves less.
const NO_ROOM: u64 = 256 << 10;
/// Lines of it.
const TAIL_LINES: usize = 12;

/// Where an output of a job belongs.
pub fn output_path(work: &Path, job: &Job, output: &str) -> PathBuf {
    let path = job
        .declaration
        .outputs
        .iter()
        .find(|known| known.name == output)
        .map(|known| known.path.as_str());
    work.join("out").join(path.unwrap_or(output))
}

/// Lays out the inputs of a job, and says what its process needs to know.
pub fn prepare(
    plan: &Plan,
    spec: &Job,
    reservation: &Reservation,
    share: &Share,
    known: &Freshness,
    store: &Store,
) -> Result<job::Job> {
    let work = reservation.work();
    // The work folder of any other job is empty.
    let leftovers: &[&str] = if spec.declaration.kind.resumes {
        &[REPORT, "in"]
    } else {
        &[]
    };
    for leftover in leftovers {
        let path = work.join(leftover);
        let gone = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        if let Err(e) = gone
            && path.exists()
        {
            return Err(fail("remove", &path, &e));
        }
    }
    let outputs: BTreeMap<String, PathBuf> = spec
        .declaration
        .outputs
        .iter()
        .map(|output| (output.name.clone(), output_path(work, spec, &output.name)))
        .collect();
    for path in outputs.values() {
        let folder = path.parent().unwrap_or(work);
        fs::create_dir_all(folder).map_err(|e| fail("create the folder", folder, &e))?;
    }
    let mut paths: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for (n, input) in spec.inputs.iter().enumerate() {
        let path = match &input.from {
            From::File { path, .. } => path.clone(),
            From::Job(other, output) => {
                let artifact = known.output(*other, output).ok_or_else(|| {
                    Error::system(format!("{}: {} is not there", spec.name, input.name))
                })?;
                let path = input_path(work, n, &plan.job(*other)?, output);
                store.link_input(&artifact, &path)?;
                path
            }
        };
        paths.insert(&input.name, path);
    }
    // Parameters outside the key keep their place in the job file; inputs are found by their paths.
    let params = swap_inputs(
        &spec.declaration.params,
        &mut String::new(),
        &mut |name| match paths.get(name) {
            Some(path) => json!({ INPUT: path.to_string_lossy() }),
            None => Value::Null,
        },
    );
    Ok(job::Job {
        protocol: job::PROTOCOL,
        name: spec.name.clone(),
        key: reservation.id().0.to_string(),
        kind: spec.declaration.kind.name.into(),
        params,
        outputs,
        work: work.to_owned(),
        cpus: share.cpus.max(1),
        gpus: share.gpus.iter().map(|(_, part)| part).sum(),
    })
}

/// Where a job finds its n-th input, an output of another job.
fn input_path(work: &Path, n: usize, from: &Job, output: &str) -> PathBuf {
    let path = from.output_path(output).unwrap_or(output);
    let name = path.rsplit('/').next().unwrap_or("file");
    work.join("in").join(n.to_string()).join(name)
}

/// Says `split[seed=1].labeled` for the place where a job found that input: nobody wrote that place into a
/// pipeline, and after the job nothing is there.
pub fn name_inputs(plan: &Plan, spec: &Job, work: &Path, failure: &mut Failure) {
    for (n, input) in spec.inputs.iter().enumerate() {
        let From::Job(other, output) = &input.from else {
            continue;
        };
        // The job could not have started without it; were it gone, the text would still be true.
        let Ok(from) = plan.job(*other) else { continue };
        let path = input_path(work, n, &from, output);
        let name = format!("{}.{output}", from.name);
        for text in [Some(&mut failure.message), failure.help.as_mut()]
            .into_iter()
            .flatten()
        {
            *text = text.replace(&*path.to_string_lossy(), &name);
        }
    }
}

/// The process of a job: `program` with a job file, or the job's own program where that is `None`.
pub fn process(
    file: &job::Job,
    program: Option<Command>,
    devices: &str,
) -> Result<Command, StageError> {
    let Some(mut process) = program else {
        return command::prepare(file, |name| match name {
            "CUDA_VISIBLE_DEVICES" => Some(devices.into()),
            _ => std::env::var_os(name),
        });
    };
    let path = file.work.join("job.json");
    let written = serde_json::to_string_pretty(file)
        .map_err(std::io::Error::from)
        .and_then(|text| fs::write(&path, text));
    written.map_err(|e| StageError::failed(format!("cannot write {}: {e}", path.display())))?;
    process
        .arg(path)
        .current_dir(&file.work)
        .env("CUDA_VISIBLE_DEVICES", devices)
        .env("RAYON_NUM_THREADS", file.cpus.to_string());
    Ok(process)
}

fn fail(action: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::system(format!("cannot {action} {}: {error}", path.display()))
}

/// What a child reported; an empty report where it left none that can be read. A failure on a full disk
/// gets that for its reason, since there may have been no room for a better one.
pub fn read_report(work: &Path) -> Report {
    let read = || -> std::io::Result<Report> {
        let mut bytes = Vec::new();
        open_left(&work.join(REPORT))?
            .take(LARGEST_REPORT)
            .read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let Ok(mut report) = read() else {
        let error = full_disk(work).map(|help| Failure {
            message: "it left no report".into(),
            help: Some(help),
        });
        return Report {
            error,
            ..Report::default()
        };
    };
    if let Some(error) = &mut report.error
        && error.help.is_none()
    {
        error.help = full_disk(work);
    }
    report
}

/// Opens a file that a job left. What is none, such as a named pipe, is neither waited for nor read.
fn open_left(path: &Path) -> std::io::Result<fs::File> {
    let file = fs::File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::ErrorKind::InvalidInput.into())
    }
}

/// The end of a program that knows no protocol, in words.
pub fn describe_own(ended: &Ended, work: &Path) -> Failure {
    let message = match ended {
        Ended::Exit(code) => command::how_it_ended(Some(*code), None),
        Ended::Signal(signal) => command::how_it_ended(None, Some(*signal)),
        Ended::TimedOut(_) => return describe(ended),
    };
    Failure {
        message,
        help: full_disk(work),
    }
}

/// What to do where a file system has no room left.
fn full_disk(work: &Path) -> Option<String> {
    let disk = rustix::fs::statvfs(work).ok()?;
    let full = disk.f_bavail.saturating_mul(disk.f_frsize) < NO_ROOM
        || disk.f_files > 0 && disk.f_favail == 0;
    let place = work.display();
    full.then(|| format!("the disk of {place} is full: free some space there and run again"))
}

/// An end without a report, in words.
pub fn describe(ended: &Ended) -> Failure {
    let (message, help) = match ended {
        Ended::Exit(127) => (
            "its program was not found".into(),
            Some("is everything built? `cargo build --release`, or `make setup` first"),
        ),
        Ended::Exit(code) => (
            format!("it ended with exit code {code} and left no report"),
            None,
        ),
        Ended::Signal(9) => (
            "it was killed (signal 9)".to_owned(),
            Some(
                "if nobody killed it, the system did, for lack of memory: lower the batch size, or run fewer jobs at once with --jobs",
            ),
        ),
        Ended::Signal(signal) => (format!("it crashed (signal {signal})"), None),
        Ended::TimedOut(after) => (
            format!(
                "it ran longer than its timeout of {}",
                crate::progress::duration(*after)
            ),
            Some("raise `timeout` of its stage"),
        ),
    };
    Failure {
        message,
        help: help.map(str::to_owned),
    }
}

/// The end of a log.
pub fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = open_left(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // What a job wrote may be meant for its own terminal, but not for this one.
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    let text = read().unwrap_or_default().replace(steers, " ");
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Seconds since 1970.
pub fn unix_time() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

/// This machine's name.
pub fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_job_leaves_as_its_report_is_read_or_passed_over() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join(REPORT);
        assert_eq!(read_report(work.path()), Report::default());
        let deep = "[".repeat(100_000);
        for bytes in [b"", &b"[]"[..], b"\xff", deep.as_bytes()] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(read_report(work.path()), Report::default());
        }
        fs::write(&path, r#"{"metrics":{"a":1}}"#).unwrap();
        assert_eq!(read_report(work.path()).metrics["a"], 1.0);
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_report(work.path()), Report::default());
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(read_report(work.path()), Report::default());
        assert_eq!(tail(&path), "");
    }
}
