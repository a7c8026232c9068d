//! What a network gets right on sets of images: accuracies, and for each class of the test set.

use std::borrow::Cow;
use std::rc::Rc;

use rematch_data::child::{Child, StageError};
use rematch_data::image::Shape;
use rematch_data::image_set::ImageSet;
use tch::{Device, Kind, Tensor};

use crate::data::Data;
use crate::feed::Images;
use crate::scale::Scale;

/// Labeled images that are evaluated at most, as in the originals.
const TRAIN_LABELED: usize = 10_000;

/// Images with labels, without augmentation.
#[derive(Debug)]
pub struct Set {
    /// What follows `accuracy` in its tag.
    tag: &'static str,
    chunks: Vec<(Images, Tensor)>,
    size: usize,
    scale: Rc<Scale>,
}

impl Set {
    /// N×H×W×C bytes and their labels, in passes of `chunk` images.
    pub fn new(
        tag: &'static str,
        images: &[u8],
        labels: &[i64],
        shape: Shape,
        chunk: usize,
        scale: &Rc<Scale>,
    ) -> Self {
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
            scale: Rc::clone(scale),
        }
    }

    /// Calls `see` with the images, N×C×H×W on the device of `like`, and the labels of each pass.
    pub fn each(
        &self,
        like: &Tensor,
        mut see: impl FnMut(Tensor, Tensor) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        for (images, labels) in &self.chunks {
            let x = images
                .on(like, &self.scale)
                .map_err(|e| StageError::failed(e.to_string()))?;
            tch::no_grad(|| see(x, labels.to_device(like.device())))?;
        }
        Ok(())
    }
}

/// How often a class was taken for a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Confusion {
    classes: usize,
    /// K×K, a row per true class.
    counts: Vec<i64>,
}

impl Confusion {
    /// Of K×K counts, a row per true class.
    pub fn new(classes: usize, counts: Vec<i64>) -> Self {
        Self { classes, counts }
    }

    fn at(&self, class: usize, guess: usize) -> f64 {
        self.counts[class * self.classes + guess] as f64
    }

    /// How many images are of the class.
    fn count(&self, class: usize) -> f64 {
        (0..self.classes).map(|guess| self.at(class, guess)).sum()
    }

    /// How many images are taken for it.
    fn guessed(&self, class: usize) -> f64 {
        (0..self.classes).map(|truth| self.at(truth, class)).sum()
    }

    /// Share of right guesses, in percent.
    pub fn accuracy(&self) -> f64 {
        let right: f64 = (0..self.classes).map(|k| self.at(k, k)).sum();
        100.0 * right / self.counts.iter().sum::<i64>() as f64
    }

    /// Recall of each class, in percent; `None` for one without images.
    pub fn recalls(&self) -> Vec<Option<f64>> {
        let of = |k| match self.count(k) {
            0.0 => None,
            all => Some(100.0 * self.at(k, k) / all),
        };
        (0..self.classes).map(of).collect()
    }

    /// Geometric mean of the recalls in percent; a recall of 0 counts as 1/(100·K)
    /// (spec/cadr.md 8). Classes without images are left out.
    pub fn geometric_mean(&self) -> f64 {
        let floor = 1.0 / (100.0 * self.classes as f64);
        let recalls: Vec<f64> = self.recalls().into_iter().flatten().collect();
        let logarithm = |recall: &f64| {
            let share = recall / 100.0;
            if share > 0.0 { share.ln() } else { floor.ln() }
        };
        let sum: f64 = recalls.iter().map(logarithm).sum();
        100.0 * (sum / recalls.len().max(1) as f64).exp()
    }

    /// Precision, recall and F1, each as mean over the classes and weighted by their sizes, from 0
    /// to 1, under scikit-learn's names and rules: what is undefined counts as 0, and a class that is
    /// neither there nor guessed does not count.
    pub fn averages(&self) -> Vec<(String, f64)> {
        let (mut plain, mut weighted, mut classes, mut images) = ([0.0; 3], [0.0; 3], 0.0, 0.0);
        for k in 0..self.classes {
            let (right, there, guessed) = (self.at(k, k), self.count(k), self.guessed(k));
            if there + guessed == 0.0 {
                continue;
            }
            let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
            let values = [
                share(right, guessed),
                share(right, there),
                share(2.0 * right, there + guessed),
            ];
            for (n, value) in values.into_iter().enumerate() {
                plain[n] += value;
                weighted[n] += value * there;
            }
            classes += 1.0;
            images += there;
        }
        let names = ["precision", "recall", "f1_score"];
        let rows = [("macro", plain, classes), ("weighted", weighted, images)];
        rows.iter()
            .flat_map(|(kind, sums, whole)| {
                let all = names.iter().zip(sums);
                all.map(move |(name, sum)| (format!("{name}/{kind}"), sum / whole.max(1.0)))
            })
            .collect()
    }

    /// As a grey picture, a row per true class, white where all images of it are taken for a class.
    pub fn picture(&self) -> (Shape, Vec<u8>) {
        // At least some 200 pixels a side, so that one can see it.
        let cell = (200 / self.classes.max(1)).max(1);
        let side = cell * self.classes;
        let shade = |y: usize, x: usize| {
            let (class, guess) = (y / cell, x / cell);
            (255.0 * self.at(class, guess) / self.count(class).max(1.0)).round() as u8
        };
        let pixels = (0..side * side).map(|i| shade(i / side, i % side));
        let shape = Shape {
            height: side,
            width: side,
            channels: 1,
        };
        (shape, pixels.collect())
    }

