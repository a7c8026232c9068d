//! The wide residual network of the PyTorch ports: kekmodel's, TorchSSL's, USB's, FeatMatch's and the
//! four-method comparison's (spec/featmatch.md 5, spec/four_methods.md 1); WRN-28-2 by default.
//! It differs from the original (`resnet.rs`): no bias in convolutions, symmetric padding, and in the
//! first block of groups 2 and 3 nothing is made of the first activation.

use rematch_spec::network::{Start, Wrn as Size};
use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Padding, Style, pixel_mean};
use crate::network::{Body, Builder, Init, Shape};
use crate::networks::blocks::{Feeds, PreBlock};
use crate::networks::resnet::STEM;

/// The network without its classifier.
#[derive(Debug)]
pub struct Wrn {
    style: Style,
    stem: Conv,
    blocks: Vec<PreBlock>,
    last: BatchNorm,
    features: i64,
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
        let (mut blocks, mut from) = (Vec::new(), STEM);
        for group in 0..3 {
            let to = size.filters << group;
            for n in 0..size.repeat {
                let stride = if group > 0 && n == 0 { 2 } else { 1 };
                let feeds = match group {
                    _ if from == to => Feeds::Convolutions,
                    0 => Feeds::Both,
                    _ if size.preactivate => Feeds::Convolutions,
                    _ => Feeds::Nothing,
                };
                let name = format!("groups.{group}.{n}");
                blocks.push(PreBlock::new(
                    builder,
                    style,
                    &name,
                    [from, to],
                    stride,
                    feeds,
                ));
                from = to;
            }
        }
        Self {
            style,
            stem,
            blocks,
            last: style.norm(builder, "bn1", from),
            features: from,
            classifier: match size.classifier {
                Start::Xavier => Init::Xavier,
                Start::Pytorch => Init::PyTorch,
            },
        }
    }
}

impl Body for Wrn {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let stem = self.stem.forward(x);
        let y = self
            .blocks
            .iter()
            .fold(stem, |y, block| block.forward(y, bn));
        pixel_mean(&self.style.activate(&self.last, &y, bn))
    }

    fn features(&self) -> i64 {
        self.features
    }

    fn init(&self) -> Init {
        self.classifier
    }
}
