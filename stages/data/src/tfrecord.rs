//! TFRecord files of `tf.train.Example` records with the two features that the originals write,
//! `image` (a PNG) and `label` (spec/fixmatch.md 2.1).
//!
//! A record on disk is: u64 length, u32 masked CRC-32C of those 8 bytes, the data, u32 masked
//! CRC-32C of the data; all little-endian.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::StageError;
use crate::fs;
use crate::proto::{self, Fields, Malformed, Value};

/// Bytes of a record before its data.
pub const HEADER: usize = 12;
/// Bytes of a record after its data.
pub const FOOTER: usize = 4;
/// Longest data that is believed; the longest real ones are event files' graphs, some megabytes.
const LONGEST: u64 = 1 << 30;
/// Size of the buffers towards files.
const BUFFER: usize = 1 << 18;

/// A record file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The file ends inside a record.
    #[error("{} is cut off: record {record} at byte {offset} is not complete", path.display())]
    Cut {
        /// Which file.
        path: PathBuf,
        /// Which record, counted from 0.
        record: u64,
        /// Where it starts.
        offset: u64,
    },
    /// Checksums do not fit: the file is damaged, or is no TFRecord file.
    #[error("{}: record {record} at byte {offset} has a wrong checksum; the file is damaged or no TFRecord file", path.display())]
    Checksum {
        /// Which file.
        path: PathBuf,
        /// Which record, counted from 0.
        record: u64,
        /// Where it starts.
        offset: u64,
    },
    /// A record that is not what it should be.
    #[error("{}: record {record} is no {kind}: {what}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Which record, counted from 0.
        record: u64,
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// A record, counted from 0, that should have been an [`Example`] with an image.
    pub fn no_example(path: &Path, record: u64, what: &str) -> Self {
        Self::Content {
            path: path.to_owned(),
            record,
            kind: EXAMPLE,
            what: what.to_owned(),
        }
    }
}

impl From<Error> for StageError {
    fn from(error: Error) -> Self {
        match error {
            Error::File(error) => error.into(),
            other => {
                Self::failed(other.to_string()).help("make the file again, or take another one")
            }
        }
    }
}

/// CRC-32C as TFRecord stores it.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// Reads records one after the other, checking every checksum.
pub struct Reader<R> {
    input: R,
    path: PathBuf,
    record: u64,
    offset: u64,
    /// The last record with its header and footer.
    frame: Vec<u8>,
}

impl Reader<BufReader<File>> {
    /// Opens a record file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::new(
            BufReader::with_capacity(BUFFER, fs::open(path)?),
            path,
        ))
    }
}

/// A record where it lies in its file.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where its header starts.
    pub offset: u64,
    /// Header, data, footer.
    pub frame: &'a [u8],
}

impl<'a> Record<'a> {
    /// The data.
    pub fn data(&self) -> &'a [u8] {
        &self.frame[HEADER..self.frame.len() - FOOTER]
    }
}

impl<R: Read> Reader<R> {
    /// Reads records from `input`; `path` is for messages.
    pub fn new(input: R, path: &Path) -> Self {
        Self {
            input,
            path: path.to_owned(),
            record: 0,
            offset: 0,
            frame: Vec::new(),
        }
    }

