//! The loop that runs a plan: looks up what is there, starts what fits, publishes what ends well.
//!
//! It knows jobs and keys, but neither stages nor how a process is started. Everything that takes
//! time happens elsewhere (child processes, publishing threads) and comes back as a message. A job holds
//! nothing while it waits: its parameters, its key and the right to make it are taken when it starts.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use petgraph::graph::NodeIndex;
use rematch_cache::claim::{Claim, Reservation};
use rematch_cache::history::{JobRecord, JobState};
use rematch_cache::place::Placement;
use rematch_cache::store::Store;
use rematch_spec::job::{self, Failure, Report, exit};
use rematch_spec::kind::Program;

use crate::error::{Error, Result};
use crate::estimate::Estimate;
use crate::executor::{Ended, Executor, Launch, Message, Stop, Used};
use crate::freshness::{Freshness, Verdict, Why};
use crate::launch::{self, LOG};
use crate::plan::{Job, Plan};
use crate::progress::{Progress, RunEvent, Summary};
use crate::publishing::{self, Published};
use crate::queue::Queue;
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
pub struct Settings<'a> {
    /// The jobs whose results are wanted, and those that they read from.
    pub wanted: &'a BTreeSet<NodeIndex>,
    /// Of those, the ones that may run.
    pub may_run: &'a BTreeSet<NodeIndex>,
    /// Jobs to run even if their results are there.
    pub force: &'a BTreeSet<NodeIndex>,
    /// Go on with what does not depend on a failed job.
    pub keep_going: bool,
    /// When the command began.
    pub started: Instant,
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
    /// Some of what it reads, so many jobs, is not there yet.
    Waiting(usize),
    /// Another runner is making it; it is looked at again then.
    Held(Instant),
    /// It must run, and waits for room.
    Queued(Why),
    /// It runs.
    Running(Box<Running>),
    /// It ended well and is being put into the store; it started then.
    Publishing(Instant),
    /// It failed, and will be tried again then.
    Resting(Instant),
    /// It must run, but was not selected.
    Barred,
    /// Its result is there.
    Done,
    /// It failed for good.
    Failed,
    /// It was stopped.
    Stopped,
}

#[derive(Debug)]
struct Running {
    job: Job,
    file: job::Job,
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
    Published(NodeIndex, Box<Published>),
    /// The user, or the system, asks the run to stop.
    Signal,
}

