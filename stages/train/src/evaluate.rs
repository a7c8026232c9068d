//! Accuracies of a network on sets of images.

use std::borrow::Cow;

use rematch_data::child::{Child, StageError};
use rematch_data::image::Shape;
use rematch_data::image_set::ImageSet;
use tch::{Kind, Tensor};

use crate::batch_norm::Bn;
use crate::data::Data;
use crate::feed::Images;
use crate::network::Network;

/// Labeled images that are evaluated at most, as in the originals.
const TRAIN_LABELED: usize = 10_000;

/// Images with labels, without augmentation.
#[derive(Debug)]
struct Set {
    /// What follows `accuracy` in its tag.
    tag: &'static str,
    chunks: Vec<(Images, Tensor)>,
    size: usize,
}

impl Set {
    fn new(tag: &'static str, images: &[u8], labels: &[i64], shape: Shape, chunk: usize) -> Self {
        let chunks = images
            .chunks(chunk * shape.bytes())
            .zip(labels.chunks(chunk));
        let chunks = chunks.map(|(images, labels)| {
            (
                Images::new(images, labels.len(), shape),
                Tensor::from_slice(labels),
            )
        });
        Self {
            tag,
            chunks: chunks.collect(),
            size: labels.len(),
        }
    }
}

/// What is evaluated at each report.
#[derive(Debug)]
pub struct Evaluation {
    sets: Vec<Set>,
}

impl Evaluation {
    /// Of the first labeled images, the validation set and the test set, in this order; those that
    /// are empty are left out. `chunk`: images in a pass.
    ///
    /// # Errors
    /// Images of virtual copies that cannot be made.
    pub fn new(data: &Data, chunk: usize) -> Result<Self, StageError> {
        let shape = data.image();
        let first = |tag, set: &ImageSet, count: usize| -> Result<Set, StageError> {
            let indices: Vec<usize> = (0..count).collect();
            let images = match set.in_memory() {
                Some(images) => Cow::Borrowed(&images[..count * shape.bytes()]),
                None => Cow::Owned(set.gather(&indices)?),
            };
            Ok(Set::new(tag, &images, &set.labels[..count], shape, chunk))
        };
        let labeled = first(
            "/train_labeled",
            &data.labeled,
            data.labeled.len().min(TRAIN_LABELED),
        )?;
        let valid = first("/valid", &data.unlabeled, data.valid)?;
        let test = first("", &data.test, data.test.len())?;
        let sets = [labeled, valid, test]
            .into_iter()
            .filter(|set| set.size > 0)
            .collect();
        Ok(Self { sets })
    }

    /// Accuracy in percent on each set, under its tag behind `prefix`.
    ///
    /// # Errors
    /// `Interrupted`, as soon as the job is told to stop.
    pub fn run(
        &self,
        network: &Network,
        prefix: &str,
        child: &Child,
    ) -> Result<Vec<(String, f64)>, StageError> {
        let like = &network.variables()[0].tensor;
        let mut accuracies = Vec::new();
        for set in &self.sets {
            let mut right = Tensor::zeros([1], (Kind::Int64, network.device()));
            for (images, labels) in &set.chunks {
                child.check()?;
                tch::no_grad(|| -> Result<(), StageError> {
                    let x = images
                        .on(like)
                        .map_err(|e| StageError::failed(e.to_string()))?;
                    let guess = network.logits(&x, Bn::Eval).argmax(-1, false);
                    right += guess
                        .eq_tensor(&labels.to_device(network.device()))
                        .sum(Kind::Int64);
                    Ok(())
                })?;
            }
            let right = right.int64_value(&[0]);
            accuracies.push((
                format!("{prefix}{}", set.tag),
                100.0 * right as f64 / set.size as f64,
            ));
        }
        Ok(accuracies)
    }

    /// How many validation images.
    pub fn valid(&self) -> usize {
        self.sets
            .iter()
            .find(|set| set.tag == "/valid")
            .map_or(0, |set| set.size)
    }
}
