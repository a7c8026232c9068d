//! AdaMatch: Berthelot et al. 2022, arXiv 2106.04732, section 3; google-research/adamatch.

use rematch_data::rng::Purpose;
use rematch_spec::method::Adamatch as Settings;
use tch::Tensor;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::ops::{batch_mean, confidence, cross_entropy, indicator, mean, normalize, softmax};

/// What the random numbers of logit interpolation are for.
const INTERPOLATION: Purpose = Purpose::named("logit interpolation");
/// Batches over which the distribution of unlabeled images is averaged, and the share of that of
/// labeled ones that stays, as in the code.
const BATCHES: i64 = 128;
const EMA: f64 = 0.999;

/// FixMatch that compares unlabeled images with labeled ones.
#[derive(Debug)]
pub struct AdaMatch {
    spec: Settings,
    /// Mean probability of each class over labeled images, K.
    labeled: Tensor,
    /// The same over unlabeled images, in each of the last batches, 128×K.
    unlabeled: Tensor,
}

impl AdaMatch {
    /// Both start uniform.
    pub fn new(spec: &Settings, setting: &mut Setting) -> Self {
        let (classes, memory) = (setting.classes, &mut *setting.memory);
        let uniform = 1.0 / classes as f64;
        Self {
            spec: spec.clone(),
            labeled: memory.tensor("labeled", &[classes], uniform),
            unlabeled: memory.tensor("unlabeled", &[BATCHES, classes], uniform),
        }
    }

    /// Distribution alignment, with this batch counted in.
    fn aligned(&mut self, step: u64, p: &Tensor, labeled: &Tensor) -> Tensor {
        let moved = &self.labeled * EMA + batch_mean(labeled) * (1.0 - EMA);
        self.labeled.copy_(&moved);
        let mut oldest = self.unlabeled.get((step % BATCHES as u64) as i64);
        oldest.copy_(&batch_mean(p));
        normalize(&(p * (&self.labeled + 1e-6) / (batch_mean(&self.unlabeled) + 1e-6)))
    }
}

/// Each number somewhere between that of `a` and that of `b`.
fn between(step: &Step, a: &Tensor, b: &Tensor) -> Tensor {
    let mut stream = step.stream(INTERPOLATION);
    let share: Vec<f32> = (0..a.numel()).map(|_| stream.uniform() as f32).collect();
    let share = Tensor::from_slice(&share).view_as(a).to_device(a.device());
    a + (b - a) * share
}

impl Method for AdaMatch {
    fn views(&self) -> Views {
        Views {
            labeled: 2,
            ratio: self.spec.uratio,
            ..Views::of_unlabeled(2)
        }
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let labeled = Tensor::cat(&[&batch.x[0], &batch.x[1]], 0);
        let [x, weak, strong] = step.student.together([&labeled, &batch.u[0], &batch.u[1]]);
        let x = if self.spec.interpolate {
            let alone = step.student.logits(&labeled, Bn::Observe);
            between(step, &x, &alone)
        } else {
            x
        };
        let [x_weak, x_strong] = [0, 1].map(|n| {
            let rows = batch.y.size()[0];
            x.narrow(0, n * rows, rows)
        });

        let p_labeled = softmax(&x_weak.detach());
        let (sure, _) = confidence(&p_labeled);
        let threshold = mean(&sure) * self.spec.confidence;
        let p = softmax(&weak.detach());
        let p = if self.spec.align {
            tch::no_grad(|| self.aligned(step.number, &p, &p_labeled))
        } else {
            p
        };
        let (sure, label) = confidence(&p);
        let mask = indicator(&sure.ge_tensor(&threshold));

        let [weak_xe, strong_xe] = [x_weak, x_strong].map(|z| mean(&cross_entropy(&z, &batch.y)));
        let warmup = 0.5 - 0.5 * (std::f64::consts::PI * step.ramp_over(0.5)).cos();
        Loss::new()
            .term("xe", 1.0, (weak_xe + strong_xe) / 2.0)
            .term(
                "xeu",
                self.spec.wu * warmup,
                mean(&(cross_entropy(&strong, &label) * &mask)),
            )
            .note("mask", &mean(&mask))
            .note("confidence_ratio", &threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::{
        batch, close, gradient, identity, method, note, reached, step, terms, wave,
    };
    use rematch_spec::method::Method as Spec;

    // Made by tests/reference/adamatch.py: plain Python in double precision.
    const TERMS: [f64; 2] = [1.40246872, 1.05237914];
    const NOTES: [f64; 2] = [0.75, 0.603399262];
    const WARMUP: f64 = 0.345491503;
    const GRADIENT: [f64; 9] = [
        -0.294860428,
        -1.14256298,
        -1.32065604,
        0.126114107,
        1.03007793,
        1.27104517,
        0.168746321,
        0.112485051,
        0.0496108695,
    ];

    fn two_views() -> Batch {
        let mut batch = batch();
        batch.x.push(wave(4, 3, 0.9));
        batch
    }

    #[test]
    fn losses_and_gradient_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let step = Step {
            number: 20,
            ..step(&network, &teacher)
        };
        let (mut method, memory) = method(&Spec::Adamatch(Settings::default()));
        // Without batch norm, logits do not depend on what else is in the batch, and lie between
        // themselves.
        let found = method.loss(&step, &two_views());
        close(&terms(&found), &TERMS, 1e-5);
        assert_eq!(note(&found, "monitors/mask"), NOTES[0]);
        assert!((note(&found, "monitors/confidence_ratio") - NOTES[1]).abs() < 1e-6);
        assert!((found.terms[1].1 - WARMUP).abs() < 1e-9);
        close(&gradient(&network, &found.total()), &GRADIENT, 1e-4);
        // The batch stands where its step says, and nowhere else.
        let unlabeled = &memory.tensors()[1].1;
        let moved = (unlabeled - 1.0 / 3.0)
            .abs()
            .amax([1_i64].as_slice(), false);
        let moved = Vec::<f32>::try_from(moved).unwrap();
        let places: Vec<usize> = (0..128).filter(|n| moved[*n] > 1e-4).collect();
        assert_eq!(places, [20]);
    }

    #[test]
    fn interpolated_logits_lie_between_the_two() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let step = step(&network, &teacher);
        let (a, b) = (
            wave(100, 3, 0.7).view([100, 3]),
            wave(100, 3, 0.4).view([100, 3]),
        );
        let share = (between(&step, &a, &b) - &a) / (&b - &a);
        assert!(share.min().double_value(&[]) > -1e-3);
        assert!(share.max().double_value(&[]) < 1.0 + 1e-3);
        let average = mean(&share).double_value(&[]);
        assert!((average - 0.5).abs() < 0.1, "{average}");
    }

    #[test]
    fn both_views_of_labeled_images_and_the_strong_unlabeled_ones_teach() {
        let (mut method, _memory) = method(&Spec::Adamatch(Settings::default()));
        let found = reached(&mut *method, two_views());
        let [weak_x, strong_x, weak, strong] = found[..] else {
            panic!("{found:?}")
        };
        assert!(weak_x > 0.1 && strong_x > 0.1 && strong > 0.1, "{found:?}");
        assert_eq!(weak, 0.0);
    }
}
