//! FlexMatch: Zhang et al. 2021, arXiv 2110.08263, algorithm 1; TorchSSL (spec/four_methods.md 5).

use rematch_spec::method::Flexmatch as Settings;
use rematch_spec::method::flexmatch::Mapping;
use tch::{Kind, Tensor};

use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::ops::{confidence, cross_entropy, indicator, mean, softmax};

/// FixMatch whose thresholds follow what each class has learned.
#[derive(Debug)]
pub struct FlexMatch {
    spec: Settings,
    /// The class that each unlabeled image was last surely taken for, −1 before; one number more than
    /// images, a place for those that are not sure. N+1.
    label: Tensor,
    /// β: how far each class is learned, K.
    learned: Tensor,
}

impl FlexMatch {
    /// Nothing is learned yet.
    pub fn new(spec: &Settings, setting: &mut Setting) -> Self {
        Self {
            spec: spec.clone(),
            label: setting
                .memory
                .tensor("label", &[setting.unlabeled as i64 + 1], -1.0),
            learned: setting.memory.tensor("learned", &[setting.classes], 0.0),
        }
    }

    /// Counts what is learned, and says the threshold of each class, K.
    fn thresholds(&mut self) -> Tensor {
        let images = self.label.size()[0] - 1;
        let classes = self.learned.size()[0];
        // How many images have no label, and each label.
        let place = (self.label.narrow(0, 0, images) + 1.0).to_kind(Kind::Int64);
        let counts = self
            .learned
            .new_zeros([classes + 1], (Kind::Float, self.learned.device()))
            .scatter_add_(0, &place, &place.ones_like().to_kind(Kind::Float));
        let (unused, of_class) = (counts.get(0), counts.narrow(0, 1, classes));
        let most = of_class.max();
        let against = if self.spec.warmup {
            most.maximum(&unused)
        } else {
            most.shallow_clone()
        };
        let learned = of_class / against.clamp_min(1.0);
        // Where one of them is all images, β stays what it was.
        let counts = most.maximum(&unused).lt(images as f64);
        let learned = learned.where_self(&counts, &self.learned);
        self.learned.copy_(&learned);
        let share = match self.spec.mapping {
            Mapping::Concave => learned.log1p() / 2.0_f64.ln(),
            Mapping::Linear => learned,
            Mapping::Convex => &learned / (2.0 - &learned),
        };
        share * self.spec.confidence
    }

    /// Remembers the images that the network is sure of.
    fn remember(&mut self, index: &Tensor, sure: &Tensor, label: &Tensor) {
        let nowhere = self.label.size()[0] - 1;
        let place = index.where_scalarother(&sure.ge(self.spec.confidence), nowhere);
        let label = label.to_kind(Kind::Float);
        let _ = self.label.index_copy_(0, &place, &label);
    }
}

