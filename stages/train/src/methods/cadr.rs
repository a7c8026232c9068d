//! CADR: Hu et al. 2022, "On Non-Random Missing Labels in Semi-Supervised Learning", ICLR;
//! JoyHuYY1412/Class_Imbalanced_Semi_Supervised_Learning (spec/cadr.md 6).

use rematch_spec::method::Cadr as Settings;
use rematch_spec::method::cadr::Weighting;
use tch::Tensor;

use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::ops::{batch_mean, confidence, cross_entropy, indicator, mean, softmax};

/// FixMatch that asks how probable it was for an image of a class to be labeled.
#[derive(Debug)]
pub struct Cadr {
    spec: Settings,
    /// π: which classes the network sees in weakly augmented images, K.
    prior: Tensor,
}

impl Cadr {
    /// π starts uniform.
    pub fn new(spec: &Settings, setting: &mut Setting) -> Self {
        let prior =
            setting
                .memory
                .tensor("prior", &[setting.classes], 1.0 / setting.classes as f64);
        Self {
            spec: spec.clone(),
            prior,
        }
    }

    /// Weights of the rows of q, N×K, whose weighted sum is π: clip(π·q⁺, 0, upper), 1×N.
    fn propensities(&self, q: &Tensor) -> Tensor {
        // TensorFlow's pseudo-inverse takes singular values below this share of the largest for 0
        // (spec/cadr.md 6.2).
        let rows = q.size()[0].max(q.size()[1]) as f64;
        let cutoff = 10.0 * rows * f64::from(f32::EPSILON);
        tch::no_grad(|| {
            let inverse = q.linalg_pinv(cutoff, false);
            let weights = self.prior.unsqueeze(0).matmul(&inverse);
            weights.clamp(0.0, self.spec.upper)
        })
    }

    /// CAP: the class prior p, K; the gradient flows through it into the predictions q, N×K.
    fn class_prior(&self, q: &Tensor) -> Tensor {
        if self.spec.cap_ema {
            self.propensities(q).matmul(q).squeeze_dim(0)
        } else {
            batch_mean(q)
        }
    }

    /// CAI: the threshold τ_k of each class by the prior, K.
    fn thresholds(&self, prior: &Tensor) -> Tensor {
        let relative = prior / prior.max();
        relative.pow_tensor_scalar(self.spec.cai_beta) * self.spec.confidence
    }

    /// 1 for rows of probabilities above the threshold of their class, N.
    fn class_aware_mask(&self, p: &Tensor, prior: &Tensor) -> Tensor {
        let (sure, class) = confidence(p);
        let thresholds = self.thresholds(prior).index_select(0, &class);
        indicator(&sure.gt_tensor(&thresholds))
    }
}

/// log ω of images of the classes y: ω is 1/p[y], scaled to mean 1.
fn log_weights(p: &Tensor, y: &Tensor) -> Tensor {
    let log = -p.log().index_select(0, y);
    let count = y.size()[0] as f64;
    &log - log.logsumexp([0_i64].as_slice(), true) + count.ln()
}

