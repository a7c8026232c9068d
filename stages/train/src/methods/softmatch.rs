//! SoftMatch: Chen et al. 2023, arXiv 2301.10921, algorithm 1; its code is in USB.

use rematch_spec::method::Softmatch as Settings;
use tch::Tensor;

use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::ops::{batch_mean, confidence, cross_entropy, mean, normalize, softmax};

/// FixMatch in which every unlabeled image counts, unsure ones less.
#[derive(Debug)]
pub struct SoftMatch {
    spec: Settings,
    /// μ̂: mean confidence, 1.
    mean: Tensor,
    /// σ̂²: its variance, 1.
    variance: Tensor,
    /// Mean probability of each class, K; below 0 before the first step.
    expected: Tensor,
}

impl SoftMatch {
    /// Mean 1/K, variance 1, as in the paper.
    pub fn new(spec: &Settings, setting: &mut Setting) -> Self {
        let (classes, memory) = (setting.classes, &mut *setting.memory);
        Self {
            spec: spec.clone(),
            mean: memory.tensor("mean", &[1], 1.0 / classes as f64),
            variance: memory.tensor("variance", &[1], 1.0),
            expected: memory.tensor("expected", &[classes], -1.0),
        }
    }

    fn follow(&self, memory: &Tensor, value: &Tensor) -> Tensor {
        memory * self.spec.ema + value * (1.0 - self.spec.ema)
    }

    /// Uniform alignment: p·(1/K)/E[p], rescaled to sum 1.
    fn aligned(&mut self, p: &Tensor) -> Tensor {
        let now = batch_mean(p);
        let moved = self.follow(&self.expected, &now);
        let expected = moved.where_self(&self.expected.ge(0.0), &now);
        self.expected.copy_(&expected);
        let uniform = 1.0 / p.size()[1] as f64;
        // 1e-6 as in the code.
        normalize(&(p * (uniform + 1e-6) / (expected + 1e-6)))
    }

    /// λ(p) of each row, N.
    fn weights(&mut self, p: &Tensor) -> Tensor {
        let (sure, _) = confidence(p);
        let average = self.follow(&self.mean, &mean(&sure));
        let variance = self.follow(&self.variance, &sure.var(true));
        self.mean.copy_(&average);
        self.variance.copy_(&variance);
        let below = (sure - average).clamp_max(0.0);
        let variance = variance / self.spec.n_sigma.powi(2);
        (below.square() / (variance * -2.0)).exp()
    }
}

impl Method for SoftMatch {
    fn views(&self) -> Views {
        Views {
            ratio: self.spec.uratio,
            ..Views::of_unlabeled(2)
        }
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let [x, weak, strong] = step
            .student
            .together([&batch.x[0], &batch.u[0], &batch.u[1]]);
        let p = softmax(&weak.detach());
        let (_, label) = confidence(&p);
        let weights = tch::no_grad(|| {
            let p = if self.spec.align { self.aligned(&p) } else { p };
            self.weights(&p)
        });
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            .term(
                "xeu",
                self.spec.wu,
                mean(&(cross_entropy(&strong, &label) * &weights)),
            )
            .note("mask", &mean(&weights))
            .note("confidence", &self.mean.get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::supervised::Supervised;
    use crate::methods::testing::{
        batch, close, gradient, identity, loss, method, note, reached, step, terms, wave,
    };
    use rematch_spec::method::{Method as Spec, Supervised as SupervisedSettings};

    // Made by tests/reference/softmatch.py: plain Python in double precision.
    const TERMS: [f64; 2] = [1.20829153, 1.3812524];
    const NOTES: [f64; 2] = [0.935032459, 0.611064379];
    const GRADIENT: [f64; 9] = [
        -0.12347905,
        -1.00365639,
        -1.49952941,
        0.183725228,
        0.764131263,
        1.17407574,
        -0.0602461779,
        0.23952513,
        0.325453674,
    ];

    fn softmatch(wu: f64) -> Spec {
        Spec::Softmatch(Settings {
            ema: 0.6,
            n_sigma: 6.0,
            wu,
            ..Settings::default()
        })
    }

    #[test]
    fn losses_and_gradient_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let step = step(&network, &teacher);
        let (mut method, _memory) = method(&softmatch(1.0));
        let mut seen = batch();
        seen.u[0] = wave(8, 3, 1.1);
        let _ = method.loss(&step, &seen);
        let found = method.loss(&step, &batch());
        close(&terms(&found), &TERMS, 1e-5);
        assert!((note(&found, "monitors/mask") - NOTES[0]).abs() < 1e-5);
        assert!((note(&found, "monitors/confidence") - NOTES[1]).abs() < 1e-6);
        close(&gradient(&network, &found.total()), &GRADIENT, 1e-4);
    }

    #[test]
    fn images_above_the_mean_count_in_full_and_the_others_less_the_further_below() {
        let mut memory = crate::memory::Memory::new(tch::Device::Cpu);
        let spec = Settings {
            ema: 0.0,
            ..Settings::default()
        };
        let mut method = SoftMatch {
            spec,
            mean: memory.tensor("m", &[1], 0.0),
            variance: memory.tensor("v", &[1], 0.0),
            expected: memory.tensor("e", &[2], 0.0),
        };
        let p = Tensor::from_slice(&[0.9_f32, 0.1, 0.75, 0.25, 0.6, 0.4, 0.5, 0.5]).view([4, 2]);
        let weights = Vec::<f32>::try_from(method.weights(&p)).unwrap();
        assert_eq!(weights[..2], [1.0, 1.0]);
        assert!(weights[2] < 1.0 && weights[3] < weights[2] && weights[3] > 0.0);
    }

    #[test]
    fn both_terms_reach_the_student_and_weight_zero_is_supervised_learning() {
        let (mut on, _memory) = method(&softmatch(1.0));
        let found = reached(&mut *on, batch());
        assert!(found[0] > 0.1 && found[2] > 0.1, "{found:?}");
        assert_eq!(found[1], 0.0);
        let network = identity(3);
        let (mut off, _memory) = method(&softmatch(0.0));
        let supervised = &mut Supervised(SupervisedSettings::default());
        assert_eq!(
            gradient(&network, &loss(&mut *off, &network).total()),
            gradient(&network, &loss(supervised, &network).total())
        );
    }
}
