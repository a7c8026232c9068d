//! The history of runs: when, of what, how each ended, and what became of every job in it.
//!
//! `history.jsonl` has a line for the start of a run and one for its end; a line that a kill or a
//! power cut spoiled is skipped. A run holds a lock while it goes on, so that one that was killed can
//! be told from one that is still at work. What became of the jobs is a list of its own, named by the
//! digest of its bytes: a thousand runs with nothing to do refer to one list.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::durable::host;
use crate::error::{Error, Result};
use crate::fs;
use crate::key::KeyId;
use crate::store::Store;

/// So many of the last runs in which a job ran are kept, and as many in which none did: looking
/// often does not push out what was done.
const KEEP: usize = 200;

/// The file is rewritten when it has this many lines, so that it grows by half before that.
const MAX_LINES: usize = 6 * KEEP;

/// A list that no run refers to is as old as this before it goes: its run may just be ending.
const SETTLED: Duration = Duration::from_secs(3600);

/// What names a run: its start in UTC and four hexadecimal digits, `20261124-113323-4f2a`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// What a run sets out to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStart {
    /// The pipeline file, absolute.
    pub pipeline: String,
    /// The pipeline's name.
    #[serde(default)]
    pub name: String,
    /// Changes to the pipeline: key and value.
    #[serde(default)]
    pub set: Vec<(String, String)>,
    /// The selected jobs; none are all.
    #[serde(default)]
    pub patterns: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunEnd {
    /// Jobs that ran.
    pub ran: usize,
    /// Jobs whose results were there.
    pub fresh: usize,
    /// Jobs that failed.
    pub failed: usize,
    /// Jobs that were stopped, and can go on.
    pub stopped: usize,
    /// Jobs that were not started.
    pub skipped: usize,
    /// Seconds in all.
    pub seconds: f64,
    /// The exit code.
    pub exit: u8,
    /// What became of every job, see [`Store::job_list`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Digest>,
}

/// A run of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Its name.
    pub id: RunId,
    /// When it started, seconds since 1970.
    pub started: f64,
    /// Where.
    pub host: String,
    /// What it set out to do.
    pub start: RunStart,
    /// What became of it.
    pub state: RunState,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunState {
    /// It goes on.
    Running,
    /// Its process is gone, and told nothing.
    Killed,
    /// It ended.
    Ended(RunEnd),
}

/// What became of a job in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// Its name, `train[seed=1]`.
    pub job: String,
    /// Its key, where all that it reads was known.
    pub key: Option<KeyId>,
    /// What became of it.
    pub state: JobState,
    /// How long it ran in this run.
    pub seconds: f64,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It ran to its end.
    Ran,
    /// Its result was there.
    Fresh,
    /// It failed.
    Failed,
    /// It was stopped.
    Stopped,
    /// It was not started.
    Skipped,
}

/// A run that goes on. Dropped without an [end](Self::end), it counts as ended by an error.
#[derive(Debug)]
#[must_use = "a run goes on until its end is told"]
pub struct Run {
    store: Store,
    id: RunId,
    began: SystemTime,
    /// Locked; not there in a read-only store, and once the end is told.
    live: Option<(PathBuf, File)>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<StartLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<RunEnd>,
}

#[derive(Serialize, Deserialize)]
struct StartLine {
    time: f64,
    #[serde(default)]
    host: String,
    #[serde(flatten)]
    what: RunStart,
}

impl Store {
    /// Notes that a run begins. A read-only store notes nothing.
    pub fn begin_run(&self, start: &RunStart) -> Result<Run> {
        let began = SystemTime::now();
        let run = |id, live| Run {
            store: self.clone(),
            id,
            began,
            live,
        };
        match self.try_begin_run(start, began) {
            Ok((id, path, file)) => Ok(run(id, Some((path, file)))),
            Err(e) if e.is_read_only() => Ok(run(RunId::at(began, 0), None)),
            Err(e) => Err(e),
        }
    }

