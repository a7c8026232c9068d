//! ReMixMatch: Berthelot et al. 2020, arXiv 1911.09785, algorithm 1; google-research/fixmatch
//! (spec/fixmatch.md 7.4).

use rematch_data::child::StageError;
use rematch_spec::method::Remixmatch;
use rematch_spec::method::remixmatch::Redux;
use tch::{Kind, Tensor};

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::network::{Head, Init};
use crate::ops::{
    MIXUP, average, batch_mean, cross_entropy, interleaved, kl, mean, mean_square, mixup,
    normalize, one_hot, sharpen, soft_cross_entropy, softmax,
};

/// The head that tells rotations.
const ROTATION: &str = "rotation";
/// How many batches the distributions of guesses and of labels go back.
const BATCHES: i64 = 128;
/// Share of the distribution of the labeled images that stays at each step.
const DECAY: f64 = 0.999;
/// Keeps the alignment finite where a class is never guessed.
const EPSILON: f64 = 1e-6;

/// MixMatch with distribution alignment, augmentation anchoring and rotations.
#[derive(Debug)]
pub struct ReMixMatch {
    spec: Remixmatch,
    /// How frequent each class is, K.
    p_data: Tensor,
    /// Means of the guesses of the last batches, 128×K, the newest last.
    p_model: Tensor,
    /// The same of the labels made of them; only looked at.
    p_target: Tensor,
}

impl ReMixMatch {
    /// With uniform distributions, or the known one.
    ///
    /// # Errors
    /// A known distribution of another number of classes.
    pub fn new(spec: &Remixmatch, setting: &mut Setting) -> Result<Self, StageError> {
        let classes = setting.classes;
        let mut uniform =
            |name, shape: &[i64]| setting.memory.tensor(name, shape, 1.0 / classes as f64);
        let method = Self {
            spec: spec.clone(),
            p_data: uniform("p_data", &[classes]),
            p_model: uniform("p_model", &[BATCHES, classes]),
            p_target: uniform("p_target", &[BATCHES, classes]),
        };
        if let Some(shares) = &spec.p_unlabeled {
            if shares.len() as i64 != classes {
                let message = format!(
                    "`p_unlabeled` of remixmatch has {} numbers, and there are {classes} classes",
                    shares.len()
                );
                return Err(StageError::usage(message).help("give one number per class"));
            }
            let shares = Tensor::from_slice(shares).to_kind(Kind::Float);
            method.p_data.shallow_clone().copy_(&normalize(&shares));
        }
        Ok(method)
    }

    /// Whose prediction each view gets: K+1 tensors.
    fn guesses(&self, step: &Step, u: &[Tensor], strong: &Tensor) -> Vec<Tensor> {
        // The first strong view has been passed already.
        let p = |n: usize| match n {
            1 => softmax(strong),
            n => softmax(&step.student.logits(&u[n], Bn::Observe)),
        };
        let all = |one: Tensor| u.iter().map(|_| one.shallow_clone()).collect();
        match self.spec.redux {
            Redux::First => all(p(0)),
            Redux::Mean => all(average(&(0..u.len()).map(p).collect::<Vec<_>>())),
            Redux::Swap => (1..u.len()).chain([0]).map(p).collect(),
        }
    }

    /// A guess made as frequent as the classes are, then sharpened.
    fn target(&self, guess: &Tensor) -> Tensor {
        let aligned = if self.spec.use_dm {
            let ratio = (&self.p_data + EPSILON) / (recalled(&self.p_model) + EPSILON);
            normalize(&(guess * ratio))
        } else {
            guess.shallow_clone()
        };
        sharpen(&aligned, self.spec.temperature)
    }

    fn remember(&mut self, guess: &Tensor, target: &Tensor, label: &Tensor) {
        push(&mut self.p_model, &batch_mean(guess));
        push(&mut self.p_target, &batch_mean(target));
        if self.spec.p_unlabeled.is_none() {
            let now = &self.p_data * DECAY + batch_mean(label) * (1.0 - DECAY);
            self.p_data.copy_(&now);
        }
    }

