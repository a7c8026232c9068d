//! Checkpoints: a safetensors file with the student, the teacher and the momenta by name, and in its
//! metadata a [`Record`] of everything else that a run needs to go on.
//!
//! PyTorch reads one with `safetensors.torch.load_file`; `student.*` holds the weights and running
//! statistics, `ema.*` the averaged weights, `momentum.*` (Adam: `mean.*` and `variance.*`) the optimizer's
//! state, `memory.*` what the method remembers, all in PyTorch's layout (a kernel is outputs × inputs × rows × columns).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rematch_data::augment::CtAugment;
use rematch_data::child::StageError;
use rematch_data::fs;
use rematch_spec::predict::Which;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::log::Mark;
use crate::memory::Memory;
use crate::model::{Built, Model};
use crate::network::{Network, Role};
use crate::optimizer::Optimizer;

/// Raised whenever an older file cannot be continued.
const FORMAT: u32 = 2;
/// The metadata entry with the record.
const RECORD: &str = "rematch";

/// What is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    format: u32,
    /// The id of the job's key: nothing else may continue from this file.
    pub key: String,
    /// The model whose weights these are.
    pub model: Model,
    /// Steps done.
    pub step: u64,
    /// Whether the report that was due behind that step has been written.
    pub reported: bool,
    /// Losses and monitors of that step, if a report needs them.
    pub scalars: BTreeMap<String, f64>,
    /// What CTAugment knew when the batches that are under way were ordered, oldest first; the last
    /// is what it knows now.
    pub cta: Vec<CtAugment>,
    /// The step of the last probes, and how near the network came, not yet learned from.
    pub probes: Option<(u64, Vec<f32>)>,
    /// The best validation accuracy so far.
    pub best: Option<f64>,
    /// The latest accuracies.
    pub latest: BTreeMap<String, f64>,
    /// How much of the event file and of the log belongs to this run so far.
    pub log: Mark,
}

impl Record {
    /// At the start of a run.
    pub fn new(key: &str, model: Model, cta: Vec<CtAugment>) -> Self {
        Self {
            format: FORMAT,
            key: key.to_owned(),
            model,
            step: 0,
            reported: true,
            scalars: BTreeMap::new(),
            cta,
            probes: None,
            best: None,
            latest: BTreeMap::new(),
            log: Mark::default(),
        }
    }
}

/// Why a file cannot be continued from.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] fs::Error),
    /// It is not a checkpoint of this run.
    #[error("{path} is no usable checkpoint: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl From<Error> for StageError {
    fn from(error: Error) -> Self {
        Self::failed(error.to_string())
    }
}

/// The tensors of a run.
#[derive(Debug)]
pub struct Tensors(Vec<(String, Tensor)>);

impl Tensors {
    /// Handles of everything that training changes.
    pub fn new(
        student: &Network,
        teacher: &Network,
        memory: &Memory,
        optimizer: Option<&Optimizer>,
    ) -> Self {
        let named = |prefix: &'static str, network: &Network, wanted: fn(Role) -> bool| {
            let variables = network.variables().iter().filter(move |v| wanted(v.role));
            variables
                .map(|v| (format!("{prefix}.{}", v.name), v.tensor.detach()))
                .collect::<Vec<_>>()
        };
        let mut all = named("student", student, |_| true);
        all.extend(match teacher.has_own_statistics() {
            true => named("ema", teacher, |_| true),
            false => named("ema", teacher, |role| role != Role::Statistic),
        });
        let memory = memory.tensors().iter();
        all.extend(memory.map(|(name, tensor)| (format!("memory.{name}"), tensor.shallow_clone())));
        let state = optimizer.into_iter().flat_map(Optimizer::state);
        all.extend(state.map(|(name, tensor)| (name, tensor.shallow_clone())));
        Self(all)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Tensor> {
        self.0.iter().map(|(_, tensor)| tensor)
    }

    /// Those that a trained network needs.
    pub fn of_model(built: &Built) -> Self {
        Self::new(&built.student, &built.teacher, &built.memory, None)
    }

    /// Writes a checkpoint: the old file, or the whole new one, whatever happens.
    pub fn save(&self, path: &Path, record: &Record) -> Result<(), StageError> {
        let failed =
            |what: String| StageError::failed(format!("cannot write {}: {what}", path.display()));
        let bytes: Vec<(&str, Vec<usize>, Vec<u8>)> = self
            .0
            .iter()
            .map(|(name, tensor)| {
                let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
                let mut bytes = vec![0; tensor.numel() * 4];
                tensor.copy_data_u8(&mut bytes, tensor.numel());
                (
                    name.as_str(),
                    tensor.size().iter().map(|n| *n as usize).collect(),
                    bytes,
                )
            })
            .collect();
        let views: Result<Vec<_>, _> = bytes
            .iter()
            .map(|(name, shape, data)| {
                TensorView::new(Dtype::F32, shape.clone(), data).map(|view| (*name, view))
            })
            .collect();
        let record = serde_json::to_string(record).map_err(|e| failed(e.to_string()))?;
        let metadata = HashMap::from([(RECORD.to_owned(), record)]);
        let views = views.map_err(|e| failed(e.to_string()))?;
        let file =
            safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))?;
        Ok(fs::write_atomically(path, file)?)
    }

    /// Reads a checkpoint; nothing is changed before [`put`](Self::put).
    ///
    /// # Errors
    /// Where the file is damaged, or of another job than that of `key`.
    pub fn read(&self, path: &Path, key: Option<&str>) -> Result<(Record, Values), Error> {
        let bad = |what: String| Error::Content {
            path: path.to_owned(),
            what,
        };
        let bytes = fs::read(path)?;
        let record = record(path, &bytes)?;
        if key.is_some_and(|key| key != record.key) {
            return Err(bad(format!("it belongs to the key {}", record.key)));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
        let mut values = Vec::new();
        for (name, tensor) in &self.0 {
            let view = file.tensor(name).map_err(|e| bad(e.to_string()))?;
            let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
            if view.dtype() != Dtype::F32 || shape != tensor.size() {
                return Err(bad(format!(
                    "{name} is {:?} {shape:?}, expected F32 {:?}",
                    view.dtype(),
                    tensor.size()
                )));
            }
            values.push(Tensor::from_data_size(view.data(), &shape, Kind::Float));
        }
        Ok((record, Values(values)))
    }

    /// Puts the values of a checkpoint into the run's tensors.
    pub fn put(&self, values: &Values) {
        tch::no_grad(|| {
            for ((_, tensor), value) in self.0.iter().zip(&values.0) {
                tensor.shallow_clone().copy_(value);
            }
        });
    }
}

