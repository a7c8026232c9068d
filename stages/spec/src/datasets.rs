//! The datasets that rematch knows: `datasets.yaml`, typed. What each holds, where its archives lie,
//! which reader reads them, and which of its splits users know by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::OnceLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::kind::Invalid;

/// A dataset.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Its name in pipelines.
    pub name: String,
    /// What it is, in a line.
    pub title: String,
    /// Where it is described; absent for a generated one.
    pub page: Option<String>,
    /// Names of its classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Its record files.
    pub parts: Vec<Part>,
    /// Its other files.
    #[serde(default)]
    pub extras: Vec<Extra>,
    /// Its weak augmentation in the originals, as a token of `augment` (spec/fixmatch.md 3.1).
    pub weak: Weak,
    /// What its reader is told, whatever the source.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// Where its archives come from, the default first; none for a generated dataset.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// The splits that users know by name.
    #[serde(default)]
    pub splits: Vec<Splits>,
}

/// A record file of a dataset.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name, which is that of its output.
    pub name: String,
    /// How many records the official archives have of it.
    pub records: u64,
}

/// Another file of a dataset.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// Name of the output.
    pub output: String,
    /// File name.
    pub file: String,
}

/// A weak augmentation, called as in `augment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weak {
    /// Mirror and shift.
    Ms,
    /// Shift alone.
    S,
}

/// Archives of one layout.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name in the parameter `layout`.
    pub layout: String,
    /// The folder of the archives on the network.
    pub address: String,
    /// The archives.
    pub archives: Vec<Archive>,
    /// Which reader of `rematch-data` reads them.
    pub reader: String,
    /// What the reader is told beside the dataset's own options.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// Most megabytes (1,000,000 bytes) that an archive may unpack to.
    pub unpacked_mb: u64,
    /// Which members of the archives hold a part, in the order of its records. Where archives are
    /// single files, these are archives.
    pub files: BTreeMap<String, Vec<String>>,
}

/// An archive.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Its official file name.
    pub name: String,
    /// Its checksum, `md5:…` or `sha256:…`, where one is published.
    #[serde(default)]
    pub checksum: Option<String>,
}

/// Splits of a dataset that users know by name.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splits {
    /// The name before the dot, where it is not the dataset's own.
    #[serde(default)]
    pub name: Option<String>,
    /// Numbers of labeled images that exist.
    pub sizes: Vec<u64>,
    /// Numbers of validation images that exist.
    pub valid: Vec<u64>,
    /// The parts that labeled images are picked from.
    #[serde(default = "train")]
    pub labeled: Vec<String>,
    /// The parts that the unlabeled images are.
    #[serde(default = "train")]
    pub unlabeled: Vec<String>,
    /// Whether all classes count as equally frequent.
    #[serde(default)]
    pub uniform: bool,
    /// The number of labeled images at which the dataset's own folds are the splits.
    #[serde(default)]
    pub folds_at: Option<u64>,
    /// How `create_split` picks, where it is not as FixMatch does.
    #[serde(default)]
    pub protocol: Option<Value>,
}

fn train() -> Vec<String> {
    vec!["train".into()]
}

/// All datasets, in the order of the table.
///
/// # Panics
/// Where the table that this program was built with is no such table; a test reads it.
pub fn all() -> &'static [Dataset] {
    static ALL: OnceLock<Vec<Dataset>> = OnceLock::new();
    ALL.get_or_init(|| {
        serde_yaml::from_str(include_str!("datasets.yaml")).expect("datasets.yaml is well formed")
    })
}

impl Dataset {
    /// The source of that layout, or the first.
    pub fn source(&self, layout: Option<&str>) -> Option<&Source> {
        match layout {
            Some(layout) => self.sources.iter().find(|s| s.layout == layout),
            None => self.sources.first(),
        }
    }

    /// The part of that name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}

impl Source {
    /// The archives that hold something of a part that `wanted` says yes to, or of an extra file.
    pub fn archives(&self, wanted: impl Fn(&str) -> bool) -> Vec<&Archive> {
        let holds = |archive: &Archive| {
            let mut parts = self
                .files
                .iter()
                .filter(|(_, files)| files.contains(&archive.name))
                .peekable();
            // What no part names is a container of members of all of them.
            parts.peek().is_none() || parts.any(|(part, _)| wanted(part))
        };
        self.archives.iter().filter(|a| holds(a)).collect()
    }
}

/// The name of a dataset in the table, as a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Name(&'static Dataset);

impl Name {
    /// The dataset of that name.
    pub fn find(name: &str) -> Option<Self> {
        all().iter().find(|d| d.name == name).map(Self)
    }

