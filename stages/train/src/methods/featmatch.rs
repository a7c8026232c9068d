//! FeatMatch: Kuo et al. 2020, arXiv 2007.08505, algorithm 1; GT-RIPL/FeatMatch (spec/featmatch.md 5 to 8).

mod attention;
mod kmeans;
mod prototypes;

use rematch_data::rng::{Purpose, Stream};
use rematch_spec::method::Featmatch;
use tch::{Device, Kind, Tensor};

use crate::batch_norm::Bn;
use crate::evaluate::Set;
use crate::method::{Batch, Loss, Method, Setting, Step, Views};
use crate::network::{Head, Network};
use crate::ops::{
    MIXUP, confidence, mean, mix, mix_shares, normalize, one_hot, permutation, sharpen,
    soft_cross_entropy, softmax,
};
use prototypes::{Features, Sizes};

/// Refined features guess what an unlabeled image is; all its views, mixed with those of other images,
/// must say the same, with refined features and with plain ones.
#[derive(Debug)]
pub struct FeatMatch {
    spec: Featmatch,
    /// Steps without prototypes, at the start.
    pretrain: u64,
    /// Steps between two extractions.
    sample: u64,
    classes: i64,
    bank: Bank,
    prototypes: Prototypes,
    dropout: f64,
}

/// Features of the unlabeled images since the last extraction, and what they were taken for.
#[derive(Debug)]
struct Bank {
    /// Images of a step.
    rows: i64,
    /// [steps·rows, D].
    features: Tensor,
    /// [steps·rows, 2]: the highest probability, and its class.
    guesses: Tensor,
}

/// The current prototypes.
#[derive(Debug)]
struct Prototypes {
    /// [K·pk, D].
    values: Tensor,
    /// [K·pk]: 0 where there is none, 1 for one of labeled images, 2 for one of unlabeled ones.
    kinds: Tensor,
}

const KMEANS: Purpose = Purpose::named("k-means");

impl FeatMatch {
    /// With an empty bank and no prototypes.
    pub fn new(spec: &Featmatch, setting: &mut Setting) -> Self {
        let steps = setting.steps;
        let sample = spec.in_run(spec.sample, steps).max(1);
        let rows = (setting.batch * spec.uratio) as i64;
        let (features, memory) = (setting.features, &mut *setting.memory);
        let held = rows * sample.min(steps) as i64;
        let most = setting.classes * spec.pk as i64;
        Self {
            spec: spec.clone(),
            pretrain: spec.in_run(spec.pretrain, steps),
            sample,
            classes: setting.classes,
            bank: Bank {
                rows,
                features: memory.tensor("bank.features", &[held, features], 0.0),
                guesses: memory.tensor("bank.guesses", &[held, 2], 0.0),
            },
            prototypes: Prototypes {
                values: memory.tensor("prototypes.values", &[most, features], 0.0),
                kinds: memory.tensor("prototypes.kinds", &[most], 0.0),
            },
            dropout: attention::DROPOUT,
        }
    }

    /// The step of the last extraction at or before a step behind the pre-training.
    fn extracted(&self, step: u64) -> u64 {
        (step - step % self.sample).max(self.pretrain)
    }

    /// Logits of refined features.
    fn refined(&self, network: &Network, features: &Tensor, dropout: f64) -> Tensor {
        let there = self.prototypes.kinds.gt(0.0);
        network.classify(&attention::refine(
            network,
            features,
            &self.prototypes.values,
            &there,
            dropout,
        ))
    }

    /// Probabilities of the unlabeled images, from their weak views, which are the rows from `first`.
    /// Only the forward pass of all views counts here, for batch norm; it has no gradient.
    fn guess(&self, step: &Step, x: &Tensor, first: i64) -> Tensor {
        tch::no_grad(|| {
            let features = step.student.features(x, Bn::Update);
            let features = features.narrow(0, first, self.bank.rows);
            if step.number < self.pretrain {
                return softmax(&step.student.classify(&features));
            }
            let p = softmax(&self.refined(step.student, &features, self.dropout));
            self.bank
                .put(step.number - self.extracted(step.number), &features, &p);
            p
        })
    }

