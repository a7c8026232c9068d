//! The images of record files as a stream: all threads decode, results come in the records' order, and
//! memory holds one chunk of files and one decoded image a thread, however many records there are. The
//! records of virtual copies ([`crate::copies`]) are made a chunk at a time, and then read like all others.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::copies::{self, Copies};
use crate::error::StageError;
use crate::fs;
use crate::image::{Image, Shape};
use crate::png;
use crate::tfrecord::{self, EXAMPLE, Example, Reader};

/// Records in a chunk.
const CHUNK: usize = 4096;
/// Bytes of image files after which a chunk is full anyway.
const CHUNK_BYTES: usize = 32 << 20;

/// Told how many bytes are read, of how many in all; an error stops the scan. Virtual copies count as many
/// bytes as their source.
pub type Watch<'a> = &'a dyn Fn(u64, u64) -> Result<(), StageError>;

/// A record, and what was made of its image.
pub struct Seen<'a, T> {
    /// Position among all records.
    pub position: u64,
    /// The class.
    pub label: i64,
    /// The image file as it stands in the record.
    pub file: &'a [u8],
    /// What `look` made of the image.
    pub value: T,
    path: &'a Path,
    record: u64,
}

impl<T> Seen<'_, T> {
    /// An error that names the record.
    pub fn error(&self, what: &str) -> StageError {
        tfrecord::Error::no_example(self.path, self.record, what).into()
    }
}

/// Reads every record of `paths`, files or folders of virtual copies, one after the other. `look` sees images
/// in any order, on many threads; `take` gets what it made of them in the records' order.
///
/// # Errors
/// Damaged files and records, those of `look` (which says what is wrong with an image), of `take` and of `watch`.
pub fn each<P: AsRef<Path>, T: Send>(
    paths: &[P],
    watch: Watch,
    look: impl Fn(Image) -> Result<T, String> + Sync,
    mut take: impl FnMut(Seen<T>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let mut total = 0;
    for path in paths {
        total += length(path.as_ref())?;
    }
    let (mut position, mut before) = (0, 0);
    for path in paths.iter().map(AsRef::as_ref) {
        let mut source = Source::open(path)?;
        let mut first = 0;
        loop {
            let chunk = source.chunk()?;
            if chunk.files.is_empty() {
                break;
            }
            let look = |range: &Range<usize>| {
                let image = png::decode(&chunk.bytes[range.clone()]);
                image.map_err(|e| e.to_string()).and_then(&look)
            };
            let values: Vec<Result<T, String>> = chunk.files.par_iter().map(look).collect();
            for (n, value) in values.into_iter().enumerate() {
                let record = first + n as u64;
                take(Seen {
                    position,
                    label: chunk.labels[n],
                    file: &chunk.bytes[chunk.files[n].clone()],
                    value: value
                        .map_err(|what| tfrecord::Error::no_example(path, record, &what))?,
                    path,
                    record,
                })?;
                position += 1;
            }
            first += chunk.files.len() as u64;
            watch(before + source.read(), total)?;
        }
        before += source.read();
    }
    Ok(())
}

/// Bytes on disk that a scan of `path` reads.
fn length(path: &Path) -> Result<u64, fs::Error> {
    if path.is_dir() {
        fs::len(&path.join(copies::SOURCE))
    } else {
        fs::len(path)
    }
}

/// What records come from.
enum Source {
    File(Reader<BufReader<File>>),
    Copies {
        copies: Box<Copies>,
        done: usize,
        length: u64,
    },
}

impl Source {
    fn open(path: &Path) -> Result<Self, StageError> {
        if !path.is_dir() {
            return Ok(Self::File(Reader::open(path)?));
        }
        Ok(Self::Copies {
            copies: Box::new(Copies::open(path, copies::SMALL)?),
            done: 0,
            length: length(path)?,
        })
    }

    /// The next records; none at the end.
    fn chunk(&mut self) -> Result<Chunk, StageError> {
        match self {
            Self::File(reader) => Chunk::read(reader, CHUNK_BYTES),
            Self::Copies { copies, done, .. } => {
                let most = (CHUNK_BYTES / copies.shape().bytes()).clamp(1, CHUNK);
                let end = copies.len().min(*done + most);
                let records: Vec<(usize, i64)> =
                    (*done..end).map(|n| (n, copies.label(n))).collect();
                *done = end;
                let frames = copies.frames(&records)?;
                Chunk::read(&mut Reader::new(&frames[..], copies.path()), usize::MAX)
            }
        }
    }

    /// Bytes of the file that are read so far; of copies, their share of the source's.
    fn read(&self) -> u64 {
        match self {
            Self::File(reader) => reader.offset(),
            Self::Copies {
                copies,
                done,
                length,
            } => (*length as f64 * *done as f64 / copies.len() as f64) as u64,
        }
    }
}

/// Some records of a file, not yet decoded.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    files: Vec<Range<usize>>,
    labels: Vec<i64>,
}

impl Chunk {
    fn read<R: Read>(reader: &mut Reader<R>, most: usize) -> Result<Self, StageError> {
        let mut chunk = Self::default();
        while chunk.files.len() < CHUNK
            && chunk.bytes.len() < most
            && let Some(record) = reader.read()?
        {
            match Example::decode(record.data()) {
                Ok(example) => {
                    let begin = chunk.bytes.len();
                    chunk.bytes.extend_from_slice(example.image);
                    chunk.files.push(begin..chunk.bytes.len());
                    chunk.labels.push(example.label);
                }
                Err(error) => return Err(reader.bad_record(EXAMPLE, &error).into()),
            }
        }
        Ok(chunk)
    }
}

