//! Stochastic gradient descent with momentum, all parameters in two fused updates: kernels, which
//! have weight decay, and the rest, which has none (spec/fixmatch.md 6, optimizer A).

use rematch_spec::train;
use tch::{Kind, Tensor};

use crate::network::{Network, Role};
use crate::shim::{self, Error, SgdStep};

/// An optimizer and its momenta.
#[derive(Debug)]
pub struct Sgd {
    settings: train::Sgd,
    groups: [Group; 2],
}

#[derive(Debug)]
struct Group {
    names: Vec<String>,
    parameters: Vec<Tensor>,
    momenta: Vec<Tensor>,
    weight_decay: f64,
}

impl Sgd {
    /// For the trained variables of a network.
    pub fn new(settings: &train::Sgd, network: &Network) -> Self {
        let group = |wanted: Role, weight_decay| {
            let variables = || network.variables().iter().filter(move |v| v.role == wanted);
            Group {
                names: variables().map(|v| v.name.clone()).collect(),
                parameters: variables().map(|v| v.tensor.shallow_clone()).collect(),
                momenta: tch::no_grad(|| variables().map(|v| v.tensor.zeros_like()).collect()),
                weight_decay,
            }
        };
        let groups = [
            group(Role::Kernel, settings.weight_decay),
            group(Role::Offset, 0.0),
        ];
        Self {
            settings: settings.clone(),
            groups,
        }
    }

    /// Moves every parameter against its gradient, and forgets the gradients.
    ///
    /// L2 in the loss and weight decay in the gradient are the same for SGD: ∇ wd·½‖w‖² = wd·w.
    ///
    /// # Errors
    /// Where a parameter has no gradient.
    pub fn step(&self, lr: f64) -> Result<(), Error> {
        let train::Sgd {
            momentum, nesterov, ..
        } = self.settings;
        for group in &self.groups {
            let gradients: Vec<Tensor> = group.parameters.iter().map(Tensor::grad).collect();
            let step = SgdStep {
                lr,
                momentum,
                nesterov,
                weight_decay: group.weight_decay,
            };
            shim::fused_sgd(&group.parameters, &gradients, &group.momenta, step)?;
            drop(gradients);
            shim::reset_gradients(&group.parameters)?;
        }
        Ok(())
    }

    /// ½·Σ‖w‖² over kernels: `losses/wd` of the originals, which leaves out the factor wd.
    pub fn l2(&self) -> Tensor {
        tch::no_grad(|| {
            let kernels = &self.groups[0].parameters;
            let norms: Vec<Tensor> = kernels.iter().map(|w| (w * w).sum(Kind::Float)).collect();
            Tensor::stack(&norms, 0).sum(Kind::Float) * 0.5
        })
    }

    /// The momenta by name of their parameter.
    pub fn momenta(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.groups
            .iter()
            .flat_map(|g| g.names.iter().map(String::as_str).zip(&g.momenta))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_norm::Bn;
    use crate::methods::testing::linear;

    #[test]
    fn three_steps_follow_the_formula_with_decay_on_kernels_alone() {
        let network = linear(3, 2);
        let settings = train::Sgd {
            lr: 0.1,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.1,
        };
        let sgd = Sgd::new(&settings, &network);
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
            sgd.step(lr).unwrap();
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

    #[test]
    fn a_parameter_without_gradient_is_an_error() {
        let network = linear(3, 2);
        let error = Sgd::new(&train::Sgd::default(), &network)
            .step(0.1)
            .unwrap_err();
        assert!(error.0.contains("no gradient"), "{error}");
    }
}