    /// New prototypes, of the labeled images and of what is in the bank. This waits for the device.
    fn extract(&mut self, step: &Step) {
        let Some(set) = step.labeled else {
            return;
        };
        let labeled = features(step.student, set);
        let sizes = Sizes {
            classes: self.classes as usize,
            pk: self.spec.pk,
            labeled: self.spec.of_labeled(),
        };
        // At the end of the pre-training the bank is empty.
        let held = match step.number.checked_sub(1).filter(|n| *n >= self.pretrain) {
            Some(before) => step.number - self.extracted(before),
            None => 0,
        };
        let unlabeled = (held > 0).then(|| self.bank.take(held));
        let unlabeled = unlabeled.and_then(|(candidates, confidence)| {
            prototypes::confident(&candidates, &confidence, sizes)
        });
        let (seed, number) = (step.seed, step.number);
        let draws = move |n: u64| Stream::new(seed, KMEANS, number, n);
        let made = prototypes::extract(&labeled, unlabeled.as_ref(), sizes, &draws);
        self.prototypes.put(&made);
    }
}

impl Bank {
    /// Writes down the images of the n-th step since the last extraction.
    fn put(&self, n: u64, features: &Tensor, p: &Tensor) {
        let (sure, class) = confidence(p);
        let guesses = Tensor::stack(&[sure, class.to_kind(Kind::Float)], 1);
        for (all, new) in [(&self.features, features), (&self.guesses, &guesses)] {
            all.narrow(0, n as i64 * self.rows, self.rows).copy_(new);
        }
    }

    /// The images of so many steps, with their classes, and how sure the network was.
    fn take(&self, steps: u64) -> (Features, Vec<f32>) {
        let rows = steps as i64 * self.rows;
        let guesses = read(&self.guesses.narrow(0, 0, rows));
        let (guesses, _) = guesses.as_chunks::<2>();
        let features = Features {
            values: read(&self.features.narrow(0, 0, rows)),
            classes: guesses.iter().map(|[_, class]| *class as usize).collect(),
            width: self.features.size()[1] as usize,
        };
        (features, guesses.iter().map(|[sure, _]| *sure).collect())
    }
}

impl Prototypes {
    fn put(&mut self, made: &prototypes::Prototypes) {
        let [most, width] = [0, 1].map(|n| self.values.size()[n] as usize);
        let mut values = made.values.clone();
        values.resize(most * width, 0.0);
        let mut kinds = made.kinds.clone();
        kinds.resize(most, 0.0);
        tch::no_grad(|| {
            let shape = self.values.size();
            self.values
                .copy_(&Tensor::from_slice(&values).view(shape.as_slice()));
            self.kinds.copy_(&Tensor::from_slice(&kinds));
        });
    }
}

/// Features of labeled images as they are, with running statistics, each image once. There are at most as
/// many as are evaluated, 10,000: as many as any published run has.
fn features(network: &Network, set: &Set) -> Features {
    let mut all = Features::default();
    set.each(&network.variables()[0].tensor, |x, y| {
        let features = network.features(&x, Bn::Eval);
        all.width = features.size()[1] as usize;
        all.values.extend(read(&features));
        let classes = Vec::<i64>::try_from(y.to_device(Device::Cpu)).unwrap_or_default();
        all.classes.extend(classes.iter().map(|y| *y as usize));
        Ok(())
    })
    // Like tch's own operations, which upload alike.
    .unwrap_or_else(|e| panic!("{e}"));
    all
}

/// The numbers of a tensor, row by row.
fn read(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_device(Device::Cpu).contiguous().view([-1]);
    Vec::<f32>::try_from(tensor).unwrap_or_else(|e| panic!("{e}"))
}

impl Method for FeatMatch {
    fn views(&self) -> Views {
        let views = self.spec.k + 1;
        Views {
            labeled: views,
            unlabeled: views,
            ratio: self.spec.uratio,
        }
    }

