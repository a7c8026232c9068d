//! The loop that runs a plan: looks up what is there, starts what fits, publishes what ends well.
//!
//! It knows jobs and keys, but neither stages nor how a process is started. Everything that takes
//! time happens elsewhere (child processes, publishing threads) and comes back as a message.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use petgraph::graph::NodeIndex;
use rematch_cache::claim::{Claim, Reservation};
use rematch_cache::entry::{Entry, Meta, Provenance};
use rematch_cache::key::Key;
use rematch_cache::store::Store;
use rematch_spec::job::{Failure, Report, exit};
use rematch_spec::kind::Program;

use crate::error::{Error, Result};
use crate::executor::{Ended, Executor, Launch, Message, Stop};
use crate::freshness::{self, Known, Why};
use crate::launch::{self, LOG};
use crate::plan::{From as InputFrom, Plan};
use crate::progress::{Progress, RunEvent, Summary};
use crate::results::Results;
use crate::slots::{Share, Slots};

/// How often jobs that another runner makes are looked at again.
const POLL: Duration = Duration::from_millis(250);
/// The first wait before a failed job is tried again; it doubles each time.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Longest such wait.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// What to run and how.
#[derive(Debug)]
pub struct Settings {
    /// The jobs that are wanted, with everything that they read from.
    pub wanted: BTreeSet<NodeIndex>,
    /// Jobs to run even if their results are there.
    pub force: BTreeSet<NodeIndex>,
    /// Go on with what does not depend on a failed job.
    pub keep_going: bool,
    /// The program for light stages.
    pub light: PathBuf,
    /// The program for training.
    pub trainer: PathBuf,
}

/// Where a job stands.
#[derive(Debug)]
enum State {
    /// Not asked for.
    Unwanted,
    /// Some of what it reads is not there yet.
    Waiting,
    /// Everything that it reads is there; it can be looked up.
    Ready,
    /// Another runner is making it.
    Held,
    /// It must run, and waits for room.
    Queued(Box<Reservation>, Why),
    /// It runs.
    Running(Box<Running>),
    /// It ended well and is being put into the store.
    Publishing { started: Instant },
    /// It failed and will be tried again.
    Resting { until: Instant },
    /// Its result is there.
    Done,
    /// It failed for good.
    Failed,
    /// It was stopped.
    Stopped,
}

#[derive(Debug)]
struct Running {
    reservation: Reservation,
    share: Share,
    started: Instant,
    began: f64,
}

/// What the loop hears.
#[derive(Debug)]
pub enum Heard {
    /// From a job.
    Job(Message),
    /// A result is in the store, or could not be put there.
    Published(NodeIndex, Box<rematch_cache::Result<Entry>>),
    /// The user, or the system, asks the run to stop.
    Signal,
}

impl From<Message> for Heard {
    fn from(message: Message) -> Self {
        Self::Job(message)
    }
}

/// A run.
pub struct Engine<'a, E> {
    plan: &'a Plan,
    store: &'a Store,
    results: &'a Results,
    settings: Settings,
    slots: Slots,
    executor: E,
    progress: &'a mut dyn Progress,
    states: Vec<State>,
    /// Attempts so far.
    attempts: HashMap<NodeIndex, u32>,
    known: Known,
    ready: VecDeque<NodeIndex>,
    queued: BTreeSet<NodeIndex>,
    summary: Summary,
    /// No more jobs are started.
    closing: bool,
    signals: u32,
    sender: Sender<Heard>,
    receiver: Receiver<Heard>,
}

impl<'a, E: Executor<Heard>> Engine<'a, E> {
    /// Prepares a run.
    pub fn new(
        plan: &'a Plan,
        store: &'a Store,
        results: &'a Results,
        settings: Settings,
        slots: Slots,
        executor: E,
        progress: &'a mut dyn Progress,
    ) -> Result<Self> {
        for job in &settings.wanted {
            let job = &plan.graph[*job];
            slots.could_fit(&job.name, job.declaration.kind.program, &job.needs)?;
        }
        let (sender, receiver) = channel();
        let states = plan.jobs().map(|job| {
            if settings.wanted.contains(&job) {
                State::Waiting
            } else {
                State::Unwanted
            }
        });
        Ok(Self {
            states: states.collect(),
            plan,
            store,
            results,
            settings,
            slots,
            executor,
            progress,
            attempts: HashMap::new(),
            known: Known::new(),
            ready: VecDeque::new(),
            queued: BTreeSet::new(),
            summary: Summary::default(),
            closing: false,
            signals: 0,
            sender,
            receiver,
        })
    }

    /// Where signals are to be reported.
    pub fn ear(&self) -> Sender<Heard> {
        self.sender.clone()
    }

