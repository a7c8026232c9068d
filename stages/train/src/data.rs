//! The images of a run: those of files in memory, those of virtual copies made when a batch needs them.

use std::collections::BTreeSet;

use rematch_data::child::StageError;
use rematch_data::image;
use rematch_data::image_set::ImageSet;
use rematch_spec::input::Inputs;
use rematch_spec::train::Train;

use crate::method::Views;
use crate::network::Shape;

/// ImageSet, and where the unlabeled ones are split.
#[derive(Debug)]
pub struct Data {
    /// Labeled training images.
    pub labeled: ImageSet,
    /// Unlabeled images; the first [`valid`](Data::valid) are the validation set.
    pub unlabeled: ImageSet,
    /// Test images.
    pub test: ImageSet,
    /// How many validation images lie at the head of the unlabeled ones.
    pub valid: usize,
    /// Validation images in files of their own.
    pub validation: ImageSet,
    /// K.
    pub classes: i64,
}

impl Data {
    /// Reads everything that `spec` names.
    ///
    /// # Errors
    /// Files that cannot be read, and sets that do not fit each other or the batch.
    pub fn load(spec: &Train) -> Result<Self, StageError> {
        let labeled = read(spec.labeled.as_ref())?;
        let unlabeled = read(spec.unlabeled.as_ref())?;
        let test = read(spec.test.as_ref())?;
        let validation = read(spec.validation.as_ref())?;
        let valid = if spec.unlabeled.is_some() && spec.validation.is_none() {
            spec.valid as usize
        } else {
            0
        };
        let classes = count_classes(&labeled, &test)?;
        let data = Self {
            labeled,
            unlabeled,
            test,
            valid,
            validation,
            classes,
        };
        data.check_shapes()?;
        if data.valid > data.unlabeled.len() {
            let message = format!(
                "`valid` is {}, and `unlabeled` has {} images",
                data.valid,
                data.unlabeled.len()
            );
            return Err(StageError::failed(message).help("lower `valid`"));
        }
        Ok(data)
    }

    /// How many unlabeled images are trained on.
    pub fn to_train_on(&self) -> usize {
        self.unlabeled.len() - self.valid
    }

    /// The shape of every image.
    pub fn image(&self) -> image::Shape {
        self.labeled.shape()
    }

    /// What a network needs to know.
    pub fn shape(&self) -> Shape {
        let image::Shape {
            height,
            width,
            channels,
        } = self.image();
        Shape {
            channels: channels as i64,
            height: height as i64,
            width: width as i64,
            classes: self.classes,
        }
    }

    fn check_shapes(&self) -> Result<(), StageError> {
        let ours = self.image();
        for (name, records) in [
            ("unlabeled", &self.unlabeled),
            ("validation", &self.validation),
            ("test", &self.test),
        ] {
            let theirs = records.shape();
            if !records.is_empty() && theirs != ours {
                let message = format!(
                    "`{name}` has images of {}, `labeled` of {}",
                    text(theirs),
                    text(ours)
                );
                return Err(StageError::failed(message).help("take all of them from one dataset"));
            }
        }
        Ok(())
    }

    /// Refuses a batch that the unlabeled images do not fill.
    pub fn check_sizes(&self, batch: usize, views: Views) -> Result<(), StageError> {
        let (here, wanted) = (self.to_train_on(), batch.saturating_mul(views.ratio));
        if views.unlabeled > 0 && here < wanted {
            let message = format!(
                "a step takes {wanted} unlabeled images ({batch} × {}), and there are {here} beside {} for validation",
                views.ratio, self.valid
            );
            return Err(StageError::failed(message)
                .help("lower `batch`, `uratio` or `valid`, or give more unlabeled images"));
        }
        Ok(())
    }
}

fn read(inputs: Option<&Inputs>) -> Result<ImageSet, StageError> {
    let Some(inputs) = inputs else {
        return Ok(ImageSet::default());
    };
    ImageSet::read(&inputs.paths())
}

