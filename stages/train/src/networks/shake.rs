//! Shake-Shake (Gastaldi, arXiv 1705.07485) as google-research/fixmatch has it (spec/fixmatch.md 5.3).

use rematch_spec::network::Shake as Size;
use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Style, pixel_mean};
use crate::network::{Body, Builder, Shape};
use crate::networks::resnet::{self, STEM, scales};

/// The network without its classifier.
#[derive(Debug)]
pub struct Shake {
    stem: Conv,
    blocks: Vec<Block>,
    features: i64,
}

impl Shake {
    /// For images of `shape`.
    pub fn new(builder: &mut Builder, size: &Size, shape: Shape) -> Self {
        let style = Style {
            bias: false,
            slope: 0.0,
            ..resnet::style(size.bn_momentum)
        };
        let stem = style.conv(builder, "conv", [shape.channels, STEM], 3, 1);
        let (mut blocks, mut from) = (Vec::new(), STEM);
        for stage in 0..scales(size.scales, shape.width) {
            let to = size.filters << stage;
            for n in 0..size.repeat {
                let halves = stage > 0 && n == 0;
                let name = format!("stages.{stage}.{n}");
                blocks.push(Block::new(builder, style, &name, [from, to], halves));
                from = to;
            }
        }
        Self {
            stem,
            blocks,
            features: from,
        }
    }
}

impl Body for Shake {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let stem = self.stem.forward(x);
        pixel_mean(
            &self
                .blocks
                .iter()
                .fold(stem, |y, block| block.forward(&y, bn)),
        )
    }

    fn features(&self) -> i64 {
        self.features
    }
}

/// Two branches, mixed, and a way around them.
#[derive(Debug)]
struct Block {
    branches: [Branch; 2],
    around: Around,
}

/// The way around a block.
#[derive(Debug)]
enum Around {
    /// The input itself.
    Same,
    /// To other channels.
    Wider(Conv, BatchNorm),
    /// To half the size: one half of the channels from the pixels in even rows and columns, the other
    /// from those in odd ones.
    Half([Conv; 2], BatchNorm),
}

impl Block {
    fn new(
        builder: &mut Builder,
        style: Style,
        name: &str,
        [from, to]: [i64; 2],
        halves: bool,
    ) -> Self {
        let branches = [0, 1].map(|n| {
            let name = format!("{name}.branches.{n}");
            Branch::new(
                builder,
                style,
                &name,
                [from, to],
                if halves { 2 } else { 1 },
            )
        });
        let conv = |builder: &mut Builder, n: i64, to| {
            style.conv(builder, &format!("{name}.shortcut.{n}"), [from, to], 1, 1)
        };
        let norm = format!("{name}.bn");
        let around = if halves {
            let convs = [0, 1].map(|n| conv(builder, n, to / 2));
            Around::Half(convs, style.norm(builder, &norm, to))
        } else if from == to {
            Around::Same
        } else {
            Around::Wider(conv(builder, 0, to), style.norm(builder, &norm, to))
        };
        Self { branches, around }
    }

    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let active = x.relu();
        let [a, b] = self
            .branches
            .each_ref()
            .map(|branch| branch.forward(&active, bn));
        let mixed = mix(&a, &b, bn);
        match &self.around {
            Around::Same => x + mixed,
            Around::Wider(conv, norm) => norm.forward(&conv.forward(x), bn) + mixed,
            Around::Half([even, odd], norm) => {
                let from = |start: i64| {
                    let rows = active.slice(2, start, None, 2);
                    rows.slice(3, start, None, 2)
                };
                let halves = [even.forward(&from(0)), odd.forward(&from(1))];
                norm.forward(&Tensor::cat(&halves, 1), bn) + mixed
            }
        }
    }
}

/// a + μ(b − a): μ is uniform in 0…1 for each image in training, and ½ in evaluation. The originals mean
/// to draw another μ for the gradients, but use the same (spec/fixmatch.md 5.3). The trainer
/// seeds libtorch's generator at every step, so μ is a function of seed and step.
fn mix(a: &Tensor, b: &Tensor, bn: Bn) -> Tensor {
    if bn == Bn::Eval {
        return (a + b) * 0.5;
    }
    let mu = Tensor::rand([a.size()[0], 1, 1, 1], (a.kind(), a.device()));
    a + mu * (b - a)
}

/// Two 3×3 convolutions of a rectified input, each normalised.
#[derive(Debug)]
struct Branch {
    style: Style,
    conv1: Conv,
    bn1: BatchNorm,
    conv2: Conv,
    bn2: BatchNorm,
}

impl Branch {
    fn new(
        builder: &mut Builder,
        style: Style,
        name: &str,
        [from, to]: [i64; 2],
        stride: i64,
    ) -> Self {
        Self {
            style,
            conv1: style.conv(builder, &format!("{name}.conv1"), [from, to], 3, stride),
            bn1: style.norm(builder, &format!("{name}.bn1"), to),
            conv2: style.conv(builder, &format!("{name}.conv2"), [to, to], 3, 1),
            bn2: style.norm(builder, &format!("{name}.bn2"), to),
        }
    }

    fn forward(&self, active: &Tensor, bn: Bn) -> Tensor {
        let h = self
            .style
            .activate(&self.bn1, &self.conv1.forward(active), bn);
        self.bn2.forward(&self.conv2.forward(&h), bn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn each_image_has_one_mix_in_training_and_a_half_in_evaluation() {
        let options = (Kind::Float, Device::Cpu);
        let (a, b) = (
            Tensor::zeros([5, 2, 3, 3], options),
            Tensor::ones([5, 2, 3, 3], options),
        );
        let mu = mix(&a, &b, Bn::Update).flatten(1, -1);
        let (least, most) = (mu.amin([1], false), mu.amax([1], false));
        assert_eq!(least, most);
        let mu = Vec::<f32>::try_from(least).unwrap();
        assert!(mu.iter().all(|mu| (0.0..1.0).contains(mu)), "{mu:?}");
        assert!(mu.windows(2).all(|pair| pair[0] != pair[1]), "{mu:?}");
        assert_eq!(mix(&a, &b, Bn::Eval), &b * 0.5);
    }
}
