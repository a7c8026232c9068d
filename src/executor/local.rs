//! Jobs as child processes on this machine, each in a process group of its own.
//!
//! A child's standard input is a pipe that stays open as long as this process lives, so that a child
//! notices when the runner is gone, however it went.
//!
//! A group is signalled only while its leader has not been waited for: until then nobody else can get
//! its number.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rematch_spec::job::Event;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use wait4::{ResUse, Wait4};

use super::guard::Guard;
use super::strays::Leash;
use super::{Ended, Executor, Launch, Message, Stop, Used};
use crate::error::{Error, Result};

/// Between asking a child to stop and killing it, once its time is over.
const GRACE: Duration = Duration::from_secs(30);
/// How often to look whether a job with a timeout has ended.
const TICK: Duration = Duration::from_millis(10);
/// After a child's end, how long to listen to what else holds its standard output.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Longer event lines are nobody's progress.
const MAX_LINE: usize = 64 << 10;

/// Between asking a program that knows no protocol to stop and killing it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs jobs on this machine.
#[derive(Default)]
pub struct Local {
    running: Arc<Mutex<HashMap<usize, Running>>>,
    /// What starts the guard.
    program: Option<PathBuf>,
    guard: Option<Arc<Guard>>,
}

impl Local {
    /// With a [guard] that is started as `program guard`.
    pub fn guarded(program: &Path) -> Self {
        Self {
            program: Some(program.to_owned()),
            ..Self::default()
        }
    }
}

struct Running {
    group: Pid,
    speaks: bool,
    /// Closing it tells the child that nobody waits for it any more.
    _stdin: Option<ChildStdin>,
}