/// The shape of the first image.
///
/// # Errors
/// As [`each`], or there is no record.
pub fn first_shape<P: AsRef<Path>>(paths: &[P]) -> Result<Shape, StageError> {
    for path in paths.iter().map(AsRef::as_ref) {
        if path.is_dir() {
            return Ok(Copies::open(path, 0)?.shape());
        }
        let mut reader = Reader::open(path)?;
        let found = reader
            .read()?
            .map(|record| match Example::decode(record.data()) {
                Ok(example) => png::decode(example.image).map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            });
        if let Some(found) = found {
            let image = found.map_err(|what| tfrecord::Error::no_example(path, 0, &what))?;
            return Ok(image.shape);
        }
    }
    let names: Vec<PathBuf> = paths.iter().map(|p| p.as_ref().to_owned()).collect();
    Err(empty(&names))
}

/// The error where a set has no records at all.
pub fn empty<P: AsRef<Path>>(paths: &[P]) -> StageError {
    let names: Vec<String> = paths
        .iter()
        .map(|p| p.as_ref().display().to_string())
        .collect();
    StageError::failed(format!("{}: there are no records", names.join(", ")))
        .help("check what wrote this")
}

/// What an image shows, in 16 bytes: equal for images of equal size and pixels, whatever their files.
pub fn digest(image: &Image) -> [u8; 16] {
    let Shape {
        height,
        width,
        channels,
    } = image.shape;
    let mut hasher = blake3::Hasher::new();
    for side in [height, width, channels] {
        hasher.update(&(side as u64).to_le_bytes());
    }
    hasher.update(&image.data);
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Scratch;
    use crate::records;

    const SHAPE: Shape = Shape {
        height: 1,
        width: 2,
        channels: 3,
    };

    #[test]
    fn records_come_in_order_with_their_labels_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        for (path, count, first) in [(&paths[0], 5000_usize, 0), (&paths[1], 3, 5000)] {
            let images: Vec<u8> = (0..count * 6)
                .map(|i| ((first + i / 6) % 251) as u8)
                .collect();
            let labels: Vec<u8> = (0..count).map(|i| (i % 7) as u8).collect();
            fs::write(path, records::encode(SHAPE, &images, &labels)).unwrap();
        }
        let mut seen = 0;
        let told = std::cell::Cell::new((0, 0));
        let watch = |done, total| {
            told.set((done, total));
            Ok(())
        };
        each(
            &paths,
            &watch,
            |image| Ok(image.data),
            |record| {
                assert_eq!(record.position, seen);
                assert_eq!(record.value, [(seen % 251) as u8; 6]);
                assert_eq!(record.label, (seen % 5000 % 7) as i64);
                assert_eq!(png::decode(record.file).unwrap().data, record.value);
                seen += 1;
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, 5003);
        assert!(told.get().0 == told.get().1 && told.get().0 > 5003);
        assert_eq!(first_shape(&paths).unwrap(), SHAPE);
    }

    #[test]
    fn virtual_copies_come_in_chunks_and_are_told_as_their_sources_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (source, set) = (folder.path().join("a"), folder.path().join("set"));
        let shape = Shape {
            height: 5,
            width: 5,
            channels: 1,
        };
        let images: Vec<u8> = (0..25 * 900).map(|i| (i * 7 % 251) as u8).collect();
        fs::write(&source, records::encode(shape, &images, &[0_u8; 900])).unwrap();
        let params = serde_json::json!({"records": source, "copies": 6, "virtual": true});
        let made = Copies::of(&source, &serde_json::from_value(params).unwrap(), 0).unwrap();
        fs::create_dir_all(&set).unwrap();
        fs::write(&set.join(copies::RECIPE), made.recipe()).unwrap();
        fs::link_or_copy(&source, &set.join(copies::SOURCE)).unwrap();

        let (told, mut pixels) = (std::cell::RefCell::default(), Vec::new());
        let watch = |done, total| {
            Vec::push(&mut told.borrow_mut(), (done, total));
            Ok(())
        };
        each(
            &[&source, &set],
            &watch,
            |image| Ok(image.data),
            |record| {
                pixels.extend(record.value);
                Ok(())
            },
        )
        .unwrap();
        assert!(pixels[..images.len()] == images);
        let mut copy = vec![0; 25];
        for (n, found) in pixels[images.len()..].chunks(25).enumerate() {
            made.render(n, &mut Scratch::default(), &mut copy).unwrap();
            assert_eq!(found, copy, "{n}");
        }
        let one = fs::len(&source).unwrap();
        let part = (one as f64 * 4096.0 / 5400.0) as u64;
        let all = 2 * one;
        assert_eq!(
            told.into_inner(),
            [(one, all), (one + part, all), (all, all)]
        );
    }

    #[test]
    fn what_is_wrong_names_file_and_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, records::encode(SHAPE, &[0; 18], &[0, 1, 2])).unwrap();
        let other = Shape { width: 3, ..SHAPE };
        let scan = |look: &(dyn Fn(Image) -> Result<Vec<u8>, String> + Sync)| {
            each(&[&path], &|_, _| Ok(()), look, |_| Ok(()))
                .unwrap_err()
                .to_string()
        };
        let error = scan(&|image| image.pixels_of(other));
        assert!(
            error.contains("record 0 ") && error.contains("1×2×3 among images of 1×3×3"),
            "{error}"
        );
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = scan(&|image| Ok(image.data));
        assert!(
            error.contains("record 2 ") && error.contains("not complete"),
            "{error}"
        );
        fs::write(&path, b"").unwrap();
        let error = first_shape(&[path]).unwrap_err().to_string();
        assert!(error.ends_with("there are no records"), "{error}");
    }
}
