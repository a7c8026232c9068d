//! The images of a run: those of record files in memory, those of virtual copies made when asked for.

use std::path::Path;

use rayon::prelude::*;

use crate::augment::Scratch;
use crate::copies::Copies;
use crate::error::StageError;
use crate::image::Shape;
use crate::records::Records;

/// Images of one shape with their labels, in the order of their files.
#[derive(Default)]
pub struct ImageSet {
    /// The label of every image.
    pub labels: Vec<i64>,
    parts: Vec<Part>,
}

enum Part {
    Memory(Records),
    Copies(Box<Copies>),
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Memory(records) => records.len(),
            Self::Copies(copies) => copies.len(),
        }
    }

    fn shape(&self) -> Shape {
        match self {
            Self::Memory(records) => records.shape(),
            Self::Copies(copies) => copies.shape(),
        }
    }
}

impl From<Records> for ImageSet {
    fn from(records: Records) -> Self {
        Self {
            labels: records.labels.clone(),
            parts: vec![Part::Memory(records)],
        }
    }
}

impl std::fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} images", self.len())
    }
}

impl ImageSet {
    /// Reads record files, and folders of virtual copies, one after the other.
    ///
    /// # Errors
    /// As [`Records::read`] and [`Copies::open`]; images of several shapes.
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self, StageError> {
        let mut set = Self::default();
        // Files that follow each other are one part: most sets are one part, whose images need no search.
        for paths in paths.chunk_by(|a, b| !a.as_ref().is_dir() && !b.as_ref().is_dir()) {
            let folder = paths[0].as_ref();
            let part = if folder.is_dir() {
                let copies = Copies::open(folder, usize::MAX)?;
                set.labels
                    .extend((0..copies.len()).map(|n| copies.label(n)));
                Part::Copies(Box::new(copies))
            } else {
                let records = Records::read(paths, None)?;
                set.labels.extend(&records.labels);
                Part::Memory(records)
            };
            if part.len() == 0 {
                continue;
            }
            if let Some(first) = set.parts.first()
                && first.shape() != part.shape()
            {
                let [a, b] = [first, &part].map(Part::shape);
                let message = format!("{}: images of {b} among images of {a}", folder.display());
                return Err(StageError::failed(message).help("take files of one dataset"));
            }
            set.parts.push(part);
        }
        Ok(set)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The shape of every image; of no images, 0×0.
    pub fn shape(&self) -> Shape {
        let none = || Records::default().shape();
        self.parts.first().map_or_else(none, Part::shape)
    }

    /// All images, one after the other, where they lie in memory like that.
    pub fn in_memory(&self) -> Option<&[u8]> {
        match &self.parts[..] {
            [] => Some(&[]),
            [Part::Memory(records)] => Some(&records.images),
            _ => None,
        }
    }

    /// The images at `indices`, one after the other, made in parallel.
    ///
    /// # Errors
    /// As [`Copies::render`].
    ///
    /// # Panics
    /// On an index beyond the set.
    pub fn gather(&self, indices: &[usize]) -> Result<Vec<u8>, StageError> {
        let size = self.shape().bytes();
        let mut images = vec![0; indices.len() * size];
        images
            .par_chunks_exact_mut(size.max(1))
            .zip(indices)
            .with_min_len(16)
            .try_for_each_init(Scratch::default, |scratch, (out, index)| {
                self.render(*index, scratch, out)
            })?;
        Ok(images)
    }

    fn render(
        &self,
        index: usize,
        scratch: &mut Scratch,
        out: &mut [u8],
    ) -> Result<(), StageError> {
        let mut n = index;
        for part in &self.parts {
            if n < part.len() {
                match part {
                    Part::Memory(records) => out.copy_from_slice(records.image(n)),
                    Part::Copies(copies) => copies.render(n, scratch, out)?,
                }
                return Ok(());
            }
            n -= part.len();
        }
        panic!("image {index} of {}", self.len())
    }
}
