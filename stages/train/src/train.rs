//! The loop: a batch, the method's loss, a step of the optimizer, the teacher after it; reports and
//! checkpoints when they are due. The same for every method.
//!
//! Everything random is a function of the run's seed and the step, so a run that goes on from a
//! checkpoint ends with the same bits as one that was never stopped (on the CPU; GPU kernels are not
//! that exact). Nothing waits for the device inside a step, except that numbers are read when a
//! report is due.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rematch_data::child::{Child, StageError};
use rematch_data::fs;
use rematch_data::image::Shape;
use rematch_data::rng::Purpose;
use rematch_spec::input::Input;
use rematch_spec::job::Report;
use rematch_spec::kind::Stage;
use rematch_spec::recipe::Recipe;
use rematch_spec::train::{Precision, Train};
use serde_json::json;
use tch::Kind;

use crate::arguments::arguments;
use crate::checkpoint::{Kept, Record, Tensors, Values};
use crate::data::Data;
use crate::device::{self, Wish};
use crate::ema::Ema;
use crate::evaluate::Evaluation;
use crate::feed::{Feed, Pipeline, Request};
use crate::group::Group;
use crate::learn::Learner;
use crate::log::{Facts, Log};
use crate::method::{Loss, Method, Step};
use crate::model::{Built, Model};
use crate::network::{Compute, Network};
use crate::optimizer::Optimizer;
use crate::scale::Scale;
use crate::schedule::learning_rate;
use crate::shim;
use crate::watch::Watch;
use crate::workers::{Place, Workers};

/// The checkpoint that an interrupted job goes on from, in its work folder.
const STATE: &str = "state.safetensors";
/// Least time between two of them.
const STATE_EVERY: Duration = Duration::from_secs(2);
/// Writing them takes at most one part in this many of the time.
const STATE_SHARE: u32 = 50;
/// Images that are evaluated in one pass: what fits a CPU's cache, what fills a GPU.
const EVALUATED: [usize; 2] = [128, 2000];

impl From<shim::Error> for StageError {
    fn from(error: shim::Error) -> Self {
        Self::failed(error.to_string())
    }
}

/// The body of a `train` job. Several GPUs are one process each.
pub fn train(child: &Child) -> Result<Report, StageError> {
    let size = child.job.gpus as usize;
    if size < 2 {
        return run(child, None);
    }
    let (workers, place) = Workers::start(child, size)?;
    workers.end(run(child, Some(&place)))
}

/// A run, or this process's part in it.
pub fn run(child: &Child, place: Option<&Place>) -> Result<Report, StageError> {
    let spec: Train = child.params()?;
    spec.check()?;
    let recipe = spec.recipe();
    let device = device::choose(&Wish::of(&spec), child, place)?;
    let group = match place {
        Some(Place { size, .. }) if recipe.batch < *size => {
            let message = format!(
                "a batch of {} cannot be shared by {size} GPUs",
                recipe.batch
            );
            return Err(StageError::usage(message).help("give the job fewer GPUs"));
        }
        Some(place) => Some(Arc::new(Group::join(place, device)?)),
        None => None,
    };
    let data = Data::load(&spec)?;
    let model = Model::new(&spec, data.shape(), data.to_train_on());
    let compute = Compute {
        device,
        bf16: spec.precision == Precision::Bf16,
        channels_last: spec.speed.channels_last,
        group: group.clone(),
    };
    let mut built = model.build(spec.seed, compute)?;
    let views = built.method.views();
    data.check_sizes(recipe.batch, views)?;
    child.check()?;
    let dataset = spec.augment_as.as_deref().unwrap_or_default();
    let pipeline = Pipeline::new(&recipe, dataset, views, data.image(), spec.seed)?;
    let zca = spec.zca.as_ref().map(Input::path);
    let scale = Scale::new(zca, recipe.normalize.as_ref(), data.image(), device)?;
    let scale = Rc::new(scale);
    thread::scope(|scope| {
        let feed = Feed::start(scope, &data, &pipeline);
        let chunk = EVALUATED[usize::from(device.is_cuda())];
        let evaluation = Evaluation::new(&data, chunk, &scale)?;
        let mut run = Run::new(
            child, &spec, &recipe, model, &mut built, evaluation, feed, &pipeline, scale, group,
        )?;
        let args = child.output("run")?.join("args");
        fs::create_dir_all(&args)?;
        fs::write(&args.join("args.json"), arguments(&spec, data.classes))?;
        run.train()?;
        Ok(run.report())
    })
}