impl Method for Cadr {
    fn views(&self) -> Views {
        Views {
            ratio: self.spec.uratio,
            ..Views::of_unlabeled(2)
        }
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let [x, weak, strong] = step
            .student
            .together([&batch.x[0], &batch.u[0], &batch.u[1]]);
        let q = softmax(&weak);
        // CAP takes π as it was before this batch, CAI as it is with it.
        let prior =
            &self.prior * self.spec.cap_mu + batch_mean(&q.detach()) * (1.0 - self.spec.cap_mu);

        let (sure, label) = confidence(&q.detach());
        let mask = if self.spec.cai {
            self.class_aware_mask(&q.detach(), &prior)
        } else {
            indicator(&sure.ge(self.spec.confidence))
        };

        let mut loss = Loss::new();
        let mut xe = cross_entropy(&x, &batch.y);
        if self.spec.cap {
            let p = self.class_prior(&q);
            let log = log_weights(&p, &batch.y);
            xe = match self.spec.weighting {
                Weighting::Inside => xe - log,
                Weighting::Outside => xe * log.exp().detach(),
            };
            if self.spec.cadr {
                let sure = self.class_aware_mask(&softmax(&x.detach()), &prior);
                let (_, guess) = confidence(&x.detach());
                let log = log_weights(&p, &guess);
                let aug = sure.shallow_clone()
                    * match self.spec.weighting {
                        // No cross-entropy, and this sign, in the published code (spec/cadr.md, trap 11).
                        Weighting::Inside => log,
                        Weighting::Outside => -cross_entropy(&x, &guess) * log.exp().detach(),
                    };
                loss = loss
                    .note("losses/xe_aug", &mean(&aug))
                    .note("mask_aug", &mean(&sure));
                xe += aug;
            }
        }
        loss = loss
            .term("xe", 1.0, mean(&xe))
            .term(
                "xeu",
                self.spec.wu,
                mean(&(cross_entropy(&strong, &label) * &mask)),
            )
            .note("mask", &mean(&mask));
        for k in 0..prior.size()[0] {
            loss = loss.note(&format!("losses/p_cls_{k}"), &prior.get(k));
        }
        tch::no_grad(|| self.prior.copy_(&prior));
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::fixmatch::FixMatch;
    use crate::methods::supervised::Supervised;
    use crate::methods::testing::{
        batch, close, gradient, identity, loss, method, note, reached, step, terms,
    };
    use rematch_spec::method::{Fixmatch, Method as Spec, Supervised as SupervisedSettings};

    // Made by tests/reference/cadr.py: plain Python in double precision.
    const TERMS: [f64; 5] = [1.19455989, 0.780996086, -0.014122207, 0.625, 0.5];
    const PRIOR: [f64; 3] = [0.34713285, 0.310032352, 0.342834798];
    const GRADIENT: [f64; 9] = [
        -0.312831124,
        -1.04371173,
        -1.23121429,
        0.0143581436,
        0.783508754,
        1.04812173,
        0.29847298,
        0.260202971,
        0.183092563,
    ];
    const OUTSIDE: f64 = 1.13609954;
    const OUTSIDE_GRADIENT: [f64; 9] = [
        -0.0380203696,
        -0.72083706,
        -1.06463282,
        -0.286695035,
        0.229265974,
        0.637399614,
        0.324715405,
        0.491571086,
        0.427233204,
    ];

    fn off() -> Settings {
        Settings {
            cap: false,
            cai: false,
            cadr: false,
            ..Settings::default()
        }
    }

    fn cadr(spec: Settings, prior: &[f32]) -> Cadr {
        Cadr {
            spec,
            prior: Tensor::from_slice(prior),
        }
    }

    fn rows<const K: usize>(rows: &[[f32; K]]) -> Tensor {
        Tensor::from_slice(&rows.concat()).view([rows.len() as i64, 1, 1, K as i64])
    }

    // spec/cadr.md 11.
    const PI: [f32; 3] = [0.5, 0.3, 0.2];
    fn vectors() -> Batch {
        let a = rows(&[[3., 0., -1.], [0., 2.5, 0.], [1., 0., 0.5], [-1., 0., 3.5]]);
        Batch {
            x: vec![rows(&[[2., 0.5, -1.], [0.1, 0.2, 4.]])],
            y: Tensor::from_slice(&[0_i64, 1]),
            u: vec![a.copy(), a],
            index: Tensor::from_slice(&[0_i64, 1, 2, 3]),
        }
    }

    #[test]
    fn parts_are_those_of_the_test_vectors() {
        let method = cadr(Settings::default(), &PI);
        let Batch { x, y, u, .. } = vectors();
        let q = softmax(&u[0].view([4, 3]));
        close(
            &method.propensities(&q),
            &[0.367338, 0.267753, 0.268876, 0.096034],
            1e-6,
        );
        let p = method.class_prior(&q);
        close(&p, &[0.5, 0.3, 0.2], 1e-6);
        let log = log_weights(&p, &y);
        close(&log.exp(), &[0.75, 1.25], 1e-6);
        let z = x[0].view([2, 3]);
        close(&(cross_entropy(&z, &y) - log), &[0.528993, 3.618586], 1e-6);
        let updated = &method.prior * 0.99 + batch_mean(&q) * 0.01;
        close(&updated, &[0.498810, 0.299802, 0.201388], 1e-6);
        close(
            &method.thresholds(&updated),
            &[0.95, 0.736501, 0.603633],
            1e-6,
        );
        close(
            &method.class_aware_mask(&softmax(&z), &updated),
            &[0., 1.],
            1e-6,
        );
        close(
            &method.class_aware_mask(&q, &updated),
            &[0., 1., 0., 1.],
            1e-6,
        );
    }

    #[test]
    fn losses_and_gradient_are_those_of_the_test_vectors() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let step = step(&network, &teacher);
        let cap = Settings {
            cadr: false,
            ..Settings::default()
        };
        let alone = cadr(cap, &PI).loss(&step, &vectors());
        close(&alone.terms[0].2, &[2.073789788], 1e-6);

        let mut batch = vectors();
        batch.u[0] = batch.u[0].set_requires_grad(true);
        let mut method = cadr(Settings::default(), &PI);
        let both = method.loss(&step, &batch);
        close(&both.terms[0].2, &[2.252127260], 1e-6);
        assert!((note(&both, "losses/xe_aug") - 0.178337472).abs() < 1e-6);
        assert_eq!(note(&both, "monitors/mask_aug"), 0.5);
        assert_eq!(note(&both, "monitors/mask"), 0.5);
        close(&method.prior, &[0.498810, 0.299802, 0.201388], 1e-6);
        both.terms[0].2.backward();
        let expected = [
            0.022639, -0.015180, -0.007459, 0.017109, -0.010618, -0.006490, 0.076458, -0.019585,
            -0.056873, 0.001258, 0.000768, -0.002026,
        ];
        close(&batch.u[0].grad(), &expected, 1e-6);
    }

