//! The child-process side of the job protocol ([`rematch_spec::job`]): reads the job file, tells
//! the runner how far it is, listens for the order to stop, leaves the report.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rematch_spec::job::{Event, Job, PROTOCOL, REPORT, Report, exit};
use rematch_spec::kind::typed;
use rustix::fs::FileType;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, set_child_subreaper, waitid,
};
use serde::de::DeserializeOwned;
use signal_hook::consts::{SIGINT, SIGTERM};

pub use crate::error::StageError;
use crate::fs;

/// How long to wait for a dying predecessor of the same job.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// How long a stage may go on once its runner is gone.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(30);
/// How long what a job left may take to die.
const DEATH: Duration = Duration::from_secs(1);
/// Least time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Held for as long as a child works in a work folder.
const LOCK: &str = ".child.lock";

/// A job, seen from the process that does it.
pub struct Child {
    /// The job.
    pub job: Job,
    stop: Arc<AtomicBool>,
    signalled: Arc<AtomicBool>,
    events: Mutex<Events>,
}

struct Events {
    out: Box<dyn Write + Send>,
    last_progress: Option<Instant>,
}

impl Child {
    /// A child whose events go to `events`. Outside of tests [`run`] makes it.
    pub fn new(job: Job, events: impl Write + Send + 'static) -> Self {
        let events = Mutex::new(Events {
            out: Box::new(events),
            last_progress: None,
        });
        Self {
            job,
            stop: Arc::default(),
            signalled: Arc::default(),
            events,
        }
    }

