//! The idx files of MNIST and Fashion-MNIST, compressed with gzip or as they are: a magic number, sizes
//! (big-endian), bytes. One file has the images of a part, another their labels.

use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::bufread::GzDecoder;
use serde::Deserialize;

use super::{Batch, Each, Opened, damaged};
use crate::error::StageError;
use crate::fs;
use crate::image::Shape;

/// First bytes of a file of bytes with one dimension (labels), and with three (images).
const LABELS: u32 = 0x0801;
const IMAGES: u32 = 0x0803;
/// First bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Longest side that is believed.
const LONGEST_SIDE: usize = 1024;
/// Bytes of images that are handed on at once, about.
const CHUNK: usize = 8_000_000;

/// What the table says of the files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Black pixels added on each side.
    #[serde(default)]
    pad: usize,
}

/// The reader `idx`.
pub fn read(opened: &Opened, each: Each) -> Result<(), StageError> {
    let options: Options = opened.options()?;
    for (part, files) in opened.parts() {
        let [images, labels] = files else {
            let message =
                format!("datasets.yaml: `{part}` needs a file of images and one of labels");
            return Err(StageError::failed(message));
        };
        let path = opened.archive(labels)?;
        let broken = |what: String| damaged(path, None, what);
        let labels = self::labels(unpacked(path)?, opened.unpacked()).map_err(broken)?;

        let path = opened.archive(images)?;
        let broken = |what: String| damaged(path, None, what);
        let mut images = Images::open(unpacked(path)?).map_err(broken)?;
        if images.count != labels.len() {
            let message = format!(
                "it has {} images, and there are {} labels",
                images.count,
                labels.len()
            );
            return Err(broken(message));
        }
        let shape = images.shape;
        let padded = Shape {
            height: shape.height + 2 * options.pad,
            width: shape.width + 2 * options.pad,
            channels: 1,
        };
        let chunk = CHUNK / padded.bytes() + 1;
        for labels in labels.chunks(chunk) {
            let read = images.next(labels.len()).map_err(broken)?;
            each(Batch {
                part: part.to_owned(),
                shape: padded,
                images: pad(&read, shape, options.pad),
                labels: labels.iter().map(|label| i64::from(*label)).collect(),
            })?;
        }
        images.finish().map_err(broken)?;
    }
    Ok(())
}

/// A file's content, unpacked where it is packed.
fn unpacked(path: &Path) -> Result<Box<dyn Read>, StageError> {
    let mut file = fs::open(path)?;
    let mut start = [0; 2];
    let packed = file.read_exact(&mut start).is_ok() && start == GZIP;
    file.rewind().map_err(fs::at("read", path))?;
    let file = BufReader::with_capacity(1 << 18, file);
    Ok(if packed {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut off".into(),
        _ => format!("it is damaged: {error}"),
    }
}

/// Reads the magic number and `N` sizes.
fn header<const N: usize>(input: &mut dyn Read, magic: u32) -> Result<[usize; N], String> {
    let mut word = || {
        let mut word = [0; 4];
        input.read_exact(&mut word).map_err(|e| words(&e))?;
        Ok::<u32, String>(u32::from_be_bytes(word))
    };
    let found = word()?;
    if found != magic {
        return Err(format!("it begins with {found:#x}; expected {magic:#x}"));
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = word()? as usize;
    }
    Ok(sizes)
}

/// Checks that nothing is left, and with it the checksum.
fn end(input: &mut dyn Read) -> Result<(), String> {
    match input.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err("it goes on behind its last value".into()),
        Err(error) => Err(words(&error)),
    }
}

/// The labels of a file, up to `limit` of them.
pub fn labels(mut input: impl Read, limit: u64) -> Result<Vec<u8>, String> {
    let [count] = header(&mut input, LABELS)?;
    if count as u64 > limit {
        return Err(format!("it claims {count} labels"));
    }
    // Grown as bytes come: the count may lie.
    let mut labels = Vec::new();
    let read = (&mut input).take(count as u64).read_to_end(&mut labels);
    read.map_err(|e| words(&e))?;
    if labels.len() != count {
        return Err("it is cut off".into());
    }
    end(&mut input)?;
    Ok(labels)
}

/// A file of images while it is read.
pub struct Images<R> {
    input: R,
    /// How many it has.
    pub count: usize,
    /// Shape of each.
    pub shape: Shape,
}

impl<R: Read> Images<R> {
    /// Reads the header.
    pub fn open(mut input: R) -> Result<Self, String> {
        let [count, height, width] = header(&mut input, IMAGES)?;
        let side = 1..=LONGEST_SIDE;
        if !side.contains(&height) || !side.contains(&width) {
            return Err(format!(
                "it has images of {height}×{width} pixels; the limit is {LONGEST_SIDE} a side"
            ));
        }
        Ok(Self {
            input,
            count,
            shape: Shape {
                height,
                width,
                channels: 1,
            },
        })
    }

