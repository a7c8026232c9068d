//! ZCA statistics of images (spec/featmatch.md 4): mean, eigenvectors and eigenvalues of the covariance, and the
//! whitening matrix, in float64, of pixels scaled to 0 to 1 in the order channel, row, column. [`Zca`] computes and
//! writes them; [`Whitening`] is what training reads of them.

use std::io::{BufReader, Read, Write};
use std::path::Path;

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, Par, Side};

use crate::error::StageError;
use crate::image::Shape;
use crate::scan::{self, Watch};
use crate::{fs, npy};

/// Images that are multiplied in one go.
const BLOCK: usize = 1024;
/// The largest D: a colour image of 64×64. A matrix of that size takes 1.2 GB, and there are five at the peak.
const LARGEST: usize = 3 * 64 * 64;
/// What FeatMatch adds to √S before it divides.
const EPSILON: f64 = 1e-12;

/// The statistics of a set of images; D = channels × height × width.
#[derive(Debug)]
pub struct Zca {
    /// How many images.
    pub records: u64,
    /// [D].
    pub mean: Vec<f64>,
    /// [D, D], in columns.
    pub vectors: Mat<f64>,
    /// [D], largest first, none negative.
    pub values: Vec<f64>,
    /// [D, D]: U diag(1 / (√S + 1e-12)) Uᵀ.
    pub whitening: Mat<f64>,
}

impl Zca {
    /// Of all images of the record files.
    ///
    /// # Errors
    /// Damaged files, images of several or too large sizes, no images; a decomposition that does not converge.
    pub fn of<P: AsRef<Path>>(paths: &[P], watch: Watch) -> Result<Self, StageError> {
        let shape = scan::first_shape(paths)?;
        if shape.bytes() > LARGEST {
            let message = format!(
                "{}: images of {} have {} values, and ZCA needs a matrix of that size squared; the limit is {LARGEST}",
                paths[0].as_ref().display(),
                shape,
                shape.bytes()
            );
            return Err(StageError::failed(message).help("make the images smaller first"));
        }
        let mut moments = Moments::new(shape.bytes());
        scan::each(
            paths,
            watch,
            |image| image.pixels_of(shape),
            |record| {
                moments.add(shape, &record.value);
                Ok(())
            },
        )?;
        moments.finish()
    }

    /// How many eigenvalues rounding hides: there are fewer different images than values, or pixels that never
    /// change. Whitening multiplies such directions by a huge number.
    pub fn lost(&self) -> usize {
        let largest = self.values.first().copied().unwrap_or(0.0);
        let noise = largest * f64::EPSILON * self.values.len() as f64;
        self.values.iter().filter(|value| **value <= noise).count()
    }

    /// Writes a numpy archive with `mean`, `U`, `S` and `W`.
    pub fn write(&self, path: &Path) -> Result<(), StageError> {
        let side = self.values.len();
        let rows = |matrix: &Mat<f64>| {
            let row = |i: usize| (0..side).map(move |j| matrix[(i, j)]);
            (0..side).flat_map(row).collect::<Vec<f64>>()
        };
        let mut archive = zip::ZipWriter::new(std::io::BufWriter::new(fs::create(path)?));
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default());
        let act = || -> std::io::Result<()> {
            let mut put = |name: &str, shape: &[usize], values: &[f64]| {
                archive.start_file(name, options)?;
                npy::write_floats(&mut archive, shape, values)
            };
            put("mean.npy", &[side], &self.mean)?;
            put("U.npy", &[side, side], &rows(&self.vectors))?;
            put("S.npy", &[side], &self.values)?;
            put("W.npy", &[side, side], &rows(&self.whitening))?;
            archive.finish()?.flush()
        };
        Ok(act().map_err(fs::at("write", path))?)
    }
}

/// How images are whitened: x becomes W·(x − mean), x from 0 to 1 in the order channel, row, column.
#[derive(Debug)]
pub struct Whitening {
    /// [D].
    pub mean: Vec<f64>,
    /// W, [D, D], row by row.
    pub matrix: Vec<f64>,
}

