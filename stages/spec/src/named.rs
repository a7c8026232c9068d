//! Splits by the names that users of the originals know: `cifar10.3@40-1` is dataset cifar10, split
//! seed 3, 40 labeled images, 1 validation image (spec/fixmatch.md 3.1).
//!
//! A named split stands for its whole preparation. `${cifar10.3@40-1.labeled}` works like a reference
//! to a stage; [`Named::stages`] are the stages behind it, shared between all splits that need them.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::kind::Invalid;

/// A split's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The dataset.
    pub dataset: &'static str,
    /// Seed of the split.
    pub seed: u32,
    /// Labeled images.
    pub size: u64,
    /// Validation images: the head of the unlabeled file.
    pub valid: u64,
}

/// What exists in the originals' tables: dataset, sizes, validation sizes.
const KNOWN: &[(&str, &[u64], &[u64])] = &[(
    "cifar10",
    &[10, 20, 30, 40, 50, 100, 250, 1000, 4000],
    &[1, 5000],
)];

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
            dataset,
            seed,
            size,
            valid,
        } = self;
        write!(f, "{dataset}.{seed}@{size}-{valid}")
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
        let (dataset, rest) = text.split_once('.').ok_or_else(form)?;
        let (seed, rest) = rest.split_once('@').ok_or_else(form)?;
        let (size, valid) = rest.split_once('-').ok_or_else(form)?;
        let (seed, size, valid): (u32, u64, u64) = match (seed.parse(), size.parse(), valid.parse())
        {
            (Ok(seed), Ok(size), Ok(valid)) => (seed, size, valid),
            _ => return Err(form()),
        };
        let Some((dataset, sizes, valids)) = KNOWN.iter().find(|k| k.0 == dataset) else {
            let names: Vec<&str> = KNOWN.iter().map(|k| k.0).collect();
            return Err(Invalid::at(
                "",
                format!(
                    "no named splits of dataset `{dataset}`; there are some of {}",
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
        if !sizes.contains(&size) {
            return Err(choice("size", size, sizes));
        }
        if !valids.contains(&valid) {
            return Err(choice("validation size", valid, valids));
        }
        Ok(Self {
            dataset,
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
        let Self {
            dataset,
            seed,
            size,
            ..
        } = self;
        [
            (*dataset).to_owned(),
            format!("{dataset}-unlabel"),
            format!("{dataset}.{seed}@{size}-label"),
        ]
    }

    /// The stages that make this split, each before those that refer to it.
    pub fn stages(&self) -> Vec<NamedStage> {
        let [dataset, unlabel, label] = self.names();
        let train = format!("${{{dataset}.train}}");
        vec![
            NamedStage {
                name: dataset,
                kind: "download",
                params: json!({"dataset": self.dataset}),
            },
            NamedStage {
                name: unlabel,
                kind: "create_unlabeled",
                params: json!({"train": train}),
            },
            NamedStage {
                name: label,
                kind: "create_split",
                params: json!({"train": train, "seed": self.seed, "size": self.size}),
            },
        ]
    }
}
