//! A network: named variables, a body that turns images into features, a linear head over them.
//!
//! Variables have the names that PyTorch modules of the same structure would give them
//! (`groups.0.0.conv1.weight`), and stand in one fixed order: that of construction.

use std::sync::Arc;

use rematch_data::rng::{Purpose, Stream};
use rematch_spec::network::Network as Spec;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::batch_norm::Bn;
use crate::group::Group;
use crate::networks;
use crate::shim;

/// What a variable is, which decides how it is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weights of a convolution or a linear layer: trained, with weight decay.
    Kernel,
    /// Biases, scales and shifts: trained, without weight decay.
    Offset,
    /// Running statistics of batch norm: followed, not trained, and not averaged by the EMA.
    Statistic,
}

/// A named tensor of a network.
#[derive(Debug)]
pub struct Variable {
    /// Its name, as in PyTorch.
    pub name: String,
    /// Its value.
    pub tensor: Tensor,
    /// What it is.
    pub role: Role,
}

/// Shape of the images and number of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// 1 or 3.
    pub channels: i64,
    /// Rows.
    pub height: i64,
    /// Columns.
    pub width: i64,
    /// K.
    pub classes: i64,
}

/// Turns images into features.
pub trait Body: Send {
    /// N×C×H×W, −1 to 1, into N×[`features`](Body::features).
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor;
    /// How many features an image gets.
    fn features(&self) -> i64;
    /// How the classifier over them starts.
    fn init(&self) -> Init {
        Init::TensorFlow
    }
}

/// Where and how a network computes.
#[derive(Clone, Debug)]
pub struct Compute {
    /// Where its variables are.
    pub device: Device,
    /// Whether convolutions and matrix products are in bf16.
    pub bf16: bool,
    /// Whether images and kernels have their channels last in memory.
    pub channels_last: bool,
    /// The processes that share the work.
    pub group: Option<Arc<Group>>,
}

impl Compute {
    /// In float32, by this process alone.
    pub fn on(device: Device) -> Self {
        Self {
            device,
            bf16: false,
            channels_last: true,
            group: None,
        }
    }
}

/// What a teacher is made from.
#[derive(Clone, Copy, Debug)]
struct Student<'a> {
    variables: &'a [Variable],
    /// Whether running statistics are copied as well, rather than shared.
    own_statistics: bool,
}

/// Makes variables: fresh ones, or the teacher's, which follow a student's.
#[derive(Debug)]
pub struct Builder<'a> {
    seed: u64,
    compute: Compute,
    student: Option<Student<'a>>,
    variables: Vec<Variable>,
}

impl Builder<'_> {
    /// The processes that share the work.
    pub fn group(&self) -> Option<Arc<Group>> {
        self.compute.group.clone()
    }

    /// The kernel of a linear layer, outputs×inputs, or of a convolution, outputs×inputs×k×k.
    pub fn weight(&mut self, name: &str, shape: &[i64], init: Init) -> Tensor {
        let fans = fans(shape);
        self.drawn(name, Role::Kernel, shape, |s| init.weight(fans, s))
    }

    /// The bias that goes with a kernel of that shape.
    pub fn bias(&mut self, name: &str, kernel: &[i64], init: Init) -> Tensor {
        match init {
            Init::PyTorch => {
                let fans = fans(kernel);
                self.drawn(name, Role::Offset, &kernel[..1], |s| init.weight(fans, s))
            }
            _ => self.constant(name, Role::Offset, kernel[0], 0.0),
        }
    }

    /// A variable whose entries are `draw`n, in the order of its memory.
    fn drawn(
        &mut self,
        name: &str,
        role: Role,
        shape: &[i64],
        draw: impl Fn(&mut Stream) -> f64,
    ) -> Tensor {
        let mut stream = Stream::new(
            self.seed,
            const { Purpose::named("weights") },
            0,
            self.variables.len() as u64,
        );
        self.add(name, role, || {
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|_| draw(&mut stream) as f32)
                .collect();
            Tensor::from_slice(&values).view(shape)
        })
    }

    /// `size` numbers that start at `value`.
    pub fn constant(&mut self, name: &str, role: Role, size: i64, value: f64) -> Tensor {
        self.add(name, role, || {
            Tensor::full([size], value, (Kind::Float, Device::Cpu))
        })
    }

    fn add(&mut self, name: &str, role: Role, fresh: impl FnOnce() -> Tensor) -> Tensor {
        let tensor = match self.student {
            Some(student) => {
                let twin = &student.variables[self.variables.len()].tensor;
                if role == Role::Statistic && !student.own_statistics {
                    twin.shallow_clone()
                } else {
                    twin.detach().copy()
                }
            }
            None => {
                let tensor = fresh().to_device(self.compute.device);
                // Convolutions are fastest in this layout on the CPU and in bf16 on a GPU; a 1×1 kernel
                // is the same in both, and libtorch decides by the input then.
                let tensor = match tensor.dim() {
                    4 if self.compute.channels_last => {
                        shim::channels_last(&tensor).unwrap_or(tensor)
                    }
                    _ => tensor,
                };
                tensor.set_requires_grad(role != Role::Statistic)
            }
        };
        let handle = tensor.shallow_clone();
        self.variables.push(Variable {
            name: name.to_owned(),
            tensor,
            role,
        });
        handle
    }

    /// A linear layer.
    pub fn linear(&mut self, name: &str, inputs: i64, outputs: i64, init: Init) -> Linear {
        let shape = [outputs, inputs];
        let weight = self.weight(&format!("{name}.weight"), &shape, init);
        let bias = self.bias(&format!("{name}.bias"), &shape, init);
        Linear { weight, bias }
    }
}

