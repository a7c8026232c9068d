//! DASO: Oh et al. 2022, arXiv 2106.05682, section 3; ytaek-oh/daso.

use rematch_spec::method::Daso as Settings;
use tch::{Kind, Tensor};

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::ops::{
    confidence, cross_entropy, indicator, mean, one_hot, soft_cross_entropy, softmax, sum,
};

/// FixMatch whose pseudo-labels are less those of the classifier, the more common their class.
#[derive(Debug)]
pub struct Daso {
    spec: Settings,
    /// The teacher's features of labeled images, the last L of each class, K×L×D.
    queue: Tensor,
    /// Where each class's next feature goes, K.
    next: Tensor,
    /// m: distribution of pseudo-labels, K.
    distribution: Tensor,
    /// Pseudo-labels of each class since that was last estimated, K.
    counted: Tensor,
}

impl Daso {
    /// The queues start empty, m uniform.
    pub fn new(spec: &Settings, setting: &mut Setting) -> Self {
        let (k, memory) = (setting.classes, &mut *setting.memory);
        Self {
            spec: spec.clone(),
            queue: memory.tensor("queue", &[k, spec.queue, setting.features], 0.0),
            next: memory.tensor("next", &[k], 0.0),
            distribution: memory.tensor("distribution", &[k], 1.0 / k as f64),
            counted: memory.tensor("counted", &[k], 0.0),
        }
    }

    /// Puts features into the queues of their classes, in place of the oldest.
    fn enqueue(&mut self, features: &Tensor, y: &Tensor) {
        let (classes, length) = (self.next.size()[0], self.spec.queue);
        let rows = one_hot(y, classes);
        let before = rows.cumsum(0, Kind::Float) - &rows;
        let place = sum(&((before + &self.next) * &rows)).remainder(length as f64);
        let place = place.to_kind(Kind::Int64) + y * length;
        let mut all = self.queue.view([classes * length, -1]);
        let _ = all.index_copy_(0, &place, features);
        let counts = class_counts(&rows);
        let next = (&self.next + &counts).remainder(length as f64);
        self.next.copy_(&next);
    }

    /// Logits of similarity to the classes' mean features, N×K; a class without features is as similar
    /// to everything as what stands at a right angle to it.
    fn similarity(&self, features: &Tensor) -> Tensor {
        let total = self
            .queue
            .sum_dim_intlist([1_i64].as_slice(), false, Kind::Float);
        // The length of a mean does not count: that of the sum will do.
        unit(features).matmul(&unit(&total).tr()) / self.spec.proto_temperature
    }

    /// υ: how much of the semantic pseudo-label goes into that of a class, K.
    fn blend(&self) -> Tensor {
        let m = self
            .distribution
            .pow_tensor_scalar(1.0 / self.spec.dist_temperature);
        &m / m.max()
    }

    /// Counts pseudo-labels, and takes over their distribution when it is time.
    fn count(&mut self, number: u64, label: &Tensor) {
        let counted = &self.counted + class_counts(&one_hot(label, self.counted.size()[0]));
        self.counted.copy_(&counted);
        if (number + 1).is_multiple_of(self.spec.dist_steps) {
            self.distribution
                .copy_(&(&counted / counted.sum(Kind::Float)));
            let _ = self.counted.zero_();
        }
    }
}

/// Rows of length 1; those of length 0 stay so.
fn unit(rows: &Tensor) -> Tensor {
    let length = rows
        .square()
        .sum_dim_intlist([-1_i64].as_slice(), true, Kind::Float);
    rows / length.clamp_min(1e-16).sqrt()
}

/// How often each class stands in rows of 0 and 1, K.
fn class_counts(rows: &Tensor) -> Tensor {
    rows.sum_dim_intlist([0_i64].as_slice(), false, Kind::Float)
}