    fn try_begin_run(&self, what: &RunStart, began: SystemTime) -> Result<(RunId, PathBuf, File)> {
        let history = self.history_path();
        let mut file = lock(&history)?;
        let mut bytes = fs::read_rest(&file, &history)?;
        let mut attempt = 0;
        let id = loop {
            let id = RunId::at(began, attempt);
            let taken = format!("{{\"run\":\"{id}\"");
            if !raw_lines(&bytes).any(|line| line.starts_with(taken.as_bytes())) {
                break id;
            }
            attempt += 1;
        };
        // The lock comes before the line: whoever reads of this run finds it alive.
        let live = self.live_path(&id);
        fs::create_folder(&fs::parent(&live))?;
        let held = File::create(&live).map_err(Error::io("create", &live))?;
        held.lock().map_err(Error::io("lock", &live))?;
        let start = StartLine {
            time: seconds_since_1970(began),
            host: host(),
            what: what.clone(),
        };
        let line = Line {
            run: id.clone(),
            start: Some(start),
            end: None,
        };
        if raw_lines(&bytes).count() < MAX_LINES {
            write_line(&mut file, &history, bytes.last(), &line)?;
        } else {
            bytes = self.without_old_runs(&bytes)?;
            bytes.extend(line.to_bytes(&history)?);
            fs::write_atomic_as(0o644, &self.temporary(), &history, &bytes)?;
        }
        Ok((id, live, held))
    }

    /// All runs that are still known, oldest first.
    pub fn runs(&self) -> Result<Vec<RunRecord>> {
        let mut runs = self.read_runs()?;
        // A run that ended between the reading and the look at its lock has told its end by now.
        if runs.iter().any(|run| run.state == RunState::Killed) {
            runs = self.read_runs()?;
        }
        Ok(runs)
    }

    fn read_runs(&self) -> Result<Vec<RunRecord>> {
        let mut runs = merge(&self.read_history()?);
        for run in &mut runs {
            if run.state == RunState::Killed && self.is_live(&run.id) {
                run.state = RunState::Running;
            }
        }
        Ok(runs)
    }

    /// What the last run set out to do, whether it goes on or not.
    pub fn last_run(&self) -> Result<Option<RunStart>> {
        let bytes = self.read_history()?;
        let mut newest_first = raw_lines(&bytes).rev().filter_map(parse);
        Ok(newest_first.find_map(|line| line.start.map(|start| start.what)))
    }

    /// Keeps what became of every job of a run; returns the name of the list, for [`RunEnd::jobs`].
    /// Costs no more than hashing it where such a list is there.
    ///
    /// Lists go by themselves, some time after the last run that refers to them. A garbage collection
    /// has nothing to drop here; what recent runs used is in [`runs`](Self::runs), each with its list.
    pub fn keep_job_list(&self, jobs: impl IntoIterator<Item = JobRecord>) -> Result<Digest> {
        let mut jobs: Vec<JobRecord> = jobs.into_iter().collect();
        jobs.sort_unstable_by(|a, b| a.job.cmp(&b.job));
        let mut text = Vec::with_capacity(128 * jobs.len());
        for job in &jobs {
            job.write(&mut text)
                .map_err(not_json(&self.root().join("runs")))?;
        }
        let digest = Digest::of_bytes(&text);
        let path = self.list_path(&digest);
        let kept = match File::options().append(true).open(&path) {
            // Young again, so that nobody takes it for one that nobody needs.
            Ok(file) => file
                .set_modified(SystemTime::now())
                .map_err(Error::io("set the time of", &path)),
            Err(_) => fs::write_atomic_as(0o644, &self.temporary(), &path, &text),
        };
        match kept {
            Err(e) if !e.is_read_only() => Err(e),
            _ => Ok(digest),
        }
    }

