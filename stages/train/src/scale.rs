//! What a pixel's value is when it enters the network: from −1 to 1, normalised per channel, or whitened.

use std::path::Path;

use rematch_data::child::StageError;
use rematch_data::image::Shape;
use rematch_data::zca::Whitening;
use rematch_spec::recipe::Normalize;
use tch::{Device, Kind, Tensor};

/// What is done to values from −1 to 1. Everything that it takes is on the device.
#[derive(Debug)]
pub enum Scale {
    /// Nothing.
    Plain,
    /// (x + shift)·factor, one of each per channel.
    Normalize {
        /// [C].
        shift: Tensor,
        /// [C].
        factor: Tensor,
    },
    /// W·(x − mean).
    Whiten {
        /// [D], D the values of an image in the order row, column, channel.
        mean: Tensor,
        /// [D, D], in the same order.
        matrix: Tensor,
    },
}

impl Scale {
    /// For images of `shape`; `zca` is a file of the stage `zca`, and goes before `normalize`.
    ///
    /// # Errors
    /// Another number of channels, a file of whitening that does not fit.
    pub fn new(
        zca: Option<&Path>,
        normalize: Option<&Normalize>,
        shape: Shape,
        device: Device,
    ) -> Result<Self, StageError> {
        match (zca, normalize) {
            (Some(zca), _) => Ok(Self::whiten(&Whitening::read(zca, shape)?, shape, device)),
            (None, Some(normalize)) => Self::normalize(normalize, shape, device),
            (None, None) => Ok(Self::Plain),
        }
    }

    /// (v − mean)/std of a value v from 0 to 1.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn normalize(
        Normalize { mean, std }: &Normalize,
        shape: Shape,
        device: Device,
    ) -> Result<Self, StageError> {
        if mean.len() != shape.channels {
            let message = format!(
                "`normalize` has {} means, and the images have {} channels",
                mean.len(),
                shape.channels
            );
            return Err(StageError::usage(message).help("give one number per channel"));
        }
        // x is 2v − 1: (v − mean)/std = (x + 1 − 2·mean)/(2·std).
        Ok(Self::Normalize {
            shift: numbers(mean.iter().map(|m| 1.0 - 2.0 * m), device),
            factor: numbers(std.iter().map(|s| 0.5 / s), device),
        })
    }

    /// W·(v − mean) of values v from 0 to 1.
    fn whiten(zca: &Whitening, shape: Shape, device: Device) -> Self {
        // The file counts channel, row, column; images lie here as row, column, channel.
        let (channels, plane, side) = (shape.channels, shape.pixels(), shape.bytes());
        let from = |n: usize| n % channels * plane + n / channels;
        // x is 2v − 1: W·(v − mean) = W/2·(x − (2·mean − 1)).
        let mean = (0..side).map(|n| 2.0 * zca.mean[from(n)] - 1.0);
        let row = |i: usize| (0..side).map(move |j| zca.matrix[from(i) * side + from(j)] / 2.0);
        let matrix = (0..side).flat_map(row);
        Self::Whiten {
            mean: numbers(mean, device),
            matrix: numbers(matrix, device).view([side as i64, side as i64]),
        }
    }

    /// Of N×H×W×C values.
    pub fn apply(&self, x: Tensor) -> Tensor {
        match self {
            Self::Plain => x,
            Self::Normalize { shift, factor } => (x + shift) * factor,
            Self::Whiten { mean, matrix } => {
                let flat = x.flatten(1, -1) - mean;
                flat.linear::<Tensor>(matrix, None).view_as(&x)
            }
        }
    }
}

fn numbers(values: impl Iterator<Item = f64>, device: Device) -> Tensor {
    let values: Vec<f32> = values.map(|v| v as f32).collect();
    Tensor::from_slice(&values)
        .to_kind(Kind::Float)
        .to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        height: 2,
        width: 2,
        channels: 3,
    };

    /// Values from 0 to 1 of two images, as the network gets them.
    fn images() -> (Vec<f64>, Tensor) {
        let values: Vec<f64> = (0..24).map(|i| f64::from(i * i % 31) / 31.0).collect();
        let x: Vec<f32> = values.iter().map(|v| (2.0 * v - 1.0) as f32).collect();
        (values, Tensor::from_slice(&x).view([2, 2, 2, 3]))
    }

    fn assert_close(found: &Tensor, expected: &[f64]) {
        let found = Vec::<f64>::try_from(found.to_kind(Kind::Double).view([-1])).unwrap();
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn means_and_deviations_are_of_values_from_0_to_1() {
        let normalize = Normalize {
            mean: vec![0.4, 0.5, 0.6],
            std: vec![0.1, 0.2, 0.3],
        };
        let scale = Scale::normalize(&normalize, SHAPE, Device::Cpu).unwrap();
        let (values, x) = images();
        let expected: Vec<f64> = (0..24)
            .map(|i| (values[i] - normalize.mean[i % 3]) / normalize.std[i % 3])
            .collect();
        assert_close(&scale.apply(x), &expected);
        let grey = Shape {
            channels: 1,
            ..SHAPE
        };
        let refused = Scale::normalize(&normalize, grey, Device::Cpu).unwrap_err();
        assert!(refused.to_string().contains("3 means"), "{refused}");
    }

    #[test]
    fn whitening_is_the_definition_in_the_order_of_the_file() {
        let mean: Vec<f64> = (0..12).map(|i| 0.05 * f64::from(i)).collect();
        let matrix: Vec<f64> = (0..144).map(|i| f64::from(i * 7 % 23) - 11.0).collect();
        let (values, x) = images();
        // An image in the order channel, row, column, and where a value of it lies in memory.
        let place = |n: usize| (n % 4) * 3 + n / 4;
        let mut expected = vec![0.0; 24];
        for image in 0..2 {
            for i in 0..12 {
                expected[12 * image + place(i)] = (0..12)
                    .map(|j| matrix[12 * i + j] * (values[12 * image + place(j)] - mean[j]))
                    .sum();
            }
        }
        let zca = Whitening { mean, matrix };
        let found = Scale::whiten(&zca, SHAPE, Device::Cpu).apply(x);
        assert_eq!(found.size(), [2, 2, 2, 3]);
        assert_close(&found, &expected);
    }
}
