//! RealMix: Nair et al. 2019, "RealMix: Towards Realistic Semi-Supervised Deep Learning Algorithms",
//! arXiv 1912.08766 (spec/realmix.md 7 to 9).

use rematch_spec::method::Realmix;
use rematch_spec::method::realmix::TsaRule;
use tch::{Kind, Tensor};

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{
    MIXUP, confidence, indicator, interleaved, masked_mean, mean, mixup, one_hot, sharpen,
    soft_cross_entropy, softmax,
};

/// MixMatch, with the unlabeled images left out that look like none of the classes.
#[derive(Debug)]
pub struct RealMix(pub Realmix);

/// 1 for the images that are not too easy yet, N (spec/realmix.md 8).
fn kept(z: &Tensor, labels: &Tensor, rule: TsaRule, annealed: f64) -> Tensor {
    let chance = 1.0 / z.size()[1] as f64;
    let threshold = annealed * (1.0 - chance) + chance;
    let bound = match rule {
        TsaRule::Fixed => labels * threshold,
        TsaRule::Compat => z.detach() * threshold,
    };
    let of_label = softmax(&z.detach()) * indicator(&labels.gt(0.0));
    indicator(&of_label.lt_tensor(&bound).any_dim(-1, false))
}

/// The highest probability that this share of the images stays below, and 1 for the images above it, N
/// (spec/realmix.md 9).
fn above(sure: &Tensor, share: f64) -> (Tensor, Tensor) {
    let (sorted, _) = sure.sort(0, false);
    let threshold = sorted.get((sure.size()[0] as f64 * share).floor() as i64);
    let mask = indicator(&sure.gt_tensor(&threshold));
    (threshold, mask)
}

impl Method for RealMix {
    fn views(&self) -> Views {
        Views::of_unlabeled(2)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let spec = &self.0;
        let (x, u) = (&batch.x[0], &batch.u);
        let guess = tch::no_grad(|| {
            let [first, second] =
                [&u[0], &u[1]].map(|view| softmax(&step.student.logits(view, Bn::Observe)));
            sharpen(&((first + second) / 2.0), spec.temperature)
        });
        let labels = one_hot(&batch.y, guess.size()[1]);

        // MixUp of everything with everything; then passes of B images, of which the first moves the
        // running statistics.
        let images = Tensor::cat(&[x, &u[0], &u[1]], 0);
        let labels = Tensor::cat(&[&labels, &guess, &guess], 0);
        let (images, labels) = mixup(&mut step.stream(MIXUP), spec.beta, &images, &labels);
        let z = Tensor::cat(&interleaved(step.student, &images.chunk(3, 0), 0), 0);
        let rows = [x.size()[0], 2 * u[0].size()[0]];
        let [z_x, z_u] = split(&z, rows);
        let [l_x, l_u] = split(&labels, rows);

        let xe = soft_cross_entropy(&z_x, &l_x);
        let xe = match spec.tsa.rise(step.progress()) {
            None => mean(&xe),
            Some(annealed) => masked_mean(&xe, &kept(&z_x, &l_x, spec.tsa_rule, annealed)),
        };

        let p = softmax(&z_u);
        let difference = (&p - &l_u)
            .square()
            .mean_dim([-1_i64].as_slice(), false, Kind::Float);
        let (sure, _) = confidence(&p.detach());
        let mut loss = Loss::new()
            .note("losses/min_unsup_prob", &sure.min())
            .note("losses/mean_unsup_prob", &mean(&sure))
            .note("losses/max_unsup_prob", &sure.max());
        let l2u = match spec.percent_mask {
            None => mean(&difference),
            Some(share) => {
                let (threshold, mask) = above(&sure, share);
                loss = loss
                    .note("losses/high_prob_ratio", &mean(&mask))
                    .note("losses/percent_confidence_mask", &threshold);
                masked_mean(&difference, &mask)
            }
        };
        let weight = spec.w_match * step.ramp_over_images(spec.warmup_kimg * 1024.0);
        let loss = loss.term("xe", 1.0, xe).term("l2u", weight, l2u);
        let overall = loss.total();
        loss.note("losses/overall", &overall)
    }
}