    /// What became of every job of a run, by name; `None` where the list is gone or damaged.
    pub fn job_list(&self, list: &Digest) -> Result<Option<Vec<JobRecord>>> {
        let bytes = fs::read_if_there(&self.list_path(list))?;
        let whole = bytes.filter(|bytes| Digest::of_bytes(bytes) == *list);
        let text = whole.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.map(|text| text.lines().filter_map(JobRecord::parse).collect()))
    }

    /// The lines of the runs that are to stay; job lists that nobody refers to go.
    fn without_old_runs(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut counts = [0, 0];
        let mut keep = HashSet::new();
        let mut lists = HashSet::new();
        for run in merge(bytes).into_iter().rev() {
            let idle = match &run.state {
                RunState::Ended(end) => end.ran + end.failed + end.stopped == 0,
                _ => false,
            };
            let count = &mut counts[usize::from(idle)];
            *count += 1;
            if *count <= KEEP || self.is_live(&run.id) {
                if let RunState::Ended(RunEnd {
                    jobs: Some(list), ..
                }) = run.state
                {
                    lists.insert(list);
                }
                keep.insert(run.id);
            }
        }
        let mut kept = Vec::with_capacity(bytes.len());
        for line in lines(bytes).filter(|line| keep.contains(&line.run)) {
            kept.extend(line.to_bytes(&self.history_path())?);
        }
        self.drop_left_over(&keep, &lists)?;
        Ok(kept)
    }

    fn drop_left_over(&self, runs: &HashSet<RunId>, lists: &HashSet<Digest>) -> Result<()> {
        for member in fs::list_if_there(&self.root().join("runs"))? {
            let name = member.file_name();
            let Some((stem, ending)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
                continue;
            };
            let old = || {
                let time = member.metadata().and_then(|meta| meta.modified());
                time.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > SETTLED))
            };
            let left_over = match ending {
                "jobs" => stem.parse().is_ok_and(|list| !lists.contains(&list)) && old(),
                "live" => stem
                    .parse()
                    .is_ok_and(|id| !runs.contains(&id) && !self.is_live(&id)),
                _ => false,
            };
            if left_over {
                fs::remove_file(&member.path())?;
            }
        }
        Ok(())
    }

    /// Whether somebody holds a run's lock.
    fn is_live(&self, id: &RunId) -> bool {
        let Ok(file) = File::open(self.live_path(id)) else {
            return false;
        };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    fn read_history(&self) -> Result<Vec<u8>> {
        Ok(fs::read_if_there(&self.history_path())?.unwrap_or_default())
    }

    fn history_path(&self) -> PathBuf {
        self.root().join("history.jsonl")
    }

    fn live_path(&self, id: &RunId) -> PathBuf {
        self.root().join("runs").join(format!("{id}.live"))
    }

    fn list_path(&self, list: &Digest) -> PathBuf {
        self.root().join("runs").join(format!("{list}.jobs"))
    }
}

impl Run {
    /// Its name.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Notes how it ended.
    pub fn end(mut self, end: &RunEnd) -> Result<()> {
        self.note_end(end)
    }

    fn note_end(&mut self, end: &RunEnd) -> Result<()> {
        let Some((live, _lock)) = self.live.take() else {
            return Ok(());
        };
        let line = Line {
            run: self.id.clone(),
            start: None,
            end: Some(end.clone()),
        };
        let history = self.store.history_path();
        let mut file = lock(&history)?;
        let last = last_byte(&file, &history)?;
        write_line(&mut file, &history, last.as_ref(), &line)?;
        // After the line, and before the lock is let go: see `Store::runs`.
        fs::remove_file(&live)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let end = RunEnd {
            seconds: self.began.elapsed().unwrap_or_default().as_secs_f64(),
            exit: 3,
            ..RunEnd::default()
        };
        // What fails here shows as a run that was killed.
        let _ = self.note_end(&end);
    }
}

