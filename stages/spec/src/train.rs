//! Parameters of `train`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::{Input, Inputs};
use crate::kind::{Implied, Invalid, Output, Program, Stage};
use crate::method::Method;
use crate::named::Named;
use crate::network::Network;
use crate::optimizer::{Optimizer, Schedule};
use crate::recipe::{Length, Normalize, Recipe};

/// Trains a network on labeled and unlabeled images and evaluates it as it goes; leaves a run folder
/// with TensorBoard events, a log and checkpoints (spec/fixmatch.md 4 to 9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The method, and its hyper-parameters where they are not the published ones.
    pub algorithm: Method,
    /// A split by name, `cifar10.3@40-1` (dataset, seed, labeled images, validation images), in place
    /// of `labeled`, `unlabeled`, `test` and `valid`; what it takes to prepare it is added to the run.
    #[serde(default)]
    #[schemars(extend("x-key" = false))]
    pub dataset: Option<String>,
    /// Labeled images, TFRecord.
    #[serde(default)]
    pub labeled: Option<Inputs>,
    /// Unlabeled images, TFRecord; its labels are never read for training.
    #[serde(default)]
    pub unlabeled: Option<Inputs>,
    /// Test images, TFRecord.
    #[serde(default)]
    pub test: Option<Inputs>,
    /// Validation images, TFRecord, where they have files of their own; `valid` then says nothing.
    #[serde(default)]
    pub validation: Option<Inputs>,
    /// How many records at the head of `unlabeled` are the validation set, and not trained on.
    #[serde(default = "one")]
    pub valid: u64,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Augmentation of labeled images and of each view of unlabeled ones, in the originals' grammar
    /// (spec/fixmatch.md 4.3): `d` mirrors and shifts, `s` only shifts, `rac` adds RandAugment and a cutout,
    /// `ctac` CTAugment and a cutout; FixMatch with RandAugment is `d.d.rac`, on ImageNet `crop.crop.cropra`
    /// (spec/fixmatch.md 11). Left out, like everything from here to `length`: as in the method's published runs.
    #[serde(default)]
    pub augment: Option<String>,
    /// The dataset that decides what `d` and `aa` mean, such as `svhn`, whose digits are not mirrored.
    /// With `dataset` it is that of the split; otherwise `d` mirrors and shifts.
    #[serde(default)]
    pub augment_as: Option<String>,
    /// Mean and standard deviation per channel; left out, pixels go from −1 to 1.
    #[serde(default)]
    pub normalize: Option<Normalize>,
    /// The output of a stage `zca` on the training images: each image is whitened by it, in place of
    /// `normalize` (spec/featmatch.md 4).
    #[serde(default)]
    pub zca: Option<Input>,
    /// The network.
    #[serde(default)]
    pub network: Option<Network>,
    /// B: labeled images per step.
    #[serde(default)]
    pub batch: Option<usize>,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: Option<Optimizer>,
    /// Learning rate over the run.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// Decay of the moving average of the weights that is evaluated; 0 evaluates the trained weights.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Whether the moving average covers batch norm's running statistics.
    #[serde(default)]
    pub ema_statistics: Option<bool>,
    /// How long to train.
    #[serde(default)]
    pub length: Option<Length>,
    /// How often to evaluate: behind the first step, and then at this interval, as the originals.
    #[serde(default = "interval")]
    pub report: Length,
    /// Also evaluates at the end. The originals do not, so their last accuracy is up to one interval
    /// older than the trained network; the published numbers are medians of the last 20 such values.
    #[serde(default)]
    pub final_report: bool,
    /// How often to keep a checkpoint; there is always one of the end.
    #[serde(default = "interval")]
    #[schemars(extend("x-key" = false))]
    pub save: Length,
    /// How many checkpoints to keep, beside the one with the best validation accuracy (which exists
    /// where there is more than one validation image). The originals keep 50 and read none.
    #[serde(default = "keep")]
    #[schemars(extend("x-key" = false))]
    pub keep: usize,
    /// Where to train: `auto` takes a GPU where the job was given one.
    #[serde(default)]
    #[schemars(extend("x-key" = false))]
    pub device: Device,
    /// Number type of the convolutions.
    #[serde(default)]
    pub precision: Precision,
    /// Whether a GPU must give the same bits each time. It then does without its fastest algorithms, and an
    /// operation that has no such form ends the job. The CPU always does.
    #[serde(default)]
    #[schemars(extend("x-key" = false))]
    pub deterministic: bool,
    /// What makes a step fast and changes its numbers by rounding alone.
    #[serde(default)]
    #[schemars(extend("x-key" = false))]
    pub speed: Speed,
}

/// What makes a step fast and changes its numbers by rounding alone; each can be left out, to compare or to
/// look for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Speed {
    /// Images and kernels with their channels last in memory.
    pub channels_last: bool,
    /// The optimizer and the moving average over all parameters in one operation, rather than a few for each.
    pub fused: bool,
    /// Freed memory is kept for the next step instead of given back to the system.
    pub keep_memory: bool,
}

impl Default for Speed {
    fn default() -> Self {
        Self {
            channels_last: true,
            fused: true,
            keep_memory: true,
        }
    }
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// A GPU where the job was given one and libtorch can use it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, or an error.
    Cuda,
}