    /// The next record, or `None` at the end of the file.
    pub fn read(&mut self) -> Result<Option<Record<'_>>, Error> {
        let (record, offset) = (self.record, self.offset);
        let cut = |path: &Path| Error::Cut {
            path: path.to_owned(),
            record,
            offset,
        };
        let wrong = |path: &Path| Error::Checksum {
            path: path.to_owned(),
            record,
            offset,
        };
        self.frame.clear();
        match self.take(HEADER as u64)? {
            0 => return Ok(None),
            HEADER => {}
            _ => return Err(cut(&self.path)),
        }
        let Some((length, crc)) = self.frame.split_first_chunk::<8>() else {
            return Err(cut(&self.path));
        };
        let crc_is = masked_crc(length);
        let length = u64::from_le_bytes(*length);
        if *crc != crc_is.to_le_bytes() || length > LONGEST {
            return Err(wrong(&self.path));
        }
        let rest = length as usize + FOOTER;
        if self.take(rest as u64)? != rest {
            return Err(cut(&self.path));
        }
        let footer = self.frame.len() - FOOTER;
        if self.frame[footer..] != masked_crc(&self.frame[HEADER..footer]).to_le_bytes() {
            return Err(wrong(&self.path));
        }
        self.record += 1;
        self.offset += self.frame.len() as u64;
        Ok(Some(Record {
            offset,
            frame: &self.frame,
        }))
    }

    /// Appends up to `count` bytes to the frame. Memory grows with what is there, not with what a
    /// header promises.
    fn take(&mut self, count: u64) -> Result<usize, Error> {
        let read = self.input.by_ref().take(count).read_to_end(&mut self.frame);
        Ok(read.map_err(fs::at("read", &self.path))?)
    }

    /// Bytes of the records that were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// An error about the content of the last record, which should have been a `kind`.
    pub fn bad_record(&self, kind: &'static str, what: &impl ToString) -> Error {
        let record = self.record.saturating_sub(1);
        Error::Content {
            path: self.path.clone(),
            record,
            kind,
            what: what.to_string(),
        }
    }
}

/// Appends a record with this data.
pub fn put_record(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked_crc(&length).to_le_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(&masked_crc(data).to_le_bytes());
}

/// Appends the record of a framed Example with another label; the image stays as it is.
///
/// # Errors
/// A record that is no Example.
pub fn put_relabelled(out: &mut Vec<u8>, frame: &[u8], label: i64) -> Result<(), BadExample> {
    let record = Record { offset: 0, frame };
    let mut data = Vec::with_capacity(frame.len());
    Example {
        label,
        ..Example::decode(record.data())?
    }
    .encode(&mut data);
    put_record(out, &data);
    Ok(())
}

/// Writes a record file.
pub struct Writer {
    output: BufWriter<File>,
    path: PathBuf,
}

impl Writer {
    /// Creates or empties a record file.
    pub fn create(path: &Path) -> Result<Self, fs::Error> {
        Ok(Self {
            output: BufWriter::with_capacity(BUFFER, fs::create(path)?),
            path: path.to_owned(),
        })
    }

    /// Writes one record.
    pub fn write(&mut self, data: &[u8]) -> Result<(), fs::Error> {
        let mut frame = Vec::with_capacity(HEADER + data.len() + FOOTER);
        put_record(&mut frame, data);
        self.write_frames(&frame)
    }

    /// Writes records that already have their headers and footers.
    pub fn write_frames(&mut self, frames: &[u8]) -> Result<(), fs::Error> {
        self.output
            .write_all(frames)
            .map_err(fs::at("write", &self.path))
    }

    /// Writes what is still in memory. A writer that is merely dropped may lose records.
    pub fn finish(self) -> Result<(), fs::Error> {
        let done = self
            .output
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        done.map(drop).map_err(fs::at("write", &self.path))
    }
}

/// An image and its label, as they stand in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example<'a> {
    /// The image file, PNG.
    pub image: &'a [u8],
    /// The class, from 0.
    pub label: i64,
}

/// What the records of a dataset are, for messages.
pub const EXAMPLE: &str = "Example with an image and a label";

/// What a record may lack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadExample {
    /// It is no protobuf message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A feature is missing, or is a list of other than one value, or has another type.
    #[error("it needs the feature `{0}` with exactly one {1}")]
    Feature(String, &'static str),
}

impl<'a> Example<'a> {
    /// Reads an Example: features in any order, others ignored, integers packed or not.
    pub fn decode(data: &'a [u8]) -> Result<Self, BadExample> {
        Self::decode_as(data, "image", "label")
    }

    /// The same, of an Example whose features have these names.
    pub fn decode_as(
        data: &'a [u8],
        image_name: &str,
        label_name: &str,
    ) -> Result<Self, BadExample> {
        let (mut image, mut label) = (None, None);
        for entry in entries(data) {
            let (name, feature) = entry?;
            if name == image_name.as_bytes() {
                image = Some(feature);
            } else if name == label_name.as_bytes() {
                label = Some(feature);
            }
        }
        let image = image.map(bytes_value).transpose()?.flatten();
        let label = label.map(int_value).transpose()?.flatten();
        let missing = |name: &str, what| BadExample::Feature(name.to_owned(), what);
        let image = image.ok_or_else(|| missing(image_name, "bytes value"))?;
        let label = label.ok_or_else(|| missing(label_name, "integer"))?;
        Ok(Self { image, label })
    }

