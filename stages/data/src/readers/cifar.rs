//! The official CIFAR archives, CIFAR-10's and CIFAR-100's, in their three formats. All of them hold
//! the same images in the same order: 3072 bytes each, the red, green and blue plane one after the
//! other (spec/fixmatch.md 2.2).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Batch, Each, Opened, damaged, matlab};
use crate::archive;
use crate::error::StageError;
use crate::image::Shape;

mod pickle;

/// Every CIFAR image.
pub const SHAPE: Shape = Shape {
    height: 32,
    width: 32,
    channels: 3,
};
/// Bytes of an image.
const IMAGE: usize = 3072;
/// Most bytes of a file in any format: 154 million of images in CIFAR-100's, and names or headers.
const LARGEST: u64 = 200_000_000;
/// Images that are handed on at once.
const BATCH: usize = 10_000;

/// How the files in an archive are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// MATLAB 5 files with matrices of bytes.
    Matlab,
    /// Pickles.
    Python,
    /// A few bytes of labels and the image, over and over.
    Binary,
}

/// What the table says of the files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// How they are written.
    pub format: Format,
    /// The name of the labels.
    #[serde(default = "labels")]
    pub labels: String,
    /// In a binary file: the names of the label bytes in front of an image.
    #[serde(default = "columns")]
    pub columns: Vec<String>,
}

fn labels() -> String {
    "labels".into()
}

fn columns() -> Vec<String> {
    vec![labels()]
}

/// The images of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// N × 32 × 32 × 3 bytes.
    pub images: Vec<u8>,
    /// N classes.
    pub labels: Vec<u8>,
}

/// The reader `cifar`.
pub fn read(opened: &Opened, each: Each) -> Result<(), StageError> {
    let options: Options = opened.options()?;
    let archive = opened.only_archive()?;
    let mut names = Vec::new();
    let mut places = Vec::new();
    for (part, files) in opened.parts() {
        for (place, file) in files.iter().enumerate() {
            names.push(file.as_str());
            places.push((part, place));
        }
    }
    // Files stand in an archive in any order; those that come early wait here.
    let mut waiting: BTreeMap<(&str, usize), File> = BTreeMap::new();
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    archive::read(archive, &names, opened.unpacked(), LARGEST, |n, content| {
        let file = parse(&options, &content).map_err(|e| damaged(archive, Some(names[n]), e))?;
        drop(content);
        let (part, place) = places[n];
        waiting.insert((part, place), file);
        let next = next.entry(part).or_default();
        while let Some(file) = waiting.remove(&(part, *next)) {
            *next += 1;
            let images = file.images.chunks(BATCH * IMAGE);
            for (images, labels) in images.zip(file.labels.chunks(BATCH)) {
                each(Batch {
                    part: part.to_owned(),
                    shape: SHAPE,
                    images: images.to_vec(),
                    labels: labels.iter().map(|label| i64::from(*label)).collect(),
                })?;
            }
        }
        Ok(())
    })
}

/// Reads a file of an archive; an error says what is wrong with it.
pub fn parse(options: &Options, file: &[u8]) -> Result<File, String> {
    let file = match options.format {
        Format::Matlab => parse_matlab(file, &options.labels)?,
        Format::Python => parse_python(file, &options.labels)?,
        Format::Binary => parse_binary(file, options)?,
    };
    if file.labels.is_empty() {
        return Err("it has no images".into());
    }
    Ok(file)
}

/// The label bytes and the image, over and over.
fn parse_binary(file: &[u8], options: &Options) -> Result<File, String> {
    let columns = options.columns.len();
    let column = options.columns.iter().position(|c| *c == options.labels);
    let column = column.ok_or_else(|| format!("it has no labels `{}`", options.labels))?;
    let records = file.chunks_exact(columns + IMAGE);
    if !records.remainder().is_empty() {
        return Err(format!(
            "its {} bytes are no multiple of {}",
            file.len(),
            columns + IMAGE
        ));
    }
    let labels = records.clone().map(|r| r[column]).collect();
    let mut images = Vec::with_capacity(file.len());
    for record in records {
        push_interleaved(&record[columns..], &mut images);
    }
    Ok(File { images, labels })
}

