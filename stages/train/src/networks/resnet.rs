//! The wide residual network of google-research/fixmatch (spec/fixmatch.md 5.1), also RealMix's and
//! CADR's; WRN-28-2 by default. It differs from the PyTorch ports (`wrn.rs`): every convolution has a bias,
//! stride-2 convolutions pad as TensorFlow does, and the first activation of a group feeds its convolution.

use rematch_spec::network::Resnet as Size;
use tch::Tensor;

use crate::batch_norm::Bn;
use crate::layers::{Conv, Padding, Style};
use crate::network::{Body, Builder, Init, Shape};
use crate::networks::blocks::{Feeds, PreGroups};

/// Channels of the first convolution.
pub const STEM: i64 = 16;

/// The TensorFlow originals' layers.
pub fn style(momentum: f64) -> Style {
    Style {
        padding: Padding::Same,
        bias: true,
        init: Init::FanOut,
        slope: 0.1,
        momentum,
        epsilon: 1e-3,
    }
}

/// The network without its classifier.
#[derive(Debug)]
pub struct Resnet {
    stem: Conv,
    groups: PreGroups,
}

impl Resnet {
    /// For images of `shape`.
    pub fn new(builder: &mut Builder, size: &Size, shape: Shape) -> Self {
        let style = style(size.bn_momentum);
        let stem = style.conv(builder, "conv", [shape.channels, STEM], 3, 1);
        let sizes = [scales(size.scales, shape.width), size.repeat, size.filters];
        let feeds = |group, n, _: [i64; 2]| match (group, n) {
            (0, 0) => Feeds::Both,
            _ => Feeds::Convolutions,
        };
        let groups = PreGroups::new(builder, style, ["groups", "bn"], STEM, sizes, feeds);
        Self { stem, groups }
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

impl Body for Resnet {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        self.groups.forward(self.stem.forward(x), bn)
    }

    fn features(&self) -> i64 {
        self.groups.features
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Compute, Network};
    use rematch_spec::network::Network as Spec;
    use tch::{Device, Kind};

    fn network(size: Size, width: i64, classes: i64) -> Network {
        let shape = Shape {
            channels: 3,
            height: width,
            width,
            classes,
        };
        Network::new(&Spec::Resnet(size), shape, 1, Compute::on(Device::Cpu), &[])
    }

    fn size(filters: i64, repeat: i64, scales: i64) -> Size {
        Size {
            filters,
            repeat,
            scales,
            ..Size::default()
        }
    }

    #[test]
    fn a_fourth_group_has_the_published_parameters() {
        // spec/fixmatch.md 5.1.
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
    fn another_seed_gives_other_weights_and_the_same_seed_the_same() {
        let shape = Shape {
            channels: 1,
            height: 8,
            width: 8,
            classes: 2,
        };
        let with = |seed| {
            let spec = Spec::Resnet(size(4, 1, 1));
            Network::new(&spec, shape, seed, Compute::on(Device::Cpu), &[]).variables()[0]
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
