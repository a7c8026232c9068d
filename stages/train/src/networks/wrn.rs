//! The wide residual network of the PyTorch ports: kekmodel's, TorchSSL's, USB's, FeatMatch's and the
//! four-method comparison's (spec/featmatch.md 5, spec/four_methods.md 1); WRN-28-2 by default.
//! It differs from the original (`resnet.rs`): no bias in convolutions, symmetric padding, and in the
//! first block of groups 2 and 3 nothing is made of the first activation.

use rematch_spec::network::{Start, Wrn as Size};
use tch::Tensor;

use crate::batch_norm::Bn;
use crate::layers::{Conv, Padding, Style};
use crate::network::{Body, Builder, Init, Shape};
use crate::networks::blocks::{Feeds, PreGroups};
use crate::networks::resnet::STEM;

/// The network without its classifier.
#[derive(Debug)]
pub struct Wrn {
    stem: Conv,
    groups: PreGroups,
    classifier: Init,
}

impl Wrn {
    /// For images of `shape`.
    pub fn new(builder: &mut Builder, size: &Size, shape: Shape) -> Self {
        let style = Style {
            padding: Padding::Symmetric,
            bias: false,
            init: Init::FanOut,
            slope: size.slope,
            momentum: size.bn_momentum,
            epsilon: size.bn_epsilon,
        };
        let stem = style.conv(builder, "conv1", [shape.channels, STEM], 3, 1);
        let feeds = |group, _, [from, to]: [i64; 2]| match group {
            _ if from == to => Feeds::Convolutions,
            0 => Feeds::Both,
            _ if size.preactivate => Feeds::Convolutions,
            _ => Feeds::Nothing,
        };
        let sizes = [3, size.repeat, size.filters];
        Self {
            stem,
            groups: PreGroups::new(builder, style, ["groups", "bn1"], STEM, sizes, feeds),
            classifier: match size.classifier {
                Start::Xavier => Init::Xavier,
                Start::Pytorch => Init::PyTorch,
            },
        }
    }
}

impl Body for Wrn {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        self.groups.forward(self.stem.forward(x), bn)
    }

    fn features(&self) -> i64 {
        self.groups.features
    }

    fn init(&self) -> Init {
        self.classifier
    }
}
