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
pub mod matlab;

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
