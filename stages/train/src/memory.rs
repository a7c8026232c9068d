//! What a method remembers from step to step: tensors by name, which checkpoints hold beside the
//! networks, so that no method has code for saving.

use tch::{Device, Kind, Tensor};

/// A method's tensors, float32 and of fixed shape. A method changes them in place.
#[derive(Debug)]
pub struct Memory {
    device: Device,
    tensors: Vec<(&'static str, Tensor)>,
}

impl Memory {
    /// Nothing yet; tensors will be on `device`.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            tensors: Vec::new(),
        }
    }

    /// A tensor that starts filled with `value`.
    pub fn tensor(&mut self, name: &'static str, shape: &[i64], value: f64) -> Tensor {
        let tensor = Tensor::full(shape, value, (Kind::Float, self.device));
        self.tensors.push((name, tensor.shallow_clone()));
        tensor
    }

    /// All of them.
    pub fn tensors(&self) -> &[(&'static str, Tensor)] {
        &self.tensors
    }
}
