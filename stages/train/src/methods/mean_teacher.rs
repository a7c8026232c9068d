//! Mean Teacher: Tarvainen and Valpola 2017, arXiv 1703.01780; google-research/fixmatch
//! (spec/fixmatch.md 7.5).

use rematch_spec::method::MeanTeacher as Settings;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{cross_entropy, mean, mean_square, softmax};

/// What the moving average says of one view, the network must say of the other.
#[derive(Debug)]
pub struct MeanTeacher(pub Settings);

impl Method for MeanTeacher {
    fn views(&self) -> Views {
        Views::of_unlabeled(2)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let x = step.student.logits(&batch.x[0], Bn::Update);
        let target = tch::no_grad(|| softmax(&step.teacher.logits(&batch.u[0], Bn::Observe)));
        let p = softmax(&step.student.logits(&batch.u[1], Bn::Observe));
        let weight = self.0.consistency_weight * step.ramp_over(self.0.warmup_pos);
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            .term("mt", weight, mean_square(&p, &target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::{
        assert_close, assert_slope, batch, doubled, identity, step, values,
    };

    // Made by tests/reference/consistency.py: plain Python in double precision.
    const XE: f64 = 1.20829153;
    const MT: f64 = 0.216832465;
    const MT_GRADIENT: [f64; 9] = [
        0.0051084, -0.0218571, -0.0453719, 0.0311461, 0.0327942, 0.0292648, -0.0362545, -0.0109370,
        0.0161072,
    ];

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let teacher = doubled(&network);
        let mut method = MeanTeacher(Settings::default());
        let found = method.loss(&step(&network, &teacher), &batch());
        assert_close(&values(&found), &[XE, MT]);
        assert_slope(&network, &found.terms[1].2, &MT_GRADIENT);
    }

    #[test]
    fn the_unlabeled_term_warms_up_over_two_fifths_of_the_run() {
        let network = identity(3);
        let teacher = doubled(&network);
        let weights = [0, 20, 40, 90].map(|number| {
            let step = Step {
                number,
                ..step(&network, &teacher)
            };
            let loss = MeanTeacher(Settings::default()).loss(&step, &batch());
            loss.terms[1].1
        });
        assert_close(&weights, &[0.0, 25.0, 50.0, 50.0]);
    }
}
