//! Π-model: Laine and Aila 2017, arXiv 1610.02242; google-research/fixmatch (spec/fixmatch.md 7.5).

use rematch_spec::method::PiModel as Settings;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{cross_entropy, mean, mean_square, softmax};

/// What the network says of one view, it must say of the other.
#[derive(Debug)]
pub struct PiModel(pub Settings);

impl Method for PiModel {
    fn views(&self) -> Views {
        Views::of_unlabeled(2)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let x = step.student.logits(&batch.x[0], Bn::Update);
        let target = tch::no_grad(|| softmax(&step.student.logits(&batch.u[0], Bn::Observe)));
        let p = softmax(&step.student.logits(&batch.u[1], Bn::Observe));
        let weight = self.0.consistency_weight * step.ramp_over(self.0.warmup_pos);
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            .term("pm", weight, mean_square(&p, &target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::supervised::Supervised;
    use crate::methods::testing::{assert_close, assert_slope, gradient, identity, loss, values};
    use rematch_spec::method::Supervised as SupervisedSettings;

    // Made by tests/reference/consistency.py: plain Python in double precision.
    const XE: f64 = 1.20829153;
    const PM: f64 = 0.168927211;
    const PM_GRADIENT: [f64; 9] = [
        0.0173485, -0.0067589, -0.0297993, 0.0097034, 0.0066011, 0.0024566, -0.0270520, 0.0001578,
        0.0273427,
    ];

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let found = loss(&mut PiModel(Settings::default()), &network);
        assert_close(&values(&found), &[XE, PM]);
        assert_slope(&network, &found.terms[1].2, &PM_GRADIENT);
    }

    #[test]
    fn the_start_of_the_warm_up_is_supervised_learning_and_without_one_it_is_not() {
        let network = identity(3);
        let slope = |warmup_pos| {
            let mut method = PiModel(Settings {
                warmup_pos,
                ..Settings::default()
            });
            gradient(&network, &loss(&mut method, &network).total())
        };
        let mut supervised = Supervised(SupervisedSettings::default());
        let alone = gradient(&network, &loss(&mut supervised, &network).total());
        assert!((&alone - slope(0.4)).abs().max().double_value(&[]) < 1e-7);
        assert!((&alone - slope(0.0)).abs().max().double_value(&[]) > 1e-2);
    }
}
