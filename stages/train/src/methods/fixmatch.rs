//! FixMatch: Sohn et al. 2020, arXiv 2001.07685, algorithm 1; google-research/fixmatch
//! (spec/fixmatch.md 7.1).

use rematch_spec::method::Fixmatch;
use rematch_spec::method::fixmatch::Guess;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{
    confidence, cross_entropy, indicator, mean, sharpen, soft_cross_entropy, softmax,
};

/// Where the network is sure of a weakly augmented image, it must say the same of a strongly
/// augmented one.
#[derive(Debug)]
pub struct FixMatch(pub Fixmatch);

impl Method for FixMatch {
    fn views(&self) -> Views {
        Views {
            ratio: self.0.uratio,
            ..Views::of_unlabeled(2)
        }
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let [x, weak, strong] = step
            .student
            .together([&batch.x[0], &batch.u[0], &batch.u[1]]);
        // The ablations with a mean teacher; the student's pass still holds the weak views.
        let guess = tch::no_grad(|| match self.0.guess {
            Guess::Student => weak.detach(),
            Guess::Teacher => step.teacher.logits(&batch.u[0], Bn::Eval),
            Guess::TeacherTraining => step.teacher.logits(&batch.u[0], Bn::Observe),
        });
        let plain = softmax(&guess);
        let p = sharpen(&plain, self.0.temperature);
        let (sure, label) = confidence(if self.0.soft { &plain } else { &p });
        let mask = indicator(&sure.ge(self.0.confidence));
        let unsupervised = if self.0.soft {
            soft_cross_entropy(&strong, &p)
        } else {
            cross_entropy(&strong, &label)
        };
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            // A mean over all of them: those that the mask leaves out count as 0.
            .term("xeu", self.0.wu, mean(&(unsupervised * &mask)))
            .note("mask", &mean(&mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::supervised::Supervised;
    use crate::methods::testing::{batch, gradient, identity, loss, step};
    use rematch_spec::method::Supervised as SupervisedSettings;
    use tch::Kind;

    // Made by tests/reference/fixmatch.py: plain Python in double precision.
    const XE: f64 = 1.20829153;
    const XEU: f64 = 0.618513846;
    const MASK: f64 = 0.5;

    fn fixmatch(confidence: f64, wu: f64) -> FixMatch {
        FixMatch(Fixmatch {
            confidence,
            wu,
            ..Fixmatch::default()
        })
    }

    #[test]
    fn losses_are_those_of_an_independent_implementation() {
        let found = loss(&mut fixmatch(0.8, 2.0), &identity(3));
        let values: Vec<f64> = found.terms.iter().map(|t| t.2.double_value(&[])).collect();
        let expected = [XE, XEU];
        assert!(
            values
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-5),
            "{values:?}"
        );
        assert!((found.notes[0].1.double_value(&[]) - MASK).abs() < 1e-6);
        assert!((found.total().double_value(&[]) - (XE + 2.0 * XEU)).abs() < 1e-5);
    }

    #[test]
    fn a_mask_of_nothing_and_a_mask_of_everything() {
        let network = identity(3);
        let none = loss(&mut fixmatch(1.0, 1.0), &network);
        assert_eq!(none.notes[0].1.double_value(&[]), 0.0);
        assert_eq!(none.terms[1].2.double_value(&[]), 0.0);
        assert!(none.terms[1].2.requires_grad());
        let all = loss(&mut fixmatch(0.0, 1.0), &network);
        assert_eq!(all.notes[0].1.double_value(&[]), 1.0);
    }

    #[test]
    fn weight_zero_is_supervised_learning() {
        let network = identity(3);
        let alone = gradient(
            &network,
            &loss(&mut Supervised(SupervisedSettings::default()), &network).total(),
        );
        let ours = gradient(&network, &loss(&mut fixmatch(0.0, 0.0), &network).total());
        assert_eq!(alone, ours);
        assert!(alone.abs().sum(Kind::Float).double_value(&[]) > 0.1);
    }

    #[test]
    fn both_terms_reach_the_student_and_none_its_targets() {
        let network = identity(3);
        for term in 0..2 {
            let (name, _, value) = &loss(&mut fixmatch(0.5, 1.0), &network).terms[term];
            assert!(
                gradient(&network, value)
                    .abs()
                    .sum(Kind::Float)
                    .double_value(&[])
                    > 1e-3,
                "{name}"
            );
        }
        // The weak view only makes targets: with it alone changed in a way that keeps guesses and
        // mask, the gradient stays the same to the bit.
        let with_weak = |scale: f64| {
            let mut batch = batch();
            batch.u[0] = &batch.u[0] * scale;
            let teacher = network.teacher(false);
            let loss = fixmatch(0.0, 1.0).loss(&step(&network, &teacher), &batch);
            gradient(&network, &loss.terms[1].2)
        };
        assert_eq!(with_weak(1.0), with_weak(2.0));
    }
}
