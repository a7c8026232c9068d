//! CADR's ResNet-18 (spec/cadr.md 5): blocks as in the wide network of `resnet.rs`, on a stem that
//! leaves a quarter of the width.

use rematch_spec::network::Res18 as Size;
use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Style, max_pool};
use crate::network::{Body, Builder, Shape};
use crate::networks::blocks::{Feeds, PreGroups};
use crate::networks::resnet;

/// The network without its classifier.
#[derive(Debug)]
pub struct Res18 {
    style: Style,
    stem: Conv,
    norm: BatchNorm,
    stages: PreGroups,
}

impl Res18 {
    /// Least width and height: what the stem leaves must hold a 2×2 pooling.
    pub const LEAST: i64 = 3;

    /// For images of `shape`.
    pub fn new(builder: &mut Builder, size: &Size, shape: Shape) -> Self {
        let style = resnet::style(size.bn_momentum);
        let stem = style.conv(builder, "conv", [shape.channels, size.filters], 7, 2);
        let norm = style.norm(builder, "bn1", size.filters);
        let names = ["stages", "bn"];
        let sizes = [4, 2, size.filters];
        let feeds = |_, _, _| Feeds::Convolutions;
        Self {
            style,
            stem,
            norm,
            stages: PreGroups::new(builder, style, names, size.filters, sizes, feeds),
        }
    }
}

impl Body for Res18 {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let stem = self.style.activate(&self.norm, &self.stem.forward(x), bn);
        self.stages.forward(max_pool(&stem), bn)
    }

    fn features(&self) -> i64 {
        self.stages.features
    }
}
