//! `import`: folders of image files become a dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rematch_spec::import::{Copies, Import, Names};
use rematch_spec::job::Report;
use serde::Serialize;

use crate::child::{Child, report};
use crate::error::StageError;
use crate::folder::{self, Listing};
use crate::image::file::Rules;
use crate::image::intake::{Error, Intake};
use crate::image::{Image, Shape};
use crate::tfrecord::{self, Example, Writer};
use crate::{fs, json, png};

mod copies;

use copies::{Pick, View};

/// Most records that are in memory at once.
const CHUNK: usize = 256;
/// Most bytes of pixels that the records in memory stand for.
const CHUNK_BYTES: usize = 64 << 20;
/// Names that a message lists.
const NAMED: usize = 5;

/// One of the three folders of a dataset.
struct Part {
    name: &'static str,
    folder: PathBuf,
    images: Vec<PathBuf>,
    /// The class of every image; 0 in the unlabeled part.
    labels: Vec<i64>,
}

/// A line of `sources`.
#[derive(Serialize)]
struct Source<'a> {
    part: &'a str,
    /// Number of the record in its file, from 0.
    record: u64,
    label: i64,
    class: Option<&'a str>,
    /// The file below the part's folder.
    path: String,
    /// The name that RealMix's `rename_files.py` gives it.
    renamed: String,
    /// Which copy of a balanced set's image it is.
    #[serde(skip_serializing_if = "is_zero")]
    copy: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(copy: &u64) -> bool {
    *copy == 0
}

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Import = child.params()?;
    let mut parts = Vec::new();
    for (name, folder) in folders(&params)? {
        let listing = folder::list(&folder, &params.ignore, || child.check())?;
        tell(child, &folder, &listing, &params.ignore);
        parts.push(Part {
            name,
            folder,
            labels: vec![0; listing.images.len()],
            images: listing.images,
        });
    }
    let classes = number(&mut parts, params.names)?;
    check_counts(child, &parts, &classes)?;

    let mut converter = Converter {
        child,
        params: &params,
        intake: Intake {
            rules: Rules {
                channels: params.channels,
                alpha: params.alpha,
                upright: params.upright,
            },
            square: params.size.map(|size| (size as usize, params.resize)),
        },
        first: None,
        classes: &classes,
        picks: parts
            .iter()
            .map(|part| part.picks(&params, classes.len()))
            .collect(),
        done: 0,
        skipped: (0, String::new()),
    };
    let path = child.output("sources")?;
    let mut sources = BufWriter::new(fs::create(path)?);
    let mut counts = BTreeMap::new();
    for name in ["train", "unlabeled", "test"] {
        let mut writer = Writer::create(child.output(name)?)?;
        let part = parts.iter().position(|part| part.name == name);
        let count = match part {
            Some(n) => converter.convert(n, &parts[n], &mut writer, &mut sources, path)?,
            None => 0,
        };
        writer.finish()?;
        counts.insert(name, count);
    }
    sources.flush().map_err(fs::at("write", path))?;
    let (skipped, first) = converter.skipped;
    if skipped > 0 {
        child.warning(format!(
            "{skipped} images cannot be read and are left out; the first is {first}"
        ));
    }
    let map: BTreeMap<usize, &str> = classes.iter().map(String::as_str).enumerate().collect();
    fs::write(child.output("classes")?, json::python(&map, 2))?;
    Ok(report([
        ("train", counts["train"] as f64),
        ("unlabeled", counts["unlabeled"] as f64),
        ("test", counts["test"] as f64),
        ("classes", classes.len() as f64),
        ("left_out", skipped as f64),
    ]))
}

/// The folders that there are, by part.
fn folders(params: &Import) -> Result<Vec<(&'static str, PathBuf)>, StageError> {
    let mut found = Vec::new();
    if let Some(folder) = &params.folder {
        let folder = folder.path();
        for name in ["train", "unlabeled", "test"] {
            let inner = folder.join(name);
            if std::fs::symlink_metadata(&inner).is_ok() {
                found.push((name, inner));
            }
        }
        if !found.iter().any(|(name, _)| *name == "train") {
            let message = format!("{} has no folder `train`", folder.display());
            return Err(StageError::failed(message).help(
                "give a folder with train/<class>/… and test/<class>/… in it, or name the folders as `train` and `test`",
            ));
        }
    } else {
        let named = [
            ("train", &params.train),
            ("unlabeled", &params.unlabeled),
            ("test", &params.test),
        ];
        for (name, folder) in named {
            if let Some(folder) = folder {
                found.push((name, folder.path().to_owned()));
            }
        }
    }
    for (name, folder) in &found {
        if !std::fs::metadata(folder)
            .map_err(fs::at("look at", folder))?
            .is_dir()
        {
            let message = format!("{} is no folder", folder.display());
            return Err(
                StageError::failed(message).help(format!("`{name}` takes a folder of image files"))
            );
        }
    }
    Ok(found)
}

