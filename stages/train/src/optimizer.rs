//! Optimizers over all parameters at once, in fused updates: one for what has weight decay, one for
//! the rest (spec/fixmatch.md 6).

use rematch_spec::optimizer::{Adam, Decayed, Optimizer as Spec, Sgd};
use tch::{Kind, Tensor};

use crate::network::{Network, Role};
use crate::shim::{self, AdamStep, Error, SgdStep};

/// An optimizer and its state.
#[derive(Debug)]
pub struct Optimizer {
    spec: Spec,
    /// With weight decay, and without.
    groups: [Group; 2],
    fused: bool,
}

#[derive(Debug)]
struct Group {
    names: Vec<String>,
    parameters: Vec<Tensor>,
    /// Moments of the gradient: SGD's momentum, or Adam's two.
    moments: Vec<Vec<Tensor>>,
    decayed: bool,
}

impl Optimizer {
    /// For the trained variables of a network; `fused` over all of them at once.
    pub fn new(spec: &Spec, network: &Network, fused: bool) -> Self {
        let (decayed, moments) = match spec {
            Spec::Sgd(Sgd { decayed, .. }) => (*decayed, 1),
            Spec::Adam(Adam { decayed, .. }) => (*decayed, 2),
        };
        let shrinks = |role| match role {
            Role::Kernel => true,
            Role::Offset => decayed == Decayed::All,
            Role::Statistic => false,
        };
        let group = |wanted: bool| {
            let variables = || {
                let all = network.variables().iter();
                all.filter(move |v| v.role != Role::Statistic && shrinks(v.role) == wanted)
            };
            let zeros = || tch::no_grad(|| variables().map(|v| v.tensor.zeros_like()).collect());
            Group {
                names: variables().map(|v| v.name.clone()).collect(),
                parameters: variables().map(|v| v.tensor.shallow_clone()).collect(),
                moments: (0..moments).map(|_| zeros()).collect(),
                decayed: wanted,
            }
        };
        Self {
            spec: spec.clone(),
            groups: [group(true), group(false)],
            fused,
        }
    }

    /// Moves every parameter against its gradient, and forgets the gradients. `step` counts from 0. As
    /// in PyTorch, one that no term reaches stays where it is: batch norm whose output a network throws
    /// away, a head that a method does not use yet.
    pub fn step(&self, lr: f64, step: u64) -> Result<(), Error> {
        for group in &self.groups {
            match &self.spec {
                Spec::Sgd(sgd) => group.sgd(sgd, lr, self.fused)?,
                Spec::Adam(adam) => group.adam(adam, lr, step, self.fused)?,
            }
            shim::reset_gradients(&group.parameters)?;
        }
        Ok(())
    }

    /// Every gradient that there is.
    pub fn gradients(&self) -> Vec<Tensor> {
        let parameters = self.groups.iter().flat_map(|group| &group.parameters);
        parameters
            .filter(|w| shim::has_gradient(w))
            .map(Tensor::grad)
            .collect()
    }

    /// ½·Σ‖w‖² over what has weight decay: `losses/wd` of the originals, which leaves out the factor wd.
    pub fn l2(&self) -> Tensor {
        tch::no_grad(|| {
            let kernels = &self.groups[0].parameters;
            let norms: Vec<Tensor> = kernels.iter().map(|w| (w * w).sum(Kind::Float)).collect();
            Tensor::stack(&norms, 0).sum(Kind::Float) * 0.5
        })
    }

    /// Its state by name: SGD's `momentum.…`, Adam's `mean.…` and `variance.…`.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let kinds: &[&str] = match self.spec {
            Spec::Sgd(_) => &["momentum"],
            Spec::Adam(_) => &["mean", "variance"],
        };
        self.groups.iter().flat_map(move |group| {
            kinds
                .iter()
                .zip(&group.moments)
                .flat_map(|(kind, moments)| {
                    let named = group.names.iter().zip(moments);
                    named.map(move |(name, moment)| (format!("{kind}.{name}"), moment))
                })
        })
    }
}

/// The part of a group that a loss reaches.
struct Reached {
    parameters: Vec<Tensor>,
    gradients: Vec<Tensor>,
    moments: Vec<Vec<Tensor>>,
}