/// Number type of convolutions and matrix products; weights and statistics stay float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    Float32,
    /// On a GPU, products of numbers cut to 10 bits behind the point; on the CPU as float32.
    Tf32,
    /// 16 bits with float32's range.
    Bf16,
}

/// What `d` and `aa` mean where nothing says otherwise.
const CIFAR10: &str = "cifar10";

fn one() -> u64 {
    1
}
fn interval() -> Length {
    Length::Kimg(64)
}
fn keep() -> usize {
    1
}

impl Train {
    /// The method's published recipe, with what the parameters change of it.
    pub fn recipe(&self) -> Recipe {
        let published = self.algorithm.recipe();
        Recipe {
            augment: self.augment.clone().unwrap_or(published.augment),
            // Whitening takes its place.
            normalize: match self.zca {
                Some(_) => self.normalize.clone(),
                None => self.normalize.clone().or(published.normalize),
            },
            network: self.network.clone().unwrap_or(published.network),
            batch: self.batch.unwrap_or(published.batch),
            optimizer: self.optimizer.clone().unwrap_or(published.optimizer),
            schedule: self.schedule.unwrap_or(published.schedule),
            ema: self.ema.unwrap_or(published.ema),
            ema_statistics: self.ema_statistics.unwrap_or(published.ema_statistics),
            length: self.length.unwrap_or(published.length),
        }
    }
}

impl Stage for Train {
    const NAME: &'static str = "train";
    // 1: first
    const VERSION: u32 = 1;
    const PROGRAM: Program = Program::Trainer;
    const RESUMES: bool = true;
    const SHORTHAND: Option<&'static str> = Some("dataset");

    fn outputs(&self) -> Vec<Output> {
        vec![Output::new("run", "run").live()]
    }

    fn implied(params: &Value) -> Result<Implied, Invalid> {
        let Some(name) = params.get("dataset").and_then(Value::as_str) else {
            return Ok(Vec::new());
        };
        if let Some(both) = ["labeled", "unlabeled", "test", "valid"]
            .iter()
            .find(|p| params.get(**p).is_some())
        {
            let message =
                format!("`dataset: {name}` already says what `{both}` is; leave one of them out");
            return Err(Invalid::at(*both, message));
        }
        let named: Named = name
            .parse()
            .map_err(|e: Invalid| Invalid::at("dataset", e.message))?;
        let output = |output: &str| Value::from(format!("${{{name}.{output}}}"));
        let mut implied = vec![
            ("labeled", output("labeled")),
            ("unlabeled", output("unlabeled")),
            ("test", output("test")),
            ("valid", Value::from(named.valid)),
        ];
        if params.get("augment_as").is_none() && named.dataset_name() != CIFAR10 {
            implied.push(("augment_as", Value::from(named.dataset_name())));
        }
        Ok(implied)
    }

    fn complete(&mut self) {
        let recipe = self.recipe();
        self.augment = Some(recipe.augment);
        self.normalize = recipe.normalize;
        self.network = Some(recipe.network);
        self.batch = Some(recipe.batch);
        self.optimizer = Some(recipe.optimizer);
        self.schedule = Some(recipe.schedule);
        self.ema = Some(recipe.ema);
        self.ema_statistics = Some(recipe.ema_statistics);
        self.length = Some(recipe.length);
    }

    fn check(&self) -> Result<(), Invalid> {
        let missing = |name: &str| {
            Invalid::at(
                "",
                format!(
                    "missing `{name}`; give `labeled`, `unlabeled` and `test`, or `dataset: cifar10.1@40-1`"
                ),
            )
        };
        if self.labeled.is_none() {
            return Err(missing("labeled"));
        }
        if self.test.is_none() {
            return Err(missing("test"));
        }
        if self.unlabeled.is_none() && self.algorithm.reads_unlabeled() {
            return Err(missing("unlabeled"));
        }
        self.algorithm.check()?;
        let recipe = self.recipe();
        if recipe.batch == 0 {
            return Err(Invalid::at("batch", "expected at least 1 image per step"));
        }
        for (name, length) in [
            ("length", recipe.length),
            ("report", self.report),
            ("save", self.save),
        ] {
            if length.steps(recipe.batch) == 0 {
                return Err(Invalid::at(name, "expected at least one step"));
            }
        }
        if !(0.0..1.0).contains(&recipe.ema) {
            return Err(Invalid::at(
                "ema",
                "expected a decay from 0 up to, not including, 1",
            ));
        }
        if self.keep == 0 {
            return Err(Invalid::at("keep", "expected at least 1 checkpoint"));
        }
        if self.zca.is_some() && self.normalize.is_some() {
            let message = "images are either whitened or normalised; leave one of the two out";
            return Err(Invalid::at("zca", message));
        }
        if let Some(Normalize { mean, std }) = &recipe.normalize {
            let right = |v: &[f64]| matches!(v.len(), 1 | 3) && v.iter().all(|v| v.is_finite());
            if !right(mean)
                || !right(std)
                || mean.len() != std.len()
                || std.iter().any(|v| *v <= 0.0)
            {
                let message = "expected a `mean` and a `std` above 0 for each channel, 1 or 3";
                return Err(Invalid::at("normalize", message));
            }
        }
        recipe.network.check()?;
        recipe.optimizer.check()?;
        recipe.schedule.check()
    }
}
