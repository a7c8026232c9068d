//! Parameters of `train`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::Inputs;
use crate::kind::{Implied, Invalid, Output, Program, Stage};
use crate::method::Method;
use crate::named::Named;

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
    /// How many records at the head of `unlabeled` are the validation set, and not trained on.
    #[serde(default = "one")]
    pub valid: u64,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Augmentation of labeled images and of each view of unlabeled ones, in the originals' grammar
    /// (spec/fixmatch.md 4.3): `d` mirrors and shifts, `rac` adds RandAugment and a cutout, `s` only
    /// shifts (for digits). Where the last part names nothing strong, FixMatch's strong view gets
    /// CTAugment and a cutout, as its published script does; `d.d.rac` is the published variant with
    /// RandAugment (there a script of its own, ab_fixmatch_ra).
    #[serde(default = "augment")]
    pub augment: String,
    /// The network.
    #[serde(default)]
    pub network: Network,
    /// B: labeled images per step.
    #[serde(default = "batch")]
    pub batch: usize,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Learning rate over the run.
    #[serde(default)]
    pub schedule: Schedule,
    /// Decay of the moving average of the weights that is evaluated.
    #[serde(default = "ema")]
    pub ema: f64,
    /// How long to train.
    #[serde(default)]
    pub length: Length,
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
}

/// A length of training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Optimizer steps.
    Steps(u64),
    /// Labeled images seen, in units of 1024.
    Kimg(u64),
}

impl Length {
    /// In steps of `batch` labeled images.
    pub fn steps(self, batch: usize) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Kimg(kimg) => kimg.saturating_mul(1024).div_ceil(batch.max(1) as u64),
        }
    }
}

impl Default for Length {
    /// 2^20 steps at batch 64 (spec/fixmatch.md 1).
    fn default() -> Self {
        Self::Kimg(65536)
    }
}

/// A network and its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Wide ResNet as in the originals: WRN-28-2 with the defaults (spec/fixmatch.md 5.1).
    Resnet(Resnet),
}

impl Network {
    fn check(&self) -> Result<(), Invalid> {
        let Self::Resnet(size) = self;
        let within = |name: &str, value: i64, range: std::ops::RangeInclusive<i64>| {
            if range.contains(&value) {
                return Ok(());
            }
            let message = format!(
                "expected {} to {}, found {value}",
                range.start(),
                range.end()
            );
            Err(Invalid::at(format!("network.resnet.{name}"), message))
        };
        within("filters", size.filters, 1..=4096)?;
        within("repeat", size.repeat, 1..=1000)?;
        within("scales", size.scales, 0..=10)?;
        if (0.0..=1.0).contains(&size.bn_momentum) {
            return Ok(());
        }
        Err(Invalid::at(
            "network.resnet.bn_momentum",
            "expected a share from 0 to 1",
        ))
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::Resnet(Resnet::default())
    }
}

/// Size of a wide ResNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resnet {
    /// Channels of the first group; each further group doubles them.
    pub filters: i64,
    /// Blocks in a group.
    pub repeat: i64,
    /// Groups; 0 takes as many as leave 8×8 pixels, ceil(log2(width)) − 2.
    pub scales: i64,
    /// Share of the running batch-norm statistics that stays at each step.
    pub bn_momentum: f64,
}

impl Default for Resnet {
    fn default() -> Self {
        Self {
            filters: 32,
            repeat: 4,
            scales: 0,
            bn_momentum: 0.999,
        }
    }
}

/// An optimizer and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum; weight decay as L2 in the loss, on kernels only
    /// (spec/fixmatch.md 6, optimizer A).
    Sgd(Sgd),
}

impl Optimizer {
    fn check(&self) -> Result<(), Invalid> {
        let Self::Sgd(sgd) = self;
        let at =
            |name: &str, message: &str| Err(Invalid::at(format!("optimizer.sgd.{name}"), message));
        if !(sgd.lr.is_finite() && sgd.lr > 0.0) {
            return at("lr", "expected a learning rate above 0");
        }
        if !(0.0..1.0).contains(&sgd.momentum) {
            return at("momentum", "expected 0 up to, not including, 1");
        }
        if !(sgd.weight_decay.is_finite() && sgd.weight_decay >= 0.0) {
            return at("weight_decay", "expected 0 or more");
        }
        Ok(())
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Sgd(Sgd::default())
    }
}

/// Settings of SGD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sgd {
    /// Learning rate at the start.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Nesterov's form of momentum.
    pub nesterov: bool,
    /// wd: coefficient of ½‖w‖² over kernels; not over biases and batch norm.
    pub weight_decay: f64,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            lr: 0.03,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.0005,
        }
    }
}

/// Learning rate as a function of progress t in 0..1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// lr·cos(7π/16·t) (spec/fixmatch.md 6).
    #[default]
    Cosine,
    /// lr throughout.
    Constant,
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
    /// 16 bits with float32's range.
    Bf16,
}

fn one() -> u64 {
    1
}
fn augment() -> String {
    "d.d.d".into()
}
fn batch() -> usize {
    64
}
fn ema() -> f64 {
    0.999
}
fn interval() -> Length {
    Length::Kimg(64)
}
fn keep() -> usize {
    1
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
        Ok(vec![
            ("labeled", output("labeled")),
            ("unlabeled", output("unlabeled")),
            ("test", output("test")),
            ("valid", Value::from(named.valid)),
        ])
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
        if self.unlabeled.is_none() && !matches!(self.algorithm, Method::Supervised(_)) {
            return Err(missing("unlabeled"));
        }
        if self.batch == 0 {
            return Err(Invalid::at("batch", "expected at least 1 image per step"));
        }
        if self.length.steps(self.batch) == 0 {
            return Err(Invalid::at("length", "expected at least one step"));
        }
        for (name, length) in [("report", self.report), ("save", self.save)] {
            if length.steps(self.batch) == 0 {
                return Err(Invalid::at(
                    name,
                    "expected an interval of at least one step",
                ));
            }
        }
        if !(0.0..1.0).contains(&self.ema) {
            return Err(Invalid::at(
                "ema",
                "expected a decay from 0 up to, not including, 1",
            ));
        }
        if self.keep == 0 {
            return Err(Invalid::at("keep", "expected at least 1 checkpoint"));
        }
        self.network.check()?;
        self.optimizer.check()?;
        self.algorithm.check()
    }
}
