//! Where image files lie: in a folder, in zip archives, in TFRecord shards. Reads them as hostile; nothing
//! is unpacked to the disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use crate::error::StageError;
use crate::fs;
use crate::image::file::Error as ImageError;
use crate::image::file::LONGEST_FILE;
use crate::tfrecord::{self, BadExample, HEADER, Reader};

/// What the records of shards are, for messages.
const SHARD: &str = "Example of ImageNet";

/// Where the images of a part lie.
pub enum Origin {
    /// In a folder.
    Folder(PathBuf),
    /// In zip archives.
    Zips(Vec<Zip>),
    /// In TFRecord shards.
    Shards(Vec<(PathBuf, File)>),
}

/// Where one image lies in its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its own path.
    Path,
    /// In which archive, as which member.
    Member(u32, u32),
    /// In which shard; where its file begins there, and how long it is.
    Record(u32, u64, u32),
}

/// An image that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// It is no image, or a damaged one.
    #[error("{0}: {1}")]
    Image(String, ImageError),
    /// It is longer than any image that is believed.
    #[error("{0}: it has more than {LONGEST_FILE} bytes")]
    Long(String),
    /// The archive does not give it.
    #[error("{0}: {1}")]
    Member(String, String),
}

impl Origin {
    /// The bytes of an image file.
    pub fn read(&self, path: &Path, place: Place) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        match (self, place) {
            (Self::Folder(folder), _) => {
                let path = folder.join(path);
                let file = fs::open(&path)?;
                let read = file.take(LONGEST_FILE + 1).read_to_end(&mut bytes);
                read.map_err(fs::at("read", &path))?;
            }
            (Self::Zips(zips), Place::Member(zip, member)) => {
                let member_error =
                    |error: &dyn ToString| Error::Member(self.name(path, place), error.to_string());
                // A copy has its own position, and shares the rest.
                let mut archive = zips[zip as usize].archive.clone();
                let member = archive
                    .by_index(member as usize)
                    .map_err(|e| member_error(&e))?;
                let read = member.take(LONGEST_FILE + 1).read_to_end(&mut bytes);
                read.map_err(|e| member_error(&e))?;
            }
            (Self::Shards(shards), Place::Record(shard, offset, length)) => {
                let (path, file) = &shards[shard as usize];
                bytes.resize(length as usize, 0);
                file.read_exact_at(&mut bytes, offset)
                    .map_err(fs::at("read", path))?;
            }
            _ => {
                let what = "it lies elsewhere".to_owned();
                return Err(Error::Member(self.name(path, place), what));
            }
        }
        if bytes.len() as u64 > LONGEST_FILE {
            return Err(Error::Long(self.name(path, place)));
        }
        Ok(bytes)
    }

    /// An image's name for messages.
    pub fn name(&self, path: &Path, place: Place) -> String {
        match (self, place) {
            (Self::Folder(folder), _) => folder.join(path).display().to_string(),
            (Self::Zips(zips), Place::Member(zip, _)) => {
                format!("{}: {}", zips[zip as usize].path.display(), path.display())
            }
            (Self::Shards(shards), Place::Record(shard, ..)) => {
                format!("{}: {}", shards[shard as usize].0.display(), path.display())
            }
            _ => path.display().to_string(),
        }
    }
}

/// An open zip archive.
pub struct Zip {
    path: PathBuf,
    archive: ZipArchive<At>,
}

impl Zip {
    /// Opens an archive and reads its directory.
    pub fn open(path: &Path) -> Result<Self, StageError> {
        let file = Arc::new(fs::open(path)?);
        let length = fs::len(path)?;
        let at = At {
            file,
            length,
            position: 0,
        };
        let archive = ZipArchive::new(at).map_err(|error| {
            let message = format!("{} is damaged or no zip archive: {error}", path.display());
            StageError::failed(message).help("download it again")
        })?;
        Ok(Self {
            path: path.to_owned(),
            archive,
        })
    }

