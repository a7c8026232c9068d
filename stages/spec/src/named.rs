//! Splits by the names that users of the originals know: `cifar10.3@40-1` is dataset cifar10, split
//! seed 3, 40 labeled images, 1 validation image (spec/fixmatch.md 3.1).
//!
//! A named split stands for its whole preparation. `${cifar10.3@40-1.labeled}` works like a reference
//! to a stage; [`Named::stages`] are the stages behind it, shared between all splits that need them.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::datasets::{self, Dataset, Splits};
use crate::kind::Invalid;

/// A split's name, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The name before the dot: that of a dataset, or of another way to split it.
    pub name: &'static str,
    /// The dataset.
    dataset: &'static Dataset,
    /// How it is split, and what exists.
    splits: &'static Splits,
    /// Seed of the split.
    pub seed: u32,
    /// Labeled images, as the name says; a long-tailed protocol makes others of it.
    pub size: u64,
    /// Validation images: the head of the unlabeled file.
    pub valid: u64,
}

/// What exists: name, dataset, splits.
fn known() -> impl Iterator<Item = (&'static str, &'static Dataset, &'static Splits)> {
    datasets::all().iter().flat_map(|dataset| {
        dataset.splits.iter().map(move |splits| {
            let name = splits.name.as_ref().unwrap_or(&dataset.name);
            (name.as_str(), dataset, splits)
        })
    })
}

/// Highest split seed in the originals' tables.
const SEEDS: u32 = 5;

/// A stage of a named split's preparation.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedStage {
    /// Name of the stage, as it appears in plans and results.
    pub name: String,
    /// Its stage kind.
    pub kind: &'static str,
    /// Its parameters, with references to the other stages of the preparation.
    pub params: Value,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            seed,
            size,
            valid,
            ..
        } = self;
        write!(f, "{name}.{seed}@{size}-{valid}")
    }
}

impl Named {
    /// The dataset's name.
    pub fn dataset_name(&self) -> &'static str {
        &self.dataset.name
    }
}

impl FromStr for Named {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let form = || {
            Invalid::at(
                "",
                format!(
                    "`{text}` is no split name; expected dataset.seed@size-valid, such as cifar10.3@40-1"
                ),
            )
        };
        let (name, rest) = text.split_once('.').ok_or_else(form)?;
        let (seed, rest) = rest.split_once('@').ok_or_else(form)?;
        let (size, valid) = rest.split_once('-').ok_or_else(form)?;
        let (seed, size, valid): (u32, u64, u64) = match (seed.parse(), size.parse(), valid.parse())
        {
            (Ok(seed), Ok(size), Ok(valid)) => (seed, size, valid),
            _ => return Err(form()),
        };
        let Some((name, dataset, splits)) = known().find(|k| k.0 == name) else {
            let names: Vec<&str> = known().map(|k| k.0).collect();
            return Err(Invalid::at(
                "",
                format!(
                    "no named splits of dataset `{name}`; there are some of {}",
                    names.join(", ")
                ),
            ));
        };
        let choice = |what: &str, value: u64, list: &[u64]| {
            let list: Vec<String> = list.iter().map(u64::to_string).collect();
            Invalid::at(
                "",
                format!("`{text}`: {what} {value} is none of {}", list.join(", ")),
            )
        };
        if seed > SEEDS {
            return Err(choice(
                "seed",
                u64::from(seed),
                &(0..=u64::from(SEEDS)).collect::<Vec<_>>(),
            ));
        }
        if !splits.sizes.contains(&size) {
            return Err(choice("size", size, &splits.sizes));
        }
        if !splits.valid.contains(&valid) {
            return Err(choice("validation size", valid, &splits.valid));
        }
        Ok(Self {
            name,
            dataset,
            splits,
            seed,
            size,
            valid,
        })
    }
}

/// Whether a reference's head looks like a split name rather than a stage.
pub fn looks_named(head: &str) -> bool {
    head.contains('@')
}

impl Named {
    /// Where an output of this split comes from: the stage (one of [`stages`](Self::stages)) and its
    /// output.
    pub fn output(&self, output: &str) -> Result<(String, &'static str), Invalid> {
        let [dataset, unlabel, label] = self.names();
        match output {
            "labeled" => Ok((label, "labeled")),
            "unlabeled" => Ok((unlabel, "unlabeled")),
            "train" => Ok((dataset, "train")),
            "test" => Ok((dataset, "test")),
            _ => Err(Invalid::at(
                "",
                format!(
                    "a named split has no `{output}`; it has labeled, unlabeled, train and test"
                ),
            )),
        }
    }

    fn names(&self) -> [String; 3] {
        let dataset = &self.dataset.name;
        // Splits of a dataset share its unlabeled file where it is of the same parts.
        let own = self.dataset.splits.first().map(|own| &own.unlabeled);
        let unlabel = if own == Some(&self.splits.unlabeled) {
            dataset
        } else {
            self.name
        };
        [
            dataset.clone(),
            format!("{unlabel}-unlabel"),
            format!("{}.{}@{}-label", self.name, self.seed, self.size),
        ]
    }

