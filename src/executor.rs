//! Where a job's process runs. An executor starts processes and reports what becomes of them; it
//! knows no graph and no store.

pub mod guard;
pub mod local;
mod strays;

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::Sender;
use std::time::Duration;

use rematch_spec::job::Event;

use crate::error::Result;

/// A process to start.
#[derive(Debug)]
pub struct Launch {
    /// What messages call it: a number that the caller chose.
    pub id: usize,
    /// The program with its arguments, environment and working directory.
    pub process: Command,
    /// Whether it speaks the job protocol: events on its standard output, the order to stop on its standard input.
    /// The output of another program goes into the log.
    pub speaks: bool,
    /// File that takes what it writes for people; appended to.
    pub log: PathBuf,
    /// When to stop it.
    pub timeout: Option<Duration>,
}

/// What an executor reports.
#[derive(Debug)]
pub enum Message {
    /// A process said something.
    Event(usize, Event),
    /// A process ended.
    Ended(usize, Ended, Used),
}

/// What a process and those that it waited for took of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Seconds of CPU time.
    pub cpu_seconds: f64,
    /// Most bytes of main memory that one of them held. On Linux no less than what the runner itself held when it
    /// started the process.
    pub peak_memory: u64,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It ran longer than it may.
    TimedOut(Duration),
}

/// How to stop a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ask: it may save what it can go on from.
    Gently,
    /// Kill.
    Now,
}

/// Starts processes somewhere.
pub trait Executor<M: From<Message> + Send + 'static> {
    /// Starts what it needs itself. Called before each [`start`](Self::start), while no job's lock can be inherited.
    fn get_ready(&mut self) {}

    /// Starts one; its messages go to `to`, the last of them [`Message::Ended`].
    fn start(&mut self, launch: Launch, to: Sender<M>) -> Result<()>;

    /// Stops one; nothing happens if it ended already.
    fn stop(&mut self, id: usize, how: Stop);
}
