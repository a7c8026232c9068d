//! ResNet-18 (He et al., arXiv 1512.03385) as torchvision has it, names included; FeatMatch trains it from
//! random weights (spec/featmatch.md 5).

use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Padding, Style, pixel_mean};
use crate::network::{Body, Builder, Init, Shape};
use crate::networks::blocks::PostBlock;

const STYLE: Style = Style {
    padding: Padding::Symmetric,
    bias: false,
    init: Init::FanOut,
    slope: 0.0,
    momentum: 0.9,
    epsilon: 1e-5,
};
/// Channels of the first stage.
pub const FILTERS: i64 = 64;

/// The network without its classifier.
#[derive(Debug)]
pub struct Resnet18 {
    stem: Conv,
    norm: BatchNorm,
    blocks: Vec<PostBlock>,
    features: i64,
}

impl Resnet18 {
    /// For images of `shape`; every published one has [`FILTERS`].
    pub fn new(builder: &mut Builder, filters: i64, shape: Shape) -> Self {
        let stem = STYLE.conv(builder, "conv1", [shape.channels, filters], 7, 2);
        let norm = STYLE.norm(builder, "bn1", filters);
        let (mut blocks, mut from) = (Vec::new(), filters);
        for stage in 0..4 {
            let to = filters << stage;
            for n in 0..2 {
                let stride = if stage > 0 && n == 0 { 2 } else { 1 };
                let name = format!("layer{}.{n}", stage + 1);
                let convs = [(3, stride, to), (3, 1, to)];
                blocks.push(PostBlock::new(builder, STYLE, &name, from, &convs));
                from = to;
            }
        }
        Self {
            stem,
            norm,
            blocks,
            features: from,
        }
    }
}

impl Body for Resnet18 {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let stem = STYLE.activate(&self.norm, &self.stem.forward(x), bn);
        let stem = stem.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
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

    fn init(&self) -> Init {
        Init::PyTorch
    }
}