    /// The number of the member of that name.
    pub fn find(&self, name: &str) -> Option<u32> {
        let index = self.archive.index_for_name(name)?;
        u32::try_from(index).ok()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A position in a file that others read as well.
#[derive(Clone)]
struct At {
    file: Arc<File>,
    length: u64,
    position: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for At {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// An image in a shard, without its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharded {
    /// Its file's name, or its shard's name and its number there.
    pub name: PathBuf,
    /// The class from 0.
    pub label: i64,
    /// The class's synset, where it is given.
    pub synset: Option<String>,
    /// Where it lies.
    pub place: Place,
}

/// Opens shards in the order of their names, and lists their images. Every checksum is checked.
///
/// # Errors
/// Files that are no shards, cut or damaged; whatever `check` says.
pub fn shards(
    paths: &[PathBuf],
    check: impl Fn() -> Result<(), StageError>,
) -> Result<(Origin, Vec<Sharded>), StageError> {
    let (mut opened, mut images) = (Vec::new(), Vec::new());
    for (shard, path) in paths.iter().enumerate() {
        let mut reader = Reader::open(path)?;
        let mut number = 0;
        while let Some(record) = reader.read()? {
            check()?;
            let data = record.data();
            let image = match describe(data) {
                Ok(Described { label, .. }) if label < 1 => {
                    Err(format!("label {label}; expected 1 or more"))
                }
                Ok(found) => {
                    // Both are of one slice, so this is where the file begins in the record.
                    let start = found.image.as_ptr() as usize - data.as_ptr() as usize;
                    let name = found.file.unwrap_or_else(|| {
                        let shard = path.file_name().unwrap_or_default().to_string_lossy();
                        format!("{shard}-{number}")
                    });
                    Ok(Sharded {
                        name: name.into(),
                        label: found.label - 1,
                        synset: found.synset,
                        place: Place::Record(
                            shard as u32,
                            record.offset + (HEADER + start) as u64,
                            found.image.len() as u32,
                        ),
                    })
                }
                Err(error) => Err(error.to_string()),
            };
            match image {
                Ok(image) => images.push(image),
                Err(what) => return Err(reader.bad_record(SHARD, &what).into()),
            }
            number += 1;
        }
        opened.push((path.clone(), fs::open(path)?));
    }
    Ok((Origin::Shards(opened), images))
}

/// What is wanted of a shard's record.
struct Described<'a> {
    image: &'a [u8],
    label: i64,
    file: Option<String>,
    synset: Option<String>,
}

fn describe(data: &[u8]) -> Result<Described<'_>, BadExample> {
    let (mut image, mut label, mut file, mut synset) = (None, None, None, None);
    let text = |feature| {
        let bytes = tfrecord::bytes_value(feature)?;
        Ok::<_, BadExample>(bytes.map(|b| String::from_utf8_lossy(b).into_owned()))
    };
    for entry in tfrecord::entries(data) {
        match entry? {
            (b"image/encoded", feature) => image = tfrecord::bytes_value(feature)?,
            (b"image/class/label", feature) => label = tfrecord::int_value(feature)?,
            (b"image/filename", feature) => file = text(feature)?,
            (b"image/class/synset", feature) => synset = text(feature)?,
            _ => {}
        }
    }
    Ok(Described {
        image: image.ok_or(BadExample::Feature("image/encoded".into(), "bytes value"))?,
        label: label.ok_or(BadExample::Feature("image/class/label".into(), "integer"))?,
        file,
        synset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;

    #[test]
    fn members_of_archives_are_read_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, content) in [("d/one", &b"1"[..]), ("../d/two", b"22")] {
            writer
                .start_file(name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap();
        let zip = Zip::open(&path).unwrap();
        let member = zip.find("d/one").unwrap();
        assert_eq!(zip.find("d/two"), None);
        let origin = Origin::Zips(vec![zip]);
        let place = Place::Member(0, member);
        assert_eq!(origin.read(Path::new("d/one"), place).unwrap(), b"1");
        assert!(
            origin
                .name(Path::new("d/one"), place)
                .ends_with("a.zip: d/one")
        );

        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(Zip::open(&path).is_err(), "{length}");
        }
    }
}