/// The rows of labeled and of unlabeled images.
fn split(rows: &Tensor, sizes: [i64; 2]) -> [Tensor; 2] {
    [
        rows.narrow(0, 0, sizes[0]),
        rows.narrow(0, sizes[0], sizes[1]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::{
        batch, close, gradient, identity, note, reached, step, terms, wave,
    };
    use rematch_spec::method::tsa::Tsa;

    // Made by tests/reference/realmix.py: plain Python in double precision.
    const TERMS: [f64; 2] = [1.20829153, 0.057526367];
    const UNSUP_PROB: [f64; 3] = [0.467082894, 0.709839959, 0.933639829];
    const GRADIENT: [f64; 9] = [
        -0.156532096,
        -0.82948956,
        -1.13778149,
        -0.0723598329,
        0.409563256,
        0.762588064,
        0.228891929,
        0.419926304,
        0.375193424,
    ];
    const MASKED: [f64; 3] = [0.00790948308, 0.375, 0.788760944];
    const KEPT_FIXED: [f64; 8] = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0];
    const KEPT_COMPAT: [f64; 8] = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0];

    /// Mixes next to nothing: λ ~ Beta(β, β) is 0 or 1.
    fn unmixed() -> Realmix {
        Realmix {
            beta: 1e-9,
            w_match: 14.0,
            ..Realmix::default()
        }
    }

    fn four() -> Batch {
        Batch {
            u: vec![wave(4, 3, 1.3), wave(4, 3, 0.4)],
            ..batch()
        }
    }

    /// Half way through the warm-up.
    fn loss(spec: Realmix, network: &crate::network::Network) -> Loss {
        let teacher = network.teacher(false);
        let spec = Realmix {
            warmup_kimg: 0.390_625,
            ..spec
        };
        let step = Step {
            number: 50,
            ..step(network, &teacher)
        };
        RealMix(spec).loss(&step, &four())
    }

    #[test]
    fn losses_and_gradient_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let found = loss(unmixed(), &network);
        close(&terms(&found), &TERMS, 1e-5);
        let tags = ["min", "mean", "max"].map(|name| format!("losses/{name}_unsup_prob"));
        for (tag, expected) in tags.iter().zip(UNSUP_PROB) {
            assert!((note(&found, tag) - expected).abs() < 1e-6, "{tag}");
        }
        assert!((found.terms[1].1 - 7.0).abs() < 1e-12);
        let overall = TERMS[0] + 7.0 * TERMS[1];
        assert!((note(&found, "losses/overall") - overall).abs() < 1e-5);
        close(&gradient(&network, &found.total()), &GRADIENT, 1e-4);
    }

    #[test]
    fn the_mask_drops_its_share_of_the_least_sure_and_one_more() {
        let masked = Realmix {
            percent_mask: Some(0.5),
            ..unmixed()
        };
        let found = loss(masked, &identity(3));
        close(&found.terms[1].2, &MASKED[..1], 1e-6);
        assert_eq!(note(&found, "losses/high_prob_ratio"), MASKED[1]);
        let threshold = note(&found, "losses/percent_confidence_mask");
        assert!((threshold - MASKED[2]).abs() < 1e-6);
        // spec/realmix.md 9: 63 of 128.
        let sure = wave(128, 1, 0.7).view([128]);
        let (_, mask) = above(&sure, 0.5);
        assert_eq!(mask.sum(Kind::Float).double_value(&[]), 63.0);
    }

    #[test]
    fn annealing_keeps_what_an_independent_implementation_keeps() {
        let z = wave(8, 3, 1.3).view([8, 3]);
        let labels = (wave(8, 3, 0.9).view([8, 3]) + 2.0).clamp_min(0.0);
        let labels = crate::ops::normalize(&labels);
        let exp = Tsa::Exp.rise(0.6).unwrap();
        close(&kept(&z, &labels, TsaRule::Fixed, exp), &KEPT_FIXED, 1e-9);
        close(&kept(&z, &labels, TsaRule::Compat, exp), &KEPT_COMPAT, 1e-9);
        assert_eq!(Tsa::No.rise(0.5), None);
        assert_eq!(Tsa::Linear.rise(0.5), Some(0.5));
        assert_eq!(Tsa::Exp.rise(1.0), Some(1.0));
        assert_eq!(Tsa::Log.rise(0.0), Some(0.0));
    }

    #[test]
    fn annealing_leaves_out_what_is_easy_and_keeps_all_at_the_end() {
        let z = Tensor::from_slice(&[5.0_f32, 0.0, 0.0, 0.5, 0.0, 0.0]).view([2, 3]);
        let labels = one_hot(&Tensor::from_slice(&[0_i64, 0]), 3);
        close(&kept(&z, &labels, TsaRule::Fixed, 0.5), &[0.0, 1.0], 1e-9);
        close(&kept(&z, &labels, TsaRule::Fixed, 1.0), &[1.0, 1.0], 1e-9);
        let annealed = Realmix {
            tsa: Tsa::Linear,
            ..unmixed()
        };
        let found = loss(annealed, &identity(3));
        assert!((found.terms[0].2.double_value(&[]) - TERMS[0]).abs() > 1e-3);
    }

    #[test]
    fn both_terms_reach_the_student_through_mixed_images() {
        let network = identity(3);
        for term in 0..2 {
            let (name, _, value) = &loss(Realmix::default(), &network).terms[term];
            let size = gradient(&network, value).abs().sum(Kind::Float);
            assert!(size.double_value(&[]) > 1e-3, "{name}");
        }
        let views = reached(&mut RealMix(Realmix::default()), four());
        assert!(views.iter().all(|size| *size > 1e-3), "{views:?}");
    }
}
