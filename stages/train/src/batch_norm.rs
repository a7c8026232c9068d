//! Batch normalisation with the three behaviours that semi-supervised methods need.

use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::group::Group;
use crate::network::{Builder, Role};

/// What batch norm does in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bn {
    /// Uses the batch's statistics, and moves the running ones towards them.
    Update,
    /// Uses the batch's statistics, and leaves the running ones alone.
    Observe,
    /// Uses the running statistics.
    Eval,
}

/// ε of the originals (spec/fixmatch.md 5.1).
const EPSILON: f64 = 1e-3;

/// Batch norm over N, H and W.
#[derive(Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: f64,
    epsilon: f64,
    group: Option<Arc<Group>>,
}

impl BatchNorm {
    /// Over `channels` channels: scale 1, shift 0, running mean 0 and variance 1. `momentum` is the
    /// share of the running statistics that stays, as TensorFlow counts; PyTorch's is what goes.
    pub fn new(builder: &mut Builder, name: &str, channels: i64, momentum: f64) -> Self {
        Self {
            weight: builder.constant(&format!("{name}.weight"), Role::Offset, channels, 1.0),
            bias: builder.constant(&format!("{name}.bias"), Role::Offset, channels, 0.0),
            running_mean: builder.constant(
                &format!("{name}.running_mean"),
                Role::Statistic,
                channels,
                0.0,
            ),
            running_var: builder.constant(
                &format!("{name}.running_var"),
                Role::Statistic,
                channels,
                1.0,
            ),
            momentum,
            epsilon: EPSILON,
            group: builder.group(),
        }
    }

    /// The same with another ε.
    #[must_use]
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// Normalises x, N×C×H×W. The running variance follows the unbiased variance of the batch, as
    /// TensorFlow's fused kernel has it.
    pub fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        if let Some(group) = self.group.as_ref().filter(|_| bn != Bn::Eval) {
            return self.over(group, x, bn);
        }
        let running = (bn != Bn::Observe).then_some((&self.running_mean, &self.running_var));
        let (mean, var) = running.unzip();
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        x.batch_norm(
            weight,
            bias,
            mean,
            var,
            bn != Bn::Eval,
            1.0 - self.momentum,
            self.epsilon,
            true,
        )
    }

    /// The same by the statistics of all images that the processes of a group have.
    fn over(&self, group: &Group, x: &Tensor, bn: Bn) -> Tensor {
        let sum = |x: &Tensor| x.sum_dim_intlist([0_i64, 2, 3].as_slice(), true, Kind::Float);
        let kind = x.kind();
        let x = x.to_kind(Kind::Float);
        let count = group.total(&sum(&x.detach().ones_like()));
        let mean = group.total(&sum(&x)) / &count;
        let centred = &x - &mean;
        let squares = group.total(&sum(&(&centred * &centred)));
        if bn == Bn::Update {
            tch::no_grad(|| {
                let go = 1.0 - self.momentum;
                let follow = |running: &Tensor, value: &Tensor| {
                    let _ = running.shallow_clone().lerp_(&value.flatten(0, -1), go);
                };
                follow(&self.running_mean, &mean);
                follow(&self.running_var, &(&squares / (&count - 1.0)));
            });
        }
        let each = |v: &Tensor| v.view([1, -1, 1, 1]);
        let scale = (squares / &count + self.epsilon).rsqrt() * each(&self.weight);
        (centred * scale + each(&self.bias)).to_kind(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Body, Compute, Network};
    use tch::{Device, Kind};

    struct Flat(BatchNorm);
    impl Body for Flat {
        fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
            self.0
                .forward(x, bn)
                .mean_dim([2_i64, 3].as_slice(), false, Kind::Float)
        }
        fn features(&self) -> i64 {
            1
        }
    }

    fn network() -> Network {
        Network::with_body(1, Compute::on(Device::Cpu), 2, &[], |builder| {
            Box::new(Flat(BatchNorm::new(builder, "bn", 1, 0.9)))
        })
    }

    fn running(network: &Network) -> [f64; 2] {
        let values = network.tensors(|role| role == Role::Statistic);
        [values[0].double_value(&[0]), values[1].double_value(&[0])]
    }

    fn close(found: [f64; 2], expected: [f64; 2]) {
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6),
            "{found:?} {expected:?}"
        );
    }

    // Mean 2, biased variance 5/4, unbiased 5/3.
    fn batch() -> Tensor {
        Tensor::from_slice(&[0.5_f32, 1.5, 2.5, 3.5]).view([1, 1, 2, 2])
    }

    #[test]
    fn update_uses_the_batch_and_moves_the_running_statistics() {
        let network = network();
        let bn = BatchNorm {
            weight: Tensor::from_slice(&[2.0_f32]),
            bias: Tensor::from_slice(&[1.0_f32]),
            running_mean: Tensor::from_slice(&[10.0_f32]),
            running_var: Tensor::from_slice(&[4.0_f32]),
            momentum: 0.9,
            epsilon: EPSILON,
            group: None,
        };
        let found = Vec::<f32>::try_from(bn.forward(&batch(), Bn::Update).view([4])).unwrap();
        for (y, x) in found.iter().zip([0.5, 1.5, 2.5, 3.5]) {
            let expected = 2.0 * (x - 2.0) / (1.25_f64 + 1e-3).sqrt() + 1.0;
            assert!((f64::from(*y) - expected).abs() < 1e-5);
        }
        close(
            [
                bn.running_mean.double_value(&[0]),
                bn.running_var.double_value(&[0]),
            ],
            [9.2, 3.6 + 5.0 / 30.0],
        );
        let _ = network.logits(&batch(), Bn::Update);
        close(running(&network), [0.2, 0.9 + 5.0 / 30.0]);
    }

    #[test]
    fn observe_uses_the_batch_and_leaves_the_running_statistics() {
        let network = network();
        let (observed, updated) = (
            network.logits(&batch(), Bn::Observe),
            network.logits(&batch(), Bn::Update),
        );
        assert_eq!(observed, updated);
        close(running(&network), [0.2, 0.9 + 5.0 / 30.0]);
        let _ = network.logits(&batch(), Bn::Observe);
        close(running(&network), [0.2, 0.9 + 5.0 / 30.0]);
    }

    #[test]
    fn eval_uses_the_running_statistics_and_leaves_them() {
        let network = network();
        let images = Tensor::cat(&[batch(), batch() * 2.0], 0);
        let together = network.logits(&images, Bn::Eval);
        let alone = network.logits(&images.narrow(0, 1, 1), Bn::Eval);
        assert!(
            (together.get(1) - alone.get(0))
                .abs()
                .max()
                .double_value(&[])
                < 1e-6
        );
        close(running(&network), [0.0, 1.0]);
    }

    #[test]
    fn a_teacher_shares_the_running_statistics_and_not_the_weights() {
        let student = network();
        let teacher = student.teacher(false);
        let _ = student.logits(&batch(), Bn::Update);
        close(running(&teacher), [0.2, 0.9 + 5.0 / 30.0]);
        let (a, b) = (
            &student.variables()[0].tensor,
            &teacher.variables()[0].tensor,
        );
        assert_eq!(a, b);
        assert!(a.requires_grad() && !b.requires_grad());
        tch::no_grad(|| {
            let _ = a.shallow_clone().fill_(3.0);
        });
        assert_ne!(a, b);
    }
}