    /// The job's parameters, typed.
    ///
    /// # Errors
    /// `Usage`, which names the parameter that does not fit.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, StageError> {
        Ok(typed(self.job.params.clone())?)
    }

    /// Where the output of that name belongs.
    ///
    /// # Errors
    /// `Usage` where the job file does not name it.
    pub fn output(&self, name: &str) -> Result<&Path, StageError> {
        let path = self.job.outputs.get(name);
        path.map(AsRef::as_ref)
            .ok_or_else(|| StageError::usage(format!("the job file has no output `{name}`")))
    }

    /// The job's own folder; what lies in it survives an interruption of a stage that resumes.
    pub fn work(&self) -> &Path {
        &self.job.work
    }

    /// Says how far the job is; at most ten times a second reaches the runner, the end always.
    ///
    /// `done` counts from the start of the job, not of this attempt; `total` is 0 where unknown.
    pub fn progress(&self, done: u64, total: u64, unit: &str) {
        let Ok(mut events) = self.events.lock() else {
            return;
        };
        let now = Instant::now();
        let soon = events
            .last_progress
            .is_some_and(|last| now - last < PROGRESS_EVERY);
        if soon && done != total {
            return;
        }
        events.last_progress = Some(now);
        events.send(&Event::Progress {
            done,
            total,
            unit: unit.to_owned(),
        });
    }

    /// Tells numbers of the moment, such as the accuracy; those that are no finite number are left out.
    pub fn metrics(&self, values: &[(&str, f64)]) {
        let values = values
            .iter()
            .filter(|(_, v)| v.is_finite())
            .map(|(n, v)| ((*n).to_owned(), *v))
            .collect();
        self.send(&Event::Metrics { values });
    }

    /// A line worth showing while the job runs.
    pub fn note(&self, text: impl Into<String>) {
        let text = text.into();
        log(&text);
        self.send(&Event::Note { text });
    }

    /// A line worth showing at the end as well.
    pub fn warning(&self, text: impl Into<String>) {
        let text = text.into();
        log(&format!("warning: {text}"));
        self.send(&Event::Warning { text });
    }

    /// Whether the job was told to stop, or its runner is gone.
    pub fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether that came as a signal: then every process of the job got it.
    pub fn signalled(&self) -> bool {
        self.signalled.load(Ordering::Relaxed)
    }

    /// `Interrupted` as an error, for `?` in loops.
    pub fn check(&self) -> Result<(), StageError> {
        if self.interrupted() {
            Err(StageError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Tells the job to stop, as a signal would.
    pub fn interrupt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn send(&self, event: &Event) {
        if let Ok(mut events) = self.events.lock() {
            events.send(event);
        }
    }
}

impl Events {
    /// A runner that does not listen any more is no reason to fail.
    fn send(&mut self, event: &Event) {
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            let _ = self.out.write_all(&line).and_then(|()| self.out.flush());
        }
    }
}

/// Does the job in `job_file` with `body` and returns the exit code for it.
///
/// The report, with the error if there is one, is in the work folder when this returns; an error that
/// could not get there is on standard error. A panic of `body` counts as a failure. No process that the
/// job started outlives this, also none that left its process group, nor any other child of ours.
pub fn run(job_file: &Path, body: impl FnOnce(&Child) -> Result<Report, StageError>) -> i32 {
    // What loses its parent becomes our child, and not one of the system's first process. Where that
    // cannot be had, only those in the process group end with the job.
    let _ = set_child_subreaper(Some(getpid()));
    let code = do_job(job_file, body);
    end_children();
    code
}

fn do_job(job_file: &Path, body: impl FnOnce(&Child) -> Result<Report, StageError>) -> i32 {
    let child = match start(job_file) {
        Ok(child) => child,
        Err(error) => {
            print(&error);
            return error.exit_code();
        }
    };
    // Held until the report is there, and by no process that the body starts: it is closed on exec.
    let lock = lock(&child);
    let result = match &lock {
        Ok(_) => fs::remove_file(&child.work().join(REPORT))
            .map_err(StageError::from)
            .and_then(|()| {
                let result = panic::catch_unwind(AssertUnwindSafe(|| body(&child)));
                result.unwrap_or_else(|panic| Err(panicked(&*panic)))
            }),
        Err(error) => Err(error.clone()),
    };
    let (mut report, code) = match result {
        Ok(report) => (report, exit::DONE),
        Err(error) => {
            // A person who started the job by hand reads no report.
            if io::stderr().is_terminal() {
                print(&error);
            }
            let error_report = Report {
                error: Some(error.failure()),
                ..Report::default()
            };
            (error_report, error.exit_code())
        }
    };
    if let Err(error) = &lock {
        // The folder, and the report in it, belong to another process.
        print(error);
        return code;
    }
    // JSON has no word for these.
    report.metrics.retain(|_, value| value.is_finite());
    match save(&child, &report) {
        Ok(()) => code,
        Err(error) => {
            print(&error);
            if code == exit::DONE {
                exit::FAILED
            } else {
                code
            }
        }
    }
}

/// Events are for the moment; the log keeps what a person may look for later. A full disk is no reason
/// to panic.
fn log(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn start(job_file: &Path) -> Result<Child, StageError> {
    let text = fs::read(job_file).map_err(|e| StageError::usage(e.to_string()))?;
    let unusable =
        |what: String| StageError::usage(format!("{} is no job file: {what}", job_file.display()));
    let raw: serde_json::Value =
        serde_json::from_slice(&text).map_err(|e| unusable(e.to_string()))?;
    match raw.get("protocol").and_then(serde_json::Value::as_u64) {
        Some(protocol) if protocol == u64::from(PROTOCOL) => {}
        Some(other) => {
            let message = format!(
                "{} speaks protocol {other}, this program {PROTOCOL}",
                job_file.display()
            );
            return Err(StageError::usage(message)
                .help("use `rematch` and `rematch-train` of the same version"));
        }
        None => return Err(unusable("it has no `protocol`".into())),
    }
    let job: Job = serde_json::from_value(raw).map_err(|e| unusable(e.to_string()))?;
    let child = Child::new(job, io::stdout());
    for signal in [SIGTERM, SIGINT] {
        for flag in [&child.signalled, &child.stop] {
            signal_hook::flag::register(signal, Arc::clone(flag)).map_err(|e| {
                StageError::failed(format!("cannot listen for signal {signal}: {e}"))
            })?;
        }
    }
    watch_runner(child.stop.clone());
    Ok(child)
}

/// Sets `stop` when standard input closes. Only a pipe says anything about a runner; a job that a
/// person starts by hand reads a terminal or nothing.
fn watch_runner(stop: Arc<AtomicBool>) {
    let stdin = io::stdin();
    let piped = rustix::fs::fstat(&stdin).is_ok_and(|stat| {
        matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::Fifo | FileType::Socket
        )
    });
    if !piped {
        return;
    }
    thread::spawn(move || {
        let mut buffer = [0; 64];
        loop {
            match stdin.lock().read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) if n > 0 => {}
                _ => break,
            }
        }
        stop.store(true, Ordering::Relaxed);
        // A body that does not listen must not hold up the next run, which waits for its lock.
        thread::sleep(ORPHAN_PATIENCE);
        end_children();
        std::process::exit(exit::INTERRUPTED);
    });
}