/// The record of a checkpoint.
pub fn record(path: &Path, bytes: &[u8]) -> Result<Record, Error> {
    let bad = |what: String| Error::Content {
        path: path.to_owned(),
        what,
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| bad(e.to_string()))?;
    let metadata = metadata.metadata().as_ref();
    let record = metadata
        .and_then(|m| m.get(RECORD))
        .ok_or_else(|| bad("it has no record".into()))?;
    // The format first: of another one the rest may be anything.
    let json: serde_json::Value = serde_json::from_str(record).map_err(|e| bad(e.to_string()))?;
    if json["format"] != FORMAT {
        let found = &json["format"];
        return Err(bad(format!(
            "it has format {found}, this program writes {FORMAT}"
        )));
    }
    serde_json::from_value(json).map_err(|e| bad(e.to_string()))
}

/// The model of a checkpoint.
pub fn model(path: &Path) -> Result<Model, Error> {
    Ok(record(path, &fs::read(path)?)?.model)
}

/// The tensors of a checkpoint, in the order of the [`Tensors`] that read them.
#[derive(Debug)]
pub struct Values(Vec<Tensor>);

/// The checkpoints that a run keeps in its folder.
#[derive(Debug)]
pub struct Kept {
    folder: PathBuf,
    keep: usize,
}

impl Kept {
    /// In `run/checkpoints`.
    pub fn new(run: &Path, keep: usize) -> Result<Self, StageError> {
        let folder = run.join("checkpoints");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, keep })
    }

    /// Those that a run has left.
    pub fn of(run: &Path) -> Self {
        Self {
            folder: run.join("checkpoints"),
            keep: usize::MAX,
        }
    }

    /// Where the checkpoint of a step belongs: `step-00000640.safetensors`.
    pub fn at(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}.safetensors"))
    }

    /// Where the one with the best validation accuracy belongs.
    pub fn best(&self) -> PathBuf {
        self.folder.join("best.safetensors")
    }

    /// The step of a checkpoint, from its name.
    pub fn step_of(&self, path: &Path) -> Option<u64> {
        let name = path.strip_prefix(&self.folder).ok()?.to_str()?;
        name.strip_prefix("step-")?
            .strip_suffix(".safetensors")?
            .parse()
            .ok()
    }

    /// All of them but the best, by step.
    pub fn newest_first(&self) -> Result<Vec<PathBuf>, StageError> {
        let mut all = fs::list(&self.folder)?;
        all.retain(|path| self.step_of(path).is_some());
        all.sort_by_key(|path| std::cmp::Reverse(self.step_of(path)));
        Ok(all)
    }

    /// The one that is asked for.
    ///
    /// # Errors
    /// Where there is no such checkpoint.
    pub fn find(&self, which: Which) -> Result<PathBuf, StageError> {
        let path = match which {
            Which::Last => self.newest_first()?.into_iter().next(),
            Which::Best => Some(self.best()),
            Which::Step(step) => Some(self.at(step)),
        };
        let help = match which {
            Which::Best => "there is one where `valid` is more than 1; take `checkpoint: last`",
            _ => "`keep` of `train` says how many are kept; take `checkpoint: last`",
        };
        path.filter(|path| path.is_file()).ok_or_else(|| {
            let folder = self.folder.display();
            StageError::failed(format!("{folder} has no such checkpoint")).help(help)
        })
    }

    /// Removes those behind `step`, which a run that was interrupted later left, all but the last
    /// few up to it, and what a killed writer left.
    pub fn trim(&self, step: u64) -> Result<(), StageError> {
        let (behind, mut kept): (Vec<_>, Vec<_>) = self
            .newest_first()?
            .into_iter()
            .partition(|path| self.step_of(path) > Some(step));
        let old = kept.split_off(self.keep.min(kept.len()));
        let all = fs::list(&self.folder)?;
        let torn = all.into_iter().filter(|path| {
            path.file_name()
                .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."))
        });
        for path in behind.into_iter().chain(old).chain(torn) {
            fs::remove_file(&path)?;
        }
        Ok(())
    }
}
