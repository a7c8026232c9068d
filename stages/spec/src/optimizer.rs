//! How weights move: the optimizer and its learning rate over a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::Invalid;

/// An optimizer and its settings. In YAML `{sgd: {lr: 0.1}}`; what is left out has the value that it
/// has in FixMatch's (for `sgd`) and MixMatch's (for `adam`) published code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum; weight decay as L2 in the loss
    /// (spec/fixmatch.md 6, optimizer A).
    Sgd(Sgd),
    /// Adam in TensorFlow's form; weight decay apart from the gradient (spec/fixmatch.md 6,
    /// optimizer B).
    Adam(Adam),
}

/// Which variables weight decay shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decayed {
    /// Weights of convolutions and linear layers.
    #[default]
    Kernels,
    /// Biases and batch norm's scales and shifts as well, as PyTorch's optimizers do by default.
    All,
}

/// Settings of SGD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sgd {
    /// Learning rate at its highest.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Nesterov's form of momentum.
    pub nesterov: bool,
    /// wd: coefficient of ½‖w‖².
    pub weight_decay: f64,
    /// What it applies to.
    pub decayed: Decayed,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            lr: 0.03,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.0005,
            decayed: Decayed::Kernels,
        }
    }
}

/// Settings of Adam: w ← w − lr·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + ε).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adam {
    /// Learning rate at its highest.
    pub lr: f64,
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// ε.
    pub epsilon: f64,
    /// wd: after each step the decayed variables are multiplied by 1 − wd·lr₀, lr₀ being `lr`.
    pub weight_decay: f64,
    /// Takes weight decay as L2 in the loss instead.
    pub l2: bool,
    /// What it applies to.
    pub decayed: Decayed,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 0.002,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.02,
            l2: false,
            decayed: Decayed::Kernels,
        }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Sgd(Sgd::default())
    }
}

impl Optimizer {
    /// Learning rate at its highest.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.lr,
            Self::Adam(adam) => adam.lr,
        }
    }

    /// wd.
    pub fn weight_decay(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.weight_decay,
            Self::Adam(adam) => adam.weight_decay,
        }
    }

    /// Refuses settings that make no sense.
    pub fn check(&self) -> Result<(), Invalid> {
        let (name, shares) = match self {
            Self::Sgd(sgd) => ("sgd", vec![("momentum", sgd.momentum)]),
            Self::Adam(adam) => ("adam", vec![("beta1", adam.beta1), ("beta2", adam.beta2)]),
        };
        let at = |field: &str, message: &str| {
            Err(Invalid::at(format!("optimizer.{name}.{field}"), message))
        };
        if !(self.lr().is_finite() && self.lr() > 0.0) {
            return at("lr", "expected a learning rate above 0");
        }
        for (field, share) in shares {
            if !(0.0..1.0).contains(&share) {
                return at(field, "expected 0 up to, not including, 1");
            }
        }
        if !(self.weight_decay().is_finite() && self.weight_decay() >= 0.0) {
            return at("weight_decay", "expected 0 or more");
        }
        match self {
            Self::Adam(adam) if !(adam.epsilon.is_finite() && adam.epsilon > 0.0) => {
                at("epsilon", "expected a number above 0")
            }
            _ => Ok(()),
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
    /// From lr to `end` in a straight line (spec/fixmatch.md 8, linearlr).
    Linear(Linear),
    /// FeatMatch's: from lr/100 to lr/10, up to lr, back to lr/10, down to lr/10,000
    /// (spec/featmatch.md 6).
    Cycle(Cycle),
    /// A linear warm-up, then a tenth at a time (spec/fixmatch.md 11).
    Staircase(Staircase),
}

/// A learning rate that ends at a given value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Linear {
    /// Learning rate at the end.
    pub end: f64,
}

impl Default for Linear {
    fn default() -> Self {
        Self { end: 0.02 }
    }
}

/// Parts of FeatMatch's schedule; only their ratios count, so that a shorter run is a shorter copy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cycle {
    /// From lr/100 to lr/10: the pre-training.
    pub pretrain: f64,
    /// From lr/10 to lr, and as long again back.
    pub half: f64,
    /// From lr/10 to lr/10,000.
    pub end: f64,
}

impl Default for Cycle {
    fn default() -> Self {
        Self {
            pretrain: 3000.0,
            half: 75_000.0,
            end: 30_000.0,
        }
    }
}

/// ImageNet's schedule, in epochs of the run's `epochs`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Staircase {
    /// The whole run.
    pub epochs: f64,
    /// From 0 to lr.
    pub warmup: f64,
    /// Then a tenth of the rate after each so many, counted from the start.
    pub decay: f64,
}

impl Default for Staircase {
    fn default() -> Self {
        Self {
            epochs: 300.0,
            warmup: 5.0,
            decay: 50.0,
        }
    }
}

impl Schedule {
    /// Refuses settings that make no sense.
    pub fn check(&self) -> Result<(), Invalid> {
        let positive = |name: &str, values: &[f64]| {
            if values.iter().all(|v| v.is_finite() && *v > 0.0) {
                return Ok(());
            }
            let message = "expected lengths above 0";
            Err(Invalid::at(format!("schedule.{name}"), message))
        };
        match self {
            Self::Cosine | Self::Constant => Ok(()),
            Self::Linear(linear) if linear.end.is_finite() && linear.end >= 0.0 => Ok(()),
            Self::Linear(_) => Err(Invalid::at("schedule.linear.end", "expected 0 or more")),
            Self::Cycle(cycle) => positive("cycle", &[cycle.pretrain, cycle.half, cycle.end]),
            Self::Staircase(stairs) => {
                positive("staircase", &[stairs.epochs, stairs.warmup, stairs.decay])
            }
        }
    }
}
