//! The wide residual network of google-research/fixmatch (`resnet`, spec/fixmatch.md 5.1); WRN-28-2 by
//! default. It differs from the PyTorch ports: every convolution has a bias, stride-2 convolutions
//! pad as TensorFlow does, and the first activation of a group feeds its convolution.

use rematch_spec::network::Resnet;
use tch::{Kind, Tensor};

use crate::batch_norm::{BatchNorm, Bn};
use crate::network::{Body, Builder, Role, Shape};
use crate::shim;

/// Slope of the leaky rectifier below zero.
const SLOPE: f64 = 0.1;
/// Channels of the first convolution.
const STEM: i64 = 16;

/// The network without its classifier.
#[derive(Debug)]
pub struct Wrn {
    stem: Conv,
    blocks: Vec<Block>,
    last: BatchNorm,
    features: i64,
}

impl Wrn {
    /// For images of `shape`.
    pub fn new(builder: &mut Builder, size: &Resnet, shape: Shape) -> Self {
        let scales = scales(size.scales, shape.width);
        let stem = Conv::new(builder, "conv", shape.channels, STEM, 3, 1);
        let (mut blocks, mut channels) = (Vec::new(), STEM);
        for group in 0..scales {
            let filters = size.filters << group;
            for n in 0..size.repeat {
                let stride = if group > 0 && n == 0 { 2 } else { 1 };
                let preact = group == 0 && n == 0;
                let name = format!("groups.{group}.{n}");
                blocks.push(Block::new(
                    builder,
                    &name,
                    [channels, filters],
                    stride,
                    preact,
                    size.bn_momentum,
                ));
                channels = filters;
            }
        }
        let last = BatchNorm::new(builder, "bn", channels, size.bn_momentum);
        Self {
            stem,
            blocks,
            last,
            features: channels,
        }
    }
}

/// As many groups as are asked for; for 0 as many as leave 8×8 pixels: ceil(log2(width)) − 2.
pub fn scales(wanted: i64, width: i64) -> i64 {
    if wanted > 0 {
        return wanted;
    }
    i64::from((width.max(1) as u64).next_power_of_two().trailing_zeros())
        .saturating_sub(2)
        .max(1)
}

impl Body for Wrn {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let mut y = self.stem.forward(x);
        for block in &self.blocks {
            y = block.forward(y, bn);
        }
        activate(&self.last, &y, bn).mean_dim([2_i64, 3].as_slice(), false, None::<Kind>)
    }

    fn features(&self) -> i64 {
        self.features
    }
}

fn activate(norm: &BatchNorm, x: &Tensor, bn: Bn) -> Tensor {
    shim::leaky_relu(norm.forward(x, bn), SLOPE)
}

/// Two convolutions and a way around them.
#[derive(Debug)]
struct Block {
    bn1: BatchNorm,
    conv1: Conv,
    bn2: BatchNorm,
    conv2: Conv,
    shortcut: Option<Conv>,
    /// Whether the way around starts behind the first activation; otherwise before it.
    preact: bool,
}

impl Block {
    fn new(
        builder: &mut Builder,
        name: &str,
        [from, to]: [i64; 2],
        stride: i64,
        preact: bool,
        momentum: f64,
    ) -> Self {
        Self {
            bn1: BatchNorm::new(builder, &format!("{name}.bn1"), from, momentum),
            conv1: Conv::new(builder, &format!("{name}.conv1"), from, to, 3, stride),
            bn2: BatchNorm::new(builder, &format!("{name}.bn2"), to, momentum),
            conv2: Conv::new(builder, &format!("{name}.conv2"), to, to, 3, 1),
            shortcut: (from != to)
                .then(|| Conv::new(builder, &format!("{name}.shortcut"), from, to, 1, stride)),
            preact,
        }
    }

    fn forward(&self, x: Tensor, bn: Bn) -> Tensor {
        let a = activate(&self.bn1, &x, bn);
        let h = self
            .conv2
            .forward(&activate(&self.bn2, &self.conv1.forward(&a), bn));
        let around = if self.preact { a } else { x };
        match &self.shortcut {
            Some(conv) => conv.forward(&around) + h,
            None => around + h,
        }
    }
}

/// A convolution with TensorFlow's SAME padding.
#[derive(Debug)]
struct Conv {
    weight: Tensor,
    bias: Tensor,
    kernel: i64,
    stride: i64,
}