/// How a layer starts. Bias 0, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Glorot's normal initialisation as TensorFlow has it: cut off at two standard deviations, and
    /// widened so that the cut leaves the variance (spec/fixmatch.md 5.1).
    TensorFlow,
    /// Glorot's normal initialisation, not cut off.
    Xavier,
    /// Glorot's uniform initialisation, TensorFlow's default.
    Glorot,
    /// PyTorch's default: weights and bias uniform within 1/√inputs.
    PyTorch,
    /// N(0, 2/outputs), where an output counts once for each place of the kernel: wide residual networks
    /// (spec/fixmatch.md 5.1), and `kaiming_normal_` with `fan_out` in torchvision's.
    FanOut,
    /// He's normal initialisation as Keras has it, of variance 2/inputs, cut off and widened as in
    /// [`TensorFlow`](Init::TensorFlow).
    He,
    /// N(0, 0.01²).
    Small,
}

impl Init {
    /// A weight of a layer with so many inputs and outputs.
    fn weight(self, [inputs, outputs]: [f64; 2], stream: &mut Stream) -> f64 {
        match self {
            Self::TensorFlow => (2.0 / (inputs + outputs)).sqrt() * cut_normal(stream),
            Self::Xavier => (2.0 / (inputs + outputs)).sqrt() * stream.normal(),
            Self::Glorot => (6.0 / (inputs + outputs)).sqrt() * around_zero(stream),
            Self::PyTorch => inputs.sqrt().recip() * around_zero(stream),
            Self::FanOut => (0.5 * outputs).sqrt().recip() * stream.normal(),
            Self::He => (2.0 / inputs).sqrt() * cut_normal(stream),
            Self::Small => 0.01 * stream.normal(),
        }
    }
}

/// Inputs and outputs of a kernel, each counted once for each of its places.
fn fans(shape: &[i64]) -> [f64; 2] {
    let places: i64 = shape[2..].iter().product();
    [(shape[1] * places) as f64, (shape[0] * places) as f64]
}

/// Uniform, −1 to 1.
fn around_zero(stream: &mut Stream) -> f64 {
    2.0 * stream.uniform() - 1.0
}

/// Of variance 1: normal numbers within two standard deviations, whose variance the cut makes 0.8796².
fn cut_normal(stream: &mut Stream) -> f64 {
    loop {
        let z = stream.normal();
        if z.abs() <= 2.0 {
            return z / 0.879_625_66;
        }
    }
}

/// A linear layer that a method wants beside the classifier.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its name, also in checkpoints.
    pub name: &'static str,
    /// Numbers in.
    pub inputs: i64,
    /// Numbers out.
    pub outputs: i64,
    /// How it starts.
    pub init: Init,
}

/// A linear layer.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// x·Wᵀ + b.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// A network that classifies images.
pub struct Network {
    variables: Vec<Variable>,
    layers: Layers,
    own_statistics: bool,
    compute: Compute,
    build: Arc<Build>,
}

struct Layers {
    body: Box<dyn Body>,
    classifier: Linear,
    heads: Vec<(&'static str, Linear)>,
}

type Build = dyn Fn(&mut Builder) -> Layers + Send + Sync;

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("variables", &self.variables.len())
            .field("compute", &self.compute)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// The network that `spec` names, with the heads that a method wants; weights are drawn from `seed`.
    pub fn new(spec: &Spec, shape: Shape, seed: u64, compute: Compute, heads: &[Head]) -> Self {
        let spec = spec.clone();
        Self::with_body(seed, compute, shape.classes, heads, move |builder| {
            networks::build(&spec, shape, builder)
        })
    }

    /// A network with a body of the caller's.
    pub fn with_body(
        seed: u64,
        compute: Compute,
        classes: i64,
        heads: &[Head],
        body: impl Fn(&mut Builder) -> Box<dyn Body> + Send + Sync + 'static,
    ) -> Self {
        let heads = heads.to_vec();
        let build: Arc<Build> = Arc::new(move |builder: &mut Builder| {
            let body = body(builder);
            let classifier = builder.linear("classifier", body.features(), classes, body.init());
            let heads = heads
                .iter()
                .map(|h| (h.name, builder.linear(h.name, h.inputs, h.outputs, h.init)))
                .collect();
            Layers {
                body,
                classifier,
                heads,
            }
        });
        let builder = Builder {
            seed,
            compute,
            student: None,
            variables: Vec::new(),
        };
        Self::finish(builder, build)
    }