    /// Runs until nothing is left to do.
    pub fn run(mut self) -> Result<Summary> {
        let start = Instant::now();
        self.progress.on(&RunEvent::Started {
            pipeline: &self.plan.pipeline,
            jobs: self.settings.wanted.len(),
        });
        for job in self.settings.wanted.clone() {
            self.wake(job);
        }
        loop {
            while let Some(job) = self.ready.pop_front() {
                self.look_up(job)?;
            }
            self.start_what_fits()?;
            if self.at_rest() {
                break;
            }
            match self.receiver.recv_timeout(POLL) {
                Ok(heard) => {
                    self.hear(heard)?;
                    while let Ok(heard) = self.receiver.try_recv() {
                        self.hear(heard)?;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.look_again();
        }
        self.summary.skipped = self
            .states
            .iter()
            .filter(|state| {
                matches!(
                    state,
                    State::Waiting
                        | State::Ready
                        | State::Queued(..)
                        | State::Held
                        | State::Resting { .. }
                )
            })
            .count();
        self.summary.seconds = start.elapsed().as_secs_f64();
        self.progress.on(&RunEvent::Finished {
            summary: &self.summary,
        });
        Ok(self.summary)
    }

    /// Whether nothing runs and nothing can start.
    fn at_rest(&self) -> bool {
        !self.states.iter().any(|state| match state {
            State::Running(_) | State::Publishing { .. } => true,
            State::Ready | State::Queued(..) | State::Held | State::Resting { .. } => !self.closing,
            _ => false,
        })
    }

    /// Makes a waiting job ready when all that it reads is there.
    fn wake(&mut self, job: NodeIndex) {
        let waits = matches!(self.states[job.index()], State::Waiting);
        if waits
            && self
                .plan
                .upstream(job)
                .all(|other| self.known.contains_key(&other))
        {
            self.states[job.index()] = State::Ready;
            self.ready.push_back(job);
        }
    }

    /// Takes a job's result from the store, or the right to make it.
    fn look_up(&mut self, job: NodeIndex) -> Result<()> {
        if self.closing {
            return Ok(());
        }
        let key = freshness::key(self.plan, job, &self.known, self.store)?;
        let forced = self.settings.force.contains(&job);
        let claim = if forced {
            self.store.try_reclaim(&key)?
        } else {
            self.store.try_claim(&key)?
        };
        match claim {
            Claim::Hit(entry) => {
                self.summary.fresh += 1;
                self.progress.on(&RunEvent::Fresh {
                    job: &self.plan.graph[job].name,
                });
                self.done(job, &key, &entry)?;
            }
            Claim::Reserved(reservation) => {
                let why = if forced {
                    Why::Forced
                } else {
                    freshness::why(self.plan, job, &key, self.store)?
                };
                self.states[job.index()] = State::Queued(Box::new(reservation), why);
                self.queued.insert(job);
            }
            Claim::Busy => {
                if !matches!(self.states[job.index()], State::Held) {
                    let by = self.store.holder(&key.id());
                    self.progress.on(&RunEvent::JobHeld {
                        job: &self.plan.graph[job].name,
                        by: &by,
                    });
                }
                self.states[job.index()] = State::Held;
            }
        }
        Ok(())
    }

    /// Notes a result and wakes what waited for it.
    fn done(&mut self, job: NodeIndex, key: &Key, entry: &Entry) -> Result<()> {
        self.store
            .remember(&self.plan.pipeline, &self.plan.graph[job].name, key)?;
        self.results
            .place(self.store, &self.plan.graph[job], entry)?;
        self.known.insert(job, entry.outputs.clone());
        self.states[job.index()] = State::Done;
        for other in self.plan.downstream(job).collect::<Vec<_>>() {
            self.wake(other);
        }
        Ok(())
    }

    fn start_what_fits(&mut self) -> Result<()> {
        if self.closing {
            return Ok(());
        }
        for job in self.queued.clone() {
            if self.closing {
                break;
            }
            let spec = &self.plan.graph[job];
            let Some(share) = self.slots.take(spec.declaration.kind.program, &spec.needs) else {
                continue;
            };
            self.queued.remove(&job);
            let State::Queued(reservation, why) =
                std::mem::replace(&mut self.states[job.index()], State::Ready)
            else {
                self.slots.give_back(&share);
                continue;
            };
            self.start(job, *reservation, &why, share)?;
        }
        Ok(())
    }

    fn start(
        &mut self,
        job: NodeIndex,
        reservation: Reservation,
        why: &Why,
        share: Share,
    ) -> Result<()> {
        let spec = &self.plan.graph[job];
        let attempt = self.attempts.entry(job).or_insert(0);
        *attempt += 1;
        self.progress.on(&RunEvent::JobStarted {
            job: &spec.name,
            why,
            attempt: *attempt,
        });
        if !spec.declaration.kind.resumes || self.settings.force.contains(&job) && *attempt == 1 {
            reservation.fresh()?;
        }
        self.store
            .remember(&self.plan.pipeline, &spec.name, reservation.key())?;
        let job_file = launch::prepare(
            self.plan,
            job,
            &reservation,
            &share,
            &self.known,
            self.store,
        )?;
        let work = reservation.work().to_owned();
        self.results
            .show_live(spec, &|output| launch::output_path(&work, spec, output))?;
        let command = match spec.declaration.kind.program {
            Program::Light => vec![self.settings.light.clone(), "stage".into(), job_file],
            Program::Trainer => vec![self.settings.trainer.clone(), job_file],
        };
        let devices = self.slots.visible_devices(&share);
        let launch = Launch {
            id: job.index(),
            command,
            env: vec![("CUDA_VISIBLE_DEVICES".into(), devices)],
            log: work.join(LOG),
            work,
            timeout: spec.needs.timeout,
        };
        // The child holds the key's lock as well: if this process is killed, the next run waits for
        // the child to end before it touches the work folder.
        let lock = reservation.inheritable()?;
        let started = self.executor.start(launch, self.sender.clone());
        drop(lock);
        match started {
            Ok(()) => {
                let running = Running {
                    reservation,
                    share,
                    started: Instant::now(),
                    began: launch::unix_time(),
                };
                self.states[job.index()] = State::Running(Box::new(running));
                Ok(())
            }
            Err(error) => {
                self.slots.give_back(&share);
                let trainer = spec.declaration.kind.program == Program::Trainer;
                let help = "`make setup`, then `cargo build --release`, makes it; `rematch doctor` looks at everything";
                let failure = Failure {
                    message: error.message().to_owned(),
                    help: trainer.then(|| help.to_owned()),
                };
                self.fail(job, &failure, "", exit::USAGE);
                Ok(())
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<()> {
        match heard {
            Heard::Job(Message::Event(id, event)) => {
                let job = &self.plan.graph[NodeIndex::new(id)].name;
                self.progress.on(&RunEvent::JobSays { job, says: &event });
                Ok(())
            }
            Heard::Job(Message::Ended(id, ended)) => {
                self.ended(NodeIndex::new(id), &ended);
                Ok(())
            }
            Heard::Published(job, result) => self.published(job, *result),
            Heard::Signal => {
                self.signals += 1;
                self.closing = true;
                self.summary.interrupted = true;
                let running: Vec<usize> = (0..self.states.len())
                    .filter(|id| matches!(self.states[*id], State::Running(_)))
                    .collect();
                if self.signals == 1 {
                    self.progress.on(&RunEvent::Stopping {
                        running: running.len(),
                    });
                }
                for id in running {
                    self.executor.stop(
                        id,
                        if self.signals == 1 {
                            Stop::Gently
                        } else {
                            Stop::Now
                        },
                    );
                }
                Ok(())
            }
        }
    }

    fn ended(&mut self, job: NodeIndex, ended: &Ended) {
        let State::Running(running) =
            std::mem::replace(&mut self.states[job.index()], State::Stopped)
        else {
            return;
        };
        self.slots.give_back(&running.share);
        let work = running.reservation.work().to_owned();
        let report = launch::read_report(&work);
        // Jobs that cannot save anything just die when they are asked to stop.
        let stopped = *ended == Ended::Exit(exit::INTERRUPTED) || self.signals > 0;
        match ended {
            Ended::Exit(exit::DONE) => self.publish(job, *running, report),
            _ if stopped => self.stopped(job),
            _ => {
                let code = if let Ended::Exit(code) = ended {
                    *code
                } else {
                    exit::FAILED
                };
                // A job whose time is over reports that it was told to stop, which is not the reason.
                let reported = report
                    .error
                    .filter(|_| !matches!(ended, Ended::TimedOut(_)));
                let failure = reported.unwrap_or_else(|| launch::describe(ended));
                let log = launch::tail(&work.join(LOG));
                self.fail(job, &failure, &log, code);
            }
        }
    }

    fn stopped(&mut self, job: NodeIndex) {
        let name = &self.plan.graph[job].name;
        self.progress.on(&RunEvent::JobStopped { job: name });
        self.summary.stopped.push(name.clone());
        self.states[job.index()] = State::Stopped;
        // A job that was told to stop by somebody else (a scheduler, say) ends the run as well.
        self.closing = true;
        self.summary.interrupted = true;
    }

    /// Puts a job's outputs into the store, in a thread of its own.
    fn publish(&mut self, job: NodeIndex, running: Running, report: Report) {
        let spec = &self.plan.graph[job];
        let Running {
            reservation,
            started,
            began,
            ..
        } = running;
        self.states[job.index()] = State::Publishing { started };
        // What the user changed while the job ran may or may not be in its result.
        for input in &spec.inputs {
            let InputFrom::File(path) = &input.from else {
                continue;
            };
            let now = self.store.artifact_of(path).map(|artifact| artifact.digest);
            if reservation.key().inputs.get(&input.name) != now.as_ref().ok() {
                let failure = Failure {
                    message: format!("{} changed while the job ran", path.display()),
                    help: Some("run again".into()),
                };
                self.fail(job, &failure, "", exit::FAILED);
                return;
            }
        }
        let work = reservation.work().to_owned();
        let outputs: BTreeMap<String, PathBuf> = spec
            .declaration
            .outputs
            .iter()
            .map(|output| {
                (
                    output.name.clone(),
                    launch::output_path(&work, spec, &output.name),
                )
            })
            .collect();
        let meta = Meta {
            metrics: report.metrics,
            provenance: Provenance {
                rematch: env!("CARGO_PKG_VERSION").into(),
                host: launch::host(),
                user: std::env::var("USER").ok(),
                started: began,
                seconds: started.elapsed().as_secs_f64(),
                attempt: self.attempts.get(&job).copied().unwrap_or(1),
                job: spec.name.clone(),
                pipeline: self.plan.pipeline.clone(),
                facts: report.facts,
            },
        };
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let log = work.join(LOG);
            let log = log.exists().then_some(log);
            let result = reservation.publish(&outputs, log.as_deref(), meta);
            let _ = sender.send(Heard::Published(job, Box::new(result)));
        });
    }

    fn published(&mut self, job: NodeIndex, result: rematch_cache::Result<Entry>) -> Result<()> {
        let State::Publishing { started } = self.states[job.index()] else {
            return Ok(());
        };
        match result {
            Ok(entry) => {
                self.summary.ran += 1;
                let seconds = started.elapsed().as_secs_f64();
                self.done(job, &entry.key.clone(), &entry)?;
                self.progress.on(&RunEvent::JobDone {
                    job: &self.plan.graph[job].name,
                    seconds,
                });
            }
            Err(error) => {
                let failure = Failure {
                    message: error.to_string(),
                    help: None,
                };
                self.fail(job, &failure, "", exit::FAILED);
            }
        }
        Ok(())
    }

    /// Notes a failure: the job is tried again, or it is over.
    fn fail(&mut self, job: NodeIndex, failure: &Failure, log: &str, code: i32) {
        let spec = &self.plan.graph[job];
        let attempts = self.attempts.get(&job).copied().unwrap_or(1);
        let hopeless = matches!(code, exit::USAGE | exit::DIVERGED);
        let retry = (!hopeless && !self.closing && attempts <= spec.needs.retries)
            .then(|| LONGEST_BACK_OFF.min(BACK_OFF * 2u32.saturating_pow(attempts - 1)));
        self.progress.on(&RunEvent::JobFailed {
            job: &spec.name,
            failure,
            log,
            retry_in: retry.map(|wait| wait.as_secs_f64()),
        });
        if let Some(wait) = retry {
            self.states[job.index()] = State::Resting {
                until: Instant::now() + wait,
            };
            return;
        }
        self.states[job.index()] = State::Failed;
        self.summary.failed.push(spec.name.clone());
        if !self.settings.keep_going && !self.closing {
            self.closing = true;
            let running = self
                .states
                .iter()
                .filter(|state| matches!(state, State::Running(_)))
                .count();
            if running > 0 {
                let jobs = if running == 1 {
                    "1 running job"
                } else {
                    &format!("{running} running jobs")
                };
                let text =
                    format!("no more jobs start; waiting for {jobs} to end (--keep-going goes on)");
                self.progress.on(&RunEvent::Warning { text: &text });
            }
        }
    }

    /// Looks again at jobs that wait for time or for another runner.
    fn look_again(&mut self) {
        for (index, state) in self.states.iter_mut().enumerate() {
            match state {
                State::Held => self.ready.push_back(NodeIndex::new(index)),
                State::Resting { until } if *until <= Instant::now() => {
                    *state = State::Ready;
                    self.ready.push_back(NodeIndex::new(index));
                }
                _ => {}
            }
        }
    }
}

/// Reports SIGINT and SIGTERM to the engine, for the rest of the process's life.
pub fn listen_for_signals(ear: Sender<Heard>) -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|e| Error::system(format!("cannot listen for signals: {e}")))?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if ear.send(Heard::Signal).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The programs that jobs run in: this one, and the trainer beside it.
pub fn programs() -> Result<(PathBuf, PathBuf)> {
    let light = std::env::current_exe()
        .map_err(|e| Error::system(format!("cannot find this program: {e}")))?;
    let trainer = match std::env::var_os("REMATCH_TRAIN") {
        Some(path) => PathBuf::from(path),
        None => light
            .parent()
            .unwrap_or(Path::new(""))
            .join("rematch-train"),
    };
    Ok((light, trainer))
}