impl From<Message> for Heard {
    fn from(message: Message) -> Self {
        Self::Job(message)
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// In numbers.
    pub summary: Summary,
    /// What became of every wanted job; not there where all their results were.
    pub jobs: Option<Vec<JobRecord>>,
}

/// A run.
pub struct Engine<'a, E> {
    plan: &'a Plan,
    store: &'a Store,
    results: &'a Results,
    settings: Settings<'a>,
    slots: Slots,
    executor: E,
    progress: &'a mut dyn Progress,
    freshness: Freshness<'a>,
    estimate: Estimate,
    states: Vec<State>,
    /// Attempts so far of jobs that ran.
    attempts: HashMap<NodeIndex, u32>,
    /// Jobs to be looked up.
    ready: VecDeque<NodeIndex>,
    queue: Queue,
    /// Jobs that run or are being published.
    busy: usize,
    /// Jobs that wait for another runner, or for their next attempt.
    patient: BTreeSet<NodeIndex>,
    /// Jobs of which it was told that another runner makes them.
    told: BTreeSet<NodeIndex>,
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
        settings: Settings<'a>,
        slots: Slots,
        executor: E,
        progress: &'a mut dyn Progress,
    ) -> Result<Self> {
        let freshness = Freshness::new(plan, store, results.out(), settings.wanted)?;
        let estimate = Estimate::new(plan, &freshness, settings.wanted);
        let (sender, receiver) = channel();
        let mut states: Vec<State> = plan.jobs().map(|_| State::Unwanted).collect();
        for job in settings.wanted {
            states[job.index()] = State::Waiting(0);
        }
        Ok(Self {
            plan,
            store,
            results,
            settings,
            slots,
            executor,
            progress,
            freshness,
            estimate,
            states,
            attempts: HashMap::new(),
            ready: VecDeque::new(),
            queue: Queue::default(),
            busy: 0,
            patient: BTreeSet::new(),
            told: BTreeSet::new(),
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

    /// Runs until nothing is left to do. What was found is kept for the next run, however this one ends.
    pub fn run(mut self) -> Result<Outcome> {
        let ended = self.go();
        let jobs = (self.summary.fresh < self.settings.wanted.len()).then(|| self.job_records());
        let kept = match self.freshness.into_ledger() {
            Some(ledger) => self.store.keep_ledger(&self.plan.pipeline().name, &ledger),
            None => Ok(()),
        };
        ended?;
        kept?;
        Ok(Outcome {
            summary: self.summary,
            jobs,
        })
    }

    /// What became of every wanted job.
    fn job_records(&self) -> Vec<JobRecord> {
        let record = |job: &NodeIndex| {
            let ran = self.attempts.contains_key(job);
            let latest = self.freshness.latest_record(*job);
            JobRecord {
                job: self.plan.name(*job),
                key: latest.and_then(|record| record.key),
                state: match &self.states[job.index()] {
                    State::Done if ran => JobState::Ran,
                    State::Done => JobState::Fresh,
                    State::Failed => JobState::Failed,
                    State::Stopped => JobState::Stopped,
                    _ => JobState::Skipped,
                },
                seconds: latest.filter(|_| ran).map_or(0.0, |record| record.seconds),
            }
        };
        self.settings.wanted.iter().map(record).collect()
    }

    fn go(&mut self) -> Result<()> {
        self.progress.on(&RunEvent::Started {
            pipeline: &self.plan.pipeline().name,
            jobs: self.settings.wanted.len(),
        });
        for job in self.settings.wanted {
            let upstream = self.plan.upstream(*job).count();
            self.states[job.index()] = State::Waiting(upstream);
            if upstream == 0 {
                self.ready.push_back(*job);
            }
        }
        loop {
            self.look_up_ready()?;
            self.start_what_fits()?;
            // What was to start may have turned out to be there already.
            if self.ready.is_empty() {
                if self.at_rest() {
                    break;
                }
                self.listen();
            }
            self.look_again();
        }
        self.finish();
        Ok(())
    }

    /// Waits for news, or for the time to look again at what waits for others.
    fn listen(&mut self) {
        match self.receiver.recv_timeout(POLL) {
            Ok(heard) => self.hear(heard),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
        while let Ok(heard) = self.receiver.try_recv() {
            self.hear(heard);
        }
    }

    /// Counts what was not started, and ends the report.
    fn finish(&mut self) {
        let left = self.states.iter().filter(|state| {
            matches!(
                state,
                State::Waiting(_)
                    | State::Queued(_)
                    | State::Held(_)
                    | State::Resting(_)
                    | State::Barred
            )
        });
        self.summary.skipped = left.count();
        self.summary.seconds = self.settings.started.elapsed().as_secs_f64();
        self.progress.on(&RunEvent::Finished {
            summary: &self.summary,
        });
    }

    /// Whether nothing runs and nothing can start.
    fn at_rest(&self) -> bool {
        let nothing_waits = self.queue.is_empty() && self.patient.is_empty();
        self.busy == 0 && (self.closing || nothing_waits)
    }

    /// Looks at the jobs about whose inputs everything is known: their results are there, or they must run.
    fn look_up_ready(&mut self) -> Result<()> {
        let fresh = self.summary.fresh;
        while let Some(job) = self.ready.pop_front() {
            let forced = self.settings.force.contains(&job) && !self.attempts.contains_key(&job);
            match self.freshness.look(job)? {
                Verdict::Fresh { placed, .. } if !forced => self.fresh(job, placed)?,
                Verdict::Run(_, why) if !forced => self.queue(job, why)?,
                _ => {
                    self.freshness.forget(job);
                    self.queue(job, Why::Forced)?;
                }
            }
        }
        let jobs = self.summary.fresh - fresh;
        if jobs > 0 {
            self.progress.on(&RunEvent::Fresh { jobs });
        }
        Ok(())
    }

    /// Takes note of a result that is there.
    fn fresh(&mut self, job: NodeIndex, placed: bool) -> Result<()> {
        if !placed {
            let spec = self.plan.job(job)?;
            let now = self.freshness.outputs(job);
            let before = self.freshness.recorded_outputs(job);
            let places = self.results.place(self.store, &spec, &now, &before)?;
            self.note_places(job, &places);
        }
        self.summary.fresh += 1;
        self.estimate.done(self.plan.stage(job), None);
        self.done(job);
        Ok(())
    }

    /// Notes where results were placed, and says what was moved aside for them.
    fn note_places(&mut self, job: NodeIndex, places: &[(String, Placement)]) {
        let aside = places.iter().filter_map(|(_, place)| place.aside.as_ref());
        self.tell_of_edits(&self.plan.name(job), aside);
        self.freshness.note_places(job, places);
    }

    fn tell_of_edits<'p>(&mut self, job: &str, aside: impl Iterator<Item = &'p PathBuf>) {
        for path in aside {
            let text = format!(
                "what lay in the place of a result of {job} was edited by hand, or not made by rematch; it is now {}",
                path.display()
            );
            self.progress.on(&RunEvent::Warning { text: &text });
        }
    }

    /// Wakes what waited for a result.
    fn done(&mut self, job: NodeIndex) {
        self.states[job.index()] = State::Done;
        for other in self.plan.downstream(job) {
            if let State::Waiting(missing) = &mut self.states[other.index()] {
                *missing -= 1;
                if *missing == 0 {
                    self.ready.push_back(other);
                }
            }
        }
    }

    /// Lets a job wait for room, if it may run.
    fn queue(&mut self, job: NodeIndex, why: Why) -> Result<()> {
        if !self.settings.may_run.contains(&job) {
            self.states[job.index()] = State::Barred;
            self.summary.barred.push(self.plan.name(job));
            return Ok(());
        }
        let spec = self.next_attempt(job)?;
        let program = spec.declaration.kind.program;
        self.slots.could_fit(&spec.name, program, &spec.needs)?;
        self.queue.add(job, program, spec.needs);
        self.states[job.index()] = State::Queued(why);
        Ok(())
    }

    /// A job with what its next attempt may use.
    fn next_attempt(&self, job: NodeIndex) -> Result<Job> {
        let attempts = self.attempts.get(&job).copied().unwrap_or(0);
        let mut spec = self.plan.job(job)?;
        spec.needs = spec.needs.after(attempts, self.slots.machine().memory);
        Ok(spec)
    }

    fn start_what_fits(&mut self) -> Result<()> {
        while !self.closing
            && let Some((job, share)) = self.queue.take(&mut self.slots)
        {
            let state = std::mem::replace(&mut self.states[job.index()], State::Stopped);
            match state {
                State::Queued(why) => self.claim(job, &why, share)?,
                _ => self.slots.give_back(&share),
            }
        }
        Ok(())
    }

    /// Takes the right to make a result, and starts its job. Another runner may have made it meanwhile, or be at it.
    fn claim(&mut self, job: NodeIndex, why: &Why, share: Share) -> Result<()> {
        let spec = self.next_attempt(job)?;
        let key = self.freshness.key(&spec)?;
        let claim = if *why == Why::Forced {
            self.store.try_reclaim(&key)?
        } else {
            self.store.try_claim(&key)?
        };
        match claim {
            Claim::Hit(entry) => {
                self.slots.give_back(&share);
                self.freshness.note(job, &spec, &entry);
                self.progress.on(&RunEvent::Fresh { jobs: 1 });
                self.fresh(job, false)
            }
            Claim::Busy => {
                self.slots.give_back(&share);
                if self.told.insert(job) {
                    let by = self.store.holder(&key.id());
                    self.progress.on(&RunEvent::JobHeld {
                        job: &spec.name,
                        by: &by,
                    });
                }
                self.states[job.index()] = State::Held(Instant::now() + POLL);
                self.patient.insert(job);
                Ok(())
            }
            Claim::Reserved(reservation) => self.start(job, spec, reservation, why, share),
        }
    }

    fn start(
        &mut self,
        index: NodeIndex,
        job: Job,
        reservation: Reservation,
        why: &Why,
        share: Share,
    ) -> Result<()> {
        let attempt = self.attempts.entry(index).or_insert(0);
        *attempt += 1;
        self.progress.on(&RunEvent::JobStarted {
            job: &job.name,
            why,
            attempt: *attempt,
        });
        if !job.declaration.kind.resumes || *why == Why::Forced {
            reservation.fresh()?;
        }
        let before = self.freshness.recorded_outputs(index);
        self.freshness.note_attempt(index, reservation.key());
        let (plan, known) = (self.plan, &self.freshness);
        let file = launch::prepare(plan, &job, &reservation, &share, known, self.store)?;
        let work = reservation.work().to_owned();
        let aside = self
            .results
            .show_live(self.store, &job, &before, &|output| {
                launch::output_path(&work, &job, output)
            })?;
        self.tell_of_edits(&job.name, aside.iter());
        let program = job.declaration.kind.program;
        let process = match program {
            Program::Light => {
                let mut light = Command::new(&self.settings.light);
                light.arg("stage");
                Some(light)
            }
            Program::Trainer => Some(Command::new(&self.settings.trainer)),
            Program::Own => None,
        };
        let process = match launch::process(&file, process, &self.slots.visible_devices(&share)) {
            Ok(process) => process,
            Err(error) => {
                self.slots.give_back(&share);
                self.fail(index, &job, &error.failure(), "", error.exit_code());
                return Ok(());
            }
        };
        let launch = Launch {
            id: index.index(),
            process,
            speaks: program != Program::Own,
            log: work.join(LOG),
            timeout: job.needs.timeout,
        };
        self.executor.get_ready();
        // The child holds the key's lock as well: if this process is killed, the next run waits for
        // the child to end before it touches the work folder.
        let lock = reservation.inheritable()?;
        let started = self.executor.start(launch, self.sender.clone());
        drop(lock);
        if let Err(error) = started {
            self.slots.give_back(&share);
            let help = match program {
                Program::Light => None,
                Program::Trainer => Some(
                    "`make setup`, then `cargo build --release`, makes it; `rematch doctor` looks at everything",
                ),
                Program::Own => Some("give the program's path, or put its folder into PATH"),
            };
            let failure = Failure {
                message: error.message().to_owned(),
                help: help.map(str::to_owned),
            };
            self.fail(index, &job, &failure, "", exit::USAGE);
            return Ok(());
        }
        let running = Running {
            job,
            file,
            reservation,
            share,
            started: Instant::now(),
            began: launch::unix_time(),
        };
        self.states[index.index()] = State::Running(Box::new(running));
        self.busy += 1;
        Ok(())
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Job(Message::Event(id, event)) => {
                if let State::Running(running) = &self.states[id] {
                    let job = &running.job.name;
                    self.progress.on(&RunEvent::JobSays { job, says: &event });
                }
            }
            Heard::Job(Message::Ended(id, ended, used)) => {
                self.ended(NodeIndex::new(id), &ended, used);
            }
            Heard::Published(job, published) => self.published(job, *published),
            Heard::Signal => self.stop(),
        }
    }

    /// Asks running jobs to end; the second time kills them.
    fn stop(&mut self) {
        self.signals += 1;
        self.closing = true;
        self.summary.interrupted = true;
        let running: Vec<usize> = (0..self.states.len())
            .filter(|id| matches!(self.states[*id], State::Running(_)))
            .collect();
        let how = if self.signals == 1 {
            self.progress.on(&RunEvent::Stopping {
                running: running.len(),
            });
            Stop::Gently
        } else {
            Stop::Now
        };
        for id in running {
            self.executor.stop(id, how);
        }
    }

    fn ended(&mut self, index: NodeIndex, ended: &Ended, used: Used) {
        let state = std::mem::replace(&mut self.states[index.index()], State::Stopped);
        let State::Running(running) = state else {
            self.states[index.index()] = state;
            return;
        };
        self.slots.give_back(&running.share);
        self.busy -= 1;
        let work = running.reservation.work().to_owned();
        let own = running.job.declaration.kind.program == Program::Own;
        let report = if own {
            Report {
                error: Some(launch::describe_own(ended, &work)),
                ..Report::default()
            }
        } else {
            launch::read_report(&work)
        };
        // Jobs that cannot save anything just die when they are asked to stop. What the code of any
        // program means, nobody knows.
        let stopped = self.signals > 0 || !own && *ended == Ended::Exit(exit::INTERRUPTED);
        match ended {
            Ended::Exit(exit::DONE) => self.publish(index, *running, report, used),
            _ if stopped => self.stopped(running.job.name),
            _ => {
                let code = match ended {
                    Ended::Exit(code) if !own => *code,
                    _ => exit::FAILED,
                };
                // A job whose time is over reports that it was told to stop, which is not the reason.
                let reported = report
                    .error
                    .filter(|_| !matches!(ended, Ended::TimedOut(_)));
                let mut failure = reported.unwrap_or_else(|| launch::describe(ended));
                launch::name_inputs(self.plan, &running.job, &work, &mut failure);
                let log = launch::tail(&work.join(LOG));
                self.fail(index, &running.job, &failure, &log, code);
            }
        }
    }

    fn stopped(&mut self, name: String) {
        self.progress.on(&RunEvent::JobStopped { job: &name });
        self.summary.stopped.push(name);
        // A job that was told to stop by somebody else (a scheduler, say) ends the run as well.
        self.closing = true;
        self.summary.interrupted = true;
    }

    /// Puts a job's outputs into the store and into their places, in a thread of its own.
    fn publish(&mut self, index: NodeIndex, running: Running, report: Report, used: Used) {
        let Running {
            job,
            file,
            reservation,
            started,
            began,
            ..
        } = running;
        self.states[index.index()] = State::Publishing(started);
        self.busy += 1;
        let ended = publishing::Ended {
            inputs: self.freshness.inputs(&job),
            before: self.freshness.recorded_outputs(index),
            pipeline: self.plan.pipeline().name.clone(),
            attempt: self.attempts.get(&index).copied().unwrap_or(1),
            seconds: started.elapsed().as_secs_f64(),
            began,
            job,
            file,
            report,
            used,
        };
        let (store, results) = (self.store.clone(), self.results.clone());
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let published = ended.publish(&store, &results, reservation);
            let _ = sender.send(Heard::Published(index, Box::new(published)));
        });
    }

    fn published(&mut self, index: NodeIndex, published: Published) {
        let State::Publishing(started) = self.states[index.index()] else {
            return;
        };
        self.busy -= 1;
        let Published { job, result } = published;
        match result {
            Ok((entry, places)) => {
                self.freshness.note(index, &job, &entry);
                self.note_places(index, &places);
                self.summary.ran += 1;
                self.done(index);
                let seconds = started.elapsed().as_secs_f64();
                self.estimate.done(&job.stage, Some(seconds));
                self.progress.on(&RunEvent::JobDone {
                    job: &job.name,
                    seconds,
                    left: self
                        .estimate
                        .left(self.busy + 1)
                        .map(|left| left.as_secs_f64()),
                });
            }
            Err(failure) => self.fail(index, &job, &failure, "", exit::FAILED),
        }
    }

    /// Notes a failure: the job is tried again, or it is over.
    fn fail(&mut self, index: NodeIndex, job: &Job, failure: &Failure, log: &str, code: i32) {
        let attempts = self.attempts.get(&index).copied().unwrap_or(1);
        let hopeless = matches!(code, exit::USAGE | exit::DIVERGED);
        let retry = (!hopeless && !self.closing && attempts <= job.needs.retries.times)
            .then(|| LONGEST_BACK_OFF.min(BACK_OFF * 2u32.saturating_pow(attempts - 1)));
        self.progress.on(&RunEvent::JobFailed {
            job: &job.name,
            failure,
            log,
            retry_in: retry.map(|wait| wait.as_secs_f64()),
        });
        if let Some(wait) = retry {
            self.states[index.index()] = State::Resting(Instant::now() + wait);
            self.patient.insert(index);
            return;
        }
        self.states[index.index()] = State::Failed;
        self.summary.failed.push(job.name.clone());
        if !self.settings.keep_going && !self.closing {
            self.closing = true;
            if self.busy > 0 {
                let jobs = if self.busy == 1 {
                    "1 running job"
                } else {
                    &format!("{} running jobs", self.busy)
                };
                let text =
                    format!("no more jobs start; waiting for {jobs} to end (--keep-going goes on)");
                self.progress.on(&RunEvent::Warning { text: &text });
            }
        }
    }

    /// Lets jobs whose wait is over try again.
    fn look_again(&mut self) {
        let now = Instant::now();
        self.patient
            .retain(|index| match self.states[index.index()] {
                State::Held(until) | State::Resting(until) if until > now => true,
                _ => {
                    self.ready.push_back(*index);
                    false
                }
            });
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