impl Method for Daso {
    fn views(&self) -> Views {
        Views {
            ratio: self.spec.uratio,
            ..Views::of_unlabeled(2)
        }
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        tch::no_grad(|| {
            // The code's moving average is never switched to its running statistics.
            let features = step.teacher.features(&batch.x[0], Bn::Observe);
            self.enqueue(&features, &batch.y);
        });
        let features = step
            .student
            .features_together([&batch.x[0], &batch.u[0], &batch.u[1]]);
        let [x, weak, strong] = features.each_ref().map(|f| step.student.classify(f));
        let [_, weak_features, strong_features] = features;

        let pretraining = step.number < self.spec.pretrain_steps;
        let semantic = softmax(&self.similarity(&weak_features.detach()));
        let p = softmax(&weak.detach());
        let p = if pretraining {
            p
        } else {
            let (_, guess) = confidence(&p);
            let blend = self.blend().index_select(0, &guess).unsqueeze(1);
            &p + (&semantic - &p) * blend
        };
        let (sure, label) = confidence(&p);
        let mask = indicator(&sure.ge(self.spec.confidence));
        tch::no_grad(|| self.count(step.number, &label));

        let aligned = soft_cross_entropy(&self.similarity(&strong_features), &semantic);
        let wa = if pretraining { 0.0 } else { self.spec.wa };
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            .term(
                "xeu",
                self.spec.wu,
                mean(&(cross_entropy(&strong, &label) * &mask)),
            )
            .term("align", wa, mean(&aligned))
            .note("mask", &mean(&mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::supervised::Supervised;
    use crate::methods::testing::{
        batch, close, gradient, identity, loss, method, note, reached, step, terms,
    };
    use rematch_spec::method::{Method as Spec, Supervised as SupervisedSettings};

    // Made by tests/reference/daso.py: plain Python in double precision.
    const TERMS: [f64; 3] = [1.20829153, 0.381923388, 1.83603518];
    const MASK: f64 = 0.25;
    const BLEND: [f64; 3] = [0.825481812, 0.396850263, 1.0];
    const GRADIENT: [f64; 9] = [
        -0.0058520256,
        -0.690399033,
        -1.04009817,
        -0.35247133,
        0.124544436,
        0.532075338,
        0.358323356,
        0.565854597,
        0.508022827,
    ];

    fn spec() -> Settings {
        Settings {
            confidence: 0.8,
            queue: 3,
            proto_temperature: 0.5,
            dist_steps: 1,
            pretrain_steps: 1,
            ..Settings::default()
        }
    }

    #[test]
    fn losses_and_gradient_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let (mut method, memory) = method(&Spec::Daso(spec()));
        let first = step(&network, &teacher);
        // Plain FixMatch at first: the term has no weight.
        assert_eq!(method.loss(&first, &batch()).terms[2].1, 0.0);
        let m = memory.tensors()[2].1.copy();
        let blend = m.pow_tensor_scalar(1.0 / 1.5);
        close(&(&blend / blend.max()), &BLEND, 1e-6);
        let second = Step {
            number: 1,
            ..step(&network, &teacher)
        };
        let found = method.loss(&second, &batch());
        assert_eq!(found.terms[2].1, 1.0);
        close(&terms(&found), &TERMS, 1e-5);
        assert_eq!(note(&found, "monitors/mask"), MASK);
        close(&gradient(&network, &found.total()), &GRADIENT, 1e-4);
    }

    #[test]
    fn queues_keep_the_last_features_of_each_class() {
        let mut memory = crate::memory::Memory::new(tch::Device::Cpu);
        let mut daso = Daso {
            spec: spec(),
            queue: memory.tensor("q", &[2, 3, 1], 0.0),
            next: memory.tensor("n", &[2], 0.0),
            distribution: memory.tensor("d", &[2], 0.5),
            counted: memory.tensor("c", &[2], 0.0),
        };
        let mut enqueue = |features: &[f32], y: &[i64]| {
            let rows = Tensor::from_slice(features).view([-1, 1]);
            daso.enqueue(&rows, &Tensor::from_slice(y));
            let numbers = |t: &Tensor| Vec::<f32>::try_from(t.flatten(0, -1)).unwrap();
            (numbers(&daso.queue), numbers(&daso.next))
        };
        let (queue, next) = enqueue(&[1., 2., 3.], &[0, 1, 0]);
        assert_eq!(queue, [1., 3., 0., 2., 0., 0.]);
        assert_eq!(next, [2., 1.]);
        let (queue, next) = enqueue(&[4., 5., 6.], &[0, 0, 0]);
        assert_eq!(queue, [5., 6., 4., 2., 0., 0.]);
        assert_eq!(next, [2., 1.]);
    }

    #[test]
    fn both_unlabeled_terms_reach_the_strong_views_alone() {
        for (wu, wa) in [(1.0, 0.0), (0.0, 1.0)] {
            let (mut method, _memory) = method(&Spec::Daso(Settings { wu, wa, ..spec() }));
            let found = reached(&mut *method, batch());
            assert!(found[0] > 0.1 && found[2] > 1e-2, "{found:?}");
            assert_eq!(found[1], 0.0);
        }
    }

    #[test]
    fn weights_zero_are_supervised_learning() {
        let network = identity(3);
        let (mut off, _memory) = method(&Spec::Daso(Settings {
            wu: 0.0,
            wa: 0.0,
            ..spec()
        }));
        let supervised = &mut Supervised(SupervisedSettings::default());
        assert_eq!(
            gradient(&network, &loss(&mut *off, &network).total()),
            gradient(&network, &loss(supervised, &network).total())
        );
    }
}