/// Kills every child of this process, and the children that come to it thereby. What a job left running
/// could still write to its outputs, which are about to become results.
fn end_children() {
    let since = Instant::now();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    while since.elapsed() < DEATH {
        match waitid(WaitId::All, options) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => {
                for child in children() {
                    let _ = kill_process(child, Signal::KILL);
                }
                thread::sleep(Duration::from_millis(1));
            }
            // There is none.
            Err(_) => return,
        }
    }
}

/// The children of this process.
fn children() -> Vec<Pid> {
    let parent = |pid: Pid| -> Option<Pid> {
        let stat = fs::read(Path::new(&format!("/proc/{}/stat", pid.as_raw_nonzero()))).ok()?;
        // The name stands in parentheses and may hold any bytes; then come the state and the parent.
        let rest = &stat[stat.iter().rposition(|byte| *byte == b')')?..];
        let word = rest.split(|byte| *byte == b' ').nth(2)?;
        Pid::from_raw(std::str::from_utf8(word).ok()?.parse().ok()?)
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
        .filter(|pid| parent(*pid) == Some(getpid()))
        .collect()
}

/// Takes the work folder for this process. A runner that was killed may have left a child behind,
/// which notices within moments.
fn lock(child: &Child) -> Result<File, StageError> {
    let path = child.work().join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(fs::at("create", &path))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                child.check()?;
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "another process still works on this job: it holds {}",
                    path.display()
                );
                return Err(
                    StageError::try_again(message).help("wait for it, or end it, then run again")
                );
            }
            // File systems without locks exist; the runner has its own lock per key.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(file);
            }
            Err(TryLockError::Error(error)) => {
                return Err(fs::Error::new("lock", path, error).into());
            }
        }
    }
}

fn save(child: &Child, report: &Report) -> Result<(), StageError> {
    let text = serde_json::to_vec_pretty(report)
        .map_err(|e| StageError::failed(format!("cannot write the report: {e}")))?;
    Ok(fs::write_atomically(&child.work().join(REPORT), text)?)
}

fn print(error: &StageError) {
    let failure = error.failure();
    log(&format!("error: {}", failure.message));
    if let Some(help) = failure.help {
        log(&format!("help: {help}"));
    }
}

/// libtorch reports through panics, among others that memory ran out.
fn panicked(panic: &(dyn Any + Send)) -> StageError {
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "no message",
    };
    // Behind this, libtorch's messages are addresses of its own code.
    let text = text
        .split("Exception raised from")
        .next()
        .unwrap_or(text)
        .trim_end();
    let out_of_memory = ["out of memory", "can't allocate memory", "bad_alloc"];
    if out_of_memory.iter().any(|words| text.contains(words)) {
        let help =
            "train with a smaller batch or network, or give the job a device with more memory";
        return StageError::out_of_memory(format!("out of memory: {text}")).help(help);
    }
    StageError::failed(format!("the stage panicked: {text}"))
        .help("this is a defect of rematch; its log has the place")
}