    /// Appends the message, features in alphabetical order.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // Feature { bytes_list: 1, int64_list: 3 }; both lists { value: 1 }, integers packed.
        let mut list = Vec::with_capacity(self.image.len() + 8);
        proto::put_bytes(&mut list, 1, self.image);
        let mut image = Vec::with_capacity(self.image.len() + 16);
        proto::put_bytes(&mut image, 1, &list);
        let mut packed = Vec::new();
        proto::put_varint(&mut packed, self.label as u64);
        let (mut list, mut label) = (Vec::new(), Vec::new());
        proto::put_bytes(&mut list, 1, &packed);
        proto::put_bytes(&mut label, 3, &list);
        // Features { map<string, Feature> feature: 1 }
        let mut features = Vec::with_capacity(image.len() + 48);
        for (name, feature) in [("image", &image), ("label", &label)] {
            let mut entry = Vec::with_capacity(feature.len() + 16);
            proto::put_bytes(&mut entry, 1, name.as_bytes());
            proto::put_bytes(&mut entry, 2, feature);
            proto::put_bytes(&mut features, 1, &entry);
        }
        proto::put_bytes(out, 1, &features);
    }
}

/// Name and content of every feature of an Example { features: 1 { feature: 1 } }.
pub(crate) fn entries(data: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Malformed>> {
    messages(data, 1)
        .flat_map(|features| match features {
            Ok(features) => Either::Many(messages(features, 1)),
            Err(error) => Either::One(Some(Err(error))),
        })
        .map(|entry| {
            let (mut name, mut feature): (&[u8], &[u8]) = (&[], &[]);
            for field in Fields(entry?) {
                match field? {
                    (1, Value::Bytes(bytes)) => name = bytes,
                    (2, Value::Bytes(bytes)) => feature = bytes,
                    _ => {}
                }
            }
            Ok((name, feature))
        })
}

/// The contents of all fields of that number that hold bytes.
fn messages(data: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields(data).filter_map(move |field| match field {
        Ok((n, Value::Bytes(bytes))) if n == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// One iterator or one item.
enum Either<I: Iterator> {
    Many(I),
    One(Option<I::Item>),
}

impl<I: Iterator> Iterator for Either<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        match self {
            Self::Many(many) => many.next(),
            Self::One(one) => one.take(),
        }
    }
}

/// The only value of a bytes list.
pub(crate) fn bytes_value(feature: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut found = None;
    for list in messages(feature, 1) {
        for value in messages(list?, 1) {
            if found.replace(value?).is_some() {
                return Ok(None);
            }
        }
    }
    Ok(found)
}

/// The only value of an integer list.
pub(crate) fn int_value(feature: &[u8]) -> Result<Option<i64>, Malformed> {
    let mut found = None;
    for list in messages(feature, 3) {
        for field in Fields(list?) {
            let mut packed: &[u8] = match field? {
                (1, Value::Varint(value)) => {
                    if found.replace(value as i64).is_some() {
                        return Ok(None);
                    }
                    continue;
                }
                (1, Value::Bytes(packed)) => packed,
                _ => continue,
            };
            while !packed.is_empty() {
                if found.replace(proto::varint(&mut packed)? as i64).is_some() {
                    return Ok(None);
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Shape;
    use crate::testing::shared;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut reader = Reader::new(bytes, Path::new("test"));
        let mut all = Vec::new();
        while let Some(record) = reader.read()? {
            all.push(record.data().to_vec());
        }
        Ok(all)
    }

    #[test]
    fn records_survive_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tfrecord");
        let mut writer = Writer::create(&path).unwrap();
        for data in [&b"one"[..], b"", b"three"] {
            writer.write(data).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(
            read(&fs::read(&path).unwrap()).unwrap(),
            [&b"one"[..], b"", b"three"]
        );
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_except_between_records() {
        let mut bytes = Vec::new();
        put_record(&mut bytes, b"first");
        let first = bytes.len();
        put_record(&mut bytes, b"second");
        for length in 0..=bytes.len() {
            let result = read(&bytes[..length]);
            let whole = length == 0 || length == first || length == bytes.len();
            assert_eq!(result.is_ok(), whole, "{length}");
            assert!(
                whole || matches!(result, Err(Error::Cut { .. })),
                "{length}"
            );
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        put_record(&mut bytes, b"data");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(read(&damaged), Err(Error::Checksum { .. })),
                "{bit}"
            );
        }
    }

    #[test]
    fn an_absurd_length_with_a_right_checksum_takes_no_memory() {
        for length in [u64::MAX, 1 << 29] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(masked_crc(&length.to_le_bytes()).to_le_bytes());
            assert!(read(&bytes).is_err());
        }
    }

    #[test]
    fn an_example_reads_in_any_order_with_unknown_features_packed_or_not() {
        let mut ours = Vec::new();
        Example {
            image: b"png",
            label: 300,
        }
        .encode(&mut ours);
        assert_eq!(
            Example::decode(&ours),
            Ok(Example {
                image: b"png",
                label: 300
            })
        );

        // label first, unpacked; a float feature in between; then the image
        let label = b"\x0a\x05label\x12\x05\x1a\x03\x08\xac\x02";
        let extra = b"\x0a\x01w\x12\x08\x12\x06\x0a\x04\0\0\0\0";
        let image = b"\x0a\x05image\x12\x07\x0a\x05\x0a\x03png";
        let mut features = Vec::new();
        for entry in [&label[..], extra, image] {
            proto::put_bytes(&mut features, 1, entry);
        }
        let mut other = Vec::new();
        proto::put_bytes(&mut other, 1, &features);
        assert_eq!(
            Example::decode(&other),
            Ok(Example {
                image: b"png",
                label: 300
            })
        );
    }

    #[test]
    fn an_example_without_image_or_label_says_which() {
        assert_eq!(
            Example::decode(b"").unwrap_err().to_string(),
            "it needs the feature `image` with exactly one bytes value"
        );
        let mut features = Vec::new();
        proto::put_bytes(
            &mut features,
            1,
            b"\x0a\x05image\x12\x07\x0a\x05\x0a\x03png",
        );
        let mut example = Vec::new();
        proto::put_bytes(&mut example, 1, &features);
        assert_eq!(
            Example::decode(&example),
            Err(BadExample::Feature("label".into(), "integer"))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_example_or_refused(bytes: Vec<u8>) {
            let _ = Example::decode(&bytes);
            let _ = read(&bytes);
        }

        #[test]
        fn any_example_survives(image: Vec<u8>, label: i64) {
            let mut bytes = Vec::new();
            Example { image: &image, label }.encode(&mut bytes);
            prop_assert_eq!(Example::decode(&bytes), Ok(Example { image: &image, label }));
        }
    }

    #[test]
    fn records_that_tensorflow_wrote_read_to_the_byte() {
        let Some(golden) = shared("golden/tfrecord") else {
            return;
        };
        let facts: serde_json::Value =
            serde_json::from_slice(&fs::read(&golden.join("cifar10_train_0_19.json")).unwrap())
                .unwrap();
        let pixels = fs::read(&golden.join("cifar10_train_0_19.rgb")).unwrap();
        let mut reader = Reader::open(&golden.join("cifar10_train_0_19.tfrecord")).unwrap();
        for (n, fact) in facts.as_array().unwrap().iter().enumerate() {
            let record = reader.read().unwrap().unwrap();
            assert_eq!(record.data().len() as u64, fact["payload_bytes"]);
            assert_eq!(
                u32::from_le_bytes(record.frame[8..12].try_into().unwrap()),
                fact["length_crc"]
            );
            let example = Example::decode(record.data()).unwrap();
            assert_eq!(example.label, fact["label"]);
            assert_eq!(example.image.len() as u64, fact["png_bytes"]);
            let image = crate::png::decode(example.image).unwrap();
            assert_eq!(
                image.shape,
                Shape {
                    height: 32,
                    width: 32,
                    channels: 3
                }
            );
            assert_eq!(image.data, pixels[n * 3072..(n + 1) * 3072]);
        }
        assert!(reader.read().unwrap().is_none());
    }
}