/// A training run.
struct Run<'a> {
    child: &'a Child,
    spec: &'a Train,
    recipe: &'a Recipe,
    /// The processes that train together, where there are several.
    group: Option<Arc<Group>>,
    scale: Rc<Scale>,
    method: &'a mut dyn Method,
    student: &'a Network,
    teacher: &'a Network,
    optimizer: Optimizer,
    ema: Ema,
    tensors: Tensors,
    learner: Learner<'a>,
    feed: Feed<'a>,
    evaluation: Evaluation,
    watch: Watch,
    log: Log,
    kept: Kept,
    /// Everything else that a checkpoint holds.
    record: Record,
    clock: Clock,
    /// Views of the first batch, until the first report is written.
    views: Vec<(String, Shape, Vec<u8>)>,
}

/// Images of each view in the event file, and most classes of a confusion matrix in the log.
const SHOWN: usize = 8;
const CONFUSED: usize = 100;

/// What was done since this attempt began.
struct Clock {
    /// When the last report was written, and the images until then.
    reported: (Instant, u64),
    since: Instant,
    images: u64,
    /// When the last state was written, and how long that took.
    saved: (Instant, Duration),
}

impl<'a> Run<'a> {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a run, each made once"
    )]
    fn new(
        child: &'a Child,
        spec: &'a Train,
        recipe: &'a Recipe,
        model: Model,
        built: &'a mut Built,
        evaluation: Evaluation,
        feed: Feed<'a>,
        pipeline: &'a Pipeline,
        scale: Rc<Scale>,
        group: Option<Arc<Group>>,
    ) -> Result<Self, StageError> {
        let Built {
            method,
            student,
            teacher,
            memory,
        } = built;
        let (student, teacher) = (&*student, &*teacher);
        let optimizer = Optimizer::new(&recipe.optimizer, student, spec.speed.fused);
        let tensors = Tensors::new(student, teacher, memory, Some(&optimizer));
        let folder = child.output("run")?;
        fs::create_dir_all(folder)?;
        let kept = Kept::new(folder, spec.keep)?;
        let leads = group.as_ref().is_none_or(|group| group.leads());
        let resumed = match leads {
            true => resume(child, folder, &kept, &tensors)?,
            false => None,
        };
        let (mut record, log) = match resumed {
            Some(resumed) => resumed,
            None => (
                Record::new(&child.job.key, model, Learner::start(pipeline)),
                Log::create(folder)?,
            ),
        };
        if let Some(group) = &group {
            record = agree(group, &record, &tensors)?;
        }
        kept.trim(record.step)?;
        let ema = Ema::new(student, teacher, recipe.ema, spec.speed.fused);
        let learner = Learner::new(pipeline, teacher, &record);
        let watch = Watch::new(spec.algorithm.name());
        let now = Instant::now();
        let clock = Clock {
            since: now,
            reported: (now, 0),
            images: 0,
            saved: (now, Duration::ZERO),
        };
        let run = Self {
            child,
            spec,
            recipe,
            group,
            scale,
            method: &mut **method,
            student,
            teacher,
            optimizer,
            ema,
            tensors,
            learner,
            feed,
            evaluation,
            watch,
            log,
            kept,
            record,
            clock,
            views: Vec::new(),
        };
        for request in run.learner.under_way(run.record.step) {
            run.order(request);
        }
        Ok(run)
    }

    /// From where the record is to the end.
    fn train(&mut self) -> Result<(), StageError> {
        let total = self.total();
        let save = self.spec.save.steps(self.recipe.batch);
        loop {
            let step = self.record.step;
            if !self.record.reported {
                match self.evaluate() {
                    Err(StageError::Interrupted) => return self.stop(),
                    done => done?,
                }
            }
            if step > 0 && (step.is_multiple_of(save) || step == total) {
                self.save(&self.kept.at(step))?;
                self.kept.trim(step)?;
            }
            self.child.progress(step, total, "steps");
            if step == total {
                return Ok(());
            }
            if self.told_to_stop()? {
                return self.stop();
            }
            self.step()?;
            let (saved, took) = self.clock.saved;
            if saved.elapsed() > STATE_EVERY.max(took * STATE_SHARE) {
                self.save_state()?;
            }
        }
    }

    /// All processes of a run stop at the same step.
    fn told_to_stop(&self) -> Result<bool, StageError> {
        let here = self.child.interrupted();
        self.group
            .as_ref()
            .map_or(Ok(here), |group| group.any(here))
    }

    fn total(&self) -> u64 {
        self.recipe.length.steps(self.recipe.batch)
    }

    /// One step of training.
    fn step(&mut self) -> Result<(), StageError> {
        let (step, total) = (self.record.step, self.total());
        let like = &self.student.variables()[0].tensor;
        let prepared = self.feed.next(step)?;
        if step == 0 {
            self.views = prepared.strips(SHOWN);
        }
        let (batch, probe) = prepared.on(like, &self.scale)?;
        let seen = Step {
            student: self.student,
            teacher: self.teacher,
            number: step,
            steps: total,
            batch: self.recipe.batch,
            seed: self.spec.seed,
            labeled: self.evaluation.labeled(),
        };
        // What libtorch draws itself, such as dropout and Shake-Shake's mixes.
        let noise = const { Purpose::named("libtorch") };
        let noise = seen.stream(noise).bits();
        tch::manual_seed(noise as i64);
        if let Some(group) = &self.group {
            group.begin(noise);
        }
        let loss = self.method.loss(&seen, &batch);
        if step == 0 {
            self.watch.alive(&loss)?;
        }
        self.watch.see(step, &loss)?;
        loss.total().backward();
        if let Some(group) = &self.group {
            group.average(&self.optimizer.gradients())?;
        }
        self.optimizer.step(self.learning_rate(step), step)?;
        self.ema.update()?;
        let request = self.learner.learn(step, probe.as_ref(), &batch.y)?;
        self.order(request);
        let views = batch.x.iter().chain(&batch.u);
        self.clock.images += views.map(|view| view.size()[0]).sum::<i64>() as u64;
        self.record.step += 1;
        let due = step.is_multiple_of(self.spec.report.steps(self.recipe.batch));
        if due || (self.spec.final_report && step + 1 == total) {
            self.record.scalars = self.scalars(&loss);
            self.record.reported = false;
        }
        Ok(())
    }

    fn order(&self, request: Request) {
        if request.step < self.total() {
            self.feed.order(request);
        }
    }

    fn learning_rate(&self, step: u64) -> f64 {
        learning_rate(
            self.recipe.schedule,
            self.recipe.optimizer.lr(),
            step as f64 / self.total() as f64,
        )
    }

    /// What the originals log of a single batch. Their learning rate is that of the next step.
    fn scalars(&self, loss: &Loss) -> BTreeMap<String, f64> {
        let number = |value: &tch::Tensor| value.to_kind(Kind::Double).double_value(&[]);
        let terms = loss
            .terms
            .iter()
            .map(|(name, _, value)| (format!("losses/{name}"), number(value)));
        let notes = loss
            .notes
            .iter()
            .map(|(tag, value)| (tag.clone(), number(value)));
        let mut all: BTreeMap<_, _> = terms.chain(notes).collect();
        all.insert("losses/wd".into(), number(&self.optimizer.l2()));
        all.insert("monitors/lr".into(), self.learning_rate(self.record.step));
        all
    }

    /// Measures the accuracies, writes them down with the losses of the last step, and keeps the
    /// network if it is the best so far.
    fn evaluate(&mut self) -> Result<(), StageError> {
        self.watch.check()?;
        let like = &self.student.variables()[0].tensor;
        let of = |network: &Network, prefix: &str| {
            let classify = |x: &tch::Tensor| self.method.logits(network, x);
            self.evaluation.run(&classify, like, prefix, self.child)
        };
        let (mut accuracies, test) = of(self.teacher, "accuracy")?;
        accuracies.extend(of(self.student, "accuracy/raw")?.0);
        if let Some(group) = &self.group {
            group.check()?;
        }
        accuracies.push(("accuracy/GM".into(), test.geometric_mean()));
        accuracies.extend(test.averages());
        let recalls = test.recalls().into_iter().enumerate();
        accuracies.extend(
            recalls.filter_map(|(k, recall)| Some((format!("accuracy_cls/cls{k}"), recall?))),
        );
        let step = self.record.step;
        let (since, before) = self.clock.reported;
        let rate = (self.clock.images - before) as f64 / since.elapsed().as_secs_f64().max(1e-9);
        let mut values: Vec<_> = self.record.scalars.clone().into_iter().collect();
        values.extend(accuracies.iter().cloned());
        // Where nothing was trained since, as behind a stop, there is no rate.
        if self.clock.images > before {
            values.push(("speed/images_per_second".into(), rate));
        }
        let (shape, pixels) = test.picture();
        let mut pictures = std::mem::take(&mut self.views);
        pictures.push(("confusion".into(), shape, pixels));
        let few = self.record.model.shape.classes as usize <= CONFUSED;
        let facts = Facts {
            values,
            pictures,
            confusion: few.then(|| test.rows().collect()),
        };
        self.log
            .write(step, step * self.recipe.batch as u64, &facts)?;
        let metrics: Vec<_> = facts
            .values
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        self.child.metrics(&metrics);
        self.clock.reported = (Instant::now(), self.clock.images);
        self.record.latest = accuracies.into_iter().collect();
        self.record.reported = true;
        let valid = self.record.latest.get("accuracy/valid").copied();
        if self.evaluation.valid() > 1 && valid > self.record.best {
            self.record.best = valid;
            self.save(&self.kept.best())?;
        }
        Ok(())
    }

    /// Saves what the next attempt goes on from, and ends this one.
    fn stop(&mut self) -> Result<(), StageError> {
        self.save_state()?;
        Err(StageError::Interrupted)
    }

    fn save_state(&mut self) -> Result<(), StageError> {
        let start = Instant::now();
        self.save(&self.child.work().join(STATE))?;
        self.clock.saved = (Instant::now(), start.elapsed());
        Ok(())
    }

    fn save(&mut self, path: &Path) -> Result<(), StageError> {
        if self.group.as_ref().is_some_and(|group| !group.leads()) {
            return Ok(());
        }
        self.watch.check()?;
        self.learner.save(&mut self.record)?;
        self.record.log = self.log.sync()?;
        self.tensors.save(path, &self.record)
    }

    fn report(&self) -> Report {
        let rate = self.clock.images as f64 / self.clock.since.elapsed().as_secs_f64().max(1e-9);
        let facts = BTreeMap::from([
            ("device", json!(device::name(self.student.device()))),
            (
                "processes",
                json!(self.group.as_ref().map_or(1, |group| group.size())),
            ),
            ("libtorch", json!(shim::torch_version())),
            ("parameters", json!(self.student.parameters())),
            ("steps", json!(self.record.step)),
            ("images_per_second", json!(rate)),
        ]);
        let facts = facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Report {
            metrics: self.record.latest.clone(),
            facts,
            error: None,
        }
    }
}