    /// The stages that make this split, each before those that refer to it.
    pub fn stages(&self) -> Vec<NamedStage> {
        let Splits {
            labeled,
            unlabeled,
            uniform,
            folds_at,
            protocol,
            ..
        } = self.splits;
        let [dataset, unlabel, label] = self.names();
        let output = |name: &str| Value::from(format!("${{{dataset}.{name}}}"));
        let files = |parts: &[String]| match parts {
            [one] => output(one),
            parts => parts.iter().map(|part| output(part)).collect(),
        };
        let mut unlabel_params = Map::from_iter([("train".into(), files(unlabeled))]);
        let mut label_params = Map::from_iter([
            ("train".into(), files(labeled)),
            ("seed".into(), self.seed.into()),
            ("size".into(), self.size.into()),
        ]);
        if *uniform {
            unlabel_params.insert("uniform".into(), true.into());
            label_params.insert("uniform".into(), true.into());
        }
        if *folds_at == Some(self.size) {
            label_params.insert("folds".into(), output("folds"));
        }
        if let Some(protocol) = protocol {
            label_params.insert("protocol".into(), protocol.clone());
        }
        let download = json!({"dataset": self.dataset.name});
        vec![
            NamedStage {
                name: dataset.clone(),
                kind: "download",
                params: download,
            },
            NamedStage {
                name: unlabel,
                kind: "create_unlabeled",
                params: unlabel_params.into(),
            },
            NamedStage {
                name: label,
                kind: "create_split",
                params: label_params.into(),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str) -> Named {
        name.parse().unwrap()
    }

    fn params(name: &str) -> [(String, Value); 3] {
        let stages = split(name).stages();
        [0, 1, 2].map(|n| (stages[n].name.clone(), stages[n].params.clone()))
    }

    #[test]
    fn splits_of_cifar10_are_made_of_its_training_images() {
        let [dataset, unlabel, label] = params("cifar10.3@40-1");
        assert_eq!(dataset, ("cifar10".into(), json!({"dataset": "cifar10"})));
        assert_eq!(
            unlabel,
            (
                "cifar10-unlabel".into(),
                json!({"train": "${cifar10.train}"})
            )
        );
        let expected = json!({"train": "${cifar10.train}", "seed": 3, "size": 40});
        assert_eq!(label, ("cifar10.3@40-label".into(), expected));
    }

    #[test]
    fn splits_of_svhn_are_made_of_training_and_extra_images() {
        let [_, unlabel, label] = params("svhn.1@250-5000");
        assert_eq!(
            unlabel.1,
            json!({"train": ["${svhn.train}", "${svhn.extra}"]})
        );
        assert_eq!(label.1["train"], unlabel.1["train"]);
        let [dataset, _, label] = params("svhn_noextra.1@250-1");
        assert_eq!(dataset.0, "svhn_noextra");
        assert_eq!(label.1["train"], "${svhn_noextra.train}");
    }

    #[test]
    fn folds_are_the_splits_of_stl10_at_their_size() {
        let [_, unlabel, label] = params("stl10.1@1000-500");
        let train = json!(["${stl10.train}", "${stl10.unlabeled}"]);
        assert_eq!(unlabel.1, json!({"train": train, "uniform": true}));
        assert_eq!(
            label.1,
            json!({"train": train, "seed": 1, "size": 1000, "uniform": true, "folds": "${stl10.folds}"})
        );
        let [_, _, label] = params("stl10.1@5000-1");
        assert_eq!(label.1.get("folds"), None);
    }

    #[test]
    fn long_tailed_splits_are_another_protocol_on_the_same_files() {
        let [dataset, unlabel, label] = params("cifar10_LT_50.1@50-1");
        assert_eq!(
            (dataset.0.as_str(), unlabel.0.as_str()),
            ("cifar10", "cifar10-unlabel")
        );
        assert_eq!(label.0, "cifar10_LT_50.1@50-label");
        let protocol = json!({"cadr": {"lambda": 50}});
        assert_eq!(
            label.1,
            json!({"train": "${cifar10.train}", "seed": 1, "size": 50, "protocol": protocol})
        );
        let [_, unlabel, label] = params("stl10_LT_100.1@100-1");
        assert_eq!(unlabel.0, "stl10-unlabel");
        assert_eq!(label.1["train"], "${stl10.train}");
        // The originals made all three of CIFAR-100 with lambda 50.
        let [_, _, label] = params("cifar100_LT_200.1@200-1");
        assert_eq!(label.1["protocol"], json!({"cadr": {"lambda": 50}}));
    }

    #[test]
    fn a_name_that_does_not_exist_is_refused_with_what_does() {
        let error = |name: &str| name.parse::<Named>().unwrap_err().message;
        assert!(error("mnist.1@40-1").contains("there are some of cifar10, cifar10_LT_20, "));
        assert!(error("stl10.1@1000-5000").ends_with("validation size 5000 is none of 1, 500"));
        assert!(error("cifar100.1@40-1").ends_with("size 40 is none of 400, 1000, 2500, 10000"));
        assert!(error("cifar10.6@40-1").ends_with("seed 6 is none of 0, 1, 2, 3, 4, 5"));
        assert!(error("cifar10@40-1").contains("is no split name"));
    }

    #[test]
    fn every_name_reads_as_it_is_written() {
        for (name, _, splits) in known() {
            for (size, valid) in splits.sizes.iter().zip(splits.valid.iter().cycle()) {
                let text = format!("{name}.5@{size}-{valid}");
                assert_eq!(split(&text).to_string(), text);
            }
        }
    }
}