    /// What the originals plot of the distributions, before they change.
    fn note(&self, loss: Loss) -> Loss {
        let (data, model) = (&self.p_data, recalled(&self.p_model));
        let ratio = &model / data;
        let far = |p: &Tensor| kl(data, &p.log());
        let loss = loss
            .note("metrics/kld", &far(&model))
            .note("metrics/kld_target", &far(&recalled(&self.p_target)));
        (0..model.size()[0]).fold(loss, |loss, k| {
            loss.note(&format!("matching/class{k}_ratio"), &ratio.get(k))
                .note(&format!("matching/val{k}"), &model.get(k))
        })
    }
}

impl Method for ReMixMatch {
    fn views(&self) -> Views {
        Views::of_unlabeled(1 + self.spec.k)
    }

    fn heads(&self, features: i64) -> Vec<Head> {
        vec![Head {
            name: ROTATION,
            inputs: features,
            outputs: 4,
            init: Init::TensorFlow,
        }]
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let (x, u, student) = (&batch.x[0], &batch.u, step.student);
        let (turned, turn) = quarters(&u[1]);
        let rotation = student.head(ROTATION, &student.features(&turned, Bn::Observe));

        let strong = student.logits(&u[1], Bn::Observe);
        let (guess, target) = tch::no_grad(|| {
            let guess = Tensor::cat(&self.guesses(step, u, &strong), 0);
            let target = self.target(&guess);
            (guess, target)
        });
        let rows = x.size()[0];
        let anchored = soft_cross_entropy(&strong, &target.narrow(0, 0, rows));

        let label = one_hot(&batch.y, target.size()[1]);
        let images: Vec<&Tensor> = [x].into_iter().chain(u).collect();
        let (images, labels) = mixup(
            &mut step.stream(MIXUP),
            self.spec.beta,
            &Tensor::cat(&images, 0),
            &Tensor::cat(&[&label, &target], 0),
        );
        // Of all passes the last one alone moves the running statistics.
        let z = interleaved(student, &images.split(rows, 0), u.len());
        let unlabeled = Tensor::cat(&z[1..], 0);
        let (label_x, label_u) = (
            labels.narrow(0, 0, rows),
            labels.narrow(0, rows, unlabeled.size()[0]),
        );
        let (name, matched) = if self.spec.use_xe {
            ("xeu", mean(&soft_cross_entropy(&unlabeled, &label_u)))
        } else {
            ("l2u", mean_square(&softmax(&unlabeled), &label_u))
        };

        let warm = step.ramp_over_images(self.spec.warmup_kimg as f64 * 1024.0);
        let loss = Loss::new()
            .term("xe", 1.0, mean(&soft_cross_entropy(&z[0], &label_x)))
            .term(name, self.spec.w_match * warm, matched)
            .term("kl", self.spec.w_kl * warm, mean(&anchored))
            .term(
                "rot",
                self.spec.w_rot,
                mean(&cross_entropy(&rotation, &turn)),
            );
        let loss = self.note(loss);
        tch::no_grad(|| self.remember(&guess, &target, &label));
        loss
    }
}

/// The distribution that a buffer of batch means stands for.
fn recalled(buffer: &Tensor) -> Tensor {
    normalize(&batch_mean(buffer))
}

/// Forgets the oldest batch mean for a new one.
fn push(buffer: &mut Tensor, newest: &Tensor) {
    let kept = buffer.narrow(0, 1, BATCHES - 1);
    let now = Tensor::cat(&[&kept, &newest.unsqueeze(0)], 0);
    buffer.copy_(&now);
}

