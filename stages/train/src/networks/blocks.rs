//! The residual blocks: activations before the convolutions, or behind them.

use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Style};
use crate::network::Builder;
use crate::shim;

/// What a block's first activation feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feeds {
    /// The convolutions; the way around them takes the block's raw input.
    Convolutions,
    /// Both.
    Both,
    /// Nothing: both take the raw input, and only the running statistics still move.
    Nothing,
}

/// Two 3×3 convolutions with an activation before each, and a way around them that is a 1×1
/// convolution where the channels change (He et al., arXiv 1603.05027).
#[derive(Debug)]
pub struct PreBlock {
    style: Style,
    bn1: BatchNorm,
    conv1: Conv,
    bn2: BatchNorm,
    conv2: Conv,
    shortcut: Option<Conv>,
    feeds: Feeds,
}

impl PreBlock {
    /// From and to so many channels.
    pub fn new(
        builder: &mut Builder,
        style: Style,
        name: &str,
        [from, to]: [i64; 2],
        stride: i64,
        feeds: Feeds,
    ) -> Self {
        Self {
            style,
            bn1: style.norm(builder, &format!("{name}.bn1"), from),
            conv1: style.conv(builder, &format!("{name}.conv1"), [from, to], 3, stride),
            bn2: style.norm(builder, &format!("{name}.bn2"), to),
            conv2: style.conv(builder, &format!("{name}.conv2"), [to, to], 3, 1),
            shortcut: (from != to)
                .then(|| style.conv(builder, &format!("{name}.shortcut"), [from, to], 1, stride)),
            feeds,
        }
    }

    /// Of N×C×H×W.
    pub fn forward(&self, x: Tensor, bn: Bn) -> Tensor {
        let active = || self.style.activate(&self.bn1, &x, bn);
        let [inner, around] = match self.feeds {
            Feeds::Convolutions => [active(), x],
            Feeds::Both => {
                let a = active();
                [a.shallow_clone(), a]
            }
            Feeds::Nothing => {
                if bn == Bn::Update {
                    let _ = tch::no_grad(|| self.bn1.forward(&x, bn));
                }
                [x.shallow_clone(), x]
            }
        };
        let h = self.conv1.forward(&inner);
        let h = self.conv2.forward(&self.style.activate(&self.bn2, &h, bn));
        match &self.shortcut {
            Some(conv) => conv.forward(&around) + h,
            None => around + h,
        }
    }
}

/// Convolutions, each normalised, with rectifiers between them and behind the sum with the way around
/// them, which is a normalised 1×1 convolution in the first block of a stage (He et al., arXiv 1512.03385).
/// Names are torchvision's.
#[derive(Debug)]
pub struct PostBlock {
    style: Style,
    layers: Vec<(Conv, BatchNorm)>,
    downsample: Option<(Conv, BatchNorm)>,
}

impl PostBlock {
    /// `convs` are kernel, stride and outputs of each convolution.
    pub fn new(
        builder: &mut Builder,
        style: Style,
        name: &str,
        from: i64,
        convs: &[(i64, i64, i64)],
    ) -> Self {
        let mut layer = |conv: &str, norm: &str, channels: [i64; 2], kernel, stride| {
            let conv = style.conv(builder, &format!("{name}.{conv}"), channels, kernel, stride);
            let norm = style.norm(builder, &format!("{name}.{norm}"), channels[1]);
            (conv, norm)
        };
        let (mut layers, mut channels, mut stride) = (Vec::new(), from, 1);
        for (n, &(kernel, by, to)) in (1..).zip(convs) {
            let (conv, norm) = (format!("conv{n}"), format!("bn{n}"));
            layers.push(layer(&conv, &norm, [channels, to], kernel, by));
            channels = to;
            stride *= by;
        }
        let downsample = (from != channels || stride != 1)
            .then(|| layer("downsample.0", "downsample.1", [from, channels], 1, stride));
        Self {
            style,
            layers,
            downsample,
        }
    }

    /// Of N×C×H×W.
    pub fn forward(&self, x: &Tensor, bn: Bn) -> Tensor {
        let normalised =
            |(conv, norm): &(Conv, BatchNorm), x: &Tensor| norm.forward(&conv.forward(x), bn);
        let mut h = x.shallow_clone();
        for (n, layer) in self.layers.iter().enumerate() {
            if n > 0 {
                h = shim::leaky_relu(h, self.style.slope);
            }
            h = normalised(layer, &h);
        }
        let sum = match &self.downsample {
            Some(layer) => normalised(layer, x) + h,
            None => x + h,
        };
        shim::leaky_relu(sum, self.style.slope)
    }
}
