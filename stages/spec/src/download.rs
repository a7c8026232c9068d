//! Parameters of `download`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::datasets::{self, Archive, Name, Part, Source};
use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Stage, Variable};

/// Fetches a dataset's official archives and writes them as TFRecord files with PNG images
/// (spec/fixmatch.md 2.1 and 2.2), or generates the built-in `shapes` dataset. Its outputs are one
/// file per part of the dataset (`train`, `test`, for some also `extra` or `unlabeled`), `classes`
/// (JSON: label to name), and for STL-10 `folds`.
///
/// Archives come from their public address, from a mirror (the parameter `mirror`, or the
/// environment variable REMATCH_MIRROR: an http(s) address or a folder), or from local files (`file`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Which dataset.
    pub dataset: Name,
    /// Which of the official archives to read: for CIFAR `matlab` (the default, which the originals
    /// read), `python` or `binary`. All hold the same images in the same order.
    #[serde(default)]
    pub layout: Option<String>,
    /// Which parts to make, all where absent; archives of others are not fetched.
    #[serde(default)]
    pub parts: Option<Vec<String>>,
    /// Where official archives lie under their official names: an http(s) address or a folder.
    #[serde(default)]
    pub mirror: Option<String>,
    /// The archives themselves, as local files: under their official names, or in the official order.
    #[serde(default)]
    pub file: Option<Inputs>,
    /// The checksum of the archive, `md5:…` or `sha256:…`, where there is only one. Without it an archive
    /// from the public address must be the official one, and one from elsewhere that is not gets a
    /// warning.
    #[serde(default)]
    pub checksum: Option<String>,
    /// For generated datasets: the seed of every image.
    #[serde(default)]
    pub seed: u64,
    /// For generated datasets: how many training images.
    #[serde(default = "train_images")]
    pub train_images: u64,
    /// For generated datasets: how many test images.
    #[serde(default = "test_images")]
    pub test_images: u64,
}

fn train_images() -> u64 {
    10_000
}
fn test_images() -> u64 {
    2_000
}

/// The environment variable that names a mirror.
pub const MIRROR: &str = "REMATCH_MIRROR";

/// The output with the names of the classes.
pub const CLASSES: &str = "classes";

/// Whether a mirror is reached over the network.
pub fn is_address(mirror: &str) -> bool {
    mirror.starts_with("http://") || mirror.starts_with("https://")
}

impl Download {
    /// Where the archives come from; `None` for a generated dataset.
    pub fn source(&self) -> Option<&'static Source> {
        self.dataset.dataset().source(self.layout.as_deref())
    }

    /// The parts to make, in the order of the table.
    pub fn parts(&self) -> impl Iterator<Item = &'static Part> {
        let all = self.dataset.dataset().parts.iter();
        all.filter(|part| self.wants(&part.name))
    }

    /// Whether a part is to be made.
    fn wants(&self, part: &str) -> bool {
        let asked = self.parts.as_ref();
        self.dataset.part(part).is_some()
            && asked.is_none_or(|parts| parts.iter().any(|p| p == part))
    }

    /// The archives that hold the parts to make.
    pub fn archives(&self) -> Vec<&'static Archive> {
        let beside = |part: &str| self.dataset.extras.iter().any(|e| e.output == part);
        self.source().map_or(Vec::new(), |source| {
            source.archives(|part| self.wants(part) || beside(part))
        })
    }
}

impl Stage for Download {
    const NAME: &'static str = "download";
    // 1: first; 2: the names of the classes beside the records
    const VERSION: u32 = 2;
    const RESUMES: bool = true;
    const ENVIRONMENT: &'static [&'static str] = &[MIRROR];

    fn outputs(&self) -> Vec<Output> {
        let parts = self
            .parts()
            .map(|part| Output::new(&part.name, format!("{}.tfrecord", part.name)));
        let extras = &self.dataset.extras;
        parts
            .chain([Output::new(CLASSES, "classes.json")])
            .chain(extras.iter().map(|e| Output::new(&e.output, &e.file)))
            .collect()
    }

    /// A folder mirror becomes `file`: then the archives' content is part of the key. An address
    /// stays `mirror` and is itself part of the key.
    fn read_environment(&mut self, variable: Variable) {
        // What says the same has the same key.
        if let Some(first) = self.dataset.sources.first()
            && self.layout.as_ref() == Some(&first.layout)
        {
            self.layout = None;
        }
        if self.dataset.sources.is_empty() || self.file.is_some() {
            return;
        }
        let mirror = self
            .mirror
            .take()
            .or_else(|| variable(MIRROR).filter(|m| !m.is_empty()));
        match mirror {
            Some(mirror) if !is_address(&mirror) => {
                let folder = mirror.trim_end_matches('/');
                let archives = self.archives();
                let files = archives
                    .iter()
                    .map(|archive| Input::Path(format!("{folder}/{}", archive.name)));
                self.file = Some(Inputs(files.collect()));
            }
            mirror => self.mirror = mirror,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        if let Some(layout) = &self.layout
            && self.source().is_none()
        {
            let known = self.dataset.sources.iter().map(|s| s.layout.as_str());
            return Err(datasets::unknown("layout", layout, known));
        }
        for (n, part) in self.parts.iter().flatten().enumerate() {
            if self.dataset.part(part).is_none() {
                let known = self.dataset.parts.iter().map(|p| p.name.as_str());
                return Err(datasets::unknown(&format!("parts[{n}]"), part, known));
            }
        }
        if self.parts.as_ref().is_some_and(Vec::is_empty) {
            return Err(Invalid::at("parts", "expected at least one part"));
        }
        self.check_archives()?;
        if let Some(checksum) = &self.checksum {
            let digits = match checksum.split_once(':') {
                Some(("md5", digits)) if digits.len() == 32 => digits,
                Some(("sha256", digits)) if digits.len() == 64 => digits,
                _ => "?",
            };
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                let message = "expected `md5:` and 32 hexadecimal digits, or `sha256:` and 64";
                return Err(Invalid::at("checksum", message));
            }
        }
        Ok(())
    }
}

