//! The methods, one file per paper.

pub mod adamatch;
pub mod cadr;
pub mod daso;
pub mod featmatch;
pub mod fixmatch;
pub mod flexmatch;
pub mod freematch;
pub mod realmix;
pub mod softmatch;
pub mod supervised;

pub mod fs_mixup;
pub mod ict;
pub mod mean_teacher;
pub mod mixmatch;
pub mod mixup;
pub mod pi_model;
pub mod pseudo_label;
pub mod remixmatch;
pub mod uda;
pub mod vat;

#[cfg(test)]
pub(crate) mod testing {
    use crate::batch_norm::Bn;
    use crate::memory::Memory;
    use crate::method::{Batch, Loss, Method, Setting, Step, build};
    use crate::network::{Body, Builder, Compute, Head, Network};
    use rematch_spec::method;
    use tch::{Device, Kind, Tensor};

    struct Flat(i64);
    impl Body for Flat {
        fn forward(&self, x: &Tensor, _: Bn) -> Tensor {
            x.flatten(1, -1)
        }
        fn features(&self) -> i64 {
            self.0
        }
    }

    /// A network without batch norm that is one linear layer on as many features as classes.
    pub(crate) fn linear(seed: u64, classes: i64) -> Network {
        with_heads(seed, classes, &[])
    }

    /// The same with heads.
    pub(crate) fn with_heads(seed: u64, classes: i64, heads: &[Head]) -> Network {
        Network::with_body(
            seed,
            Compute::on(Device::Cpu),
            classes,
            heads,
            move |_: &mut Builder| Box::new(Flat(classes)),
        )
    }

    /// Sets the variable of that number.
    pub(crate) fn set(network: &Network, variable: usize, value: &Tensor) {
        tch::no_grad(|| {
            let mut tensor = network.variables()[variable].tensor.shallow_clone();
            tensor.copy_(&value.view(tensor.size().as_slice()));
        });
    }

    /// The linear network whose logits are its input.
    pub(crate) fn identity(classes: i64) -> Network {
        let network = linear(0, classes);
        set(
            &network,
            0,
            &Tensor::eye(classes, (Kind::Float, Device::Cpu)),
        );
        network
    }

    /// A teacher of it whose logits are twice its own.
    pub(crate) fn doubled(network: &Network) -> Network {
        let teacher = network.teacher(false);
        let weight = network.variables()[0].tensor.detach() * 2.0;
        set(&teacher, 0, &weight);
        teacher
    }

    /// The values of a loss's terms.
    pub(crate) fn values(loss: &Loss) -> Vec<f64> {
        loss.terms.iter().map(|t| t.2.double_value(&[])).collect()
    }

    /// Whether numbers are those of a reference, which has them to seven digits.
    pub(crate) fn assert_close(found: &[f64], expected: &[f64]) {
        let near = found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(
            near && found.len() == expected.len(),
            "{found:?} {expected:?}"
        );
    }

    /// Whether a term moves the classifier's weights as a reference says.
    pub(crate) fn assert_slope(network: &Network, term: &Tensor, expected: &[f64]) {
        let slope = gradient(network, term).flatten(0, -1).to_kind(Kind::Double);
        assert_close(&Vec::<f64>::try_from(slope).unwrap(), expected);
    }

    /// A network whose features are its input, so many of them.
    pub(crate) fn flat(features: i64, classes: i64, heads: &[Head]) -> Network {
        Network::with_body(
            0,
            Compute::on(Device::Cpu),
            classes,
            heads,
            move |_: &mut Builder| Box::new(Flat(features)),
        )
    }

    /// N "images" of K pixels: 3·sin(a·(i+1)) over all entries, which a reference in any language can
    /// compute.
    pub(crate) fn wave(n: i64, k: i64, a: f64) -> Tensor {
        let i = Tensor::arange(n * k, (Kind::Double, Device::Cpu)) + 1.0;
        ((i * a).sin() * 3.0)
            .to_kind(Kind::Float)
            .view([n, 1, 1, k])
    }

    pub(crate) fn batch() -> Batch {
        let y = Tensor::from_slice(&[0_i64, 1, 2, 1]);
        Batch {
            x: vec![wave(4, 3, 0.7)],
            y,
            u: vec![wave(8, 3, 1.3), wave(8, 3, 0.4)],
            index: Tensor::arange(8, (Kind::Int64, Device::Cpu)),
        }
    }

    /// As many unlabeled images as labeled ones, with a view for each wave; images are as square as
    /// their number of pixels allows.
    pub(crate) fn batch_of(n: i64, k: i64, views: &[f64]) -> Batch {
        let side = if k == 4 { 2 } else { 1 };
        let images = |a: f64| wave(n, k, a).view([n, 1, side, k / side]);
        Batch {
            x: vec![images(0.7)],
            y: Tensor::from_slice(&[0_i64, 1, 2, 1]),
            u: views.iter().map(|a| images(*a)).collect(),
            index: Tensor::arange(n, (Kind::Int64, Device::Cpu)),
        }
    }

