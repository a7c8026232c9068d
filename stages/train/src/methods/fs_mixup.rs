//! MixUp of labeled images alone: Zhang et al. 2018, arXiv 1710.09412; google-research/fixmatch and
//! RealMix (spec/fixmatch.md 7.10, spec/realmix.md 11).

use rematch_spec::method::FsMixup as Settings;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::ops::{MIXUP, mean, mixup_reversed, one_hot, soft_cross_entropy};

/// Of a mix of labeled images the network must say the mix of their labels.
#[derive(Debug)]
pub struct FsMixup {
    spec: Settings,
    classes: i64,
}

impl FsMixup {
    /// For the classes of a setting.
    pub fn new(spec: &Settings, setting: &Setting) -> Self {
        Self {
            spec: spec.clone(),
            classes: setting.classes,
        }
    }
}

impl Method for FsMixup {
    fn views(&self) -> Views {
        Views::LABELED
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let label = one_hot(&batch.y, self.classes);
        let mut stream = step.stream(MIXUP);
        let (x, label) = mixup_reversed(&mut stream, self.spec.beta, &batch.x[0], &label);
        let x = step.student.logits(&x, Bn::Update);
        Loss::new().term("xe", 1.0, mean(&soft_cross_entropy(&x, &label)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::{assert_close, assert_slope, identity, loss, method, values};
    use rematch_spec::method::Method as Spec;

    // Made by tests/reference/mixup.py: plain Python in double precision.
    const XE: f64 = 0.921042231;
    const XE_GRADIENT: [f64; 9] = [
        -0.2678849, -0.4116997, -0.3618858, -0.2034410, -0.2199864, -0.1330688, 0.4713259,
        0.6316862, 0.4949546,
    ];

    #[test]
    fn the_loss_and_its_slope_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let (mut method, _) = method(&Spec::FsMixup(Settings::default()));
        let found = loss(method.as_mut(), &network);
        assert_close(&values(&found), &[XE]);
        assert_slope(&network, &found.terms[0].2, &XE_GRADIENT);
    }
}
