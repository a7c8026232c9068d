//! The official CIFAR-10 archives in their three layouts. All of them hold the same images in the
//! same order: 3072 bytes each, the red, green and blue plane one after the other.

use rematch_spec::download::Layout;

use crate::image::Shape;

mod matlab;
mod pickle;

/// Every CIFAR image.
pub const SHAPE: Shape = Shape {
    height: 32,
    width: 32,
    channels: 3,
};
/// Classes of CIFAR-10.
pub const CLASSES: u8 = 10;
/// Images in a whole batch file.
pub const BATCH: usize = 10_000;
/// Bytes of an image.
const IMAGE: usize = 3072;
/// Most bytes of a batch file in any layout: 30.7 million of images, and names or headers.
pub const LARGEST: u64 = 40_000_000;

/// The images of one batch file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// N × 32 × 32 × 3 bytes.
    pub images: Vec<u8>,
    /// N classes, 0 to 9.
    pub labels: Vec<u8>,
}

/// Names of the batch files in an archive: five of training images, one of test images.
pub fn members(layout: Layout) -> Vec<String> {
    let (folder, ending) = match layout {
        Layout::Matlab => ("cifar-10-batches-mat", ".mat"),
        Layout::Python => ("cifar-10-batches-py", ""),
        Layout::Binary => ("cifar-10-batches-bin", ".bin"),
    };
    let train = (1..=5).map(|n| format!("{folder}/data_batch_{n}{ending}"));
    train
        .chain([format!("{folder}/test_batch{ending}")])
        .collect()
}

/// Reads a batch file; an error says what is wrong with it.
pub fn parse(layout: Layout, file: &[u8]) -> Result<Batch, String> {
    let batch = match layout {
        Layout::Matlab => parse_matlab(file)?,
        Layout::Python => parse_python(file)?,
        Layout::Binary => parse_binary(file)?,
    };
    if batch.labels.is_empty() || batch.labels.len() > BATCH {
        return Err(format!(
            "it has {} images; expected 1 to {BATCH}",
            batch.labels.len()
        ));
    }
    if let Some(n) = batch.labels.iter().position(|label| *label >= CLASSES) {
        return Err(format!(
            "image {n} has label {}; expected 0 to {}",
            batch.labels[n],
            CLASSES - 1
        ));
    }
    Ok(batch)
}

/// One byte of label and the image, over and over.
fn parse_binary(file: &[u8]) -> Result<Batch, String> {
    let records = file.chunks_exact(1 + IMAGE);
    if !records.remainder().is_empty() {
        return Err(format!(
            "its {} bytes are no multiple of {}",
            file.len(),
            1 + IMAGE
        ));
    }
    let labels = records.clone().map(|r| r[0]).collect();
    let mut images = Vec::with_capacity(file.len());
    for record in records {
        push_interleaved(&record[1..], &mut images);
    }
    Ok(Batch { images, labels })
}

/// A pickled dictionary with `data`, a numpy array [N, 3072], and `labels`, a list.
fn parse_python(file: &[u8]) -> Result<Batch, String> {
    let pickle = pickle::Pickle::read(file)?;
    let (rows, data) = pickle.array("data", IMAGE)?;
    let labels = pickle.bytes("labels")?;
    if labels.len() != rows {
        return Err(format!("it has {rows} images and {} labels", labels.len()));
    }
    let mut images = Vec::with_capacity(data.len());
    for image in data.chunks_exact(IMAGE) {
        push_interleaved(image, &mut images);
    }
    Ok(Batch { images, labels })
}

/// Variables `data` [N, 3072] and `labels` [N, 1], column by column.
fn parse_matlab(file: &[u8]) -> Result<Batch, String> {
    let variables = matlab::variables(file, LARGEST as usize)?;
    let find = |name: &str| {
        variables
            .iter()
            .find(|v| v.name == name)
            .ok_or_else(|| format!("it has no variable `{name}`"))
    };
    let (data, labels) = (find("data")?, find("labels")?);
    let count = labels.values.len();
    if data.dimensions != [count, IMAGE] {
        return Err(format!(
            "`data` is {:?} for {count} labels; expected [{count}, {IMAGE}]",
            data.dimensions
        ));
    }
    // Column k of the matrix holds value k of every image: plane k / 1024, pixel k % 1024.
    let mut images = vec![0; count * IMAGE];
    for block in 0..count.div_ceil(64) {
        // Blocks of images keep what is written in the processor's cache.
        let rows = block * 64..count.min(block * 64 + 64);
        for value in 0..IMAGE {
            let place = value % 1024 * 3 + value / 1024;
            for row in rows.clone() {
                images[row * IMAGE + place] = data.values[value * count + row];
            }
        }
    }
    Ok(Batch {
        images,
        labels: labels.values.clone(),
    })
}

/// Appends an image that has its planes one after the other, pixel by pixel.
fn push_interleaved(planes: &[u8], out: &mut Vec<u8>) {
    let (red, rest) = planes.split_at(1024);
    let (green, blue) = rest.split_at(1024);
    for ((r, g), b) in red.iter().zip(green).zip(blue) {
        out.extend_from_slice(&[*r, *g, *b]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images: value v of image i is (i + v) mod 251.
    fn planes(i: usize) -> Vec<u8> {
        (0..IMAGE).map(|v| ((i + v) % 251) as u8).collect()
    }

    fn expected() -> Batch {
        let mut images = Vec::new();
        for i in 0..2 {
            for pixel in 0..1024 {
                images.extend((0..3).map(|plane| planes(i)[plane * 1024 + pixel]));
            }
        }
        Batch {
            images,
            labels: vec![3, 9],
        }
    }

    #[test]
    fn all_layouts_hold_the_same_images() {
        let binary = [&[3][..], &planes(0), &[9], &planes(1)].concat();
        assert_eq!(parse(Layout::Binary, &binary).unwrap(), expected());

        let data = [planes(0), planes(1)].concat();
        assert_eq!(
            parse(Layout::Python, &pickle::tests::batch(&[3, 9], &data)).unwrap(),
            expected()
        );

        let by_column: Vec<u8> = (0..IMAGE * 2).map(|i| planes(i % 2)[i / 2]).collect();
        let file = matlab::tests::file(&[
            ("batch_label", &[1, 1], b"x"),
            ("data", &[2, 3072], &by_column),
            ("labels", &[2, 1], &[3, 9]),
        ]);
        assert_eq!(parse(Layout::Matlab, &file).unwrap(), expected());
    }

    #[test]
    fn wrong_labels_counts_and_sizes_are_refused() {
        let error = |layout, file: &[u8]| parse(layout, file).unwrap_err();
        assert_eq!(
            error(Layout::Binary, &[]),
            "it has 0 images; expected 1 to 10000"
        );
        assert_eq!(
            error(Layout::Binary, &[0; 3074]),
            "its 3074 bytes are no multiple of 3073"
        );
        assert_eq!(
            error(Layout::Binary, &[10; 3073]),
            "image 0 has label 10; expected 0 to 9"
        );
        assert_eq!(
            error(Layout::Python, &pickle::tests::batch(&[1, 2], &planes(0))),
            "it has 1 images and 2 labels"
        );
        let file = matlab::tests::file(&[
            ("data", &[1, 3072], &planes(0)),
            ("labels", &[1, 2], &[1, 2]),
        ]);
        assert_eq!(
            error(Layout::Matlab, &file),
            "`data` is [1, 3072] for 2 labels; expected [2, 3072]"
        );
    }
}