    fn heads(&self, features: i64) -> Vec<Head> {
        attention::heads(features)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let pretraining = step.number < self.pretrain;
        if !pretraining && step.number == self.extracted(step.number) {
            self.extract(step);
        }
        let views: Vec<&Tensor> = batch.x.iter().chain(&batch.u).collect();
        let x = Tensor::cat(&views, 0);
        let labeled: i64 = batch.x.iter().map(|view| view.size()[0]).sum();
        let unlabeled = x.size()[0] - labeled;

        // The weak views stand first.
        let p = self.guess(step, &x, labeled);
        let q = sharpen(&p, self.spec.temperature);
        let y = one_hot(&batch.y, self.classes);
        let labels = batch.x.iter().map(|_| &y).chain(batch.u.iter().map(|_| &q));
        let labels = Tensor::cat(&labels.collect::<Vec<_>>(), 0);

        // One share for all rows, labeled and unlabeled ones together.
        let mut stream = step.stream(MIXUP);
        let share = mix_shares(&mut stream, self.spec.beta, &x.narrow(0, 0, 1));
        let order = permutation(&mut stream, &x);
        let mixed = |rows: &Tensor| mix(rows, &rows.index_select(0, &order), &share);
        let (x, labels) = (mixed(&x), normalize(&mixed(&labels)));

        let features = step.student.features(&x, Bn::Update);
        let plain = step.student.classify(&features);
        let refined = if pretraining {
            plain.shallow_clone()
        } else {
            self.refined(step.student, &features, self.dropout)
        };
        let [ours, theirs] = [(0, labeled), (labeled, unlabeled)]
            .map(|(first, rows)| move |all: &Tensor| all.narrow(0, first, rows));
        let pred = soft_cross_entropy(&ours(&refined), &ours(&labels));
        let con = soft_cross_entropy(&theirs(&refined), &theirs(&labels));
        let graph = if pretraining {
            // There are no refined features to agree with; the original logs 0.
            plain * 0.0
        } else {
            soft_cross_entropy(&theirs(&plain), &theirs(&labels))
        };
        let rise = step.ramp_over(self.spec.rampup as f64 / self.spec.of as f64);
        let kinds = &self.prototypes.kinds;
        let count = |kind: f64| kinds.eq(kind).sum(Kind::Float);
        Loss::new()
            .term("pred", 1.0, mean(&pred))
            .term("con", rise * self.spec.mix, mean(&con))
            .term("graph", rise * self.spec.graph, mean(&graph))
            .note("prototypes_labeled", &count(1.0))
            .note("prototypes_unlabeled", &count(2.0))
    }

