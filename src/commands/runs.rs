//! Runs by the words that mean them, and what became of their jobs.

use rematch_cache::history::{JobRecord, RunRecord, RunState};
use rematch_cache::store::Store;

use crate::error::{Error, Result};

/// The shortest beginning of a run's id that means it: its day.
const SHORTEST: usize = 8;

/// The run that a word means: `last`, `last~1`, an id or its beginning; `None` where it looks like something else.
pub(super) fn find<'a>(runs: &'a [RunRecord], word: &str) -> Result<Option<&'a RunRecord>> {
    let back = match word.strip_prefix("last") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix('~').and_then(|n| n.parse::<usize>().ok()),
        None => None,
    };
    if let Some(back) = back {
        let number = back.checked_add(1).and_then(|n| runs.len().checked_sub(n));
        return number.map(|n| Some(&runs[n])).ok_or_else(|| {
            Error::absent(match runs.len() {
                0 => "nothing ran in this project yet".to_owned(),
                n => format!("there is no run `{word}`: the history has {n}"),
            })
        });
    }
    let mut hits = runs.iter().filter(|run| run.id.as_str().starts_with(word));
    match (hits.next(), hits.count()) {
        (Some(run), 0) if word.len() >= SHORTEST => Ok(Some(run)),
        (Some(run), more) if word.len() >= SHORTEST => {
            let error = Error::usage(format!("`{word}` begins the ids of {} runs", more + 1));
            Err(error.help(format!("name one of them: {} is the first", run.id)))
        }
        _ => Ok(None),
    }
}

/// What became of the jobs of a run.
pub(super) fn jobs(store: &Store, run: &RunRecord) -> Result<Vec<JobRecord>> {
    let list = match &run.state {
        RunState::Ended(end) => end.jobs,
        _ => None,
    };
    let jobs = list.map(|list| store.job_list(&list)).transpose()?;
    jobs.flatten().ok_or_else(|| no_list(run))
}

/// Why nothing is known of the jobs of a run.
pub(super) fn no_list(run: &RunRecord) -> Error {
    let id = &run.id;
    Error::absent(match &run.state {
        RunState::Running => {
            format!("run {id} goes on; what became of its jobs is known when it ends")
        }
        RunState::Killed => format!("run {id} was killed, and left no list of its jobs"),
        RunState::Ended(end) if end.jobs.is_none() => format!("run {id} left no list of its jobs"),
        RunState::Ended(_) => format!("the list of the jobs of run {id} is gone from the store"),
    })
    .help("`rematch history` lists the runs; `now` stands for the pipeline as it is")
}