impl Group {
    /// Handles of the parameters that have a gradient, their gradients, and their moments.
    fn reached(&self) -> Reached {
        let places: Vec<usize> = (0..self.parameters.len())
            .filter(|n| shim::has_gradient(&self.parameters[*n]))
            .collect();
        let of = |all: &[Tensor]| places.iter().map(|n| all[*n].shallow_clone()).collect();
        Reached {
            parameters: of(&self.parameters),
            gradients: places.iter().map(|n| self.parameters[*n].grad()).collect(),
            moments: self.moments.iter().map(|all| of(all)).collect(),
        }
    }

    /// L2 in the loss and weight decay in the gradient are the same for SGD: ∇ wd·½‖w‖² = wd·w.
    fn sgd(&self, sgd: &Sgd, lr: f64, fused: bool) -> Result<(), Error> {
        let step = SgdStep {
            lr,
            momentum: sgd.momentum,
            nesterov: sgd.nesterov,
            weight_decay: if self.decayed { sgd.weight_decay } else { 0.0 },
        };
        let at = self.reached();
        if fused {
            return shim::fused_sgd(&at.parameters, &at.gradients, &at.moments[0], step);
        }
        let moments = at.moments[0].iter();
        for ((w, g), v) in at.parameters.iter().zip(&at.gradients).zip(moments) {
            sgd_by_hand(w, g, v, step);
        }
        Ok(())
    }

    fn adam(&self, adam: &Adam, lr: f64, step: u64, fused: bool) -> Result<(), Error> {
        let decay = if self.decayed { adam.weight_decay } else { 0.0 };
        let t = step as f64 + 1.0;
        let settings = AdamStep {
            lr,
            beta1: adam.beta1,
            beta2: adam.beta2,
            // libtorch divides √v by √(1−β₂ᵗ) before it adds ε; TensorFlow adds ε to √v itself.
            epsilon: adam.epsilon / (1.0 - adam.beta2.powf(t)).sqrt(),
            weight_decay: if adam.l2 { decay } else { 0.0 },
            step: t,
        };
        let at = self.reached();
        let [mean, variance] = &at.moments[..] else {
            return Ok(());
        };
        if fused {
            shim::fused_adam(&at.parameters, &at.gradients, mean, variance, settings)?;
        } else {
            let moments = mean.iter().zip(variance);
            for ((w, g), (m, v)) in at.parameters.iter().zip(&at.gradients).zip(moments) {
                adam_by_hand(w, g, m, v, settings);
            }
        }
        if !adam.l2 && decay > 0.0 {
            shim::scale(&self.parameters, 1.0 - decay * adam.lr)?;
        }
        Ok(())
    }
}

/// What [`shim::fused_sgd`] does to one parameter, in single operations.
fn sgd_by_hand(w: &Tensor, g: &Tensor, v: &Tensor, step: SgdStep) {
    tch::no_grad(|| {
        let g = g + w * step.weight_decay;
        v.shallow_clone().copy_(&(v * step.momentum + &g));
        let go = match step.nesterov {
            true => g + v * step.momentum,
            false => v.shallow_clone(),
        };
        w.shallow_clone().copy_(&(w - go * step.lr));
    });
}