/// Every process of a run starts from where the first one is.
fn agree(group: &Group, record: &Record, tensors: &Tensors) -> Result<Record, StageError> {
    let unreadable = |e: serde_json::Error| StageError::failed(e.to_string());
    let record = serde_json::to_vec(record).map_err(unreadable)?;
    group.tell_values(tensors.all())?;
    serde_json::from_slice(&group.tell(&record)?).map_err(unreadable)
}

/// Goes on from the newest checkpoint that an interrupted attempt left, if there is one.
fn resume(
    child: &Child,
    folder: &Path,
    kept: &Kept,
    tensors: &Tensors,
) -> Result<Option<(Record, Log)>, StageError> {
    let state = child.work().join(STATE);
    let mut newest = None;
    let mut problem = None;
    for path in [state]
        .into_iter()
        .filter(|path| path.exists())
        .chain(kept.newest_first()?)
    {
        // Those in the run's folder say in their name how new they are.
        let enough =
            |done: &(Record, Values)| kept.step_of(&path).is_some_and(|step| step <= done.0.step);
        if newest.as_ref().is_some_and(enough) {
            break;
        }
        match tensors.read(&path, Some(&child.job.key)) {
            Ok(read) => newest = Some(read),
            Err(error) => problem = Some(error.to_string()),
        }
    }
    let resumed = newest
        .map(|(record, values)| Log::resume(folder, &record.log).map(|log| (record, values, log)));
    match resumed {
        Some(Ok((record, values, log))) => {
            tensors.put(&values);
            child.note(format!("goes on at step {}", record.step));
            return Ok(Some((record, log)));
        }
        Some(Err(error)) => problem = Some(error.to_string()),
        None => {}
    }
    if let Some(problem) = problem {
        child.warning(format!(
            "cannot go on where an earlier attempt stopped, starts from the beginning: {problem}"
        ));
    }
    Ok(None)
}
