//! Jobs as child processes on this machine, each in a process group of its own.
//!
//! A child's standard input is a pipe that stays open as long as this process lives, so that a child
//! notices when the runner is gone, however it went.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rematch_spec::job::Event;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Ended, Executor, Launch, Message, Stop};
use crate::error::{Error, Result};

/// Between asking a child to stop and killing it, once its time is over.
const GRACE: Duration = Duration::from_secs(30);
/// Longer event lines are nobody's progress.
const MAX_LINE: usize = 64 << 10;

/// Runs jobs on this machine.
#[derive(Default)]
pub struct Local {
    running: Arc<Mutex<HashMap<usize, Running>>>,
}

struct Running {
    group: Pid,
    /// Closing it tells the child that nobody waits for it any more.
    _stdin: Option<ChildStdin>,
}

impl<M: From<Message> + Send + 'static> Executor<M> for Local {
    fn start(&mut self, launch: Launch, to: Sender<M>) -> Result<()> {
        let name = launch
            .command
            .first()
            .map(|program| program.display().to_string())
            .unwrap_or_default();
        let fail = |e: std::io::Error| Error::system(format!("cannot start {name}: {e}"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&launch.log)
            .map_err(|e| {
                Error::system(format!(
                    "cannot write the log {}: {e}",
                    launch.log.display()
                ))
            })?;
        let (program, arguments) = launch
            .command
            .split_first()
            .ok_or_else(|| Error::system("nothing to start"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(fail)?;
        let group = Pid::from_child(&child);
        let running = Running {
            group,
            _stdin: child.stdin.take(),
        };
        lock(&self.running).insert(launch.id, running);

        let id = launch.id;
        let reader = child.stdout.take().map(|stdout| {
            let to = to.clone();
            thread::spawn(move || read_events(id, BufReader::new(stdout), &to))
        });
        let table = Arc::clone(&self.running);
        thread::spawn(move || {
            let ended = wait(child, group, launch.timeout);
            // What a job leaves behind must not hold its output open or write on.
            let _ = kill_process_group(group, Signal::KILL);
            if let Some(reader) = reader {
                let _ = reader.join();
            }
            lock(&table).remove(&id);
            let _ = to.send(Message::Ended(id, ended).into());
        });
        Ok(())
    }

    fn stop(&mut self, id: usize, how: Stop) {
        if let Some(running) = lock(&self.running).get(&id) {
            let signal = if how == Stop::Gently {
                Signal::TERM
            } else {
                Signal::KILL
            };
            let _ = kill_process_group(running.group, signal);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends on the events among the lines of a child's standard output, until it closes.
pub fn read_events<M: From<Message>>(id: usize, mut stdout: impl BufRead, to: &Sender<M>) {
    let mut line = Vec::new();
    while let Ok(1..) =
        std::io::Read::take(&mut stdout, MAX_LINE as u64).read_until(b'\n', &mut line)
    {
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

/// Waits for a child; stops its group when its time is over.
fn wait(mut child: Child, group: Pid, timeout: Option<Duration>) -> Ended {
    let over = Arc::new(AtomicBool::new(false));
    let (done, waiting) = channel::<()>();
    let watch = timeout.map(|timeout| {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            if waiting.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            over.store(true, Ordering::SeqCst);
            let _ = kill_process_group(group, Signal::TERM);
            if waiting.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
                let _ = kill_process_group(group, Signal::KILL);
            }
        })
    });
    let status = child.wait();
    drop(done);
    if let Some(watch) = watch {
        let _ = watch.join();
    }
    match (status, timeout) {
        (_, Some(timeout)) if over.load(Ordering::SeqCst) => Ended::TimedOut(timeout),
        (Ok(status), _) => match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (None, signal) => Ended::Signal(signal.unwrap_or_default()),
        },
        (Err(_), _) => Ended::Signal(0),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    fn start(
        script: &str,
        timeout: Option<Duration>,
    ) -> (Local, Receiver<Message>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (to, messages) = channel();
        let mut local = Local::default();
        let launch = Launch {
            id: 7,
            command: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: vec![("WORD".into(), "hello".into())],
            work: folder.path().into(),
            log: folder.path().join("log"),
            timeout,
        };
        local.start(launch, to).unwrap();
        (local, messages, folder)
    }

    fn ended(messages: &Receiver<Message>) -> Ended {
        loop {
            if let Message::Ended(7, ended) =
                messages.recv_timeout(Duration::from_secs(20)).unwrap()
            {
                return ended;
            }
        }
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
        read_events(7, stdout, &to);
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
    fn a_job_can_be_stopped() {
        let (mut local, messages, _folder) = start("sleep 30", None);
        Executor::<Message>::stop(&mut local, 7, Stop::Gently);
        assert_eq!(ended(&messages), Ended::Signal(15));
    }
}
