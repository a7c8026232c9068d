//! Interpolation consistency training: Verma et al. 2019, arXiv 1903.03825; google-research/fixmatch
//! (spec/fixmatch.md 7.8).

use rematch_spec::method::Ict as Settings;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{MIXUP, cross_entropy, mean, mean_square, mixup_reversed, softmax};

/// Of a mix of images the network must say the mix of what the moving average says of each.
#[derive(Debug)]
pub struct Ict(pub Settings);

impl Method for Ict {
    fn views(&self) -> Views {
        Views::of_unlabeled(1)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let (student, u) = (step.student, &batch.u[0]);
        let x = student.logits(&batch.x[0], Bn::Update);
        let guess = tch::no_grad(|| softmax(&step.teacher.logits(u, Bn::Observe)));
        let (mixed, target) = mixup_reversed(&mut step.stream(MIXUP), self.0.beta, u, &guess);
        let p = softmax(&student.logits(&mixed, Bn::Observe));
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

    // Made by tests/reference/ict.py: plain Python in double precision.
    const XE: f64 = 1.20829153;
    const MT: f64 = 0.00809189935;
    const GRADIENT: [f64; 9] = [
        -0.0005758, -0.0060685, -0.0026708, 0.0007830, -0.0066487, -0.0043400, -0.0002072,
        0.0127173, 0.0070109,
    ];

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let teacher = doubled(&network);
        let mut method = Ict(Settings::default());
        let found = method.loss(&step(&network, &teacher), &batch());
        assert_close(&values(&found), &[XE, MT]);
        assert_slope(&network, &found.terms[1].2, &GRADIENT);
        assert_eq!(found.terms[1].1, 0.0, "the warm-up begins");
    }
}