/// K: classes are counted from 0, and every class that is tested must have been shown.
fn count_classes(labeled: &ImageSet, test: &ImageSet) -> Result<i64, StageError> {
    if labeled.is_empty() {
        return Err(StageError::failed("`labeled` has no image")
            .help("give at least one labeled image per class"));
    }
    if test.is_empty() {
        return Err(StageError::failed("`test` has no image")
            .help("accuracy is measured on it; give the dataset's test file"));
    }
    let shown: BTreeSet<i64> = labeled.labels.iter().copied().collect();
    let tested = test.labels.iter().copied();
    let last = tested.chain(shown.last().copied()).max().unwrap_or(0);
    // The numbers are not trusted: look for the first gap rather than count to the last.
    let gap = shown
        .iter()
        .zip(0..)
        .find(|(class, n)| *class != n)
        .map_or(shown.len() as i64, |(_, n)| n);
    if gap <= last {
        let message =
            format!("`labeled` has no image of class {gap}, and there are labels up to {last}");
        let help = "classes count from 0 without gaps; take a larger or another split, or drop the class from `test` as well";
        return Err(StageError::failed(message).help(help));
    }
    Ok(last + 1)
}

fn text(shape: image::Shape) -> String {
    format!(
        "{}×{} pixels and {} channels",
        shape.height, shape.width, shape.channels
    )
}

#[cfg(test)]
mod tests {
    use rematch_data::records::Records;

    use super::*;

    fn records(labels: &[i64], side: usize) -> ImageSet {
        let images = vec![0; labels.len() * side * side];
        ImageSet::from(Records {
            height: side,
            width: side,
            channels: 1,
            images,
            labels: labels.to_vec(),
        })
    }

    fn data() -> Data {
        let (labeled, test) = (records(&[0, 1], 4), records(&[0, 1, 1], 4));
        Data {
            labeled,
            unlabeled: records(&[0; 9], 4),
            test,
            valid: 2,
            validation: ImageSet::default(),
            classes: 2,
        }
    }

    fn message(result: Result<impl std::fmt::Debug, StageError>) -> String {
        let failure = result.unwrap_err().failure();
        assert!(failure.help.is_some(), "{failure}");
        failure.message
    }

    #[test]
    fn classes_count_from_zero_without_gaps() {
        assert_eq!(
            count_classes(&records(&[2, 0, 1, 0], 4), &records(&[1], 4)).unwrap(),
            3
        );
        let found = message(count_classes(&records(&[0, 2], 4), &records(&[1], 4)));
        assert_eq!(
            found,
            "`labeled` has no image of class 1, and there are labels up to 2"
        );
        let found = message(count_classes(
            &records(&[0, 1], 4),
            &records(&[i64::MAX], 4),
        ));
        assert!(found.contains("no image of class 2"), "{found}");
        assert!(
            message(count_classes(&records(&[], 4), &records(&[1], 4)))
                .contains("`labeled` has no image")
        );
        assert!(
            message(count_classes(&records(&[0], 4), &records(&[], 4)))
                .contains("`test` has no image")
        );
    }

    #[test]
    fn sets_of_other_images_are_refused() {
        let mut data = data();
        data.check_shapes().unwrap();
        data.test = records(&[0], 5);
        let found = message(data.check_shapes());
        assert_eq!(
            found,
            "`test` has images of 5×5 pixels and 1 channels, `labeled` of 4×4 pixels and 1 channels"
        );
    }

    #[test]
    fn a_batch_must_fit_the_unlabeled_set() {
        let mut data = data();
        let views = Views {
            ratio: 7,
            ..Views::of_unlabeled(2)
        };
        data.check_sizes(1, views).unwrap();
        data.check_sizes(100, Views::LABELED).unwrap();
        let found = message(data.check_sizes(2, views));
        assert!(
            found.starts_with("a step takes 14 unlabeled images (2 × 7), and there are 7"),
            "{found}"
        );
        data.valid = 9;
        assert!(message(data.check_sizes(1, views)).contains("there are 0 beside 9"));
    }
}