    /// A method as the trainer builds it, for three classes and eight unlabeled images.
    pub(crate) fn method(spec: &method::Method) -> (Box<dyn Method>, Memory) {
        let mut memory = Memory::new(Device::Cpu);
        let built = build(
            spec,
            &mut Setting {
                classes: 3,
                batch: 4,
                unlabeled: 8,
                features: 3,
                steps: 100,
                device: Device::Cpu,
                memory: &mut memory,
            },
        );
        (built.unwrap(), memory)
    }

    /// The start of a run of 100 steps.
    pub(crate) fn step<'a>(student: &'a Network, teacher: &'a Network) -> Step<'a> {
        Step {
            student,
            teacher,
            number: 0,
            steps: 100,
            batch: 4,
            seed: 1,
            labeled: None,
        }
    }

    pub(crate) fn loss(method: &mut dyn Method, network: &Network) -> Loss {
        let teacher = network.teacher(false);
        method.loss(&step(network, &teacher), &batch())
    }

    pub(crate) fn gradient(network: &Network, loss: &Tensor) -> Tensor {
        let mut weight = network.variables()[0].tensor.shallow_clone();
        weight.zero_grad();
        loss.backward();
        weight.grad().copy()
    }

    /// The terms of a loss, in their order.
    pub(crate) fn terms(loss: &Loss) -> Tensor {
        let values: Vec<&Tensor> = loss.terms.iter().map(|(_, _, value)| value).collect();
        Tensor::stack(&values, 0)
    }

    /// What a loss notes under a tag.
    pub(crate) fn note(loss: &Loss, tag: &str) -> f64 {
        let found = loss.notes.iter().find(|(name, _)| name == tag);
        found.expect(tag).1.double_value(&[])
    }

    /// Refuses numbers that are not those expected, in order, to `within`.
    pub(crate) fn close(found: &Tensor, expected: &[f64], within: f64) {
        let found = Vec::<f64>::try_from(found.detach().flatten(0, -1).to_kind(Kind::Double));
        let found = found.unwrap();
        let right = found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < within);
        assert!(
            right && found.len() == expected.len(),
            "{found:?} for {expected:?}"
        );
    }

    /// How much of the loss's gradient arrives at each view, those of labeled images first.
    pub(crate) fn reached(method: &mut dyn Method, mut batch: Batch) -> Vec<f64> {
        let network = identity(batch.x[0].size()[3]);
        let teacher = network.teacher(false);
        for view in batch.x.iter_mut().chain(&mut batch.u) {
            *view = view.copy().set_requires_grad(true);
        }
        // At an end of the run, where no weight is still 0.
        let step = Step {
            number: 99,
            ..step(&network, &teacher)
        };
        method.loss(&step, &batch).total().backward();
        let views = batch.x.iter().chain(&batch.u);
        views
            .map(|view| view.grad().abs().sum(Kind::Double).double_value(&[]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use rematch_spec::method::Method as Spec;
    use tch::{Device, Tensor};

    use super::testing::{batch_of, method, step};
    use crate::batch_norm::Bn;
    use crate::network::{Body, Compute, Network};

    /// What batch norm was told in each pass, in order.
    type Passes = Arc<Mutex<Vec<Bn>>>;

    struct Spy(Passes);
    impl Body for Spy {
        fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(bn);
            x.flatten(1, -1)
        }
        fn features(&self) -> i64 {
            3
        }
    }

    #[test]
    fn running_statistics_follow_the_passes_that_they_follow_in_the_originals() {
        use Bn::{Observe as O, Update as U};
        // The table of spec/fixmatch.md 6; passes in the order of the code.
        for (name, expected) in [
            ("fixmatch", vec![U]),
            ("uda", vec![U]),
            ("mixmatch", vec![O, O, U, O, O]),
            // Rotations, the strong view, the weak one, and the last of three mixed batches.
            ("remixmatch", vec![O, O, O, O, O, U]),
            ("mean_teacher", vec![U, O, O]),
            ("pi_model", vec![U, O, O]),
            ("pseudo_label", vec![U, O]),
            ("ict", vec![U, O, O]),
            ("vat", vec![U, O, O, O]),
            ("mixup", vec![O, U, O]),
            ("fs_mixup", vec![U]),
        ] {
            let (mut method, _memory) = method(&Spec::named(name).unwrap());
            let passes = Passes::default();
            let spy = Arc::clone(&passes);
            let heads = method.heads(3);
            let student = Network::with_body(1, Compute::on(Device::Cpu), 3, &heads, move |_| {
                Box::new(Spy(Arc::clone(&spy)))
            });
            let teacher = student.teacher(false);
            let mut batch = batch_of(4, 3, &[1.3, 0.4]);
            batch.u.truncate(method.views().unlabeled);
            if name == "remixmatch" {
                // A square that has three features: one pixel of three channels.
                let square = |x: &Tensor| x.view([4, 3, 1, 1]);
                batch.x = batch.x.iter().map(square).collect();
                batch.u = batch.u.iter().map(square).collect();
            }
            let _ = method.loss(&step(&student, &teacher), &batch);
            let found = passes.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(*found, expected, "{name}");
        }
    }
}