impl Method for FlexMatch {
    fn views(&self) -> Views {
        Views {
            ratio: self.spec.uratio,
            ..Views::of_unlabeled(2)
        }
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let thresholds = tch::no_grad(|| self.thresholds());
        let [x, weak, strong] = step
            .student
            .together([&batch.x[0], &batch.u[0], &batch.u[1]]);
        let (sure, label) = confidence(&softmax(&weak.detach()));
        let mask = indicator(&sure.ge_tensor(&thresholds.index_select(0, &label)));
        tch::no_grad(|| self.remember(&batch.index, &sure, &label));
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            .term(
                "xeu",
                self.spec.wu,
                mean(&(cross_entropy(&strong, &label) * &mask)),
            )
            .note("mask", &mean(&mask))
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
    use tch::Device;

    // Made by tests/reference/flexmatch.py: plain Python in double precision.
    const CONCAVE_WARM: [f64; 3] = [0.72661943, 0.289735285, 0.526466251];
    const CONCAVE_COLD: [f64; 3] = [0.9, 0.373533749, 0.663269035];
    const LINEAR_WARM: [f64; 3] = [0.675, 0.225, 0.45];
    const LINEAR_COLD: [f64; 3] = [0.9, 0.3, 0.6];
    const CONVEX_WARM: [f64; 3] = [0.54, 0.128571429, 0.3];
    const CONVEX_COLD: [f64; 3] = [0.9, 0.18, 0.45];
    const TERMS: [f64; 3] = [1.20829153, 1.28151943, 0.875];
    const GRADIENT: [f64; 9] = [
        0.0849620526,
        -0.735268336,
        -1.21356697,
        0.165895597,
        0.692272462,
        1.05953269,
        -0.250857649,
        0.0429958738,
        0.154034282,
    ];
    const LABEL: [f64; 10] = [0.0, 2.0, 0.0, 1.0, 2.0, 0.0, -1.0, -1.0, -1.0, -1.0];

    /// Ten images, of which the batch holds the first eight.
    fn flexmatch(mapping: Mapping, warmup: bool, label: [f32; 10]) -> FlexMatch {
        let label = Tensor::cat(
            &[Tensor::from_slice(&label), Tensor::from_slice(&[-1_f32])],
            0,
        );
        FlexMatch {
            spec: Settings {
                confidence: 0.9,
                mapping,
                warmup,
                ..Settings::default()
            },
            label,
            learned: Tensor::zeros([3], (Kind::Float, Device::Cpu)),
        }
    }
    const LEARNED: [f32; 10] = [0., 0., 0., 1., 2., 2., -1., -1., -1., -1.];

    #[test]
    fn thresholds_are_those_of_an_independent_implementation() {
        for (mapping, warm, cold) in [
            (Mapping::Concave, CONCAVE_WARM, CONCAVE_COLD),
            (Mapping::Linear, LINEAR_WARM, LINEAR_COLD),
            (Mapping::Convex, CONVEX_WARM, CONVEX_COLD),
        ] {
            close(&flexmatch(mapping, true, LEARNED).thresholds(), &warm, 1e-6);
            close(
                &flexmatch(mapping, false, LEARNED).thresholds(),
                &cold,
                1e-6,
            );
        }
    }

    #[test]
    fn thresholds_start_at_0_and_stay_where_all_images_are_of_one_class() {
        let mut method = flexmatch(Mapping::Convex, true, [-1.0; 10]);
        close(&method.thresholds(), &[0.0; 3], 1e-9);
        let found = loss(&mut method, &identity(3));
        assert_eq!(note(&found, "monitors/mask"), 1.0);

        let mut method = flexmatch(Mapping::Linear, false, LEARNED);
        close(&method.thresholds(), &LINEAR_COLD, 1e-6);
        let _ = method.label.narrow(0, 0, 10).fill_(1.0);
        close(&method.thresholds(), &LINEAR_COLD, 1e-6);
    }

    #[test]
    fn losses_and_memory_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let mut method = flexmatch(Mapping::Convex, false, LEARNED);
        let found = loss(&mut method, &network);
        close(&terms(&found), &TERMS[..2], 1e-5);
        assert_eq!(note(&found, "monitors/mask"), TERMS[2]);
        close(&gradient(&network, &found.total()), &GRADIENT, 1e-4);
        close(&method.label.narrow(0, 0, 10), &LABEL, 1e-9);
    }

    #[test]
    fn both_terms_reach_the_student_and_weight_zero_is_supervised_learning() {
        let network = identity(3);
        let of = |wu: f64| {
            let (mut method, _memory) = method(&Spec::Flexmatch(Settings {
                wu,
                ..Settings::default()
            }));
            gradient(&network, &loss(&mut *method, &network).total())
        };
        let supervised = &mut Supervised(SupervisedSettings::default());
        let alone = gradient(&network, &loss(supervised, &network).total());
        assert_eq!(of(0.0), alone);
        assert_ne!(of(1.0), alone);
        let mut method = flexmatch(Mapping::Convex, true, LEARNED);
        let [x, weak, strong] = reached(&mut method, batch())[..] else {
            panic!("three views")
        };
        assert!(x > 0.1 && weak == 0.0 && strong > 0.1);
    }

    #[test]
    fn memory_holds_a_label_for_every_unlabeled_image() {
        let (mut method, memory) = method(&Spec::Flexmatch(Settings {
            confidence: 0.8,
            ..Settings::default()
        }));
        let of = |name| memory.tensors().iter().find(|(n, _)| *n == name).unwrap();
        assert_eq!(of("label").1.size(), [9]);
        let _ = loss(&mut *method, &identity(3));
        let labels = Vec::<f32>::try_from(of("label").1.narrow(0, 0, 8)).unwrap();
        assert_eq!(labels.iter().filter(|label| **label >= 0.0).count(), 4);
    }
}