/// The batch in four parts: as it is, turned by 180°, and by 90° one way and the other; and which part an
/// image is in. What is left over when it is cut into four goes to the last.
fn quarters(x: &Tensor) -> (Tensor, Tensor) {
    let &[rows, _, height, width] = &x.size()[..] else {
        return (x.shallow_clone(), x.shallow_clone());
    };
    // A quarter turn needs a square.
    let side = height.min(width);
    let square = x
        .narrow(2, (height - side) / 2, side)
        .narrow(3, (width - side) / 2, side);
    let quarter = rows / 4;
    let sizes = [quarter, quarter, quarter, rows - 3 * quarter];
    let parts = square.split_with_sizes(sizes, 0);
    let turned = [
        parts[0].shallow_clone(),
        parts[1].flip([2, 3]),
        parts[2].transpose(2, 3).flip([2]),
        parts[3].transpose(2, 3).flip([3]),
    ];
    let turns: Vec<Tensor> = (0..)
        .zip(sizes)
        .map(|(n, size)| Tensor::full([size], n, (Kind::Int64, x.device())))
        .collect();
    (Tensor::cat(&turned, 0), Tensor::cat(&turns, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::methods::testing::{
        assert_close, assert_slope, batch_of, gradient, note, set, step, values, wave, with_heads,
    };
    use crate::network::Network;
    use tch::Device;

    // Made by tests/reference/remixmatch.py: plain Python in double precision. Three numbers are kl, xe
    // and xeu.
    const ROT: f64 = 2.67338898;
    const FIRST: [f64; 3] = [1.6322417, 1.6418642, 1.3963717];
    const GRADIENT: [f64; 16] = [
        0.0175512, -0.2417772, -0.4967699, -0.5921267, -0.2534248, -0.2044076, -0.1222435,
        0.0127785, 0.1229925, 0.2977485, 0.4516790, 0.4641979, 0.1128810, 0.1484363, 0.1673344,
        0.1151504,
    ];
    const SECOND_STEP: [f64; 3] = [1.6321225, 1.6418205, 1.3962956];
    const MEAN: [f64; 3] = [1.3611888, 1.6647468, 1.4156539];
    const SWAP: [f64; 3] = [0.7767013, 1.3514589, 2.3383981];

    fn build(spec: Remixmatch) -> (Result<ReMixMatch, StageError>, Memory) {
        let mut memory = Memory::new(Device::Cpu);
        let method = ReMixMatch::new(
            &spec,
            &mut Setting {
                classes: 4,
                batch: 4,
                unlabeled: 8,
                features: 4,
                steps: 100,
                device: Device::Cpu,
                memory: &mut memory,
            },
        );
        (method, memory)
    }

    /// Images of 2×2 pixels, which are the logits of four classes.
    fn network(method: &ReMixMatch) -> Network {
        let network = with_heads(0, 4, &method.heads(4));
        set(&network, 0, &Tensor::eye(4, (Kind::Float, Device::Cpu)));
        set(&network, 2, &(wave(4, 4, 0.2) / 3.0));
        network
    }

    fn loss(method: &mut ReMixMatch, network: &Network) -> Loss {
        let teacher = network.teacher(false);
        let waves = &[1.3, 0.4, 0.9][..=method.spec.k];
        method.loss(&step(network, &teacher), &batch_of(4, 4, waves))
    }

    fn with_redux(redux: Redux, k: usize) -> Remixmatch {
        Remixmatch {
            redux,
            k,
            ..Remixmatch::default()
        }
    }

    fn three(loss: &Loss) -> [f64; 3] {
        let values = values(loss);
        [values[2], values[0], values[1]]
    }

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        for (redux, k, expected) in [
            (Redux::First, 1, FIRST),
            (Redux::Mean, 1, MEAN),
            (Redux::Swap, 2, SWAP),
        ] {
            let mut method = build(with_redux(redux, k)).0.unwrap();
            let network = network(&method);
            let found = loss(&mut method, &network);
            assert_close(&three(&found), &expected);
            assert_close(&[values(&found)[3]], &[ROT]);
            if redux == Redux::First {
                assert_slope(&network, &found.terms[1].2, &GRADIENT);
            }
        }
    }

    #[test]
    fn guesses_are_aligned_with_what_was_seen_before() {
        let (method, memory) = build(with_redux(Redux::First, 1));
        let mut method = method.unwrap();
        let network = network(&method);
        let first = loss(&mut method, &network);
        assert!(note(&first, "metrics/kld").abs() < 1e-6);
        assert_close(&[note(&first, "matching/val0")], &[0.25]);
        let second = loss(&mut method, &network);
        assert_close(&three(&second), &SECOND_STEP);
        assert!(note(&second, "matching/val0") != 0.25);
        // Labels 0 1 2 1 among four classes.
        let tensors = memory.tensors();
        let names: Vec<&str> = tensors.iter().map(|t| t.0).collect();
        assert_eq!(names, ["p_data", "p_model", "p_target"]);
        let p_data = Vec::<f64>::try_from(tensors[0].1.to_kind(Kind::Double)).unwrap();
        let kept = DECAY * DECAY;
        let expected = [0.25, 0.5, 0.25, 0.0].map(|f| kept * 0.25 + (1.0 - kept) * f);
        assert_close(&p_data, &expected);
        // Two batches among 128, the newest last.
        let uniform = |row| {
            let off: Tensor = tensors[1].1.get(row) - 0.25;
            off.abs().max().double_value(&[]) < 1e-6
        };
        assert!(uniform(125) && !uniform(126) && !uniform(127));
        assert_eq!(tensors[1].1.size(), [128, 4]);
    }

    #[test]
    fn without_alignment_the_past_does_not_matter() {
        let spec = Remixmatch {
            use_dm: false,
            ..with_redux(Redux::First, 1)
        };
        let mut method = build(spec).0.unwrap();
        let network = network(&method);
        let terms = [0, 1].map(|_| values(&loss(&mut method, &network)));
        assert_eq!(terms[0], terms[1]);
    }

    #[test]
    fn a_known_distribution_stays() {
        let known = |shares: &[f64]| {
            build(Remixmatch {
                p_unlabeled: Some(shares.to_vec()),
                ..Remixmatch::default()
            })
        };
        let (method, memory) = known(&[1.0, 1.0, 0.0, 2.0]);
        let mut method = method.unwrap();
        let network = network(&method);
        loss(&mut method, &network);
        let p_data = Vec::<f64>::try_from(memory.tensors()[0].1.to_kind(Kind::Double)).unwrap();
        assert_close(&p_data, &[0.25, 0.25, 0.0, 0.5]);
        let error = known(&[1.0; 3]).0.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`p_unlabeled` of remixmatch has 3 numbers, and there are 4 classes"
        );
    }

    #[test]
    fn every_term_reaches_the_student() {
        for use_xe in [true, false] {
            let mut method = build(Remixmatch {
                use_xe,
                ..Remixmatch::default()
            })
            .0
            .unwrap();
            let network = network(&method);
            for term in 0..3 {
                let (name, _, value) = &loss(&mut method, &network).terms[term];
                let slope = gradient(&network, value).abs().sum(Kind::Float);
                assert!(slope.double_value(&[]) > 1e-3, "{name}");
            }
            // Rotations reach their head; the features of this network have no weights.
            let (_, _, value) = &loss(&mut method, &network).terms[3];
            value.backward();
            let slope = network.variables()[2].tensor.grad().abs().sum(Kind::Float);
            assert!(slope.double_value(&[]) > 1e-3);
        }
    }

    #[test]
    fn the_unlabeled_terms_warm_up_and_rotations_do_not() {
        let mut method = build(Remixmatch::default()).0.unwrap();
        let network = network(&method);
        let weights: Vec<f64> = loss(&mut method, &network)
            .terms
            .iter()
            .map(|t| t.1)
            .collect();
        assert_eq!(weights, [1.0, 0.0, 0.0, 0.5]);
    }

    #[test]
    fn what_is_left_over_is_in_the_last_quarter_and_no_image_is_cut_but_to_a_square() {
        let x = Tensor::arange(7 * 6, (Kind::Float, Device::Cpu)).view([7, 1, 2, 3]);
        let (turned, turn) = quarters(&x);
        assert_eq!(turned.size(), [7, 1, 2, 2]);
        assert_eq!(Vec::<i64>::try_from(turn).unwrap(), [0, 1, 2, 3, 3, 3, 3]);
        let (turned, turn) = quarters(&x.narrow(0, 0, 1));
        assert_eq!(turned.size(), [1, 1, 2, 2]);
        assert_eq!(Vec::<i64>::try_from(turn).unwrap(), [3]);
    }
}