    /// The dataset, for as long as the program runs.
    pub fn dataset(self) -> &'static Dataset {
        self.0
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Deref for Name {
    type Target = Dataset;

    fn deref(&self) -> &Dataset {
        self.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = || all().iter().map(|d| d.name.as_str());
        Self::find(&name).ok_or_else(|| serde::de::Error::custom(no_choice(&name, known())))
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Dataset".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let choice = |dataset: &Dataset| {
            let page = dataset.page.as_ref();
            let page = page.map_or(String::new(), |page| format!(" ({page})"));
            let description = format!("{}{page}", dataset.title);
            json!({"const": dataset.name, "type": "string", "description": description})
        };
        let choices: Vec<Value> = all().iter().map(choice).collect();
        json_schema!({"description": "Datasets that rematch can make available.", "oneOf": choices})
    }
}

/// In serde's words, which the runner turns into a suggestion.
fn no_choice<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<String> = known.map(|k| format!("`{k}`")).collect();
    format!(
        "unknown variant `{name}`, expected one of {}",
        known.join(", ")
    )
}

/// A parameter that names none of `known`.
pub(crate) fn unknown<'a>(path: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Invalid {
    Invalid {
        unknown: Some(name.to_owned()),
        ..Invalid::at(path, no_choice(name, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let mut names = Vec::new();
        for dataset in all() {
            names.push(dataset.name.as_str());
            let parts: Vec<&str> = dataset.parts.iter().map(|p| p.name.as_str()).collect();
            let extras: Vec<&str> = dataset.extras.iter().map(|e| e.output.as_str()).collect();
            assert!(
                parts.contains(&"train") && parts.contains(&"test"),
                "{}",
                dataset.name
            );
            for source in &dataset.sources {
                for file in parts.iter().chain(&extras) {
                    assert!(
                        source.files.get(*file).is_some_and(|f| !f.is_empty()),
                        "{} {}: no files of {file}",
                        dataset.name,
                        source.layout
                    );
                }
                for archive in &source.archives {
                    let digits = match archive.checksum.as_deref().map(|c| c.split_once(':')) {
                        Some(Some(("md5", digits))) => (digits, 32),
                        Some(Some(("sha256", digits))) => (digits, 64),
                        None => continue,
                        other => panic!("{}: {other:?}", archive.name),
                    };
                    assert_eq!(digits.0.len(), digits.1, "{}", archive.name);
                    assert!(digits.0.bytes().all(|b| b.is_ascii_hexdigit()));
                }
            }
            for splits in &dataset.splits {
                names.extend(splits.name.as_deref());
                for part in splits.labeled.iter().chain(&splits.unlabeled) {
                    assert!(parts.contains(&part.as_str()), "{}: {part}", dataset.name);
                }
                assert!(splits.folds_at.is_none() || extras.contains(&"folds"));
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands there twice");
    }

    #[test]
    fn class_counts_are_those_of_the_papers() {
        let count = |name| Name::find(name).unwrap().classes.len();
        assert_eq!(count("cifar10"), 10);
        assert_eq!(count("cifar100"), 100);
        assert_eq!(count("cifar100_coarse"), 20);
        assert!(all().iter().all(|d| {
            let mut classes = d.classes.clone();
            classes.sort_unstable();
            classes.dedup();
            classes.len() == d.classes.len()
        }));
    }

    #[test]
    fn archives_are_those_of_the_parts_asked_for() {
        let source = Name::find("svhn").unwrap().dataset().source(None).unwrap();
        let names = |wanted: &[&str]| -> Vec<&str> {
            let archives = source.archives(|part| wanted.contains(&part));
            archives.iter().map(|a| a.name.as_str()).collect()
        };
        assert_eq!(
            names(&["train", "extra"]),
            ["train_32x32.mat", "extra_32x32.mat"]
        );
        assert_eq!(names(&["test"]), ["test_32x32.mat"]);
        let source = Name::find("stl10").unwrap().dataset().source(None).unwrap();
        assert_eq!(source.archives(|part| part == "test").len(), 1);
    }
}
