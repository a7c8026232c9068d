//! The residual blocks: activations before the convolutions, or behind them.

use tch::Tensor;

use crate::batch_norm::{BatchNorm, Bn};
use crate::layers::{Conv, Style, pixel_mean};
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

/// Groups of such blocks, each group with twice the channels and, but for the first, half the sides of
/// the one before; then an activation and the mean over pixels.
#[derive(Debug)]
pub struct PreGroups {
    style: Style,
    blocks: Vec<PreBlock>,
    last: BatchNorm,
    /// How many features an image gets.
    pub features: i64,
}

impl PreGroups {
    /// Blocks `NAME.GROUP.N` that follow a stem of `from` channels: `groups` of `repeat`, the first of
    /// `filters`. `feeds` says of a block by its group, its number in it, and its channels.
    pub fn new(
        builder: &mut Builder,
        style: Style,
        [name, last]: [&str; 2],
        mut from: i64,
        [groups, repeat, filters]: [i64; 3],
        feeds: impl Fn(i64, i64, [i64; 2]) -> Feeds,
    ) -> Self {
        let mut blocks = Vec::new();
        for group in 0..groups {
            let to = filters << group;
            for n in 0..repeat {
                let stride = if group > 0 && n == 0 { 2 } else { 1 };
                let feeds = feeds(group, n, [from, to]);
                let name = format!("{name}.{group}.{n}");
                let block = PreBlock::new(builder, style, &name, [from, to], stride, feeds);
                blocks.push(block);
                from = to;
            }
        }
        Self {
            style,
            blocks,
            last: style.norm(builder, last, from),
            features: from,
        }
    }

    /// Of the stem's output, N×C×H×W, the features, N×D.
    pub fn forward(&self, stem: Tensor, bn: Bn) -> Tensor {
        let blocks = self.blocks.iter();
        let y = blocks.fold(stem, |y, block| block.forward(y, bn));
        pixel_mean(&self.style.activate(&self.last, &y, bn))
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