impl<M: From<Message> + Send + 'static> Executor<M> for Local {
    fn get_ready(&mut self) {
        if let Some(program) = self.program.take() {
            self.guard = Guard::start(&program).map(Arc::new);
        }
    }

    fn start(&mut self, launch: Launch, to: Sender<M>) -> Result<()> {
        let Launch {
            id,
            mut process,
            speaks,
            log,
            timeout,
        } = launch;
        let name = process.get_program().to_string_lossy().into_owned();
        let fail = |e: std::io::Error| Error::system(format!("cannot start {name}: {e}"));
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|e| Error::system(format!("cannot write the log {}: {e}", log.display())))?;
        if speaks {
            process.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            let copy = log_file.try_clone().map_err(fail)?;
            process.stdin(Stdio::null()).stdout(copy);
        }
        // Whatever is not ours to listen to is held by a leash.
        let leash = if speaks {
            None
        } else {
            Some(Leash::new().map_err(fail)?)
        };
        let mut child = process
            .stderr(log_file)
            .process_group(0)
            .spawn()
            .map_err(fail)?;
        let leash = leash.map(|(leash, _theirs)| leash);
        let group = Pid::from_child(&child);
        let guard = self.guard.clone().filter(|_| !speaks);
        if let (Some(guard), Some(leash)) = (&guard, &leash) {
            guard.watch(group, leash);
        }
        let running = Running {
            group,
            speaks,
            _stdin: child.stdin.take(),
        };
        lock(&self.running).insert(id, running);

        let stdout = child.stdout.take();
        let table = Arc::clone(&self.running);
        // Where the system has no thread left for this, it takes the closure with the child along.
        let watch = thread::Builder::new().spawn(move || {
            let over = Arc::new(AtomicBool::new(false));
            // Dropped by the reader when nothing more can come.
            let (listening, silence) = channel::<()>();
            if let Some(stdout) = stdout {
                let (to, over) = (to.clone(), Arc::clone(&over));
                let read = move || {
                    read_events(id, BufReader::new(stdout), &over, &to);
                    drop(listening);
                };
                // Without a reader, its standard output is closed: events get lost, nothing else.
                let _ = thread::Builder::new().spawn(read);
            } else {
                drop(listening);
            }
            let grace = if speaks { GRACE } else { PATIENCE };
            let timed_out = wait_for_end(group, timeout, grace);
            // What a job leaves behind must not hold its output open or write on.
            let _ = kill_process_group(group, Signal::KILL);
            if let Some(leash) = &leash {
                leash.end_strays();
            }
            if let Some(guard) = &guard {
                guard.forget(group);
            }
            // A process that left the group may still hold it open. It is not waited for.
            let _ = silence.recv_timeout(LAST_WORDS);
            over.store(true, Ordering::SeqCst);
            lock(&table).remove(&id);
            let waited = child.wait4();
            let used = waited.as_ref().map_or_else(
                |_| Used::default(),
                |ResUse { rusage, .. }| Used {
                    cpu_seconds: (rusage.utime + rusage.stime).as_secs_f64(),
                    peak_memory: rusage.maxrss,
                },
            );
            let ended = match (waited.map(|waited| waited.status), timeout) {
                (_, Some(timeout)) if timed_out => Ended::TimedOut(timeout),
                (Ok(status), _) => match (status.code(), status.signal()) {
                    (Some(code), _) => Ended::Exit(code),
                    (None, signal) => Ended::Signal(signal.unwrap_or_default()),
                },
                (Err(_), _) => Ended::Signal(0),
            };
            let _ = to.send(Message::Ended(id, ended, used).into());
        });
        watch.map(drop).map_err(|e| {
            let _ = kill_process_group(group, Signal::KILL);
            lock(&self.running).remove(&id);
            fail(e)
        })
    }

    fn stop(&mut self, id: usize, how: Stop) {
        if let Some(running) = lock(&self.running).get(&id) {
            let signal = if how == Stop::Gently {
                Signal::TERM
            } else {
                Signal::KILL
            };
            let _ = kill_process_group(running.group, signal);
            if how == Stop::Gently && !running.speaks {
                let table = Arc::clone(&self.running);
                thread::spawn(move || {
                    thread::sleep(PATIENCE);
                    if let Some(running) = lock(&table).get(&id) {
                        let _ = kill_process_group(running.group, Signal::KILL);
                    }
                });
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reports the events of a job until its output ends, or the job is over.
pub fn read_events<M: From<Message>>(
    id: usize,
    mut stdout: impl BufRead,
    over: &AtomicBool,
    to: &Sender<M>,
) {
    let mut line = Vec::new();
    while let Ok(1..) =
        std::io::Read::take(&mut stdout, MAX_LINE as u64).read_until(b'\n', &mut line)
    {
        if over.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(event) = serde_json::from_slice::<Event>(&line)
            && to.send(Message::Event(id, tame(event)).into()).is_err()
        {
            return;
        }
        line.clear();
    }
}

/// The same event in texts of one line that cannot steer a terminal, whatever the job wrote.
fn tame(mut event: Event) -> Event {
    let one_line = |text: &mut String| {
        if text.contains(char::is_control) {
            *text = text.replace(char::is_control, " ");
        }
    };
    match &mut event {
        Event::Progress { unit: text, .. } | Event::Note { text } | Event::Warning { text } => {
            one_line(text);
        }
        Event::Metrics { values } => {
            *values = std::mem::take(values)
                .into_iter()
                .map(|(mut name, value)| {
                    one_line(&mut name);
                    (name, value)
                })
                .collect();
        }
    }
    event
}

/// Waits until a group's leader has ended, and leaves it to be waited for. Stops the group when its
/// time is over; says whether it was.
fn wait_for_end(group: Pid, timeout: Option<Duration>, grace: Duration) -> bool {
    let ended = |options| match waitid(WaitId::Pid(group), WaitIdOptions::EXITED | options) {
        Ok(status) => status.is_some(),
        Err(error) => error != rustix::io::Errno::INTR,
    };
    let Some(timeout) = timeout else {
        while !ended(WaitIdOptions::NOWAIT) {}
        return false;
    };
    let start = Instant::now();
    let mut told = false;
    while !ended(WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG) {
        let late = start.elapsed().saturating_sub(timeout);
        if late > grace {
            let _ = kill_process_group(group, Signal::KILL);
        } else if late > Duration::ZERO && !told {
            told = true;
            let _ = kill_process_group(group, Signal::TERM);
        }
        thread::sleep(TICK);
    }
    told
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::Receiver;

    use super::*;

    fn start(
        script: &str,
        timeout: Option<Duration>,
    ) -> (Local, Receiver<Message>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (to, messages) = channel();
        let mut local = Local::default();
        let mut process = Command::new("/bin/sh");
        process
            .args(["-c", script])
            .env("WORD", "hello")
            .current_dir(folder.path());
        let launch = Launch {
            id: 7,
            process,
            speaks: true,
            log: folder.path().join("log"),
            timeout,
        };
        local.start(launch, to).unwrap();
        (local, messages, folder)
    }

    fn ended(messages: &Receiver<Message>) -> Ended {
        ended_with(messages).0
    }

    fn ended_with(messages: &Receiver<Message>) -> (Ended, Used) {
        loop {
            if let Message::Ended(7, ended, used) =
                messages.recv_timeout(Duration::from_secs(20)).unwrap()
            {
                return (ended, used);
            }
        }
    }

    #[test]
    fn what_a_job_took_is_told() {
        let (_local, messages, _folder) = start(
            "head -c 60000000 /dev/zero | tail -c 50000000 > x; wait",
            None,
        );
        let (ended, used) = ended_with(&messages);
        assert_eq!(ended, Ended::Exit(0));
        assert!(
            used.peak_memory > 40_000_000 && used.cpu_seconds > 0.0,
            "{used:?}"
        );
    }

    #[test]
    fn events_and_exit_codes_come_back_and_stderr_is_the_log() {
        let script = r#"echo nonsense; echo "{\"event\":\"note\",\"text\":\"$WORD\"}"; echo problem >&2; exit 3"#;
        let (_local, messages, folder) = start(script, None);
        let first = messages.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(matches!(first, Message::Event(7, Event::Note { text }) if text == "hello"));
        assert_eq!(ended(&messages), Ended::Exit(3));
        assert_eq!(
            std::fs::read_to_string(folder.path().join("log")).unwrap(),
            "problem\n"
        );
    }

    fn heard(stdout: &[u8]) -> Vec<Event> {
        let (to, messages) = channel::<Message>();
        read_events(7, stdout, &AtomicBool::new(false), &to);
        drop(to);
        let event = |message| match message {
            Message::Event(7, event) => event,
            other => panic!("{other:?}"),
        };
        messages.into_iter().map(event).collect()
    }

    #[test]
    fn what_is_no_event_is_passed_over_however_long_it_is() {
        let note = br#"{"event":"note","text":"x"}"#;
        let long = format!(
            r#"{{"event":"note","text":"{}"}}"#,
            "x".repeat(3 * MAX_LINE)
        );
        let stdout = [b"\xff\n", long.as_bytes(), b"\n", note, b"\n\n", note].concat();
        assert_eq!(heard(&stdout), vec![Event::Note { text: "x".into() }; 2]);
    }

    #[test]
    fn an_event_cannot_steer_a_terminal() {
        let events = heard(
            br#"{"event":"warning","text":"a\u001b[2J\nb"}
                {"event":"metrics","values":{"\u009b1m":1}}"#,
        );
        let text = "a [2J b".into();
        let values = [(" 1m".to_owned(), 1.0)].into();
        assert_eq!(events, [Event::Warning { text }, Event::Metrics { values }]);
    }

    #[test]
    fn a_job_is_stopped_when_its_time_is_over() {
        let (_local, messages, _folder) = start("sleep 30", Some(Duration::from_millis(50)));
        assert_eq!(ended(&messages), Ended::TimedOut(Duration::from_millis(50)));
    }

    #[test]
    fn what_a_job_leaves_running_is_ended_with_it() {
        let (_local, messages, folder) = start("sleep 30 & echo $! > pid; exit 0", None);
        assert_eq!(ended(&messages), Ended::Exit(0));
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        let gone = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            let state =
                std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            state.is_empty() || state.contains(") Z")
        });
        assert!(gone, "process {pid} lives on");
    }

    #[test]
    fn a_process_that_left_the_group_is_not_waited_for() {
        let script = "setsid sh -c 'echo $$ > pid; exec sleep 30' 2> /dev/null &
            while [ ! -s pid ]; do sleep 0.01; done";
        let (_local, messages, folder) = start(script, None);
        let started = Instant::now();
        assert_eq!(ended(&messages), Ended::Exit(0));
        assert!(started.elapsed() < Duration::from_secs(15));
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }

    #[test]
    fn a_job_can_be_stopped() {
        let (mut local, messages, _folder) = start("sleep 30", None);
        Executor::<Message>::stop(&mut local, 7, Stop::Gently);
        assert_eq!(ended(&messages), Ended::Signal(15));
    }
}
