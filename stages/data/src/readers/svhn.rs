//! SVHN's cropped digits: one MATLAB file per part, with images `X` [32, 32, 3, N] and labels `y`
//! (spec/fixmatch.md 2.2). `y` comes after `X`, of which the largest file has 1.6 GB: labels are read
//! first, passing over `X` as it is, then images in chunks.

use std::io::BufReader;
use std::path::Path;

use super::matlab::{Matrices, Matrix};
use super::{Batch, Each, Opened, damaged};
use crate::error::StageError;
use crate::fs;
use crate::image::Shape;

/// Every image.
const SHAPE: Shape = Shape {
    height: 32,
    width: 32,
    channels: 3,
};
/// Bytes of an image.
const IMAGE: usize = 3072;
/// Images that are in memory at once.
const CHUNK: usize = 4096;
/// The digits are 1 to 10, where 10 stands for 0; class k is digit k + 1.
const DIGITS: std::ops::RangeInclusive<u8> = 1..=10;

/// The reader `svhn`.
pub fn read(opened: &Opened, each: Each) -> Result<(), StageError> {
    for (part, files) in opened.parts() {
        for file in files {
            let path = opened.archive(file)?;
            let most = opened.unpacked() / IMAGE as u64;
            let labels = labels(path, most)?;
            images(path, part, &labels, each)?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Matrices<BufReader<std::fs::File>>, StageError> {
    let file = BufReader::with_capacity(1 << 18, fs::open(path)?);
    Matrices::new(file).map_err(|e| damaged(path, None, e))
}

/// The classes of a file's images. Goes through the whole file, so that one that is cut is known for
/// it before an image is written.
fn labels(path: &Path, most: u64) -> Result<Vec<i64>, StageError> {
    let broken = |what: String| damaged(path, None, what);
    let mut matrices = open(path)?;
    let mut labels = None;
    while let Some(matrix) = matrices.next().map_err(broken)? {
        if matrix.name == "y" && labels.is_none() {
            labels = Some(matrix.small_numbers(most).map_err(broken)?);
        }
    }
    let labels = labels.ok_or_else(|| broken("it has no variable `y`".into()))?;
    if let Some(n) = labels.iter().position(|y| !DIGITS.contains(y)) {
        let message = format!("image {n} has label {}; expected 1 to 10", labels[n]);
        return Err(broken(message));
    }
    Ok(labels.iter().map(|y| i64::from(*y) - 1).collect())
}

fn images(path: &Path, part: &str, labels: &[i64], each: Each) -> Result<(), StageError> {
    let broken = |what: String| damaged(path, None, what);
    let mut matrices = open(path)?;
    while let Some(mut matrix) = matrices.next().map_err(broken)? {
        if matrix.name != "X" {
            continue;
        }
        check(&matrix, labels.len()).map_err(broken)?;
        let mut stored = vec![0; CHUNK.min(labels.len()) * IMAGE];
        for labels in labels.chunks(CHUNK) {
            let stored = &mut stored[..labels.len() * IMAGE];
            matrix.fill(stored).map_err(broken)?;
            let mut images = vec![0; stored.len()];
            for (out, image) in images
                .chunks_exact_mut(IMAGE)
                .zip(stored.chunks_exact(IMAGE))
            {
                super::from_columns(SHAPE, image, out);
            }
            each(Batch {
                part: part.to_owned(),
                shape: SHAPE,
                images,
                labels: labels.to_vec(),
            })?;
        }
        return matrix.finish().map_err(broken);
    }
    Err(broken("it has no variable `X`".into()))
}

fn check(matrix: &Matrix, count: usize) -> Result<(), String> {
    // MATLAB leaves out a last dimension of 1.
    let mut dimensions = matrix.dimensions.clone();
    dimensions.resize(dimensions.len().max(4), 1);
    if dimensions != [32, 32, 3, count] {
        return Err(format!(
            "`X` is {:?} for {count} labels; expected [32, 32, 3, {count}]",
            matrix.dimensions
        ));
    }
    matrix.bytes().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::matlab::tests::file;
    use super::super::testing::{opened, read_all};
    use super::*;

    /// Values of `n` images as `X` has them: column by column, image after image.
    fn stored(n: usize) -> Vec<u8> {
        (0..n * IMAGE).map(|v| (v % 251) as u8).collect()
    }

    /// A file in which `X` is compressed and `y` comes after it.
    fn mat(n: usize, y: &[u8]) -> Vec<u8> {
        file(&[
            ("about", &[1, 1], b"x"),
            ("X", &[32, 32, 3, n as i32], &stored(n)),
            ("y", &[y.len() as i32, 1], y),
        ])
    }

    fn read_mat(train: &[u8]) -> Result<Vec<Batch>, StageError> {
        let test = mat(1, &[10]);
        let files = [("train_32x32.mat", train), ("test_32x32.mat", &test)];
        let (_folder, opened) = opened("svhn_noextra", None, &files);
        read_all(read, &opened)
    }

    #[test]
    fn images_are_turned_and_digits_become_classes() {
        let batches = read_mat(&mat(3, &[1, 10, 4])).unwrap();
        assert_eq!(batches.len(), 2);
        assert_eq!(
            (batches[0].part.as_str(), &batches[0].labels[..]),
            ("train", &[0, 9, 3][..])
        );
        assert_eq!(
            (batches[1].part.as_str(), &batches[1].labels[..]),
            ("test", &[9][..])
        );
        let stored = stored(3);
        for (n, row, column, channel) in [(0, 0, 0, 0), (1, 5, 30, 2), (2, 31, 31, 1)] {
            let value = stored[n * IMAGE + channel * 1024 + column * 32 + row];
            let place = n * IMAGE + (row * 32 + column) * 3 + channel;
            assert_eq!(batches[0].images[place], value);
        }
    }

    #[test]
    fn more_images_than_a_chunk_come_in_order() {
        let count = CHUNK + 3;
        let y: Vec<u8> = (0..count).map(|n| (n % 10 + 1) as u8).collect();
        let batches = read_mat(&mat(count, &y)).unwrap();
        assert_eq!(batches[0].labels.len(), CHUNK);
        assert_eq!(batches[1].labels, [6, 7, 8]);
        let last = stored(count)[(count - 1) * IMAGE];
        assert_eq!(batches[1].images[2 * IMAGE], last);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = |file: &[u8]| read_mat(file).unwrap_err().to_string();
        assert!(error(&mat(2, &[1, 11])).ends_with("image 1 has label 11; expected 1 to 10"));
        assert!(error(&mat(2, &[0, 1])).contains("image 0 has label 0"));
        assert!(error(&mat(2, &[1])).contains("`X` is [32, 32, 3, 2] for 1 labels"));
        assert!(error(&file(&[("y", &[1, 1], &[1])])).ends_with("it has no variable `X`"));
        assert!(error(&file(&[("X", &[1, 1], &[1])])).ends_with("it has no variable `y`"));
        let lies = file(&[
            ("about", &[1, 1], b"x"),
            ("X", &[32, 32, 3, 5], &stored(2)),
            ("y", &[5, 1], &[1; 5]),
        ]);
        assert!(error(&lies).contains("`X` is [32, 32, 3, 5] but has 6144 values"));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_before_an_image_comes() {
        let whole = mat(2, &[1, 2]);
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            let test = mat(1, &[10]);
            let files = [
                ("train_32x32.mat", &whole[..length]),
                ("test_32x32.mat", &test),
            ];
            let (_folder, opened) = opened("svhn_noextra", None, &files);
            let result = read(&opened, &mut |_| panic!("an image came"));
            assert!(result.is_err(), "{length}");
        }
    }
}
