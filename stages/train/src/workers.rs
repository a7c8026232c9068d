//! The other processes of a job that trains on several GPUs: this program again, once per further GPU, each
//! with a work folder in the job's own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rematch_data::child::{Child, StageError};
use rematch_data::fs;
use rematch_spec::job::{Job, REPORT, Report, exit};

/// How long a worker may take to end once the first process has ended its part.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process's place in a job: its rank, and the number of processes.
#[derive(Clone, Debug)]
pub struct Place {
    /// 0 is the process of the job itself.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// The file where they meet.
    pub store: PathBuf,
}

impl Place {
    /// As arguments of this program, before the job file.
    pub fn arguments(&self) -> [OsString; 4] {
        let Self { rank, size, store } = self;
        [
            "--worker".into(),
            rank.to_string().into(),
            size.to_string().into(),
            store.into(),
        ]
    }

    /// Reads [`arguments`](Self::arguments).
    pub fn parse(arguments: &[OsString]) -> Option<Self> {
        let [flag, rank, size, store] = arguments else {
            return None;
        };
        let number = |text: &OsString| text.to_str()?.parse().ok();
        let place = Self {
            rank: number(rank)?,
            size: number(size)?,
            store: store.into(),
        };
        (flag == "--worker" && place.rank < place.size).then_some(place)
    }
}

/// The processes that a job started. They end with this one: each reads a pipe that closes then.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    process: Process,
    work: PathBuf,
}

impl Workers {
    /// Starts all but the first of `size` processes.
    pub fn start(child: &Child, size: usize) -> Result<(Self, Place), StageError> {
        let store = child.work().join("workers");
        // Where an earlier attempt met.
        fs::remove_file(&store)?;
        let place = |rank| Place {
            rank,
            size,
            store: store.clone(),
        };
        let mut workers = Self(Vec::new());
        for rank in 1..size {
            workers.0.push(Worker::start(&child.job, &place(rank))?);
        }
        Ok((workers, place(0)))
    }

    /// Waits for their end, and removes their folders. Where `result` is that another process was lost, and
    /// one of these says why, that is the result.
    pub fn end<T>(mut self, result: Result<T, StageError>) -> Result<T, StageError> {
        let since = Instant::now();
        let mut why = None;
        let size = self.0.len() + 1;
        for (n, worker) in self.0.iter_mut().enumerate() {
            let name = format!("process {} of {size}", n + 2);
            let Some(ended) = worker.wait(&name, since) else {
                let _ = worker.process.kill();
                let _ = worker.process.wait();
                continue;
            };
            why = why.or(ended);
            fs::remove_dir_all(&worker.work)?;
        }
        match (result, why) {
            (Err(lost), Some(error)) if lost.exit_code() == exit::TRY_AGAIN => Err(error),
            (result, _) => result,
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            let _ = worker.process.kill();
            let _ = worker.process.wait();
        }
    }
}

impl Worker {
    fn start(job: &Job, place: &Place) -> Result<Self, StageError> {
        let work = job.work.join(format!("worker-{}", place.rank));
        fs::remove_dir_all(&work)?;
        fs::create_dir_all(&work.join("out"))?;
        let outputs = job.outputs.keys();
        let job = Job {
            outputs: outputs
                .map(|name| (name.clone(), work.join("out").join(name)))
                .collect(),
            work: work.clone(),
            ..job.clone()
        };
        let file = work.join("job.json");
        let text = serde_json::to_vec(&job).map_err(|e| StageError::failed(e.to_string()))?;
        fs::write(&file, text)?;
        let failed = |e: std::io::Error| {
            StageError::try_again(format!("cannot start another process for the job: {e}"))
        };
        let program = std::env::current_exe().map_err(failed)?;
        let process = Command::new(program)
            .args(place.arguments())
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self { process, work })
    }

    /// How it ended, if it did in time; nothing where it was done, told to stop, or lost the others.
    fn wait(&mut self, name: &str, since: Instant) -> Option<Option<StageError>> {
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => {
                    let no_news = [exit::DONE, exit::INTERRUPTED, exit::TRY_AGAIN].map(Some);
                    if no_news.contains(&status.code()) {
                        return Some(None);
                    }
                    let said = report(&self.work).and_then(|report| report.error);
                    let said = said.map_or(String::new(), |error| format!(": {}", error.message));
                    let message = format!("{name} of this job ended with {status}{said}");
                    return Some(Some(match status.code() {
                        Some(exit::OUT_OF_MEMORY) => StageError::out_of_memory(message),
                        Some(exit::DIVERGED) => StageError::diverged(message),
                        // Killed by whoever.
                        None => StageError::try_again(message)
                            .help("run again; training goes on from the last checkpoint"),
                        _ => StageError::failed(message),
                    }));
                }
                Ok(None) if since.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
                _ => return None,
            }
        }
    }
}

fn report(work: &Path) -> Option<Report> {
    serde_json::from_slice(&fs::read(&work.join(REPORT)).ok()?).ok()
}
