//! What networks are put together from, in the manner of the family that each belongs to: TensorFlow's
//! originals or the PyTorch ports.

use tch::{Kind, Tensor};

use crate::batch_norm::{BatchNorm, Bn};
use crate::network::{Builder, Init};
use crate::shim;

/// What the layers of a network have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Zeros around what a convolution looks at.
    pub padding: Padding,
    /// Whether convolutions have a bias.
    pub bias: bool,
    /// How convolutions start.
    pub init: Init,
    /// Slope of the rectifier below zero.
    pub slope: f64,
    /// Share of the running batch-norm statistics that stays at each step.
    pub momentum: f64,
    /// ε of batch norm.
    pub epsilon: f64,
}

impl Style {
    /// A convolution `[from, to]` channels, with a square kernel.
    pub fn conv(
        &self,
        builder: &mut Builder,
        name: &str,
        [from, to]: [i64; 2],
        kernel: i64,
        stride: i64,
    ) -> Conv {
        let shape = [to, from, kernel, kernel];
        let weight = builder.weight(&format!("{name}.weight"), &shape, self.init);
        let bias = self
            .bias
            .then(|| builder.bias(&format!("{name}.bias"), &shape, self.init));
        Conv {
            weight,
            bias,
            kernel,
            stride,
            padding: self.padding,
        }
    }

    /// Batch norm over `channels` channels.
    pub fn norm(&self, builder: &mut Builder, name: &str, channels: i64) -> BatchNorm {
        BatchNorm::new(builder, name, channels, self.momentum).with_epsilon(self.epsilon)
    }

    /// Normalises, then rectifies.
    pub fn activate(&self, norm: &BatchNorm, x: &Tensor, bn: Bn) -> Tensor {
        shim::leaky_relu(norm.forward(x, bn), self.slope)
    }
}

/// Zeros around what a convolution looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// TensorFlow's SAME: as many that ceil(size/stride) positions come out, the odd one after the image.
    Same,
    /// As many before as after, (k−1)/2: how PyTorch's networks have it.
    Symmetric,
    /// None: the kernel stays within the image.
    Valid,
}

impl Padding {
    /// Zeros before and after an axis.
    pub fn around(self, size: i64, kernel: i64, stride: i64) -> [i64; 2] {
        match self {
            Self::Same => {
                let total = ((size + stride - 1) / stride - 1) * stride + kernel - size;
                let total = total.max(0);
                [total / 2, total - total / 2]
            }
            Self::Symmetric => [(kernel - 1) / 2; 2],
            Self::Valid => [0; 2],
        }
    }
}

/// A convolution.
#[derive(Debug)]
pub struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    kernel: i64,
    stride: i64,
    padding: Padding,
}

impl Conv {
    /// Of N×C×H×W.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let around = |axis: usize| self.padding.around(size[axis], self.kernel, self.stride);
        let ([top, bottom], [left, right]) = (around(2), around(3));
        let (bias, stride) = (self.bias.as_ref(), [self.stride; 2]);
        if top == bottom && left == right {
            return x.conv2d(&self.weight, bias, stride, [top, left], [1, 1], 1);
        }
        let padded = x.constant_pad_nd([left, right, top, bottom]);
        padded.conv2d(&self.weight, bias, stride, [0, 0], [1, 1], 1)
    }
}

/// The highest of each 2×2 pixels; an odd row or column at the end is dropped.
pub fn max_pool(x: &Tensor) -> Tensor {
    x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
}

/// Mean over all pixels, N×C×H×W to N×C.
pub fn pixel_mean(x: &Tensor) -> Tensor {
    x.mean_dim([2_i64, 3].as_slice(), false, None::<Kind>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_zero_last() {
        assert_eq!(Padding::Same.around(32, 3, 1), [1, 1]);
        assert_eq!(Padding::Same.around(32, 3, 2), [0, 1]);
        assert_eq!(Padding::Same.around(33, 3, 2), [1, 1]);
        assert_eq!(Padding::Same.around(32, 1, 2), [0, 0]);
        assert_eq!(Padding::Same.around(32, 7, 2), [2, 3]);
    }

    #[test]
    fn symmetric_padding_is_the_same_on_both_sides() {
        assert_eq!(Padding::Symmetric.around(32, 3, 2), [1, 1]);
        assert_eq!(Padding::Symmetric.around(32, 7, 2), [3, 3]);
        assert_eq!(Padding::Symmetric.around(32, 1, 2), [0, 0]);
    }
}