    /// Its rows.
    pub fn rows(&self) -> impl Iterator<Item = &[i64]> {
        self.counts.chunks(self.classes.max(1))
    }
}

/// What is evaluated at each report.
#[derive(Debug)]
pub struct Evaluation {
    sets: Vec<Set>,
    classes: i64,
}

/// Logits of images.
pub type Classify<'a> = &'a dyn Fn(&Tensor) -> Tensor;

impl Evaluation {
    /// Of the first labeled images, the validation set and the test set, in this order; those that
    /// are empty are left out. `chunk`: images in a pass.
    ///
    /// # Errors
    /// Images of virtual copies that cannot be made.
    pub fn new(data: &Data, chunk: usize, scale: &Rc<Scale>) -> Result<Self, StageError> {
        let shape = data.image();
        let first = |tag, set: &ImageSet, count: usize| -> Result<Set, StageError> {
            let indices: Vec<usize> = (0..count).collect();
            let images = match set.in_memory() {
                Some(images) => Cow::Borrowed(&images[..count * shape.bytes()]),
                None => Cow::Owned(set.gather(&indices)?),
            };
            let labels = &set.labels[..count];
            Ok(Set::new(tag, &images, labels, shape, chunk, scale))
        };
        let labeled = first(
            "/train_labeled",
            &data.labeled,
            data.labeled.len().min(TRAIN_LABELED),
        )?;
        let valid = match data.validation.len() {
            0 => first("/valid", &data.unlabeled, data.valid)?,
            count => first("/valid", &data.validation, count)?,
        };
        let test = first("", &data.test, data.test.len())?;
        let sets = [labeled, valid, test]
            .into_iter()
            .filter(|set| set.size > 0)
            .collect();
        Ok(Self {
            sets,
            classes: data.classes,
        })
    }

    /// Accuracy in percent on each set, under its tag behind `prefix`, and the confusion of the test
    /// set.
    ///
    /// # Errors
    /// `Interrupted`, as soon as the job is told to stop.
    pub fn run(
        &self,
        classify: Classify,
        like: &Tensor,
        prefix: &str,
        child: &Child,
    ) -> Result<(Vec<(String, f64)>, Confusion), StageError> {
        let mut accuracies = Vec::new();
        let mut test = Confusion::new(0, Vec::new());
        for set in &self.sets {
            let confusion = confusion(set, self.classes, classify, like, child)?;
            accuracies.push((format!("{prefix}{}", set.tag), confusion.accuracy()));
            test = confusion;
        }
        Ok((accuracies, test))
    }

    /// The labeled training images.
    pub fn labeled(&self) -> Option<&Set> {
        self.sets.first()
    }

    /// How many validation images.
    pub fn valid(&self) -> usize {
        self.sets
            .iter()
            .find(|set| set.tag == "/valid")
            .map_or(0, |set| set.size)
    }
}

/// What a network takes each class of a set for; read from the device once.
pub fn confusion(
    set: &Set,
    classes: i64,
    classify: Classify,
    like: &Tensor,
    child: &Child,
) -> Result<Confusion, StageError> {
    let mut counts = Tensor::zeros([classes * classes], (Kind::Int64, like.device()));
    set.each(like, |x, labels| {
        child.check()?;
        let guess = classify(&x).argmax(-1, false);
        let place = labels.clamp(0, classes - 1) * classes + guess;
        counts += place.bincount::<Tensor>(None, classes * classes);
        Ok(())
    })?;
    let counts = Vec::<i64>::try_from(counts.to_device(Device::Cpu))
        .map_err(|e| StageError::failed(e.to_string()))?;
    Ok(Confusion::new(classes as usize, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of four classes: 9 of 10 right, 8 of 10, none of 5, 2 of 4.
    fn confusion() -> Confusion {
        let counts = vec![9, 1, 0, 0, 2, 8, 0, 0, 5, 0, 0, 0, 0, 0, 2, 2];
        Confusion::new(4, counts)
    }

    #[test]
    fn the_geometric_mean_has_a_floor() {
        // spec/cadr.md 8: K = 4, α = .9 .8 0 .5 gives 17.3205.
        assert!((confusion().geometric_mean() - 17.3205).abs() < 1e-4);
    }

    #[test]
    fn averages_follow_scikit_learns_definitions() {
        // Computed apart from this code, in Python, from the definitions of
        // precision_recall_fscore_support with zero_division=0.
        let expected = [
            ("precision/macro", 0.612_847_222_2),
            ("recall/macro", 0.55),
            ("f1_score/macro", 0.550_269_905_5),
            ("precision/weighted", 0.638_409_961_7),
            ("recall/weighted", 0.655_172_413_8),
            ("f1_score/weighted", 0.621_061_938_7),
        ];
        for ((name, value), (wanted, right)) in confusion().averages().iter().zip(expected) {
            assert_eq!(name, wanted);
            assert!((value - right).abs() < 1e-6, "{name}: {value} {right}");
        }
    }

    #[test]
    fn a_class_without_images_has_no_recall() {
        let confusion = Confusion::new(2, vec![3, 1, 0, 0]);
        assert_eq!(confusion.recalls(), [Some(75.0), None]);
        assert_eq!(confusion.accuracy(), 75.0);
        assert!((confusion.geometric_mean() - 75.0).abs() < 1e-9);
    }
}
