//! ResNet-50 v1.5 of google-research/fixmatch's ImageNet part (spec/fixmatch.md 11): the stride is in the
//! 3×3 convolution of a bottleneck. Names are torchvision's; its paddings are TensorFlow's but in the stem.

use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Padding, Style, pixel_mean};
use crate::network::{Body, Builder, Init, Shape};
use crate::networks::blocks::PostBlock;

const STYLE: Style = Style {
    padding: Padding::Same,
    bias: false,
    init: Init::He,
    slope: 0.0,
    momentum: 0.9,
    epsilon: 1e-5,
};
/// Channels within the bottlenecks of the first stage.
pub const FILTERS: i64 = 64;
/// A bottleneck ends in so many times as many.
pub const EXPANSION: i64 = 4;
/// Bottlenecks in each stage.
const BLOCKS: [i64; 4] = [3, 4, 6, 3];

/// The network without its classifier.
#[derive(Debug)]
pub struct Resnet50 {
    stem: Conv,
    norm: BatchNorm,
    blocks: Vec<PostBlock>,
    features: i64,
}

impl Resnet50 {
    /// For images of `shape`; the published one has [`FILTERS`].
    pub fn new(builder: &mut Builder, filters: i64, shape: Shape) -> Self {
        let symmetric = Style {
            padding: Padding::Symmetric,
            ..STYLE
        };
        let stem = symmetric.conv(builder, "conv1", [shape.channels, filters], 7, 2);
        let norm = STYLE.norm(builder, "bn1", filters);
        let (mut blocks, mut from) = (Vec::new(), filters);
        for (stage, count) in BLOCKS.into_iter().enumerate() {
            let inner = filters << stage;
            for n in 0..count {
                let stride = if stage > 0 && n == 0 { 2 } else { 1 };
                let name = format!("layer{}.{n}", stage + 1);
                let convs = [(1, 1, inner), (3, stride, inner), (1, 1, inner * EXPANSION)];
                blocks.push(PostBlock::new(builder, STYLE, &name, from, &convs));
                from = inner * EXPANSION;
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

impl Body for Resnet50 {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let stem = STYLE.activate(&self.norm, &self.stem.forward(x), bn);
        // Nothing behind a rectifier is below the zeros around it.
        let around = |axis: usize| STYLE.padding.around(stem.size()[axis], 3, 2);
        let ([top, bottom], [left, right]) = (around(2), around(3));
        let padded = stem.constant_pad_nd([left, right, top, bottom]);
        let stem = padded.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false);
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
        Init::Small
    }
}