impl Whitening {
    /// Reads what [`Zca::write`] wrote, for images of `shape`.
    ///
    /// # Errors
    /// Another file, and one of images of another size.
    pub fn read(path: &Path, shape: Shape) -> Result<Self, StageError> {
        let wrong = |what: &str| {
            StageError::failed(format!("{}: {what}", path.display()))
                .help("give the output `zca` of a stage `zca` on the training images")
        };
        let mut archive = zip::ZipArchive::new(BufReader::new(fs::open(path)?))
            .map_err(|e| wrong(&format!("it is no numpy archive: {e}")))?;
        let side = shape.bytes();
        if side > LARGEST {
            return Err(wrong(&format!(
                "images of {shape} are too large to be whitened; the limit is {LARGEST} values"
            )));
        }
        let mut array = |name: &str, sides: &[u64]| -> Result<Vec<f64>, StageError> {
            let mut member = archive
                .by_name(&format!("{name}.npy"))
                .map_err(|_| wrong(&format!("it has no array `{name}`")))?;
            let header = npy::Header::read(&mut member).map_err(|what| wrong(&what))?;
            if header.shape != sides {
                return Err(wrong(&format!(
                    "`{name}` has the shape {:?}, and images of {shape} need {sides:?}",
                    header.shape
                )));
            }
            if header.descr != "<f8" || header.fortran_order {
                return Err(wrong(&format!(
                    "`{name}` is no array of float64 in C order"
                )));
            }
            // As many as the shape says, which is known to be small.
            let count = sides.iter().product::<u64>() as usize;
            let mut bytes = vec![0; 8 * count];
            member
                .read_exact(&mut bytes)
                .map_err(|e| wrong(&format!("`{name}` cannot be read: {e}")))?;
            let (values, _) = bytes.as_chunks::<8>();
            let values: Vec<f64> = values.iter().map(|v| f64::from_le_bytes(*v)).collect();
            if !values.iter().all(|v| v.is_finite()) {
                return Err(wrong(&format!("`{name}` holds what is no number")));
            }
            Ok(values)
        };
        let side = side as u64;
        Ok(Self {
            mean: array("mean", &[side])?,
            matrix: array("W", &[side, side])?,
        })
    }
}

/// Sums of values and of products of two values, of all images so far. Of whole numbers below 2⁵³, so float64 holds
/// them exactly and their order does not matter.
struct Moments {
    records: u64,
    sums: Vec<u64>,
    /// The lower triangle.
    products: Mat<f64>,
    /// Images that are not in `products` yet, one a column.
    block: Mat<f64>,
    filled: usize,
}

impl Moments {
    fn new(side: usize) -> Self {
        Self {
            records: 0,
            sums: vec![0; side],
            products: Mat::zeros(side, side),
            block: Mat::zeros(side, BLOCK),
            filled: 0,
        }
    }

    /// Adds an image, HWC.
    fn add(&mut self, shape: Shape, pixels: &[u8]) {
        self.records += 1;
        let (channels, plane) = (shape.channels, shape.pixels());
        let mut column = self.block.col_mut(self.filled);
        for (n, value) in pixels.iter().enumerate() {
            let place = n % channels * plane + n / channels;
            column[place] = f64::from(*value);
            self.sums[place] += u64::from(*value);
        }
        self.filled += 1;
        if self.filled == BLOCK {
            self.multiply();
        }
    }

    fn multiply(&mut self) {
        let block = self.block.get(.., ..self.filled);
        triangular::matmul(
            self.products.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            block,
            BlockStructure::Rectangular,
            block.transpose(),
            BlockStructure::Rectangular,
            1.0,
            Par::rayon(0),
        );
        self.filled = 0;
    }

    fn finish(mut self) -> Result<Zca, StageError> {
        self.multiply();
        let n = self.records as f64;
        let mean = self.sums.iter().map(|s| *s as f64 / n / 255.0).collect();
        let side = self.sums.len();
        let mut covariance = self.products;
        for j in 0..side {
            for i in j..side {
                let product = i128::from(self.records) * covariance[(i, j)] as i128;
                let both = i128::from(self.sums[i]) * i128::from(self.sums[j]);
                covariance[(i, j)] = (product - both) as f64 / n / n / (255.0 * 255.0);
            }
        }
        drop(self.block);
        // One call of the crate, which nothing stops: half a minute for CIFAR's 3,072 values on two cores.
        let decomposition = covariance
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| StageError::failed("the covariance of the images has no decomposition"))?;
        drop(covariance);
        // Smallest first, and with rounding below zero; a singular value decomposition has largest first, and none.
        let (found, order) = (decomposition.S(), |j: usize| side - 1 - j);
        let values: Vec<f64> = (0..side).map(|j| found[order(j)].abs()).collect();
        let vectors = Mat::from_fn(side, side, |i, j| decomposition.U()[(i, order(j))]);
        drop(decomposition);
        let scaled = Mat::from_fn(side, side, |i, j| {
            vectors[(i, j)] / (values[j].sqrt() + EPSILON)
        });
        let mut whitening = Mat::zeros(side, side);
        triangular::matmul(
            whitening.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Replace,
            scaled.as_ref(),
            BlockStructure::Rectangular,
            vectors.transpose(),
            BlockStructure::Rectangular,
            1.0,
            Par::rayon(0),
        );
        for j in 0..side {
            for i in 0..j {
                whitening[(i, j)] = whitening[(j, i)];
            }
        }
        Ok(Zca {
            records: self.records,
            mean,
            vectors,
            values,
            whitening,
        })
    }
}
