//! FreeMatch: Wang et al. 2023, arXiv 2205.07246, algorithm 1; its code is in USB.

use rematch_spec::method::Freematch as Settings;
use tch::{Kind, Tensor};

use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::ops::{
    batch_mean, confidence, cross_entropy, indicator, mean, normalize, one_hot, softmax,
};

/// FixMatch whose thresholds adapt themselves.
#[derive(Debug)]
pub struct FreeMatch {
    spec: Settings,
    /// τ: mean confidence, 1.
    confidence: Tensor,
    /// p̃: mean probability of each class, K.
    expected: Tensor,
    /// h̃: how often each class is guessed, K.
    guessed: Tensor,
}

impl FreeMatch {
    /// All start as if the network knew nothing.
    pub fn new(spec: &Settings, setting: &mut Setting) -> Self {
        let classes = setting.classes;
        let mut memory = |name, size| setting.memory.tensor(name, &[size], 1.0 / classes as f64);
        Self {
            spec: spec.clone(),
            confidence: memory("confidence", 1),
            expected: memory("expected", classes),
            guessed: memory("guessed", classes),
        }
    }

    /// Equations 5, 6 and 11.
    fn remember(&mut self, p: &Tensor, sure: &Tensor, label: &Tensor) {
        let ema = self.spec.ema;
        let follow = |memory: &mut Tensor, value: &Tensor| {
            let moved = &*memory * ema + value * (1.0 - ema);
            memory.copy_(&moved);
        };
        let guesses = batch_mean(&one_hot(label, p.size()[1]));
        follow(&mut self.confidence, &mean(sure));
        follow(&mut self.expected, &batch_mean(p));
        follow(&mut self.guessed, &guesses);
    }

    /// Equation 14: minus the cross-entropy between what the network has expected so far and what it
    /// makes of the strongly augmented images that count, each divided by how often it guesses the
    /// class; 0 where none counts.
    fn fairness(&self, strong: &Tensor, mask: &Tensor) -> Tensor {
        let p = softmax(strong);
        let (_, guess) = confidence(&p.detach());
        let count = mask.sum(Kind::Float);
        let over_masked = |rows: &Tensor| batch_mean(&(rows * mask.unsqueeze(1)));
        let guessed = over_masked(&one_hot(&guess, p.size()[1]));
        let present = guessed.gt(0.0);
        let each = over_masked(&p) / guessed.where_scalarother(&present, 1.0) * indicator(&present);
        let each = &each / each.sum(Kind::Float).clamp_min(1e-12);
        let target = normalize(&(&self.expected / &self.guessed));
        // A class that is not guessed counts as 1e-12, as in the code.
        (target * (each + 1e-12).log()).sum(Kind::Float) * indicator(&count.gt(0.0))
    }
}

impl Method for FreeMatch {
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
        let (sure, label) = confidence(&p);
        tch::no_grad(|| self.remember(&p, &sure, &label));
        // Equation 8: this batch counts already.
        let thresholds = &self.expected / self.expected.max() * &self.confidence;
        let mask = indicator(&sure.ge_tensor(&thresholds.index_select(0, &label)));
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            .term(
                "xeu",
                self.spec.wu,
                mean(&(cross_entropy(&strong, &label) * &mask)),
            )
            .term("fairness", self.spec.wf, self.fairness(&strong, &mask))
            .note("mask", &mean(&mask))
            .note("confidence", &self.confidence.get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::supervised::Supervised;
    use crate::methods::testing::{
        batch, close, gradient, identity, loss, method, note, reached, terms,
    };
    use rematch_spec::method::{Method as Spec, Supervised as SupervisedSettings};

    // Made by tests/reference/freematch.py: plain Python in double precision.
    const TERMS: [f64; 3] = [1.20829153, 1.05237914, -11.5660392];
    const MASK: f64 = 0.75;
    const CONFIDENCE: f64 = 0.635100325;
    const GRADIENT: [f64; 9] = [
        -0.320205183,
        -1.16333298,
        -1.59694702,
        0.00685960835,
        0.617695661,
        1.08118911,
        0.313345574,
        0.545637315,
        0.51575791,
    ];

    fn freematch(wu: f64, wf: f64) -> Spec {
        Spec::Freematch(Settings {
            ema: 0.6,
            wu,
            wf,
            ..Settings::default()
        })
    }

    #[test]
    fn losses_and_gradient_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let (mut method, _memory) = method(&freematch(1.0, 1.0));
        let _ = loss(&mut *method, &network);
        let found = loss(&mut *method, &network);
        close(&terms(&found), &TERMS, 1e-4);
        assert_eq!(note(&found, "monitors/mask"), MASK);
        assert!((note(&found, "monitors/confidence") - CONFIDENCE).abs() < 1e-6);
        close(&gradient(&network, &found.total()), &GRADIENT, 1e-4);
    }

    #[test]
    fn every_term_reaches_the_strong_views_and_none_the_weak_ones() {
        for (wu, wf) in [(1.0, 0.0), (0.0, 1.0)] {
            let (mut method, _memory) = method(&freematch(wu, wf));
            let found = reached(&mut *method, batch());
            assert!(found[0] > 0.1 && found[2] > 0.1, "{found:?}");
            assert_eq!(found[1], 0.0);
        }
    }

    #[test]
    fn weights_zero_are_supervised_learning() {
        let network = identity(3);
        let (mut method, _memory) = method(&freematch(0.0, 0.0));
        let supervised = &mut Supervised(SupervisedSettings::default());
        assert_eq!(
            gradient(&network, &loss(&mut *method, &network).total()),
            gradient(&network, &loss(supervised, &network).total())
        );
    }

    #[test]
    fn fairness_is_nothing_where_no_image_counts() {
        let network = identity(3);
        let mut memory = crate::memory::Memory::new(tch::Device::Cpu);
        let method = FreeMatch::new(
            &Settings::default(),
            &mut Setting {
                classes: 3,
                batch: 4,
                unlabeled: 8,
                features: 3,
                steps: 100,
                device: tch::Device::Cpu,
                memory: &mut memory,
            },
        );
        let [strong] = network.together([&batch().u[1]]);
        let none = Tensor::zeros([8], (Kind::Float, tch::Device::Cpu));
        let fairness = method.fairness(&strong, &none);
        assert_eq!(fairness.double_value(&[]), 0.0);
        close(&gradient(&network, &fairness), &[0.0; 9], 1e-12);
    }
}