impl RunId {
    /// The id of a run that this process begins; another one for each attempt.
    fn at(time: SystemTime, attempt: u32) -> Self {
        let second = jiff::Timestamp::try_from(time).unwrap_or_default();
        let nanos = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let who = format!("{} {} {nanos} {attempt}", host(), std::process::id());
        let random = &Digest::of_bytes(who.as_bytes()).to_hex()[..4];
        Self(format!("{}-{random}", second.strftime("%Y%m%d-%H%M%S")))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = String;
    /// Ids stand in file names: nothing but an id is one.
    fn try_from(text: String) -> std::result::Result<Self, String> {
        let digits = |part: &str, n| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        match text.split('-').collect::<Vec<_>>()[..] {
            [day, time, rest]
                if digits(day, 8)
                    && digits(time, 6)
                    && rest.len() == 4
                    && rest.bytes().all(hex) =>
            {
                Ok(Self(text))
            }
            _ => Err(format!("`{}` is no run", text.escape_debug())),
        }
    }
}

impl FromStr for RunId {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JobRecord {
    /// `KEY STATE SECONDS "JOB"`; `-` where there is no key.
    fn write(&self, text: &mut Vec<u8>) -> serde_json::Result<()> {
        match &self.key {
            Some(id) => text.extend_from_slice(id.0.to_hex().as_bytes()),
            None => text.push(b'-'),
        }
        let state = match self.state {
            JobState::Ran => "ran",
            JobState::Fresh => "fresh",
            JobState::Failed => "failed",
            JobState::Stopped => "stopped",
            JobState::Skipped => "skipped",
        };
        text.extend_from_slice(format!(" {state} {:.3} ", self.seconds).as_bytes());
        serde_json::to_writer(&mut *text, &self.job)?;
        text.push(b'\n');
        Ok(())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let key = match words.next()? {
            "-" => None,
            key => Some(key.parse().ok()?),
        };
        let state = match words.next()? {
            "ran" => JobState::Ran,
            "fresh" => JobState::Fresh,
            "failed" => JobState::Failed,
            "stopped" => JobState::Stopped,
            "skipped" => JobState::Skipped,
            _ => return None,
        };
        Some(Self {
            key,
            state,
            seconds: words.next()?.parse().ok()?,
            job: serde_json::from_str(words.next()?).ok()?,
        })
    }
}

impl Line {
    fn to_bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).map_err(not_json(path))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn not_json(path: &Path) -> impl FnOnce(serde_json::Error) -> Error {
    let path = path.to_path_buf();
    move |e| Error::NotJson {
        path,
        why: e.to_string(),
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

fn raw_lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n')
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Line> + '_ {
    raw_lines(bytes).filter_map(parse)
}

/// Runs in the order in which they began; one without an end counts as killed.
fn merge(bytes: &[u8]) -> Vec<RunRecord> {
    let mut runs: Vec<RunRecord> = Vec::new();
    let mut places = HashMap::new();
    for Line { run, start, end } in lines(bytes) {
        if let Some(StartLine { time, host, what }) = start {
            places.insert(run.clone(), runs.len());
            runs.push(RunRecord {
                id: run,
                started: time,
                host,
                start: what,
                state: RunState::Killed,
            });
        } else if let (Some(end), Some(place)) = (end, places.get(&run)) {
            runs[*place].state = RunState::Ended(end);
        }
    }
    runs
}

fn lock(path: &Path) -> Result<File> {
    loop {
        // Whoever waits gets it.
        if let Some(file) = fs::open_locked(path, true)? {
            return Ok(file);
        }
    }
}

/// Appends a line; one that a killed writer left open is closed first.
fn write_line(file: &mut File, path: &Path, before: Option<&u8>, line: &Line) -> Result<()> {
    let mut bytes = Vec::new();
    if before.is_some_and(|last| *last != b'\n') {
        bytes.push(b'\n');
    }
    bytes.extend(line.to_bytes(path)?);
    file.write_all(&bytes).map_err(Error::io("write", path))
}

fn last_byte(file: &File, path: &Path) -> Result<Option<u8>> {
    use std::os::unix::fs::FileExt;
    let size = file.metadata().map_err(Error::io("look at", path))?.len();
    let mut last = [0];
    if size == 0 {
        return Ok(None);
    }
    file.read_exact_at(&mut last, size - 1)
        .map_err(Error::io("read", path))?;
    Ok(Some(last[0]))
}

fn seconds_since_1970(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        (folder, store)
    }

    fn start(name: &str) -> RunStart {
        RunStart {
            pipeline: format!("/p/{name}.yaml"),
            name: name.into(),
            set: vec![("steps".into(), "100".into())],
            patterns: vec!["train[seed=1]".into()],
        }
    }

    fn end(ran: usize, jobs: Option<Digest>) -> RunEnd {
        RunEnd {
            ran,
            seconds: 1.5,
            jobs,
            ..RunEnd::default()
        }
    }

    fn record(job: &str, seconds: f64) -> JobRecord {
        JobRecord {
            job: job.into(),
            key: Some(KeyId(Digest::of_bytes(job.as_bytes()))),
            state: JobState::Ran,
            seconds,
        }
    }

    /// The start of a run whose process is gone: its lock is free.
    fn killed(store: &Store) -> RunId {
        let mut run = store.begin_run(&start("killed")).unwrap();
        run.live = None;
        run.id.clone()
    }

    #[test]
    fn a_run_goes_on_ends_fails_or_is_killed() {
        let (_folder, store) = store();
        let done = store.begin_run(&start("done")).unwrap();
        let done_id = done.id().clone();
        done.end(&end(3, None)).unwrap();
        drop(store.begin_run(&start("error")).unwrap());
        killed(&store);
        let going_on = store.begin_run(&start("going on")).unwrap();
        let runs = store.runs().unwrap();
        let names: Vec<&str> = runs.iter().map(|run| run.start.name.as_str()).collect();
        assert_eq!(names, ["done", "error", "killed", "going on"]);
        assert_eq!((&runs[0].id, &runs[0].start), (&done_id, &start("done")));
        assert_eq!(runs[0].state, RunState::Ended(end(3, None)));
        assert!(
            matches!(&runs[1].state, RunState::Ended(end) if end.exit == 3),
            "{:?}",
            runs[1]
        );
        assert_eq!(runs[2].state, RunState::Killed);
        assert_eq!(runs[3].state, RunState::Running);
        assert_eq!(store.last_run().unwrap(), Some(start("going on")));
        drop(going_on);
        let left: Vec<_> = fs::list(&store.root().join("runs")).unwrap();
        assert_eq!(left.len(), 1, "only the killed run left its lock: {left:?}");
    }

    #[test]
    fn runs_that_begin_at_once_have_names_of_their_own() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let run = store.begin_run(&start("p")).unwrap();
                        run.end(&end(1, None)).unwrap();
                    }
                });
            }
        });
        let runs = store.runs().unwrap();
        let ids: HashSet<&RunId> = runs.iter().map(|run| &run.id).collect();
        assert_eq!((runs.len(), ids.len()), (100, 100));
        assert!(
            runs.iter()
                .all(|run| run.state == RunState::Ended(end(1, None)))
        );
    }

    #[test]
    fn an_id_is_taken_once() {
        let now = SystemTime::now();
        assert_ne!(RunId::at(now, 0), RunId::at(now, 1));
        let early = RunId::at(SystemTime::UNIX_EPOCH, 0);
        assert!(early < RunId::at(now, 0));
        assert_eq!(early.as_str().parse(), Ok(early.clone()));
        for text in [
            "",
            "x",
            "../../20261124",
            "20261124-113323-4f2/",
            "20261124-113323-4F2A",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }

    #[test]
    fn damaged_and_newer_lines_hide_no_other() {
        let (_folder, store) = store();
        let run = store.begin_run(&start("one")).unwrap();
        let mut bytes = store.read_history().unwrap();
        bytes.extend_from_slice(
            b"{\"run\":\"../../x\",\"start\":{\"time\":1,\"pipeline\":\"p\"}}\n",
        );
        bytes.extend_from_slice(b"{\"run\":\"20261124-113323-4f2a\",\"start\":{\"time\":1,\"pipeline\":\"p\",\"new\":[]},\"more\":1}\n");
        bytes.extend_from_slice(b"\xff\n{\"run\":\"2026");
        std::fs::write(store.history_path(), bytes).unwrap();
        run.end(&end(1, None)).unwrap();
        drop(store.begin_run(&start("two")).unwrap());
        let runs = store.runs().unwrap();
        let found: Vec<_> = runs.iter().map(|run| run.start.pipeline.as_str()).collect();
        assert_eq!(found, ["/p/one.yaml", "p", "/p/two.yaml"]);
        assert_eq!(runs[0].state, RunState::Ended(end(1, None)));
    }

    #[test]
    fn what_became_of_jobs_reads_back_and_the_same_list_is_kept_once() {
        let (_folder, store) = store();
        let unknown = JobRecord {
            key: None,
            state: JobState::Skipped,
            ..record("odd \"name\"\nof two lines", 0.0)
        };
        let jobs = [record("b[n=1]", 2.25), record("a", 1.0), unknown.clone()];
        let list = store.keep_job_list(jobs.clone()).unwrap();
        assert_eq!(
            store.job_list(&list).unwrap().unwrap(),
            [jobs[1].clone(), jobs[0].clone(), unknown]
        );
        let mut turned = jobs;
        turned.reverse();
        assert_eq!(store.keep_job_list(turned).unwrap(), list);
        assert_eq!(fs::list(&store.root().join("runs")).unwrap().len(), 1);
        std::fs::write(store.list_path(&list), "cut").unwrap();
        assert_eq!(store.job_list(&list).unwrap(), None);
        assert_eq!(store.job_list(&Digest::of_bytes(b"?")).unwrap(), None);
    }

    #[test]
    fn old_runs_go_with_their_lists_and_idle_ones_push_out_nothing() {
        let (_folder, store) = store();
        let working = store.keep_job_list([record("worked", 1.0)]).unwrap();
        let idle = store.keep_job_list([record("idle", 0.0)]).unwrap();
        let orphan = store.keep_job_list([record("orphan", 0.0)]).unwrap();
        let young = store.keep_job_list([record("young", 0.0)]).unwrap();
        for list in [working, idle, orphan] {
            let file = File::options().append(true).open(store.list_path(&list));
            file.unwrap()
                .set_modified(SystemTime::now() - 2 * SETTLED)
                .unwrap();
        }
        let going_on = store.begin_run(&start("going on")).unwrap();
        killed(&store);
        for _ in 0..5 {
            let run = store.begin_run(&start("worked")).unwrap();
            run.end(&end(1, Some(working))).unwrap();
        }
        let size = || raw_lines(&store.read_history().unwrap()).count();
        let mut before = 0;
        while before < size() {
            before = size();
            assert!(before <= MAX_LINES + 2, "the history grows without end");
            let run = store.begin_run(&start("idle")).unwrap();
            run.end(&end(0, Some(idle))).unwrap();
        }
        let runs = store.runs().unwrap();
        let count = |name: &str| runs.iter().filter(|run| run.start.name == name).count();
        assert_eq!(
            (count("going on"), count("killed"), count("worked")),
            (1, 1, 5)
        );
        assert!(
            (KEEP..=KEEP + 2).contains(&count("idle")),
            "{}",
            count("idle")
        );
        let there = |list: &Digest| store.job_list(list).unwrap().is_some();
        assert!(there(&working) && there(&idle) && there(&young) && !there(&orphan));
        going_on.end(&end(1, None)).unwrap();
        assert_eq!(
            store.runs().unwrap()[0].state,
            RunState::Ended(end(1, None))
        );
    }
}