    fn finish(mut builder: Builder, build: Arc<Build>) -> Self {
        let own_statistics = builder.student.is_none_or(|student| student.own_statistics);
        let layers = build(&mut builder);
        Self {
            variables: builder.variables,
            layers,
            own_statistics,
            compute: builder.compute,
            build,
        }
    }

    /// Whether its running statistics are its own, or those of the network that it follows.
    pub fn has_own_statistics(&self) -> bool {
        self.own_statistics
    }

    /// A second network with a copy of this one's weights, and with its running statistics themselves
    /// or a copy of them.
    #[must_use]
    pub fn teacher(&self, own_statistics: bool) -> Self {
        let builder = Builder {
            seed: 0,
            compute: self.compute.clone(),
            student: Some(Student {
                variables: &self.variables,
                own_statistics,
            }),
            variables: Vec::new(),
        };
        Self::finish(builder, self.build.clone())
    }

    /// Every variable, in order of construction.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Handles of the variables of which `wanted` holds.
    pub fn tensors(&self, wanted: impl Fn(Role) -> bool) -> Vec<Tensor> {
        self.variables
            .iter()
            .filter(|v| wanted(v.role))
            .map(|v| v.tensor.shallow_clone())
            .collect()
    }

    /// How many numbers are trained.
    pub fn parameters(&self) -> i64 {
        self.tensors(|role| role != Role::Statistic)
            .iter()
            .map(|t| t.numel() as i64)
            .sum()
    }

    /// The device it is on.
    pub fn device(&self) -> Device {
        self.compute.device
    }

    fn autocast(&self, x: &Tensor) -> Option<shim::Autocast> {
        self.compute
            .bf16
            .then(|| shim::Autocast::bf16(x).unwrap_or_else(|e| panic!("{e}")))
    }

    /// Logits of N×C×H×W images, N×K, float32.
    pub fn logits(&self, x: &Tensor, bn: Bn) -> Tensor {
        self.classify(&self.features(x, bn))
    }

    /// Features of N×C×H×W images, N×D, float32.
    pub fn features(&self, x: &Tensor, bn: Bn) -> Tensor {
        let forward = |x: &Tensor| {
            let rows = (!self.compute.channels_last).then(|| x.contiguous());
            let x = rows.as_ref().unwrap_or(x);
            let _autocast = self.autocast(x);
            self.layers.body.forward(x, bn).to_kind(Kind::Float)
        };
        match &self.compute.group {
            Some(group) => group.spread(x, forward),
            None => forward(x),
        }
    }

    /// Logits of features, N×K, float32.
    pub fn classify(&self, features: &Tensor) -> Tensor {
        self.linear(&self.layers.classifier, features)
    }

    /// The classifier's weights, K×D.
    pub fn classifier_weight(&self) -> &Tensor {
        &self.layers.classifier.weight
    }

    /// What a head of the method's makes of its input, float32.
    ///
    /// # Panics
    /// Where the method has not asked for a head of that name.
    pub fn head(&self, name: &str, x: &Tensor) -> Tensor {
        let found = self.layers.heads.iter().find(|head| head.0 == name);
        let (_, layer) = found.unwrap_or_else(|| panic!("the method has no head `{name}`"));
        self.linear(layer, x)
    }

    fn linear(&self, layer: &Linear, x: &Tensor) -> Tensor {
        let _autocast = self.autocast(x);
        layer.forward(x).to_kind(Kind::Float)
    }

    /// Logits of several batches from one pass, which shares its batch statistics and updates the
    /// running ones (spec/fixmatch.md 6). The originals interleave the batches first, so that each of
    /// their GPUs sees a part of each; on one device the order changes nothing.
    pub fn together<const N: usize>(&self, batches: [&Tensor; N]) -> [Tensor; N] {
        let features = self.features(&join(batches), Bn::Update);
        cut(&self.classify(&features), batches)
    }

    /// The same, features in place of logits.
    pub fn features_together<const N: usize>(&self, batches: [&Tensor; N]) -> [Tensor; N] {
        cut(&self.features(&join(batches), Bn::Update), batches)
    }
}

/// One batch of several.
fn join<const N: usize>(batches: [&Tensor; N]) -> Tensor {
    match batches[..] {
        [one] => one.shallow_clone(),
        _ => Tensor::cat(&batches, 0),
    }
}

/// The rows of what became of joined batches.
fn cut<const N: usize>(all: &Tensor, batches: [&Tensor; N]) -> [Tensor; N] {
    let mut start = 0;
    batches.map(|x| {
        let size = x.size()[0];
        start += size;
        all.narrow(0, start - size, size)
    })
}