/// The report of a stage that has only numbers to tell.
pub fn report<const N: usize>(metrics: [(&str, f64); N]) -> Report {
    let metrics: BTreeMap<String, f64> = metrics
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Report {
        metrics,
        ..Report::default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A job of `kind` in `work` whose outputs are named files in `work/out`.
    pub(crate) fn job(work: &Path, kind: &str, params: Value, outputs: &[(&str, &str)]) -> Job {
        std::fs::create_dir_all(work.join("out")).unwrap();
        Job {
            protocol: PROTOCOL,
            name: kind.into(),
            key: "0".repeat(64),
            kind: kind.into(),
            params,
            outputs: outputs
                .iter()
                .map(|(n, p)| ((*n).to_owned(), work.join("out").join(p)))
                .collect(),
            work: work.to_owned(),
            cpus: 2,
            gpus: 0.0,
        }
    }

    /// Shares what was written to it.
    #[derive(Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        pub(crate) fn events(&self) -> Vec<Event> {
            let bytes = self.0.lock().unwrap();
            bytes
                .split(|b| *b == b'\n')
                .filter(|l| !l.is_empty())
                .map(|l| serde_json::from_slice(l).unwrap())
                .collect()
        }
    }

    fn run_in(
        work: &Path,
        body: impl FnOnce(&Child) -> Result<Report, StageError>,
    ) -> (i32, Report) {
        let file = work.join("job.json");
        std::fs::write(
            &file,
            serde_json::to_vec(&job(work, "test", json!({}), &[])).unwrap(),
        )
        .unwrap();
        let code = do_job(&file, body);
        (
            code,
            serde_json::from_slice(&std::fs::read(work.join(REPORT)).unwrap()).unwrap(),
        )
    }

    #[test]
    fn a_finished_job_leaves_its_report_and_code_0() {
        let work = tempfile::tempdir().unwrap();
        let (code, found) = run_in(work.path(), |_| Ok(report([("a", 1.5), ("b", f64::NAN)])));
        assert_eq!(code, exit::DONE);
        assert_eq!(found, report([("a", 1.5)]));
    }

    #[test]
    fn a_failed_job_leaves_why_and_a_help_line() {
        let work = tempfile::tempdir().unwrap();
        let (code, found) = run_in(work.path(), |_| {
            Err(StageError::try_again("no network").help("plug it in"))
        });
        assert_eq!(code, exit::TRY_AGAIN);
        let error = found.error.unwrap();
        assert_eq!(
            (error.message.as_str(), error.help.as_deref()),
            ("no network", Some("plug it in"))
        );
    }

    #[test]
    fn a_panic_is_a_failure_and_out_of_memory_is_told_apart() {
        let work = tempfile::tempdir().unwrap();
        let (code, found) = run_in(work.path(), |_| panic!("index {}", 7));
        assert_eq!(
            (code, found.error.unwrap().message.as_str()),
            (exit::FAILED, "the stage panicked: index 7")
        );
        let (code, _) = run_in(work.path(), |_| {
            panic!("Torch(\"CUDA out of memory. Tried to allocate\")")
        });
        assert_eq!(code, exit::OUT_OF_MEMORY);
    }

    #[test]
    fn a_job_file_of_another_protocol_is_refused() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("job.json");
        for text in [
            "",
            "[]",
            "{\"protocol\": 99}",
            "{\"protocol\": 1}",
            "{\"protocol\": \"1\"}",
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(
                do_job(&file, |_| Ok(Report::default())),
                exit::USAGE,
                "{text}"
            );
        }
        assert_eq!(
            do_job(&work.path().join("none"), |_| Ok(Report::default())),
            exit::USAGE
        );
    }

    #[test]
    fn the_work_folder_is_locked_while_the_body_runs_and_free_after() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join(LOCK);
        let (code, _) = run_in(work.path(), |_| {
            assert!(matches!(
                File::open(&path).unwrap().try_lock(),
                Err(TryLockError::WouldBlock)
            ));
            Ok(Report::default())
        });
        assert_eq!(code, exit::DONE);
        File::open(&path).unwrap().try_lock().unwrap();
    }

    #[test]
    fn progress_is_thinned_but_its_end_is_told() {
        let work = tempfile::tempdir().unwrap();
        let lines = Lines::default();
        let child = Child::new(job(work.path(), "test", json!({}), &[]), lines.clone());
        for done in 1..=10_000 {
            child.progress(done, 10_000, "images");
        }
        let events = lines.events();
        assert!((2..1000).contains(&events.len()), "{}", events.len());
        assert_eq!(
            events.last(),
            Some(&Event::Progress {
                done: 10_000,
                total: 10_000,
                unit: "images".into()
            })
        );
    }

    #[test]
    fn a_runner_that_stopped_listening_is_ignored() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let work = tempfile::tempdir().unwrap();
        let child = Child::new(job(work.path(), "test", json!({}), &[]), Broken);
        child.note("a");
        child.warning("b");
        child.metrics(&[("c", 1.0), ("d", f64::INFINITY)]);
        assert!(child.check().is_ok());
        child.interrupt();
        assert_eq!(child.check(), Err(StageError::Interrupted));
    }
}
