//! Thirteen layers without a way around them: FixMatch's (spec/fixmatch.md 5.2), which rectifies before
//! it normalises, and FeatMatch's (spec/featmatch.md 5), four times as wide, the other way round.

use rematch_spec::network::Cnn13 as Size;
use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Padding, Style, max_pool, pixel_mean};
use crate::network::{Body, Builder, Init, Shape};
use crate::shim;

/// FixMatch's layers; the slope is TensorFlow's default.
const RECTIFIER_FIRST: Style = Style {
    padding: Padding::Same,
    bias: true,
    init: Init::Glorot,
    slope: 0.2,
    momentum: 0.999,
    epsilon: 1e-3,
};
/// FeatMatch's: PyTorch's defaults.
const NORM_FIRST: Style = Style {
    padding: Padding::Symmetric,
    bias: true,
    init: Init::PyTorch,
    slope: 0.0,
    momentum: 0.9,
    epsilon: 1e-5,
};

/// The network without its classifier.
#[derive(Debug)]
pub struct Cnn13 {
    norm_first: bool,
    style: Style,
    /// Three blocks of three.
    blocks: Vec<Vec<(Conv, BatchNorm)>>,
    features: i64,
}

impl Cnn13 {
    /// Least width and height: what two poolings leave must hold a 3×3 kernel.
    pub const LEAST: i64 = 12;

    /// For images of `shape`.
    pub fn new(builder: &mut Builder, size: &Size, shape: Shape) -> Self {
        let style = if size.norm_first {
            NORM_FIRST
        } else {
            RECTIFIER_FIRST
        };
        let f = size.filters;
        let plan = [
            [(3, f), (3, f), (3, f)],
            [(3, 2 * f), (3, 2 * f), (3, 2 * f)],
            [(3, 4 * f), (1, 2 * f), (1, f)],
        ];
        let (mut blocks, mut from) = (Vec::new(), shape.channels);
        for (block, layers) in plan.into_iter().enumerate() {
            let mut made = Vec::new();
            for (n, (kernel, to)) in layers.into_iter().enumerate() {
                let style = match block {
                    2 => Style {
                        padding: Padding::Valid,
                        ..style
                    },
                    _ => style,
                };
                let name = |what: &str| format!("blocks.{block}.{n}.{what}");
                let conv = style.conv(builder, &name("conv"), [from, to], kernel, 1);
                made.push((conv, style.norm(builder, &name("bn"), to)));
                from = to;
            }
            blocks.push(made);
        }
        Self {
            norm_first: size.norm_first,
            style,
            blocks,
            features: from,
        }
    }

    fn layer(&self, (conv, norm): &(Conv, BatchNorm), x: &Tensor, bn: Bn) -> Tensor {
        let y = conv.forward(x);
        if self.norm_first {
            self.style.activate(norm, &y, bn)
        } else {
            norm.forward(&shim::leaky_relu(y, self.style.slope), bn)
        }
    }
}

impl Body for Cnn13 {
    fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let mut y = x.shallow_clone();
        for (n, block) in self.blocks.iter().enumerate() {
            if n > 0 {
                y = max_pool(&y);
            }
            y = block.iter().fold(y, |y, layer| self.layer(layer, &y, bn));
        }
        pixel_mean(&y)
    }

    fn features(&self) -> i64 {
        self.features
    }

    fn init(&self) -> Init {
        self.style.init
    }
}
