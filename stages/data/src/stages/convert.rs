//! `convert`: records from numpy arrays, CIFAR's binary format, or foreign TFRecord files.

use std::io::{BufReader, Read};
use std::path::Path;

use rayon::prelude::*;
use rematch_spec::convert::{Convert, Npy, Source, Tfrecord};
use rematch_spec::input::Input;
use rematch_spec::job::Report;

use crate::child::{Child, report};
use crate::error::StageError;
use crate::image::{Shape, file};
use crate::npy::Array;
use crate::readers::cifar;
use crate::tfrecord::{self, Example, Reader, Writer};
use crate::{fs, png, records};

/// Bytes of pixels, or of foreign records, that are in memory at once, as long as an image has no more.
const CHUNK: usize = 16 << 20;
/// Foreign records that are in memory at once: photographs unpack to ten times their files.
const RECORDS: usize = 256;
/// Longest side of an image that is believed; the limit of our PNGs.
const LONGEST_SIDE: u64 = 1 << 14;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Convert = child.params()?;
    let mut writer = Writer::create(child.output("records")?)?;
    let records = match &params.from {
        Source::Npy(source) => arrays(child, source, &mut writer)?,
        Source::CifarBinary(files) => {
            let mut records = 0;
            for path in files.paths() {
                records += cifar_binary(child, path, &mut writer)?;
            }
            records
        }
        Source::Tfrecord(source) => foreign(child, source, &mut writer)?,
    };
    writer.finish()?;
    Ok(report([("records", records as f64)]))
}

fn arrays(child: &Child, source: &Npy, writer: &mut Writer) -> Result<u64, StageError> {
    let mut images = Array::open(source.images.path())?;
    let (count, shape) = image_shape(&images)?;
    let mut labels = match &source.labels {
        Some(path) => Some(open_labels(path, count)?),
        None => None,
    };
    let most = (CHUNK / shape.bytes()).clamp(1, 4096) as u64;
    let mut done = 0;
    while done < count {
        child.check()?;
        let number = most.min(count - done) as usize;
        let mut pixels = vec![0; number * shape.bytes()];
        images.read(&mut pixels)?;
        let values = match &mut labels {
            Some(labels) => read_labels(labels, number, done)?,
            None => vec![0; number],
        };
        writer.write_frames(&records::encode(shape, &pixels, &values))?;
        done += number as u64;
        child.progress(done, count, "images");
    }
    Ok(count)
}

/// How many images an array holds, and their shape.
fn image_shape(images: &Array) -> Result<(u64, Shape), StageError> {
    let header = &images.header;
    let (count, height, width, channels) = match header.shape[..] {
        [n, h, w] => (n, h, w, 1),
        [n, h, w, c @ (1 | 3)] => (n, h, w, c),
        _ => {
            let message = format!(
                "its shape is {:?}; expected [N, height, width] or [N, height, width, 1 or 3]",
                header.shape
            );
            return Err(images.error(&message));
        }
    };
    if header.descr != "|u1" {
        let message = format!(
            "its values are `{}`; expected uint8, `|u1`",
            header.descr.escape_default()
        );
        return Err(images.error(&message));
    }
    let fits = |side: u64| (1..=LONGEST_SIDE).contains(&side);
    if !fits(height) || !fits(width) {
        let message = format!("images of {height}×{width}; expected 1 to {LONGEST_SIDE} a side");
        return Err(images.error(&message));
    }
    let shape = Shape {
        height: height as usize,
        width: width as usize,
        channels: channels as usize,
    };
    Ok((count, shape))
}

fn open_labels(path: &Input, count: u64) -> Result<Array, StageError> {
    let labels = Array::open(path.path())?;
    labels.integers()?;
    match labels.header.shape[..] {
        [n] | [n, 1] if n == count => Ok(labels),
        _ => {
            let message = format!(
                "its shape is {:?}; expected [{count}], a label for each image",
                labels.header.shape
            );
            Err(labels.error(&message))
        }
    }
}