impl Download {
    fn check_archives(&self) -> Result<(), Invalid> {
        let name = &self.dataset.name;
        if self.dataset.sources.is_empty() {
            if self.file.is_some() || self.mirror.is_some() || self.checksum.is_some() {
                return Err(Invalid::at(
                    "dataset",
                    format!("`{name}` is generated; it takes no `file`, `mirror` or `checksum`"),
                ));
            }
            if self.train_images < 10
                || self.test_images < 10
                || self.train_images.max(self.test_images) > 10_000_000
            {
                return Err(Invalid::at(
                    "train_images",
                    "expected 10 to 10,000,000 images",
                ));
            }
            return Ok(());
        }
        let archives = self.archives();
        if let Some(files) = &self.file
            && files.0.len() != archives.len()
        {
            let names: Vec<&str> = archives.iter().map(|a| a.name.as_str()).collect();
            let message = format!(
                "found {} where `{name}` needs {}: {}",
                files.0.len(),
                archives.len(),
                names.join(", ")
            );
            return Err(Invalid::at("file", message));
        }
        if self.checksum.is_some() && archives.len() > 1 {
            let message = format!(
                "`{name}` has {} archives, and this could be of one of them only",
                archives.len()
            );
            return Err(Invalid::at("checksum", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{Declaration, find};
    use serde_json::{Value, json};

    fn declare(params: Value, mirror: Option<&str>) -> Result<Declaration, Invalid> {
        let variable = |_: &str| mirror.map(str::to_owned);
        find("download").unwrap().declare(params, &variable)
    }

    fn outputs(params: Value) -> Vec<String> {
        let declared = declare(params, None).unwrap();
        declared.outputs.into_iter().map(|o| o.path).collect()
    }

    #[test]
    fn outputs_follow_from_the_table() {
        assert_eq!(
            outputs(json!({"dataset": "cifar10"})),
            ["train.tfrecord", "test.tfrecord", "classes.json"]
        );
        assert_eq!(
            outputs(json!({"dataset": "stl10"})),
            [
                "train.tfrecord",
                "test.tfrecord",
                "unlabeled.tfrecord",
                "classes.json",
                "fold_indices.txt"
            ]
        );
        assert_eq!(
            outputs(json!({"dataset": "svhn", "parts": ["extra"]})),
            ["extra.tfrecord", "classes.json"]
        );
    }

    #[test]
    fn the_first_layout_and_none_are_one_key() {
        let key = |params| declare(params, None).unwrap().key_params;
        assert_eq!(
            key(json!({"dataset": "cifar10", "layout": "matlab"})),
            json!({"dataset": "cifar10"})
        );
        assert_eq!(
            key(json!({"dataset": "cifar10", "layout": "binary"})),
            json!({"dataset": "cifar10", "layout": "binary"})
        );
    }

    #[test]
    fn a_folder_becomes_its_archives_and_an_address_stays() {
        let params = json!({"dataset": "svhn_noextra"});
        let declared = declare(params.clone(), Some("/data/")).unwrap();
        assert_eq!(
            declared.key_params["file"],
            json!([{"$input": "/data/train_32x32.mat"}, {"$input": "/data/test_32x32.mat"}])
        );
        let declared = declare(params, Some("https://mirror/data")).unwrap();
        assert_eq!(declared.key_params["mirror"], "https://mirror/data");
        assert_eq!(declared.key_params.get("file"), None);
    }

    #[test]
    fn what_the_table_does_not_know_is_refused_by_name() {
        let error = |params| declare(params, None).unwrap_err();
        let known = |params| error(params).unknown.unwrap();
        assert_eq!(known(json!({"dataset": "cifar11"})), "cifar11");
        assert_eq!(
            known(json!({"dataset": "cifar10", "layout": "pyton"})),
            "pyton"
        );
        assert_eq!(
            known(json!({"dataset": "cifar10", "parts": ["extra"]})),
            "extra"
        );
        let message = |params| error(params).message;
        assert_eq!(
            message(json!({"dataset": "svhn_noextra", "file": "a.mat"})),
            "found 1 where `svhn_noextra` needs 2: train_32x32.mat, test_32x32.mat"
        );
        assert!(
            message(json!({"dataset": "shapes", "file": "a"})).contains("`shapes` is generated")
        );
        let sum = format!("md5:{}", "0".repeat(32));
        assert!(message(json!({"dataset": "mnist", "checksum": sum})).contains("has 4 archives"));
    }
}