/// Says what was left out of a folder.
fn tell(child: &Child, folder: &Path, listing: &Listing, ignore: &[String]) {
    if let Some((count, example)) = &listing.others {
        child.warning(format!(
            "{}: {count} files are no PNG, JPEG, BMP or WebP images and are left out, such as {}",
            folder.display(),
            example.display()
        ));
    }
    if let Some((count, example)) = &listing.ignored {
        child.warning(format!(
            "{}: {count} folders are left out since `ignore` ({}) names them, such as {}",
            folder.display(),
            ignore.join(", "),
            example.display()
        ));
    }
    if !listing.empty.is_empty() {
        child.warning(format!(
            "{}: empty folders, which are no classes: {}",
            folder.display(),
            names(listing.empty.iter().map(|path| path.display().to_string()))
        ));
    }
}

/// The first few of some names.
fn names(all: impl ExactSizeIterator<Item = String>) -> String {
    let count = all.len();
    let mut list: Vec<String> = all.take(NAMED).collect();
    if count > NAMED {
        list.push(format!("{} more", count - NAMED));
    }
    list.join(", ")
}

/// Labels the images of the training and the test part; returns the classes, sorted by name.
fn number(parts: &mut [Part], rule: Names) -> Result<Vec<String>, StageError> {
    let mut classes: Vec<String> = Vec::new();
    for part in parts.iter_mut().filter(|part| part.name != "unlabeled") {
        let mut found = Vec::with_capacity(part.images.len());
        for path in &part.images {
            let class = folder::class(path, rule).map_err(|what| {
                let message = format!("{}: {what}", part.folder.join(path).display());
                StageError::failed(message).help(
                    "images lie in folders named after their classes, or `names` says where else the class stands",
                )
            })?;
            found.push(class);
        }
        if part.name == "train" {
            let unique: BTreeSet<&String> = found.iter().collect();
            classes = unique.into_iter().cloned().collect();
        }
        for (n, class) in found.iter().enumerate() {
            part.labels[n] = classes.binary_search(class).map_err(|_| {
                let message = format!(
                    "{} is of the class `{class}`, which no training image is of",
                    part.folder.join(&part.images[n]).display()
                );
                StageError::failed(message).help(
                    "the classes of the test images must be among those of the training images",
                )
            })? as i64;
        }
    }
    Ok(classes)
}

/// Refuses a dataset without training images; warns of what may be a mistake.
fn check_counts(child: &Child, parts: &[Part], classes: &[String]) -> Result<(), StageError> {
    for part in parts {
        if part.images.is_empty() {
            let message = format!("{} holds no image", part.folder.display());
            if part.name == "train" {
                return Err(StageError::failed(message).help(
                    "expected PNG, JPEG, BMP or WebP files in folders named after their classes",
                ));
            }
            child.warning(message);
        } else if part.name == "test" {
            let tested: BTreeSet<i64> = part.labels.iter().copied().collect();
            let untested = classes.iter().enumerate();
            let untested: Vec<String> = untested
                .filter(|(n, _)| !tested.contains(&(*n as i64)))
                .map(|(_, class)| class.clone())
                .collect();
            if !untested.is_empty() {
                child.warning(format!(
                    "no test image is of these classes: {}",
                    names(untested.into_iter())
                ));
            }
        }
    }
    if !parts.iter().any(|part| part.name == "test") {
        child.warning("there is no folder `test`: the file of test records is empty");
    }
    Ok(())
}

impl Part {
    /// The records to write: every image once, or a balanced choice.
    fn picks(&self, params: &Import, classes: usize) -> Vec<Pick> {
        match params.balance {
            Some(total) if self.name == "train" => copies::balance(&self.labels, classes, total),
            _ => (0..self.images.len())
                .map(|image| Pick { image, copy: 0 })
                .collect(),
        }
    }
}

/// Converts one part after the other.
struct Converter<'a> {
    child: &'a Child,
    params: &'a Import,
    intake: Intake,
    /// The shape of every image, and which file it is from.
    first: Option<(Shape, PathBuf)>,
    classes: &'a [String],
    /// The records of each part.
    picks: Vec<Vec<Pick>>,
    done: u64,
    /// How many images were left out, and what is wrong with the first of them.
    skipped: (u64, String),
}