    /// The next `count` images.
    pub fn next(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let mut images = vec![0; count * self.shape.bytes()];
        self.input.read_exact(&mut images).map_err(|e| words(&e))?;
        Ok(images)
    }

    /// Checks that nothing comes behind the images.
    pub fn finish(mut self) -> Result<(), String> {
        end(&mut self.input)
    }
}

/// The images with `pad` black pixels on each side.
fn pad(images: &[u8], shape: Shape, pad: usize) -> Vec<u8> {
    let (height, width) = (shape.height + 2 * pad, shape.width + 2 * pad);
    let count = images.len() / shape.bytes();
    let mut padded = vec![0; count * height * width];
    for (out, image) in padded
        .chunks_exact_mut(height * width)
        .zip(images.chunks_exact(shape.bytes()))
    {
        let rows = out.chunks_exact_mut(width).skip(pad);
        for (out, row) in rows.zip(image.chunks_exact(shape.width)) {
            out[pad..pad + shape.width].copy_from_slice(row);
        }
    }
    padded
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::super::testing::{opened, read_all};
    use super::*;

    fn idx(magic: u32, sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
        let words = [&[magic][..], sizes].concat();
        let mut file: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        file.extend(bytes);
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn read_parts(dataset: &str, images: &[u8], labels: &[u8]) -> Result<Vec<Batch>, StageError> {
        let one = gzip(&idx(IMAGES, &[1, 2, 3], &[9; 6]));
        let files = [
            ("train-images-idx3-ubyte.gz", images),
            ("train-labels-idx1-ubyte.gz", labels),
            ("t10k-images-idx3-ubyte.gz", &one[..]),
            ("t10k-labels-idx1-ubyte.gz", &idx(LABELS, &[1], &[7])),
        ];
        let (_folder, opened) = opened(dataset, None, &files);
        read_all(read, &opened)
    }

    fn two() -> Vec<u8> {
        idx(IMAGES, &[2, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    }

    #[test]
    fn packed_and_plain_files_are_read() {
        let labels = idx(LABELS, &[2], &[3, 0]);
        for (images, labels) in [(gzip(&two()), labels.clone()), (two(), gzip(&labels))] {
            let batches = read_parts("mnist", &images, &labels).unwrap();
            assert_eq!(batches[0].images, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
            assert_eq!(
                (&batches[0].labels[..], &batches[1].labels[..]),
                (&[3, 0][..], &[7][..])
            );
        }
    }

    #[test]
    fn fashion_mnist_is_padded_with_black() {
        let batches = read_parts("fashion_mnist", &two(), &idx(LABELS, &[2], &[3, 0])).unwrap();
        let Batch { shape, images, .. } = &batches[0];
        assert_eq!((shape.height, shape.width, shape.channels), (6, 7, 1));
        let rows: Vec<&[u8]> = images.chunks(7).collect();
        assert_eq!(rows[2], [0, 0, 1, 2, 3, 0, 0]);
        assert_eq!(rows[6 + 3], [0, 0, 10, 11, 12, 0, 0]);
        assert_eq!(images.iter().filter(|v| **v != 0).count(), 12);
    }

    #[test]
    fn counts_that_lie_and_wrong_files_are_refused() {
        let labels = idx(LABELS, &[2], &[3, 0]);
        let error = |images: &[u8], labels: &[u8]| {
            read_parts("mnist", images, labels).unwrap_err().to_string()
        };
        assert!(
            error(&two(), &idx(LABELS, &[3], &[3, 0, 1]))
                .ends_with("it has 2 images, and there are 3 labels")
        );
        assert!(
            error(&two(), &idx(LABELS, &[u32::MAX], &[3])).ends_with("it claims 4294967295 labels")
        );
        assert!(error(&two(), &idx(LABELS, &[3], &[3, 0])).ends_with("it is cut off"));
        assert!(
            error(&two(), &idx(LABELS, &[1], &[3, 0]))
                .ends_with("it goes on behind its last value")
        );
        assert!(error(&labels, &labels).ends_with("it begins with 0x801; expected 0x803"));
        let huge = idx(IMAGES, &[2, u32::MAX, u32::MAX], &[1]);
        assert!(error(&huge, &labels).contains("the limit is 1024 a side"));
        let mut wrong_sum = gzip(&two());
        let place = wrong_sum.len() - 6;
        wrong_sum[place] ^= 1;
        assert!(error(&wrong_sum, &labels).contains("it is damaged"));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let (images, labels) = (gzip(&two()), idx(LABELS, &[2], &[3, 0]));
        for length in 0..images.len() {
            assert!(
                read_parts("mnist", &images[..length], &labels).is_err(),
                "{length}"
            );
        }
        for length in 0..labels.len() {
            assert!(
                read_parts("mnist", &images, &labels[..length]).is_err(),
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = labels(&bytes[..], 1000);
            if let Ok(mut images) = Images::open(&bytes[..]) {
                let _ = images.next(1);
            }
        }
    }
}
