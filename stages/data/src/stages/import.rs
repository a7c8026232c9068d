//! `import`: folders of image files become a dataset.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;
use rematch_spec::import::{Copies, Import};
use rematch_spec::job::Report;
use serde::Serialize;

use crate::child::{Child, report};
use crate::error::StageError;
use crate::image::file::Rules;
use crate::image::intake::Intake;
use crate::image::{Image, Shape};
use crate::origin::Error;
use crate::tfrecord::Writer;
use crate::{fs, json, records};

mod balance;
mod parts;

use balance::{Pick, View};
use parts::{PARTS, Part};

/// Most records that are in memory at once.
const CHUNK: usize = 256;
/// Most bytes of pixels that the records in memory stand for.
const CHUNK_BYTES: usize = 64 << 20;

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
    let (parts, classes) = parts::find(child, &params)?;
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
    for name in PARTS {
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
    fs::write(child.output("classes")?, json::classes(&classes))?;
    Ok(report([
        ("train", counts["train"] as f64),
        ("unlabeled", counts["unlabeled"] as f64),
        ("test", counts["test"] as f64),
        ("classes", classes.len() as f64),
        ("left_out", skipped as f64),
    ]))
}

impl Part {
    /// The records to write: every image once, or a balanced choice.
    fn picks(&self, params: &Import, classes: usize) -> Vec<Pick> {
        match params.balance {
            Some(total) if self.name == "train" => {
                let labels: Vec<i64> = self.images.iter().map(|image| image.label).collect();
                balance::balance(&labels, classes, total)
            }
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
    first: Option<(Shape, String)>,
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
                let item = &part.images[pick.image];
                let Some((shape, frame)) = self.unless_damaged(encoded)? else {
                    continue;
                };
                self.check_shape(shape, &part.origin.name(&item.path, item.place))?;
                writer.write_frames(&frame)?;
                let line = Source {
                    part: part.name,
                    record,
                    label: item.label,
                    class: self.class(part, item.label),
                    path: item.path.to_string_lossy().into_owned(),
                    renamed: renamed(&item.path, pick.image, part.images.len()),
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
        let item = &part.images[pick.image];
        let file = part.origin.read(&item.path, item.place)?;
        let mut image = self
            .intake
            .decode(&file)
            .map_err(|error| Error::Image(part.origin.name(&item.path, item.place), error))?;
        drop(file);
        if pick.copy > 0 {
            image = self.copy(&image, pick);
        }
        let (mut data, mut frame) = (Vec::new(), Vec::new());
        records::put_image(&mut frame, &mut data, image.shape, &image.data, item.label);
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
    fn check_shape(&mut self, shape: Shape, name: &str) -> Result<(), StageError> {
        let Some((expected, first)) = &self.first else {
            self.first = Some((shape, name.to_owned()));
            return Ok(());
        };
        if shape == *expected {
            return Ok(());
        }
        let words = |shape: &Shape| format!("{}×{}", shape.width, shape.height);
        let message = format!(
            "{name} has {} pixels, {first} has {}; a dataset's images are of one size",
            words(&shape),
            words(expected)
        );
        let help = format!(
            "bring all to one size with `size`, for example `size: {}`, and see `resize`",
            expected.side()
        );
        Err(StageError::failed(message).help(help))
    }

    fn class(&self, part: &Part, label: i64) -> Option<&str> {
        let label = usize::try_from(label).ok()?;
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