/// The next labels, the first of which is that of image `first`.
fn read_labels(labels: &mut Array, count: usize, first: u64) -> Result<Vec<i64>, StageError> {
    let kind = labels.integers()?;
    let mut bytes = vec![0; count * kind.size];
    labels.read(&mut bytes)?;
    let values = bytes.chunks_exact(kind.size).map(|b| kind.value(b));
    let values = values.zip(first..).map(|(value, n)| {
        value
            .filter(|label| *label >= 0)
            .ok_or_else(|| labels.error(&format!("the label of image {n} is no number from 0 on")))
    });
    values.collect()
}

/// A byte of label, then the red, green and blue plane, over and over.
fn cifar_binary(child: &Child, path: &Path, writer: &mut Writer) -> Result<u64, StageError> {
    let one = 1 + cifar::SHAPE.bytes();
    let length = fs::len(path)?;
    let count = length / one as u64;
    if count == 0 || length % one as u64 != 0 {
        let message = format!(
            "{}: its {length} bytes are no multiple of {one}",
            path.display()
        );
        return Err(StageError::failed(message).help("expected CIFAR-10's binary format"));
    }
    let mut input = BufReader::new(fs::open(path)?);
    let mut done = 0;
    while done < count {
        child.check()?;
        let number = (count - done).min(4096) as usize;
        let mut bytes = vec![0; number * one];
        input.read_exact(&mut bytes).map_err(fs::at("read", path))?;
        let (mut pixels, mut labels) = (Vec::with_capacity(bytes.len()), Vec::new());
        for record in bytes.chunks_exact(one) {
            labels.push(record[0]);
            cifar::push_interleaved(&record[1..], &mut pixels);
        }
        writer.write_frames(&records::encode(cifar::SHAPE, &pixels, &labels))?;
        done += number as u64;
        child.progress(done, count, "images");
    }
    Ok(count)
}

/// Takes the image and the label out of Examples that call them something else.
fn foreign(child: &Child, source: &Tfrecord, writer: &mut Writer) -> Result<u64, StageError> {
    let mut records = 0;
    for path in source.files.paths() {
        let mut reader = Reader::open(path)?;
        let mut first = 0;
        loop {
            child.check()?;
            let (mut chunk, mut bytes) = (Vec::new(), 0);
            while chunk.len() < RECORDS
                && bytes < CHUNK
                && let Some(record) = reader.read()?
            {
                bytes += record.data().len();
                chunk.push(record.data().to_vec());
            }
            if chunk.is_empty() {
                break;
            }
            let frames: Vec<Result<Vec<u8>, String>> =
                chunk.par_iter().map(|data| ours(source, data)).collect();
            for (record, frame) in (first..).zip(frames) {
                let frame = frame.map_err(|what| tfrecord::Error::Content {
                    path: path.to_owned(),
                    record,
                    kind: "Example with these features",
                    what,
                })?;
                writer.write_frames(&frame)?;
            }
            first += chunk.len() as u64;
            records += chunk.len() as u64;
            child.progress(records, 0, "records");
        }
    }
    Ok(records)
}

/// The framed record of a foreign Example. A PNG stays the file that it is, other images become one.
fn ours(source: &Tfrecord, data: &[u8]) -> Result<Vec<u8>, String> {
    let example = Example::decode_as(data, &source.image, &source.label);
    let example = example.map_err(|e| e.to_string())?;
    let label = example.label.checked_sub(source.first_label);
    let label = label.filter(|label| *label >= 0).ok_or_else(|| {
        format!(
            "label {}; expected {} or more",
            example.label, source.first_label
        )
    })?;
    let (mut frame, mut room) = (Vec::new(), Vec::new());
    if file::Format::of(example.image) == Some(file::Format::Png) {
        png::decode(example.image).map_err(|e| e.to_string())?;
        Example { label, ..example }.encode(&mut room);
        tfrecord::put_record(&mut frame, &room);
    } else {
        let image = file::decode_plain(example.image).map_err(|e| e.to_string())?;
        records::put_image(&mut frame, &mut room, image.shape, &image.data, label);
    }
    Ok(frame)
}
