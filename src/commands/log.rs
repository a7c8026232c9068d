//! `rematch log`: what a job wrote, in its running, failed or finished state.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{Global, OneJob};
use crate::commands::{Project, print_json, say};
use crate::error::{Error, Result};
use crate::facts;
use crate::freshness::Verdict;
use crate::launch::LOG;

pub fn exec(global: &Global, job: &OneJob) -> Result<ExitCode> {
    let (project, index) = Project::open_job(global, job)?;
    let name = &project.plan.name(index);
    let none = || Error::absent(format!("{name} has no log: it did not run yet"));
    let mut freshness = project.freshness(&project.plan.with_upstream(&[index].into()))?;
    // The last attempt, or one that is going on.
    let id = match freshness.record(index).and_then(|record| record.key) {
        Some(id) => id,
        None => match freshness.look_after_upstream(index)? {
            Verdict::Fresh { id, .. } => id,
            Verdict::Run(key, _) => key.id(),
            Verdict::Waits => return Err(none()),
        },
    };
    // A work folder is that of a running or a failed attempt, and so the latest.
    let work = project.store.work_path(&id).join(LOG);
    let (bytes, finished) = match std::fs::read(&work) {
        Ok(bytes) => (bytes, false),
        Err(_) => match project.store.get(&id)?.map(|entry| entry.log) {
            Some(Some(log)) => (project.store.read_object(&log.digest)?, true),
            Some(None) => (Vec::new(), true),
            None => return Err(none()),
        },
    };
    if global.json {
        print_json(&facts::Log {
            job: name.clone(),
            key: id.to_string(),
            finished,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        });
        return Ok(ExitCode::SUCCESS);
    }
    if bytes.is_empty() {
        say(&format!("{name} wrote nothing"));
    }
    let _ = std::io::stdout().write_all(&bytes);
    Ok(ExitCode::SUCCESS)
}
