//! `rematch log`: what a job wrote, in its running, failed or finished state.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{Global, OneJob};
use crate::commands::{Project, say};
use crate::error::{Error, Result};
use crate::launch::LOG;

pub fn exec(global: &Global, job: &OneJob) -> Result<ExitCode> {
    let (project, index) = Project::open_job(global, job)?;
    let name = &project.plan.graph[index].name;
    let none = || Error::usage(format!("{name} has no log: it did not run yet"));
    let key = project
        .store
        .last_key(&project.plan.pipeline, name)?
        .ok_or_else(none)?;
    let id = key.id();
    // A work folder is that of a running or a failed attempt, and so the latest.
    let work = project.store.work_path(&id).join(LOG);
    let bytes = match std::fs::read(&work) {
        Ok(bytes) => bytes,
        Err(_) => match project.store.get(&id)?.and_then(|entry| entry.log) {
            Some(log) => project.store.read_object(&log.digest)?,
            None => return Err(none()),
        },
    };
    if bytes.is_empty() {
        say(&format!("{name} wrote nothing"));
    }
    let _ = std::io::stdout().write_all(&bytes);
    Ok(ExitCode::SUCCESS)
}
