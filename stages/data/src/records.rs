//! A set of TFRecord files as a whole: all images in memory for the trainer, or labels and places
//! only for the stages that split and copy records. Stages read folders of virtual copies
//! ([`crate::copies`]) as if their records were in a file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::augment::Scratch;
use crate::copies::{self, Copies};
use crate::error::StageError;
use crate::fs;
use crate::image::{Image, Shape};
use crate::png;
use crate::tfrecord::{self, EXAMPLE, Example, Reader, Writer};

/// Records that are decoded in one go; bounds how many PNGs are in memory at once.
const CHUNK: usize = 4096;

/// Images of one size with their labels, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Rows of every image.
    pub height: usize,
    /// Columns of every image.
    pub width: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// N × height × width × channels bytes.
    pub images: Vec<u8>,
    /// N classes, counted from 0.
    pub labels: Vec<i64>,
}

impl Records {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The shape of every image.
    pub fn shape(&self) -> Shape {
        Shape {
            height: self.height,
            width: self.width,
            channels: self.channels,
        }
    }

    /// Bytes of one image.
    pub fn image_size(&self) -> usize {
        self.shape().bytes()
    }

    /// The pixels of image `n`, height × width × channels.
    pub fn image(&self, n: usize) -> &[u8] {
        let size = self.image_size();
        &self.images[n * size..(n + 1) * size]
    }

    /// Reads every record of `paths`, one file after the other; `classes` bounds the labels where
    /// their number is known.
    ///
    /// # Errors
    /// Damaged files and records, images of different sizes, labels outside 0..classes.
    pub fn read<P: AsRef<Path>>(paths: &[P], classes: Option<i64>) -> Result<Self, StageError> {
        let mut all = Self::default();
        for path in paths {
            all.append(path.as_ref(), classes)?;
        }
        Ok(all)
    }

    fn append(&mut self, path: &Path, classes: Option<i64>) -> Result<(), StageError> {
        let mut reader = Reader::open(path)?;
        let mut first = 0;
        loop {
            let mut files: Vec<Vec<u8>> = Vec::with_capacity(CHUNK);
            while files.len() < CHUNK
                && let Some(record) = reader.read()?
            {
                let example = Example::decode(record.data());
                let example = match example {
                    Ok(Example { label, .. })
                        if label < 0 || classes.is_some_and(|k| label >= k) =>
                    {
                        let classes = classes
                            .map_or("no negative ones".into(), |k| format!("0 to {}", k - 1));
                        Err(reader
                            .bad_record(EXAMPLE, &format!("label {label}; expected {classes}")))
                    }
                    Ok(example) => {
                        self.labels.push(example.label);
                        files.push(example.image.to_vec());
                        continue;
                    }
                    Err(error) => Err(reader.bad_record(EXAMPLE, &error)),
                };
                return example.map_err(StageError::from);
            }
            if files.is_empty() {
                return Ok(());
            }
            self.decode(&files).map_err(|(n, what)| {
                let record = first + n as u64;
                tfrecord::Error::no_example(path, record, &what)
            })?;
            first += files.len() as u64;
        }
    }

    /// Appends the pixels of `files`; an error comes with the number of the file.
    fn decode(&mut self, files: &[Vec<u8>]) -> Result<(), (usize, String)> {
        if self.images.is_empty() {
            let first = png::decode(&files[0])
                .map_err(|e| (0, e.to_string()))?
                .shape;
            (self.height, self.width, self.channels) = (first.height, first.width, first.channels);
        }
        let shape = self.shape();
        let size = self.image_size();
        if size == 0 {
            return Err((0, "an image without pixels".into()));
        }
        let old = self.images.len();
        self.images.resize(old + files.len() * size, 0);
        let wrong = self.images[old..]
            .par_chunks_exact_mut(size)
            .zip(files)
            .enumerate()
            .find_map_first(|(n, (out, file))| {
                let image = png::decode(file).map_err(|e| e.to_string());
                match image.and_then(|image| image.pixels_of(shape)) {
                    Ok(pixels) => out.copy_from_slice(&pixels),
                    Err(what) => return Some((n, what)),
                }
                None
            });
        wrong.map_or(Ok(()), Err)
    }
}

/// The framed records of images that lie one after the other, encoded in parallel.
///
/// # Panics
/// Unless there is one label for each image.
pub fn encode(shape: Shape, images: &[u8], labels: &[impl Copy + Into<i64> + Sync]) -> Vec<u8> {
    let size = shape.bytes();
    assert_eq!(
        images.len(),
        labels.len() * size,
        "one label for each image"
    );
    let parts: Vec<Vec<u8>> = images
        .par_chunks(size * 256)
        .zip(labels.par_chunks(256))
        .map(|(images, labels)| {
            let (mut out, mut data) = (Vec::new(), Vec::new());
            for (pixels, &label) in images.chunks_exact(size).zip(labels) {
                put_image(&mut out, &mut data, shape, pixels, label.into());
            }
            out
        })
        .collect();
    parts.concat()
}

