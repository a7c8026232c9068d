//! The methods, one file per paper.

pub mod featmatch;
pub mod fixmatch;
pub mod supervised;

#[cfg(test)]
pub(crate) mod testing {
    use crate::batch_norm::Bn;
    use crate::memory::Memory;
    use crate::method::{Batch, Loss, Method, Setting, Step, build};
    use crate::network::{Body, Builder, Head, Network};
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
        Network::with_body(
            seed,
            Device::Cpu,
            false,
            classes,
            &[],
            move |_: &mut Builder| Box::new(Flat(classes)),
        )
    }

    /// The same, whose logits are its input.
    pub(crate) fn identity(classes: i64) -> Network {
        let network = linear(0, classes);
        tch::no_grad(|| {
            let mut weight = network.variables()[0].tensor.shallow_clone();
            weight.copy_(&Tensor::eye(classes, (Kind::Float, Device::Cpu)));
        });
        network
    }

    /// A network whose features are its input, so many of them.
    pub(crate) fn flat(features: i64, classes: i64, heads: &[Head]) -> Network {
        Network::with_body(
            0,
            Device::Cpu,
            false,
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
        (built, memory)
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
}
