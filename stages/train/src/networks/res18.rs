//! CADR's ResNet-18 (spec/cadr.md 5): blocks as in the wide network of `resnet.rs`, on a stem that
//! leaves a quarter of the width.

use rematch_spec::network::Res18 as Size;
use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Style, max_pool, pixel_mean};
use crate::network::{Body, Builder, Shape};
use crate::networks::blocks::{Feeds, PreBlock};
use crate::networks::resnet;

/// The network without its classifier.
#[derive(Debug)]
pub struct Res18 {
    style: Style,
    stem: Conv,
    norm: BatchNorm,
    blocks: Vec<PreBlock>,
    last: BatchNorm,
    features: i64,
}

impl Res18 {
    /// Least width and height: what the stem leaves must hold a 2×2 pooling.
    pub const LEAST: i64 = 3;

    /// For images of `shape`.
    pub fn new(builder: &mut Builder, size: &Size, shape: Shape) -> Self {
        let style = resnet::style(size.bn_momentum);
        let stem = style.conv(builder, "conv", [shape.channels, size.filters], 7, 2);
        let norm = style.norm(builder, "bn1", size.filters);
        let (mut blocks, mut from) = (Vec::new(), size.filters);
        for stage in 0..4 {
            let to = size.filters << stage;
            for n in 0..2 {
                let stride = if stage > 0 && n == 0 { 2 } else { 1 };
                let name = format!("stages.{stage}.{n}");
                let feeds = Feeds::Convolutions;
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
            norm,
            blocks,
            last: style.norm(builder, "bn", from),
            features: from,
        }
    }
}

impl Body for Res18 {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let stem = self.style.activate(&self.norm, &self.stem.forward(x), bn);
        let stem = max_pool(&stem);
        let y = self
            .blocks
            .iter()
            .fold(stem, |y, block| block.forward(y, bn));
        pixel_mean(&self.style.activate(&self.last, &y, bn))
    }

    fn features(&self) -> i64 {
        self.features
    }
}