/// Appends the framed record of an image; `data` is room to work in.
///
/// # Panics
/// As [`png::encode`].
pub fn put_image(out: &mut Vec<u8>, data: &mut Vec<u8>, shape: Shape, pixels: &[u8], label: i64) {
    data.clear();
    let image = png::encode(shape, pixels);
    Example {
        image: &image,
        label,
    }
    .encode(data);
    tfrecord::put_record(out, data);
}

/// Labels and places of all records of a set of files; positions run on across files.
pub struct Index {
    files: Vec<Source>,
    places: Vec<Place>,
    /// The label of every record.
    pub labels: Vec<i64>,
    /// For each file, the position after its last record.
    pub ends: Vec<usize>,
}

/// What records are read from.
enum Source {
    File(PathBuf, File),
    Copies(Box<Copies>),
}

/// A record with header and footer in one of the files.
#[derive(Clone, Copy)]
struct Place {
    file: u32,
    length: u32,
    /// Of virtual copies: the number of the copy.
    offset: u64,
}

impl Index {
    /// Scans `paths`, one file after the other. Checks every checksum; decodes no image, except those
    /// that virtual copies are made from.
    pub fn scan<P: AsRef<Path>>(paths: &[P]) -> Result<Self, StageError> {
        Self::scan_with(paths, |_| Ok(()))
    }

    /// The same; every few thousand records `look` gets how many there are so far, and can stop it.
    pub fn scan_with<P: AsRef<Path>>(
        paths: &[P],
        mut look: impl FnMut(usize) -> Result<(), StageError>,
    ) -> Result<Self, StageError> {
        let mut index = Self {
            files: Vec::new(),
            places: Vec::new(),
            labels: Vec::new(),
            ends: Vec::new(),
        };
        for (file, path) in (0..).zip(paths.iter().map(AsRef::as_ref)) {
            let source = if path.is_dir() {
                let copies = Copies::open(path, copies::SMALL)?;
                for n in 0..copies.len() {
                    index.labels.push(copies.label(n));
                    let (length, offset) = (0, n as u64);
                    index.places.push(Place {
                        file,
                        length,
                        offset,
                    });
                }
                Source::Copies(Box::new(copies))
            } else {
                index.scan_file(file, path, &mut look)?;
                Source::File(path.to_owned(), fs::open(path)?)
            };
            index.ends.push(index.places.len());
            index.files.push(source);
        }
        Ok(index)
    }

    fn scan_file(
        &mut self,
        file: u32,
        path: &Path,
        look: &mut impl FnMut(usize) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let mut reader = Reader::open(path)?;
        while let Some(record) = reader.read()? {
            let place = Place {
                file,
                length: record.frame.len() as u32,
                offset: record.offset,
            };
            match Example::decode(record.data()) {
                Ok(example) => self.labels.push(example.label),
                Err(error) => return Err(reader.bad_record(EXAMPLE, &error).into()),
            }
            self.places.push(place);
            if self.places.len().is_multiple_of(CHUNK) {
                look(self.places.len())?;
            }
        }
        Ok(())
    }

    /// Copies records by position, in that order, each with the label beside it; those that keep their
    /// label are copied as they are.
    ///
    /// # Panics
    /// On a position that was not scanned.
    pub fn copy_as(
        &self,
        records: impl IntoIterator<Item = (usize, i64)>,
        writer: &mut Writer,
    ) -> Result<(), StageError> {
        let (mut frame, mut relabelled) = (Vec::new(), Vec::new());
        let mut records = records.into_iter().peekable();
        while let Some((position, label)) = records.next() {
            let place = self.places[position];
            match &self.files[place.file as usize] {
                Source::File(path, file) => {
                    read_frame(path, file, place, &mut frame)?;
                    if label == self.labels[position] {
                        writer.write_frames(&frame)?;
                        continue;
                    }
                    relabelled.clear();
                    let put = tfrecord::put_relabelled(&mut relabelled, &frame, label);
                    put.map_err(|error| changed(path, place, &error))?;
                    writer.write_frames(&relabelled)?;
                }
                // Made in parallel, as many as follow one another.
                Source::Copies(copies) => {
                    let mut run = vec![(place.offset as usize, label)];
                    while run.len() < CHUNK
                        && let Some((next, label)) =
                            records.next_if(|(n, _)| self.places[*n].file == place.file)
                    {
                        run.push((self.places[next].offset as usize, label));
                    }
                    writer.write_frames(&copies.frames(&run)?)?;
                }
            }
        }
        Ok(())
    }

