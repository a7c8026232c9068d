//! Pseudo-label: Lee 2013 (ICML workshop on challenges in representation learning);
//! google-research/fixmatch (spec/fixmatch.md 7.6).

use rematch_spec::method::PseudoLabel as Settings;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{confidence, cross_entropy, indicator, mean, softmax};

/// Where the network is sure, its prediction is the label.
#[derive(Debug)]
pub struct PseudoLabel(pub Settings);

impl Method for PseudoLabel {
    fn views(&self) -> Views {
        Views::of_unlabeled(1)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let x = step.student.logits(&batch.x[0], Bn::Update);
        let u = step.student.logits(&batch.u[0], Bn::Observe);
        let (sure, label) = confidence(&softmax(&u.detach()));
        let mask = indicator(&sure.gt(self.0.threshold));
        let each = cross_entropy(&u, &label);
        let unsupervised = if self.0.masked {
            mean(&(each * &mask))
        } else {
            // The published code multiplies N losses with N×1 masks and averages the N×N products.
            mean(&each) * mean(&mask)
        };
        let weight = self.0.consistency_weight * step.ramp_over(self.0.warmup_pos);
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            .term("pl", weight, unsupervised)
            .note("mask", &mean(&mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::{assert_close, assert_slope, identity, loss, note, values};

    // Made by tests/reference/pseudo_label.py: plain Python in double precision.
    const XE: f64 = 1.20829153;
    const PUBLISHED: f64 = 0.12022477;
    const MASKED: f64 = 0.0306734863;
    const MASK: f64 = 0.5;
    const GRADIENT: [f64; 9] = [
        -0.0657716, -0.0561418, 0.0357359, -0.0266308, 0.0314335, 0.0434477, 0.0924024, 0.0247083,
        -0.0791835,
    ];
    const MASKED_GRADIENT: [f64; 9] = [
        -0.0282255, 0.0205234, 0.0392054, -0.0192754, -0.0098132, 0.0140254, 0.0475008, -0.0107102,
        -0.0532308,
    ];

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        let network = identity(3);
        for (masked, expected, slope) in [
            (false, PUBLISHED, GRADIENT),
            (true, MASKED, MASKED_GRADIENT),
        ] {
            let mut method = PseudoLabel(Settings {
                threshold: 0.8,
                masked,
                ..Settings::default()
            });
            let found = loss(&mut method, &network);
            assert_close(&values(&found), &[XE, expected]);
            assert_close(&[note(&found, "monitors/mask")], &[MASK]);
            assert_slope(&network, &found.terms[1].2, &slope);
        }
    }

    #[test]
    fn a_probability_at_the_threshold_does_not_count() {
        let network = identity(3);
        let mask = |threshold| {
            let mut method = PseudoLabel(Settings {
                threshold,
                ..Settings::default()
            });
            note(&loss(&mut method, &network), "monitors/mask")
        };
        assert_eq!((mask(0.0), mask(1.0)), (1.0, 0.0));
    }
}
