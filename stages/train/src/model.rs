//! What a trained network is, apart from its weights: enough to build it again. Checkpoints hold it.

use rematch_data::child::StageError;
use rematch_spec::method::Method as MethodSpec;
use rematch_spec::network::Network as NetworkSpec;
use rematch_spec::recipe::Normalize;
use rematch_spec::train::Train;
use serde::{Deserialize, Serialize};

use crate::memory::Memory;
use crate::method::{self, Method, Setting};
use crate::network::{Compute, Network, Shape};
use crate::networks;

/// A method and a network for images of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The method: it decides which layers there are and what is remembered.
    pub algorithm: MethodSpec,
    /// The network.
    pub network: NetworkSpec,
    /// How pixels are scaled.
    pub normalize: Option<Normalize>,
    /// Whether they are whitened; by what, the run's job says.
    pub whitened: bool,
    /// Shape of the images, and how many classes.
    pub shape: Shape,
    /// Whether the moving average covers running statistics.
    pub ema_statistics: bool,
    /// B.
    pub batch: usize,
    /// How many unlabeled images it is trained on.
    pub unlabeled: usize,
    /// Steps of the whole run.
    pub steps: u64,
}

/// A model with weights.
#[derive(Debug)]
pub struct Built {
    /// The method.
    pub method: Box<dyn Method>,
    /// The network that learns.
    pub student: Network,
    /// Its moving average.
    pub teacher: Network,
    /// What the method remembers.
    pub memory: Memory,
}

impl Model {
    /// That of a run.
    pub fn new(spec: &Train, shape: Shape, unlabeled: usize) -> Self {
        let recipe = spec.recipe();
        Self {
            algorithm: spec.algorithm.clone(),
            steps: recipe.length.steps(recipe.batch),
            network: recipe.network,
            normalize: recipe.normalize,
            whitened: spec.zca.is_some(),
            shape,
            ema_statistics: recipe.ema_statistics,
            batch: recipe.batch,
            unlabeled,
        }
    }

    /// Builds it with fresh weights, drawn from `seed`; computes as `compute` says.
    ///
    /// # Errors
    /// Hyper-parameters that do not fit the images.
    pub fn build(&self, seed: u64, compute: Compute) -> Result<Built, StageError> {
        networks::check(&self.network, self.shape)?;
        let features = networks::features(&self.network, self.shape);
        let mut memory = Memory::new(compute.device);
        let method = method::build(
            &self.algorithm,
            &mut Setting {
                classes: self.shape.classes,
                batch: self.batch,
                unlabeled: self.unlabeled,
                features,
                steps: self.steps,
                device: compute.device,
                memory: &mut memory,
            },
        )?;
        let heads = method.heads(features);
        let student = Network::new(&self.network, self.shape, seed, compute, &heads);
        let teacher = student.teacher(self.ema_statistics);
        Ok(Built {
            method,
            student,
            teacher,
            memory,
        })
    }
}
