//! Unsupervised data augmentation: Xie et al. 2020, arXiv 1904.12848; google-research/fixmatch
//! (spec/fixmatch.md 7.2).

use rematch_spec::method::Uda as Settings;

use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{confidence, cross_entropy, entropy, indicator, kl, masked_mean, mean, softmax};

/// The annealing counts at most this many images of a run, in units of 1024.
const KIMG: f64 = 16_384.0;

/// Where the network is sure of a weakly augmented image, it must predict the same of a strongly
/// augmented one.
#[derive(Debug)]
pub struct Uda(pub Settings);

impl Uda {
    /// The probability of the true class above which a labeled image is left out.
    fn threshold(&self, step: &Step, classes: i64) -> f64 {
        let kimg = step.steps as f64 * step.batch as f64 / 1024.0;
        let done = step.images() / (kimg.min(KIMG) * 2_f64.powf(f64::from(self.0.tsa_pos)));
        let rise = self.0.tsa.rise(done).unwrap_or(1.0);
        let least = 1.0 / classes as f64;
        least + rise.min(1.0) * (1.0 - least)
    }
}

impl Method for Uda {
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
        let guess = weak.detach();
        let target = softmax(&(&guess / self.0.temperature));
        let sure = confidence(&softmax(&guess)).0;
        let mask = indicator(&sure.ge(self.0.confidence));

        let p = softmax(&x.detach()).gather(1, &batch.y.unsqueeze(1), false);
        let threshold = self.threshold(step, x.size()[1]);
        let unknown = indicator(&p.squeeze_dim(1).le(threshold));

        Loss::new()
            .term(
                "xe",
                1.0,
                masked_mean(&cross_entropy(&x, &batch.y), &unknown),
            )
            .term("xeu", self.0.wu, mean(&(kl(&target, &strong) * &mask)))
            .term("entropy", self.0.we, mean(&entropy(&weak)))
            .note("mask", &mean(&mask))
            .note("conf_weak", &mean(&sure))
            .note("conf_strong", &mean(&confidence(&softmax(&strong)).0))
            .note("losses/mask_sup", &mean(&unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::supervised::Supervised;
    use crate::methods::testing::{
        assert_close, assert_slope, batch, gradient, identity, loss, note, step, values,
    };
    use rematch_spec::method::Supervised as SupervisedSettings;
    use rematch_spec::method::tsa::Tsa;

    // Made by tests/reference/uda.py: plain Python in double precision.
    const XE: f64 = 1.55223377;
    const KEPT: f64 = 0.75;
    const XEU: f64 = 0.614751713;
    const ENTROPY: f64 = 0.467492851;
    const MASK: f64 = 0.5;
    const CONF_WEAK: f64 = 0.804844257;
    const CONF_STRONG: f64 = 0.579882942;
    const GRADIENT: [f64; 9] = [
        0.0632187, -0.0294336, -0.1174389, 0.0952567, 0.1102214, 0.1077845, -0.1584755, -0.0807878,
        0.0096544,
    ];

    fn uda(tsa: Tsa) -> Uda {
        Uda(Settings {
            confidence: 0.8,
            temperature: 0.4,
            tsa,
            tsa_pos: 10,
            ..Settings::default()
        })
    }

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let half = Step {
            number: 50,
            ..step(&network, &teacher)
        };
        let found = uda(Tsa::Linear).loss(&half, &batch());
        assert_close(&values(&found), &[XE, XEU, ENTROPY]);
        for (tag, expected) in [
            ("monitors/mask", MASK),
            ("monitors/conf_weak", CONF_WEAK),
            ("monitors/conf_strong", CONF_STRONG),
            ("losses/mask_sup", KEPT),
        ] {
            assert_close(&[note(&found, tag)], &[expected]);
        }
        assert_slope(&network, &found.terms[1].2, &GRADIENT);
        let entropy = gradient(&network, &uda(Tsa::No).loss(&half, &batch()).terms[2].2);
        assert!(entropy.abs().max().double_value(&[]) > 1e-3);
    }

    #[test]
    fn the_threshold_rises_from_chance_to_certainty() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let threshold = |tsa, number| {
            let step = Step {
                number,
                ..step(&network, &teacher)
            };
            uda(tsa).threshold(&step, 4)
        };
        let of = |rise: f64| 0.25 + 0.75 * rise;
        assert_eq!(threshold(Tsa::No, 0), 1.0);
        for (tsa, start, middle, end) in [
            (Tsa::Linear, 0.0, 0.5, 1.0),
            (Tsa::Exp, (-5.0_f64).exp(), (-2.5_f64).exp(), 1.0),
            (
                Tsa::Log,
                0.0,
                1.0 - (-2.5_f64).exp(),
                1.0 - (-5.0_f64).exp(),
            ),
        ] {
            let found = [0, 50, 100].map(|number| threshold(tsa, number));
            assert_close(&found, &[of(start), of(middle), of(end)]);
        }
    }

    #[test]
    fn the_annealing_of_a_published_run_takes_a_sixteenth_of_it() {
        // spec/fixmatch.md 7.2: min(65536, 16384)·2^8 of 65536·1024 images.
        let network = identity(3);
        let teacher = network.teacher(false);
        let threshold = |number| {
            let step = Step {
                number,
                steps: 1 << 20,
                batch: 64,
                ..step(&network, &teacher)
            };
            let spec = Settings {
                tsa: Tsa::Linear,
                ..Settings::default()
            };
            Uda(spec).threshold(&step, 10)
        };
        assert_close(&[threshold(1 << 15)], &[0.55]);
        assert_close(&[threshold(1 << 16), threshold(1 << 20)], &[1.0, 1.0]);
    }

    #[test]
    fn weight_zero_is_supervised_learning() {
        let network = identity(3);
        let mut supervised = Supervised(SupervisedSettings::default());
        let alone = gradient(&network, &loss(&mut supervised, &network).total());
        let mut uda = Uda(Settings {
            wu: 0.0,
            ..Settings::default()
        });
        let ours = gradient(&network, &loss(&mut uda, &network).total());
        assert!((alone - ours).abs().max().double_value(&[]) < 1e-7);
    }
}
