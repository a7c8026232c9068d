//! Readers of datasets' archives: each a function that yields images and labels in batches of
//! bounded size. Which dataset is read by which of them stands in `datasets.yaml` of rematch-spec.
//!
//! What a reader gets may be cut, damaged or hostile: it believes no count, size or name in there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rematch_spec::datasets::Source;
use rematch_spec::download::Download;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::StageError;
use crate::fs;
use crate::image::Shape;

pub mod cifar;
pub mod idx;
pub mod matlab;
pub mod stl10;
pub mod svhn;

/// Some images of a part, and their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which part of the dataset they belong to.
    pub part: String,
    /// Shape of each image.
    pub shape: Shape,
    /// The images one after the other, height × width × channels bytes each.
    pub images: Vec<u8>,
    /// The class of each image.
    pub labels: Vec<i64>,
}

/// Takes what a reader yields.
pub type Each<'a> = &'a mut dyn FnMut(Batch) -> Result<(), StageError>;

/// Reads all parts that are asked for. Batches of a part come in the order of its records; those of
/// different parts may take turns.
pub type Reader = fn(&Opened, Each) -> Result<(), StageError>;

/// The reader of that name.
pub fn find(name: &str) -> Option<Reader> {
    match name {
        "cifar" => Some(cifar::read),
        "idx" => Some(idx::read),
        "stl10" => Some(stl10::read),
        "svhn" => Some(svhn::read),
        _ => None,
    }
}

/// Archives that are here, and what is asked of them.
#[derive(Debug)]
pub struct Opened {
    /// The parameters of the stage.
    pub params: Download,
    /// Their row in the table.
    pub source: &'static Source,
    /// Where each archive lies, by its official name.
    pub archives: BTreeMap<&'static str, PathBuf>,
    /// Where the dataset's extra files belong, by output.
    pub extras: BTreeMap<&'static str, PathBuf>,
}

impl Opened {
    /// The options of dataset and source, typed.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, StageError> {
        let mut options = self.params.dataset.options.clone();
        options.extend(self.source.options.clone());
        let of = &self.params.dataset.name;
        serde_json::from_value(Value::Object(options))
            .map_err(|e| StageError::failed(format!("datasets.yaml: {of}: {e}")))
    }

    /// The parts to read, each with its files in the order of its records.
    pub fn parts(&self) -> Vec<(&'static str, &'static [String])> {
        let files = |part: &str| self.source.files.get(part).map_or(&[][..], Vec::as_slice);
        self.params
            .parts()
            .map(|part| (part.name.as_str(), files(&part.name)))
            .collect()
    }

    /// Where an archive lies.
    pub fn archive(&self, name: &str) -> Result<&Path, StageError> {
        let path = self.archives.get(name).map(PathBuf::as_path);
        path.ok_or_else(|| StageError::failed(format!("datasets.yaml: no archive `{name}`")))
    }

    /// The archive of a source that has only one.
    pub fn only_archive(&self) -> Result<&Path, StageError> {
        let path = self.archives.values().next().map(PathBuf::as_path);
        path.ok_or_else(|| StageError::failed("datasets.yaml: a source without archives"))
    }

    /// Most bytes that an archive may unpack to.
    pub fn unpacked(&self) -> u64 {
        self.source.unpacked_mb * 1_000_000
    }

    /// Writes an extra file of the dataset.
    pub fn write_extra(&self, output: &str, content: &[u8]) -> Result<(), StageError> {
        match self.extras.get(output) {
            Some(path) => Ok(fs::write(path, content)?),
            None => Err(StageError::failed(format!("no extra file `{output}`"))),
        }
    }
}

/// An archive that is not what its name says.
pub fn damaged(archive: &Path, member: Option<&str>, what: impl std::fmt::Display) -> StageError {
    let member = member.map_or(String::new(), |member| format!(" {member}:"));
    StageError::failed(format!("{}:{member} {what}", archive.display()))
        .help("the archive is damaged, or not in the layout that `layout` names; get it again")
}

/// Turns an image that is stored plane by plane and column by column, as MATLAB does, into rows of
/// pixels.
fn from_columns(shape: Shape, stored: &[u8], out: &mut [u8]) {
    let Shape {
        height,
        width,
        channels,
    } = shape;
    for (channel, plane) in stored.chunks_exact(height * width).enumerate() {
        for (column, values) in plane.chunks_exact(height).enumerate() {
            for (row, value) in values.iter().enumerate() {
                out[(row * width + column) * channels + channel] = *value;
            }
        }
    }
}

#[cfg(test)]
mod testing {
    //! What tests of readers share.

    use rematch_spec::datasets::Name;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    /// Archives of a dataset, written to a folder.
    pub fn opened(
        dataset: &str,
        layout: Option<&str>,
        files: &[(&str, &[u8])],
    ) -> (TempDir, Opened) {
        let folder = tempfile::tempdir().unwrap();
        let params: Download =
            serde_json::from_value(json!({"dataset": dataset, "layout": layout})).unwrap();
        let source = params.source().unwrap();
        let wanted = params.archives();
        let archives = wanted.iter().map(|archive| {
            let (_, content) = files.iter().find(|f| f.0 == archive.name).unwrap();
            let path = folder.path().join(&archive.name);
            fs::write(&path, content).unwrap();
            (archive.name.as_str(), path)
        });
        let extras = &Name::find(dataset).unwrap().dataset().extras;
        let extras = extras
            .iter()
            .map(|extra| (extra.output.as_str(), folder.path().join(&extra.file)));
        let opened = Opened {
            archives: archives.collect(),
            extras: extras.collect(),
            params,
            source,
        };
        (folder, opened)
    }

    /// All that a reader yields.
    pub fn read_all(reader: Reader, opened: &Opened) -> Result<Vec<Batch>, StageError> {
        let mut batches = Vec::new();
        reader(opened, &mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
        Ok(batches)
    }

    #[test]
    fn every_dataset_has_its_reader() {
        for dataset in rematch_spec::datasets::all() {
            for source in &dataset.sources {
                assert!(find(&source.reader).is_some(), "{}", source.reader);
            }
        }
    }
}