    /// The image of the record at `position`.
    ///
    /// # Panics
    /// On a position that was not scanned.
    pub fn image(&self, position: usize) -> Result<Image, StageError> {
        let place = self.places[position];
        match &self.files[place.file as usize] {
            Source::File(path, file) => {
                let mut frame = Vec::new();
                read_frame(path, file, place, &mut frame)?;
                let data = &frame[tfrecord::HEADER..frame.len() - tfrecord::FOOTER];
                let example =
                    Example::decode(data).map_err(|error| changed(path, place, &error))?;
                png::decode(example.image).map_err(|error| {
                    let message = format!(
                        "{}: the record at byte {}: {error}",
                        path.display(),
                        place.offset
                    );
                    StageError::failed(message).help("make the file again, or take another one")
                })
            }
            Source::Copies(copies) => {
                let shape = copies.shape();
                let mut data = vec![0; shape.bytes()];
                copies.render(place.offset as usize, &mut Scratch::default(), &mut data)?;
                Ok(Image { shape, data })
            }
        }
    }
}

/// Reads a record that was scanned.
fn read_frame(
    path: &Path,
    file: &File,
    place: Place,
    frame: &mut Vec<u8>,
) -> Result<(), StageError> {
    frame.resize(place.length as usize, 0);
    Ok(file
        .read_exact_at(frame, place.offset)
        .map_err(fs::at("read", path))?)
}

/// A record was an Example when it was scanned, and is none now.
fn changed(path: &Path, place: Place, error: &impl std::fmt::Display) -> StageError {
    StageError::failed(format!(
        "{} changed while it was read: the record at byte {} is no {EXAMPLE} any more: {error}",
        path.display(),
        place.offset
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        height: 2,
        width: 3,
        channels: 3,
    };

    /// A file of `n` images of 2×3 pixels; image i is all i, label i mod 10.
    fn file(folder: &Path, name: &str, n: usize) -> PathBuf {
        let images: Vec<u8> = (0..n * 18).map(|i| (i / 18) as u8).collect();
        let labels: Vec<u8> = (0..n).map(|i| (i % 10) as u8).collect();
        let path = folder.join(name);
        fs::write(&path, encode(SHAPE, &images, &labels)).unwrap();
        path
    }

    #[test]
    fn files_are_read_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [file(folder.path(), "a", 5000), file(folder.path(), "b", 7)];
        let records = Records::read(&paths, Some(10)).unwrap();
        assert_eq!(
            (
                records.height,
                records.width,
                records.channels,
                records.len()
            ),
            (2, 3, 3, 5007)
        );
        assert_eq!(records.image(4999), [135; 18]);
        assert_eq!(records.image(5006), [6; 18]);
        assert_eq!(records.labels[5000..], [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_label_out_of_range_names_file_and_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "a.tfrecord", 20);
        let error = Records::read(&[path], Some(5)).unwrap_err().to_string();
        assert!(
            error.contains("a.tfrecord: record 5 ") && error.contains("label 5; expected 0 to 4"),
            "{error}"
        );
    }

    #[test]
    fn images_of_two_sizes_name_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mixed");
        let bytes = [
            encode(SHAPE, &[0; 36], &[0, 1]),
            encode(
                Shape {
                    height: 3,
                    width: 2,
                    channels: 3,
                },
                &[0; 18],
                &[2],
            ),
        ]
        .concat();
        fs::write(&path, bytes).unwrap();
        let error = Records::read(&[path], None).unwrap_err().to_string();
        assert!(
            error.contains("record 2 ") && error.contains("3×2×3 among images of 2×3×3"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_png_names_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad");
        let (mut bytes, mut data) = (encode(SHAPE, &[0; 18], &[0]), Vec::new());
        Example {
            image: b"GIF89a",
            label: 1,
        }
        .encode(&mut data);
        tfrecord::put_record(&mut bytes, &data);
        fs::write(&path, bytes).unwrap();
        let error = Records::read(&[path], None).unwrap_err().to_string();
        assert!(
            error.contains("record 1 ") && error.contains("damaged PNG"),
            "{error}"
        );
    }

    #[test]
    fn copies_are_verbatim_and_in_the_order_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [file(folder.path(), "a", 10), file(folder.path(), "b", 10)];
        let index = Index::scan(&paths).unwrap();
        assert_eq!(index.labels.len(), 20);
        assert_eq!(index.ends, [10, 20]);
        let copy = folder.path().join("copy");
        let mut writer = Writer::create(&copy).unwrap();
        let records = [19, 3].map(|n| (n, index.labels[n]));
        index.copy_as(records, &mut writer).unwrap();
        writer.finish().unwrap();
        let records = Records::read(&[&copy], None).unwrap();
        assert_eq!(records.labels, [9, 3]);
        assert_eq!(records.image(1), [3; 18]);
    }
}