/// A pickled dictionary with `data`, a numpy array [N, 3072], and the labels, a list.
fn parse_python(file: &[u8], labels: &str) -> Result<File, String> {
    let pickle = pickle::Pickle::read(file)?;
    let (rows, data) = pickle.array("data", IMAGE)?;
    let labels = pickle.bytes(labels)?;
    if labels.len() != rows {
        return Err(format!("it has {rows} images and {} labels", labels.len()));
    }
    let mut images = Vec::with_capacity(data.len());
    for image in data.chunks_exact(IMAGE) {
        push_interleaved(image, &mut images);
    }
    Ok(File { images, labels })
}

/// Variables `data` [N, 3072] and the labels, [N, 1], column by column.
fn parse_matlab(file: &[u8], labels: &str) -> Result<File, String> {
    let variables = matlab::variables(file, LARGEST)?;
    let find = |name: &str| {
        variables
            .iter()
            .find(|v| v.name == name)
            .ok_or_else(|| format!("it has no variable `{name}`"))
    };
    let (data, labels) = (find("data")?, find(labels)?);
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
    Ok(File {
        images,
        labels: labels.values.clone(),
    })
}

/// Appends an image that has its planes one after the other, pixel by pixel.
pub fn push_interleaved(planes: &[u8], out: &mut Vec<u8>) {
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

    fn options(format: Format) -> Options {
        Options {
            format,
            labels: labels(),
            columns: columns(),
        }
    }

    fn expected() -> File {
        let mut images = Vec::new();
        for i in 0..2 {
            for pixel in 0..1024 {
                images.extend((0..3).map(|plane| planes(i)[plane * 1024 + pixel]));
            }
        }
        File {
            images,
            labels: vec![3, 9],
        }
    }

    #[test]
    fn all_layouts_hold_the_same_images() {
        let binary = [&[3][..], &planes(0), &[9], &planes(1)].concat();
        assert_eq!(
            parse(&options(Format::Binary), &binary).unwrap(),
            expected()
        );

        let data = [planes(0), planes(1)].concat();
        assert_eq!(
            parse(
                &options(Format::Python),
                &pickle::tests::batch(&[3, 9], &data)
            )
            .unwrap(),
            expected()
        );

        let by_column: Vec<u8> = (0..IMAGE * 2).map(|i| planes(i % 2)[i / 2]).collect();
        let file = matlab::tests::file(&[
            ("batch_label", &[1, 1], b"x"),
            ("data", &[2, 3072], &by_column),
            ("labels", &[2, 1], &[3, 9]),
        ]);
        assert_eq!(parse(&options(Format::Matlab), &file).unwrap(), expected());
    }

    #[test]
    fn cifar100_has_two_labels() {
        let options = |labels: &str, format| Options {
            format,
            labels: labels.into(),
            columns: vec!["coarse_labels".into(), "fine_labels".into()],
        };
        let binary = [&[11, 49][..], &planes(0), &[0, 99], &planes(1)].concat();
        let by_column: Vec<u8> = (0..IMAGE * 2).map(|i| planes(i % 2)[i / 2]).collect();
        let matlab = matlab::tests::file(&[
            ("data", &[2, 3072], &by_column),
            ("fine_labels", &[2, 1], &[49, 99]),
            ("coarse_labels", &[2, 1], &[11, 0]),
        ]);
        for (format, file) in [(Format::Binary, &binary), (Format::Matlab, &matlab)] {
            for (name, labels) in [("fine_labels", [49, 99]), ("coarse_labels", [11, 0])] {
                let read = parse(&options(name, format), file).unwrap();
                assert_eq!(
                    (read.labels, read.images),
                    (labels.to_vec(), expected().images)
                );
            }
        }
        let error = parse(&options("labels", Format::Matlab), &matlab).unwrap_err();
        assert_eq!(error, "it has no variable `labels`");
    }

    #[test]
    fn wrong_labels_counts_and_sizes_are_refused() {
        let error = |format, file: &[u8]| parse(&options(format), file).unwrap_err();
        assert_eq!(error(Format::Binary, &[]), "it has no images");
        assert_eq!(
            error(Format::Binary, &[0; 3074]),
            "its 3074 bytes are no multiple of 3073"
        );
        assert_eq!(
            error(Format::Python, &pickle::tests::batch(&[1, 2], &planes(0))),
            "it has 1 images and 2 labels"
        );
        let file = matlab::tests::file(&[
            ("data", &[1, 3072], &planes(0)),
            ("labels", &[1, 2], &[1, 2]),
        ]);
        assert_eq!(
            error(Format::Matlab, &file),
            "`data` is [1, 3072] for 2 labels; expected [2, 3072]"
        );
    }
}