impl Converter<'_> {
    /// Writes the records of part `n`, and a line of `sources` for each; returns how many there are.
    fn convert(
        &mut self,
        n: usize,
        part: &Part,
        writer: &mut Writer,
        sources: &mut impl Write,
        path: &Path,
    ) -> Result<u64, StageError> {
        let all: u64 = self.picks.iter().map(|picks| picks.len() as u64).sum();
        let picks = std::mem::take(&mut self.picks[n]);
        let all = all + self.done;
        let (mut record, mut rest) = (0, &picks[..]);
        while !rest.is_empty() {
            self.child.check()?;
            let (chunk, later) = rest.split_at(self.chunk().min(rest.len()));
            rest = later;
            let encoded: Vec<Result<(Shape, Vec<u8>), Error>> = chunk
                .par_iter()
                .map(|pick| self.encode(part, *pick))
                .collect();
            for (pick, encoded) in chunk.iter().zip(encoded) {
                self.done += 1;
                let file = &part.images[pick.image];
                let Some((shape, frame)) = self.unless_damaged(encoded)? else {
                    continue;
                };
                self.check_shape(shape, &part.folder.join(file))?;
                writer.write_frames(&frame)?;
                let line = Source {
                    part: part.name,
                    record,
                    label: part.labels[pick.image],
                    class: self.class(part, pick.image),
                    path: file.to_string_lossy().into_owned(),
                    renamed: renamed(file, pick.image, part.images.len()),
                    copy: pick.copy,
                };
                serde_json::to_writer(&mut *sources, &line)
                    .map_err(std::io::Error::from)
                    .and_then(|()| sources.write_all(b"\n"))
                    .map_err(fs::at("write", path))?;
                record += 1;
            }
            self.child.progress(self.done, all, "images");
        }
        Ok(record)
    }

    /// How many records to take at once: few until it is known how large images are.
    fn chunk(&self) -> usize {
        let bytes = match (self.intake.square, &self.first) {
            (Some((size, _)), _) => size * size * 3,
            (None, Some((shape, _))) => shape.bytes(),
            (None, None) => CHUNK_BYTES,
        };
        (CHUNK_BYTES / bytes.max(1)).clamp(1, CHUNK)
    }

    /// The framed record of one image.
    fn encode(&self, part: &Part, pick: Pick) -> Result<(Shape, Vec<u8>), Error> {
        let mut image = self
            .intake
            .read(&part.folder.join(&part.images[pick.image]))?;
        if pick.copy > 0 {
            image = self.copy(&image, pick);
        }
        let (mut data, mut frame) = (Vec::new(), Vec::new());
        Example {
            image: &png::encode(image.shape, &image.data),
            label: part.labels[pick.image],
        }
        .encode(&mut data);
        tfrecord::put_record(&mut frame, &data);
        Ok((image.shape, frame))
    }

    /// An image that comes again.
    fn copy(&self, image: &Image, pick: Pick) -> Image {
        match self.params.copies {
            Copies::Augmented => View::of(pick.image as u64, pick.copy).apply(image),
            Copies::AugmentedAlike => View::published().apply(image),
            Copies::Plain => image.clone(),
        }
    }

    /// Leaves out a damaged image where that is wanted.
    fn unless_damaged<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, StageError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::File(error)) => Err(error.into()),
            Err(error) if self.params.skip_damaged => {
                if self.skipped.0 == 0 {
                    self.skipped.1 = error.to_string();
                }
                self.skipped.0 += 1;
                Ok(None)
            }
            Err(error) => Err(StageError::failed(error.to_string()).help(
                "replace or remove this file, or leave out all that cannot be read with `skip_damaged: true`",
            )),
        }
    }

    /// Refuses an image of another shape than the first one.
    fn check_shape(&mut self, shape: Shape, path: &Path) -> Result<(), StageError> {
        let Some((expected, first)) = &self.first else {
            self.first = Some((shape, path.to_owned()));
            return Ok(());
        };
        if shape == *expected {
            return Ok(());
        }
        let words = |shape: &Shape| format!("{}×{}", shape.width, shape.height);
        let message = format!(
            "{} has {} pixels, {} has {}; a dataset's images are of one size",
            path.display(),
            words(&shape),
            first.display(),
            words(expected)
        );
        let help = format!(
            "bring all to one size with `size`, for example `size: {}`, and see `resize`",
            expected.side()
        );
        Err(StageError::failed(message).help(help))
    }

    fn class(&self, part: &Part, image: usize) -> Option<&str> {
        let label = usize::try_from(part.labels[image]).ok()?;
        let class = self.classes.get(label).filter(|_| part.name != "unlabeled");
        class.map(String::as_str)
    }
}

/// The name that RealMix's `rename_files.py` gives the file at position `n` of `count`: its number, with
/// as many digits as the last one needs, and its folder's name without hyphens.
fn renamed(path: &Path, n: usize, count: usize) -> String {
    let digits = count.to_string().len();
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let class = folder.to_string_lossy().replace('-', "");
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    format!("{n:0digits$}_{class}.{ending}")
}

#[cfg(test)]
mod tests;