    #[test]
    fn losses_and_gradients_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let spec = Settings {
            confidence: 0.8,
            cap_mu: 0.9,
            ..Settings::default()
        };
        let (mut second, _memory) = method(&Spec::Cadr(spec.clone()));
        let _ = loss(&mut *second, &network);
        let found = loss(&mut *second, &network);
        close(&terms(&found), &TERMS[..2], 1e-5);
        let tags = ["losses/xe_aug", "monitors/mask", "monitors/mask_aug"];
        for (tag, expected) in tags.iter().zip(&TERMS[2..]) {
            assert!((note(&found, tag) - expected).abs() < 1e-5, "{tag}");
        }
        for (k, expected) in PRIOR.iter().enumerate() {
            assert!((note(&found, &format!("losses/p_cls_{k}")) - expected).abs() < 1e-6);
        }
        let found = gradient(&network, &found.total());
        close(&found, &GRADIENT, 1e-4);

        let (mut outside, _memory) = method(&Spec::Cadr(Settings {
            weighting: Weighting::Outside,
            ..spec
        }));
        let _ = loss(&mut *outside, &network);
        let xe = &loss(&mut *outside, &network).terms[0].2;
        close(xe, &[OUTSIDE], 1e-5);
        close(&gradient(&network, xe), &OUTSIDE_GRADIENT, 1e-4);
    }

    #[test]
    fn without_its_parts_it_is_fixmatch_and_without_weight_supervised_learning() {
        let network = identity(3);
        let of = |spec: Settings| gradient(&network, &loss(&mut cadr(spec, &PI), &network).total());
        let fixmatch = &mut FixMatch(Fixmatch::default());
        let expected = gradient(&network, &loss(fixmatch, &network).total());
        assert_eq!(of(off()), expected);
        // The third part alone does nothing.
        let alone = Settings {
            cadr: true,
            ..off()
        };
        assert_eq!(of(alone), expected);
        let supervised = &mut Supervised(SupervisedSettings::default());
        let expected = gradient(&network, &loss(supervised, &network).total());
        assert_eq!(of(Settings { wu: 0.0, ..off() }), expected);
    }

    #[test]
    fn the_gradient_reaches_weak_views_through_the_prior_alone() {
        let of = |spec: Settings| reached(&mut cadr(spec, &PI), batch());
        // With the third part, and all labeled images in its mask, the prior would cancel out: they are
        // guessed as they are labeled, if not in this order.
        let cap = Settings {
            confidence: 0.5,
            cadr: false,
            ..Settings::default()
        };
        let found = of(cap.clone());
        assert!(found.iter().all(|size| *size > 1e-3), "{found:?}");
        let mean = Settings {
            cap_ema: false,
            ..cap.clone()
        };
        assert!(of(mean)[1] > 1e-3);
        let outside = Settings {
            weighting: Weighting::Outside,
            ..cap.clone()
        };
        assert_eq!(of(outside)[1], 0.0);
        let none = Settings { cap: false, ..cap };
        assert_eq!(of(none)[1], 0.0);
    }
}