/// What [`shim::fused_adam`] does to one parameter, in single operations.
fn adam_by_hand(w: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, step: AdamStep) {
    let AdamStep { beta1, beta2, .. } = step;
    tch::no_grad(|| {
        let g = g + w * step.weight_decay;
        m.shallow_clone().copy_(&(m * beta1 + &g * (1.0 - beta1)));
        v.shallow_clone()
            .copy_(&(v * beta2 + &g * &g * (1.0 - beta2)));
        let mean = m / (1.0 - beta1.powf(step.step));
        let root = v.sqrt() / (1.0 - beta2.powf(step.step)).sqrt();
        w.shallow_clone()
            .copy_(&(w - mean / (root + step.epsilon) * step.lr));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_norm::Bn;
    use crate::methods::testing::linear;

    #[test]
    fn three_steps_follow_the_formula_with_decay_on_kernels_alone() {
        for fused in [true, false] {
            let network = linear(3, 2);
            let settings = Sgd {
                lr: 0.1,
                weight_decay: 0.1,
                ..Sgd::default()
            };
            let sgd = Optimizer::new(&Spec::Sgd(settings), &network, fused);
            let [weight, bias] = [0, 1].map(|i| network.variables()[i].tensor.shallow_clone());
            let x = Tensor::from_slice(&[1.0_f32, -2.0]).view([1, 2]);
            // Loss Σ logits: the gradient of weight row i is x, of each bias 1.
            let mut expected: Vec<[f64; 2]> = (0..2)
                .flat_map(|i| (0..2).map(move |j| (i, j)))
                .map(|(i, j)| [weight.double_value(&[i, j]), 0.0])
                .collect();
            let mut expected_bias = [0.0, 0.0];
            for lr in [0.1, 0.05, 0.2] {
                network.logits(&x, Bn::Update).sum(Kind::Float).backward();
                sgd.step(lr, 0).unwrap();
                for (n, [w, v]) in expected.iter_mut().enumerate() {
                    let g = [1.0, -2.0][n % 2] + 0.1 * *w;
                    *v = 0.9 * *v + g;
                    *w -= lr * (g + 0.9 * *v);
                }
                let [b, v] = &mut expected_bias;
                *v = 0.9 * *v + 1.0;
                *b -= lr * (1.0 + 0.9 * *v);
            }
            for (n, [w, _]) in expected.iter().enumerate() {
                let found = weight.double_value(&[n as i64 / 2, n as i64 % 2]);
                assert!((found - w).abs() < 1e-6, "{found} {w}");
            }
            assert!((bias.double_value(&[1]) - expected_bias[0]).abs() < 1e-6);
            let l2: f64 = expected.iter().map(|[w, _]| 0.5 * w * w).sum();
            assert!((sgd.l2().double_value(&[]) - l2).abs() < 1e-5);
            assert!(!shim::has_gradient(&weight), "gradients are forgotten");
        }
    }

    #[test]
    fn adam_follows_tensorflows_formula_with_decay_beside_it() {
        for fused in [true, false] {
            let network = linear(3, 2);
            let adam = Adam {
                lr: 0.01,
                epsilon: 0.1,
                weight_decay: 0.5,
                ..Adam::default()
            };
            let optimizer = Optimizer::new(&Spec::Adam(adam), &network, fused);
            let [weight, bias] = [0, 1].map(|i| network.variables()[i].tensor.shallow_clone());
            let x = Tensor::from_slice(&[1.0_f32, -2.0]).view([1, 2]);
            let (mut w, mut b) = (weight.double_value(&[1, 1]), 0.0);
            let (mut moments, lr) = ([[0.0_f64; 2]; 2], 0.005);
            for t in 1..4 {
                let loss = network.logits(&x, Bn::Update).sum(Kind::Float) * f64::from(t);
                loss.backward();
                optimizer.step(lr, t as u64 - 1).unwrap();
                let rate = lr * (1.0 - 0.999_f64.powi(t)).sqrt() / (1.0 - 0.9_f64.powi(t));
                for ([m, v], (value, g)) in moments
                    .iter_mut()
                    .zip([(&mut w, -2.0 * f64::from(t)), (&mut b, f64::from(t))])
                {
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.999 * *v + 0.001 * g * g;
                    *value -= rate * *m / (v.sqrt() + 0.1);
                }
                // Decay goes by the highest rate, and spares the bias.
                w *= 1.0 - 0.5 * 0.01;
            }
            assert!((weight.double_value(&[1, 1]) - w).abs() < 1e-5);
            assert!((bias.double_value(&[0]) - b).abs() < 1e-5);
            let names: Vec<String> = optimizer.state().map(|(name, _)| name).collect();
            assert!(
                names.contains(&"variance.classifier.bias".to_owned()),
                "{names:?}"
            );
        }
    }

    #[test]
    fn a_parameter_that_no_term_reaches_stays() {
        let network = linear(3, 2);
        let before = network.variables()[1].tensor.copy();
        let optimizer = Optimizer::new(&Spec::Sgd(Sgd::default()), &network, true);
        let weight = network.variables()[0].tensor.shallow_clone();
        weight.sum(Kind::Float).backward();
        optimizer.step(0.1, 0).unwrap();
        assert_eq!(network.variables()[1].tensor, before);
    }
}