impl Conv {
    /// Weights from N(0, σ²), σ = 1/√(½·k²·outputs); bias 0.
    fn new(
        builder: &mut Builder,
        name: &str,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        stride: i64,
    ) -> Self {
        let sigma = (0.5 * (kernel * kernel * outputs) as f64).sqrt().recip();
        let shape = [outputs, inputs, kernel, kernel];
        let weight = builder.kernel(&format!("{name}.weight"), &shape, |stream| {
            sigma * stream.normal()
        });
        let bias = builder.constant(&format!("{name}.bias"), Role::Offset, outputs, 0.0);
        Self {
            weight,
            bias,
            kernel,
            stride,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let [top, bottom] = same(size[2], self.kernel, self.stride);
        let [left, right] = same(size[3], self.kernel, self.stride);
        let (bias, stride) = (Some(&self.bias), [self.stride; 2]);
        if top == bottom && left == right {
            return x.conv2d(&self.weight, bias, stride, [top, left], [1, 1], 1);
        }
        let padded = x.constant_pad_nd([left, right, top, bottom]);
        padded.conv2d(&self.weight, bias, stride, [0, 0], [1, 1], 1)
    }
}

/// Zeros before and after an axis, so that ceil(size/stride) positions come out; the odd one goes
/// after, unlike PyTorch's symmetric padding.
fn same(size: i64, kernel: i64, stride: i64) -> [i64; 2] {
    let total = ((size + stride - 1) / stride - 1) * stride + kernel - size;
    let total = total.max(0);
    [total / 2, total - total / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;
    use rematch_spec::network::Network as Spec;
    use tch::Device;

    fn network(size: Resnet, width: i64, classes: i64) -> Network {
        let shape = Shape {
            channels: 3,
            height: width,
            width,
            classes,
        };
        Network::new(&Spec::Resnet(size), shape, 1, Device::Cpu, false, &[])
    }

    fn size(filters: i64, repeat: i64, scales: i64) -> Resnet {
        Resnet {
            filters,
            repeat,
            scales,
            ..Resnet::default()
        }
    }

    #[test]
    fn parameter_counts_are_the_published_ones() {
        // spec/fixmatch.md 5.1; the larger ones share this code and take seconds to draw.
        assert_eq!(network(size(32, 4, 0), 32, 10).parameters(), 1_469_642);
        assert_eq!(network(size(32, 4, 4), 32, 10).parameters(), 5_933_770);
    }

    #[test]
    fn scales_follow_the_width() {
        assert_eq!(
            [32, 96, 84, 28, 8].map(|width| scales(0, width)),
            [3, 5, 5, 3, 1]
        );
    }

    #[test]
    fn same_padding_puts_the_odd_zero_last() {
        assert_eq!(same(32, 3, 1), [1, 1]);
        assert_eq!(same(32, 3, 2), [0, 1]);
        assert_eq!(same(33, 3, 2), [1, 1]);
        assert_eq!(same(32, 1, 2), [0, 0]);
    }

    #[test]
    fn weights_start_with_the_published_spread() {
        let network = network(size(32, 4, 0), 32, 10);
        for variable in network.variables() {
            let (name, values) = (&variable.name, &variable.tensor);
            let spread = values.std(false).double_value(&[]);
            let expected = match values.size()[..] {
                [outputs, _, k, _] => (2.0 / (k * k * outputs) as f64).sqrt(),
                [outputs, inputs] => (2.0 / (inputs + outputs) as f64).sqrt(),
                _ => 0.0,
            };
            // Five standard deviations of a standard deviation.
            let room = expected * 5.0 / (2.0 * values.numel() as f64).sqrt();
            assert!(
                (spread - expected).abs() <= room,
                "{name}: {spread}, expected {expected}"
            );
            if name.ends_with("classifier.weight") {
                let most = values.abs().max().double_value(&[]);
                assert!(most <= 2.0 * expected / 0.879, "{most}");
            }
            let start =
                if name.contains("bn") && (name.ends_with("weight") || name.ends_with("var")) {
                    1.0
                } else {
                    0.0
                };
            if values.dim() == 1 {
                assert_eq!(values.mean(Kind::Float).double_value(&[]), start, "{name}");
            }
        }
    }

    #[test]
    fn another_seed_gives_other_weights_and_the_same_seed_the_same() {
        let shape = Shape {
            channels: 1,
            height: 8,
            width: 8,
            classes: 2,
        };
        let with = |seed| {
            let spec = Spec::Resnet(size(4, 1, 1));
            Network::new(&spec, shape, seed, Device::Cpu, false, &[]).variables()[0]
                .tensor
                .shallow_clone()
        };
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn the_first_block_shortcuts_the_activated_input_and_later_ones_the_raw_one() {
        // With convolutions at zero a block is its way around.
        let network = network(size(16, 2, 1), 8, 2);
        tch::no_grad(|| {
            for variable in network
                .variables()
                .iter()
                .filter(|v| v.name.contains("groups") && v.name.contains("conv"))
            {
                let _ = variable.tensor.shallow_clone().zero_();
            }
        });
        let x = Tensor::randn([2, 3, 8, 8], (Kind::Float, Device::Cpu));
        let weight = |name: &str| {
            network
                .variables()
                .iter()
                .find(|v| v.name == name)
                .unwrap()
                .tensor
                .shallow_clone()
        };
        let stem = x.conv2d(
            &weight("conv.weight"),
            None::<Tensor>,
            [1, 1],
            [1, 1],
            [1, 1],
            1,
        );
        let leaky = |x: &Tensor| x.clamp_min(0.0) + x.clamp_max(0.0) * 0.1;
        let bn = |x: &Tensor| x / (1.0_f64 + 1e-3).sqrt();
        let features =
            leaky(&bn(&leaky(&bn(&stem)))).mean_dim([2_i64, 3].as_slice(), false, Kind::Float);
        let expected = features.matmul(&weight("classifier.weight").tr());
        let found = network.logits(&x, Bn::Eval);
        assert!((found - expected).abs().max().double_value(&[]) < 1e-5);
    }
}
