//! MixUp of labeled and of unlabeled images: Zhang et al. 2018, arXiv 1710.09412, as
//! google-research/fixmatch adapts it (spec/fixmatch.md 7.9).

use rematch_spec::method::Mixup as Settings;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{MIXUP, mean, mixup_reversed, one_hot, soft_cross_entropy, softmax};

/// Of a mix of images the network must say the mix of their labels, or of what it says of each.
#[derive(Debug)]
pub struct Mixup(pub Settings);

impl Method for Mixup {
    fn views(&self) -> Views {
        Views::of_unlabeled(1)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let (student, x, u) = (step.student, &batch.x[0], &batch.u[0]);
        let guess = tch::no_grad(|| softmax(&student.logits(u, Bn::Observe)));
        let label = one_hot(&batch.y, guess.size()[1]);
        let mut stream = step.stream(MIXUP);
        let (x, label) = mixup_reversed(&mut stream, self.0.beta, x, &label);
        let (u, guess) = mixup_reversed(&mut stream, self.0.beta, u, &guess);
        let x = student.logits(&x, Bn::Update);
        let u = student.logits(&u, Bn::Observe);
        Loss::new()
            .term("xe", 1.0, mean(&soft_cross_entropy(&x, &label)))
            .term("xeu", 1.0, mean(&soft_cross_entropy(&u, &guess)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::{assert_close, assert_slope, identity, loss, values};

    // Made by tests/reference/mixup.py: plain Python in double precision.
    const XE: f64 = 0.921042231;
    const XEU: f64 = 0.616262538;
    const XEU_GRADIENT: [f64; 9] = [
        0.0368648, -0.0384884, -0.0574560, 0.0234860, -0.0008912, -0.0239627, -0.0603507,
        0.0393796, 0.0814188,
    ];

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let found = loss(&mut Mixup(Settings::default()), &network);
        assert_close(&values(&found), &[XE, XEU]);
        assert_slope(&network, &found.terms[1].2, &XEU_GRADIENT);
    }
}