    fn logits(&self, network: &Network, x: &Tensor) -> Tensor {
        let features = network.features(x, Bn::Eval);
        // Without prototypes there is nothing to attend to, and what comes of it is no number.
        let any = self.prototypes.kinds.gt(0.0).any();
        let refined = self.refined(network, &features, 0.0);
        refined.where_self(&any, &network.classify(&features))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::memory::Memory;
    use crate::methods::testing::{self, flat, gradient, wave};
    use crate::scale::Scale;
    use rematch_data::image::Shape;

    const WIDTH: i64 = 8;

    // Made by tests/reference/featmatch.py: plain Python in double precision.
    const PRETRAIN: [f64; 3] = [2.22391827, 1.01544396, 0.0];
    const REFINED: [f64; 3] = [1.44913568, 1.93662451, 1.68066497];
    const BIAS: [f64; 3] = [0.351941, 0.1829643, 0.08988325];
    const GUESS: [f64; 3] = [0.478013681, 0.283171756, 0.238814562];

    /// One strong view, three prototypes of a class, 2 of 10 steps of pre-training, no dropout; a Beta
    /// distribution whose every draw is 0 or 1, so that nothing is mixed.
    fn spec() -> Featmatch {
        Featmatch {
            k: 1,
            beta: 1e-9,
            of: 10,
            pretrain: 2,
            sample: 3,
            rampup: 5,
            pk: 3,
            ..Featmatch::default()
        }
    }

    fn build(spec: &Featmatch) -> FeatMatch {
        let mut memory = Memory::new(Device::Cpu);
        let mut setting = Setting {
            classes: 3,
            batch: 4,
            unlabeled: 100,
            features: WIDTH,
            steps: 10,
            device: Device::Cpu,
            memory: &mut memory,
        };
        FeatMatch {
            dropout: 0.0,
            ..FeatMatch::new(spec, &mut setting)
        }
    }

    /// The weights of the reference.
    fn network() -> Network {
        let network = flat(WIDTH, 3, &attention::heads(WIDTH));
        let mut at = 0;
        for variable in network.variables() {
            let shape = variable.tensor.size();
            let count = variable.tensor.numel() as i64;
            let i = Tensor::arange(count, (Kind::Double, Device::Cpu)) + (at + 1) as f64;
            let values = ((i * 0.9).sin() * 0.6).view(shape.as_slice());
            tch::no_grad(|| variable.tensor.shallow_clone().copy_(&values));
            at += count;
        }
        network
    }

    fn batch() -> Batch {
        let view = |n, a| wave(n, WIDTH, a);
        Batch {
            x: vec![view(4, 0.7), view(4, 0.9)],
            y: Tensor::from_slice(&[0_i64, 1, 2, 1]),
            u: vec![view(8, 1.3), view(8, 0.4)],
            index: Tensor::arange(8, (Kind::Int64, Device::Cpu)),
        }
    }

    /// The prototypes of the reference, five of nine.
    fn give_prototypes(method: &mut FeatMatch) {
        let rows = wave(5, WIDTH, 0.55) * (2.0 / 3.0);
        method.prototypes.put(&prototypes::Prototypes {
            values: read(&rows),
            kinds: vec![1.0; 5],
        });
    }

    fn loss_at(method: &mut FeatMatch, network: &Network, number: u64, set: Option<&Set>) -> Loss {
        let teacher = network.teacher(false);
        let step = Step {
            student: network,
            teacher: &teacher,
            number,
            steps: 10,
            batch: 4,
            seed: 1,
            labeled: set,
        };
        method.loss(&step, &batch())
    }

    /// Nine images of 8 values, three of each class, in passes of four.
    fn labeled() -> Set {
        let shape = Shape {
            height: 1,
            width: WIDTH as usize,
            channels: 1,
        };
        let bytes: Vec<u8> = (0..72).map(|i| (i * i * 37 % 251) as u8).collect();
        let labels: Vec<i64> = (0..9).map(|n| n % 3).collect();
        Set::new("", &bytes, &labels, shape, 4, &Rc::new(Scale::Plain))
    }

    fn assert_close(found: &Tensor, expected: &[f64]) {
        let found = found.detach().to_kind(Kind::Double).flatten(0, -1);
        let found = Vec::<f64>::try_from(found).unwrap();
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    fn terms(loss: &Loss) -> Tensor {
        let values: Vec<&Tensor> = loss.terms.iter().map(|(_, _, value)| value).collect();
        Tensor::stack(&values, 0)
    }

    #[test]
    fn losses_are_those_of_an_independent_implementation() {
        let (mut method, network) = (build(&spec()), network());
        let pretraining = loss_at(&mut method, &network, 1, None);
        assert_close(&terms(&pretraining), &PRETRAIN);
        give_prototypes(&mut method);
        // Step 4 of 10, of which 5 are the rise; no extraction is due.
        let loss = loss_at(&mut method, &network, 4, None);
        assert_close(&terms(&loss), &REFINED);
        let [pred, con, graph] = REFINED;
        let total = pred + 0.8 * (0.5 * con + 2.0 * graph);
        assert!((loss.total().double_value(&[]) - total).abs() < 1e-5);
        // The bank holds what the weak views were taken for, unsharpened: a step behind the extraction.
        let sure = method.bank.guesses.get(8 + 2);
        assert_close(&sure, &[GUESS[0], 0.0]);
        assert_eq!(
            method.bank.features.get(8),
            batch().u[0].get(0).view([WIDTH])
        );
    }

    #[test]
    fn the_gradient_of_each_term_is_that_of_finite_differences() {
        for (n, expected) in BIAS.into_iter().enumerate() {
            let (mut method, network) = (build(&spec()), network());
            give_prototypes(&mut method);
            let loss = loss_at(&mut method, &network, 4, None);
            loss.terms[n].2.backward();
            let bias = &network.variables()[1];
            assert_eq!(bias.name, "classifier.bias");
            assert_close(&bias.tensor.grad().get(0), &[expected]);
        }
    }

    #[test]
    fn every_layer_learns_from_refined_features_and_none_before_there_are_any() {
        let (mut method, network) = (build(&spec()), network());
        loss_at(&mut method, &network, 1, None).total().backward();
        for variable in network.variables() {
            let reached = variable.tensor.grad().defined();
            assert_eq!(
                reached,
                variable.name.starts_with("classifier"),
                "{}",
                variable.name
            );
        }
        give_prototypes(&mut method);
        for n in 0..2 {
            let loss = loss_at(&mut method, &network, 4, None);
            let _ = gradient(&network, &loss.terms[n].2);
            for variable in network.variables() {
                let sum = variable.tensor.grad().abs().sum(Kind::Double);
                assert!(sum.double_value(&[]) > 1e-6, "{}", variable.name);
            }
        }
    }

    #[test]
    fn memory_holds_an_interval_and_all_prototypes() {
        let (method, memory) =
            testing::method(&rematch_spec::method::Method::Featmatch(Featmatch {
                sample: 7320,
                ..Featmatch::default()
            }));
        // A 25th of 100 steps, two unlabeled images for each of 4; 20 prototypes of 3 classes.
        let shapes: Vec<_> = memory.tensors().iter().map(|(_, t)| t.size()).collect();
        assert_eq!(shapes, [vec![32, 3], vec![32, 2], vec![60, 3], vec![60]]);
        assert_eq!((method.views().labeled, method.views().unlabeled), (9, 9));
    }

    #[test]
    fn guesses_have_no_gradient() {
        let network = network();
        let mut method = build(&spec());
        give_prototypes(&mut method);
        let teacher = network.teacher(false);
        let step = Step {
            student: &network,
            teacher: &teacher,
            number: 4,
            steps: 10,
            batch: 4,
            seed: 1,
            labeled: None,
        };
        let x = wave(8, WIDTH, 1.3);
        assert!(!method.guess(&step, &x, 0).requires_grad());
    }

    #[test]
    fn attention_is_dropped_in_training_alone() {
        let network = network();
        let mut method = build(&spec());
        give_prototypes(&mut method);
        let whole = terms(&loss_at(&mut method, &network, 4, None));
        method.dropout = 0.5;
        let draw = |method: &mut FeatMatch, seed| {
            tch::manual_seed(seed);
            terms(&loss_at(method, &network, 4, None))
        };
        let [first, again, other] = [3, 3, 4].map(|seed| draw(&mut method, seed));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert_ne!(first, whole);
        let x = wave(4, WIDTH, 0.7);
        let logits = tch::no_grad(|| [method.logits(&network, &x), method.logits(&network, &x)]);
        assert_eq!(logits[0], logits[1]);
    }

    #[test]
    fn a_network_classifies_with_plain_features_until_there_are_prototypes() {
        let (mut method, network) = (build(&spec()), network());
        let x = wave(4, WIDTH, 0.7);
        let plain = network.logits(&x, Bn::Eval);
        assert_eq!(method.logits(&network, &x), plain);
        give_prototypes(&mut method);
        let refined = method.logits(&network, &x);
        assert_ne!(refined, plain);
        // Places without a prototype change nothing.
        let held = method.prototypes.values.narrow(0, 5, 4);
        let _ = tch::no_grad(|| held.shallow_clone().fill_(7.0));
        assert_eq!(method.logits(&network, &x), refined);
    }

    #[test]
    fn prototypes_come_after_the_pretraining_and_at_each_interval() {
        let (mut method, network, set) = (build(&spec()), network(), labeled());
        let extracted: Vec<u64> = (2..10).map(|n| method.extracted(n)).collect();
        assert_eq!(extracted, [2, 3, 3, 3, 6, 6, 6, 9]);
        let mut counts = Vec::new();
        for number in 0..10 {
            let loss = loss_at(&mut method, &network, number, Some(&set));
            let count = |n: usize| loss.notes[n].1.double_value(&[]) as i64;
            counts.push([count(0), count(1)]);
        }
        // The first time of labeled images alone: mean and two clusters of each class. 8 and 24 images
        // are in the bank then, and more than three of each class never are.
        assert_eq!(
            counts,
            [
                [0, 0],
                [0, 0],
                [9, 0],
                [9, 0],
                [9, 0],
                [9, 0],
                [9, 0],
                [9, 0],
                [9, 0],
                [9, 0]
            ]
        );
        let features = features(&network, &set);
        assert_eq!(features.classes, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        let first = |n: usize| {
            (features.values[n] + features.values[24 + n] + features.values[48 + n]) / 3.0
        };
        assert_close(
            &method.prototypes.values.get(0),
            &[0, 1, 2, 3, 4, 5, 6, 7].map(|n| f64::from(first(n))),
        );
    }

    #[test]
    fn prototypes_of_unlabeled_images_join_once_every_class_is_guessed() {
        let (mut method, network, set) = (build(&spec()), network(), labeled());
        // As if the three steps before had seen eight of each class.
        tch::no_grad(|| {
            for row in 0..24 {
                let guess = Tensor::from_slice(&[0.4_f32, (row % 3) as f32]);
                method.bank.guesses.get(row).copy_(&guess);
                let _ = method.bank.features.get(row).fill_((row % 3) as f64 + 1.0);
            }
        });
        let _ = loss_at(&mut method, &network, 6, Some(&set));
        let kinds = read(&method.prototypes.kinds);
        // Two of labeled images (p_k·½, to the even number), and one in their place.
        assert_eq!(kinds, [1.0, 1.0, 2.0].repeat(3));
        assert_close(&method.prototypes.values.get(5), &[2.0; 8]);
        // The bank begins anew with this step.
        assert_ne!(
            method.bank.guesses.get(0),
            Tensor::from_slice(&[0.4_f32, 0.0])
        );
        assert_eq!(
            method.bank.guesses.get(8),
            Tensor::from_slice(&[0.4_f32, 2.0])
        );
    }
}
