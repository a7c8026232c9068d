//! The record of a run in the store's history, made from what the store holds after it.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rematch_cache::history::{JobRecord, JobState, Run, RunEnd, RunStart};
use rematch_cache::store::Store;

use crate::commands::Project;
use crate::error::Result;
use crate::freshness::{Verdict, verdicts};
use crate::pattern;
use crate::pipeline::Pipeline;
use crate::plan::Plan;

/// A run whose end is to be noted.
struct Open {
    run: Run,
    store: Store,
    start: RunStart,
    began: SystemTime,
}

/// The run of this process.
static OPEN: Mutex<Option<Open>> = Mutex::new(None);

pub fn begin(project: &Project) -> Result<()> {
    let start = project.run_start();
    let open = Open {
        run: project.store.begin_run(&start)?,
        store: project.store.clone(),
        start,
        began: SystemTime::now(),
    };
    *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
    Ok(())
}

/// Notes how the run ended, if one began.
pub fn end(result: Result<ExitCode>) -> Result<ExitCode> {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let (Some(open), Ok(code)) = (open, &result) {
        let exit = [0, 1, 130]
            .into_iter()
            .find(|known| ExitCode::from(*known) == *code);
        let mut end = RunEnd {
            seconds: open.began.elapsed().unwrap_or_default().as_secs_f64(),
            exit: exit.unwrap_or(3),
            ..RunEnd::default()
        };
        // A pipeline that was edited meanwhile, and is broken now, spoils no run.
        if let Ok(jobs) = what_became(&open, exit == Some(130)) {
            let count = |state| jobs.iter().filter(|job| job.state == state).count();
            end.ran = count(JobState::Ran);
            end.fresh = count(JobState::Fresh);
            end.failed = count(JobState::Failed);
            end.stopped = count(JobState::Stopped);
            end.skipped = count(JobState::Skipped);
            end.jobs = Some(open.store.keep_job_list(jobs)?);
        }
        open.run.end(&end)?;
    }
    result
}

/// What became of every wanted job.
fn what_became(open: &Open, interrupted: bool) -> Result<Vec<JobRecord>> {
    let pipeline = Pipeline::read(open.start.pipeline.as_ref(), &open.start.set)?;
    let plan = Plan::new(&pipeline)?;
    let wanted = plan.with_upstream(&pattern::select(&plan, &open.start.patterns)?);
    let verdicts = verdicts(&plan, &open.store)?;
    let began = open.began.duration_since(SystemTime::UNIX_EPOCH);
    let began = began.map_or(0.0, |time| time.as_secs_f64());
    let jobs = wanted.into_iter().map(|index| {
        let (key, state, seconds) = match &verdicts[index.index()] {
            Verdict::Fresh(key, entry) if entry.provenance.started >= began => {
                (Some(key.id()), JobState::Ran, entry.provenance.seconds)
            }
            Verdict::Fresh(key, _) => (Some(key.id()), JobState::Fresh, 0.0),
            Verdict::Run(key, _) => {
                let work = open.store.work_path(&key.id());
                let file = std::fs::metadata(work.join("job.json"));
                let started = file
                    .and_then(|file| file.modified())
                    .is_ok_and(|time| time >= open.began);
                // A run that ends as stopped has no failed jobs.
                let state = match (started, interrupted) {
                    (false, _) => JobState::Skipped,
                    (true, true) => JobState::Stopped,
                    (true, false) => JobState::Failed,
                };
                (Some(key.id()), state, 0.0)
            }
            Verdict::Waits => (None, JobState::Skipped, 0.0),
        };
        JobRecord {
            job: plan.graph[index].name.clone(),
            key,
            state,
            seconds,
        }
    });
    Ok(jobs.collect())
}
