//! Parameters of `filter_classes`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class::{Class, Names};
use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Stage};

/// Keeps the records of some classes, in their order and as they are (RealMix `filter_dataset`,
/// spec/realmix.md 4.1): give either `classes` or `mismatch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterClasses {
    /// The records to choose from: TFRecord files, or virtual copies, in this order.
    pub records: Inputs,
    /// The classes to keep.
    #[serde(default)]
    pub classes: Option<Vec<Class>>,
    /// The classes to keep, by how many of them come from outside.
    #[serde(default)]
    pub mismatch: Option<Mismatch>,
    /// Names of the classes, `${dataset.classes}`; needed where classes are given by name.
    #[serde(default)]
    pub names: Option<Input>,
    /// New labels for the kept records. `false`, as in the original, keeps the labels: then `train`
    /// needs all classes below the largest. `true` numbers the kept classes from 0 in the order in
    /// which they are listed; a map says the new number of every kept class.
    #[serde(default)]
    pub relabel: Relabel,
}

/// Unlabeled classes at a level of mismatch: the first level/100 of those inside give way to as many
/// of those outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mismatch {
    /// The classes at level 0: some of those that are labeled. RealMix has 4, 5, 6, 7.
    pub inside: Vec<Class>,
    /// The classes that come in their place, in this order: some that are not labeled. RealMix has
    /// 0, 1, 8, 9.
    pub outside: Vec<Class>,
    /// How many percent of the classes come from outside; it must be a whole number of classes.
    pub level: u32,
}

/// What becomes of the labels of kept records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Relabel {
    /// Keep them, or number the kept classes from 0.
    All(bool),
    /// The new number of every kept class.
    Map(BTreeMap<String, Class>),
}

impl Default for Relabel {
    fn default() -> Self {
        Self::All(false)
    }
}

impl Mismatch {
    /// How many classes come from outside.
    fn replaced(&self) -> Result<usize, Invalid> {
        let n = self.inside.len();
        let at =
            |name: &str, message: String| Err(Invalid::at(format!("mismatch.{name}"), message));
        if n == 0 {
            return at("inside", "expected at least one class".into());
        }
        let whole = |level: usize| level <= 100 && (level * n).is_multiple_of(100);
        let level = self.level as usize;
        if !whole(level) {
            let levels: Vec<String> = (0..=100)
                .filter(|level| whole(*level))
                .map(|level| level.to_string())
                .collect();
            return at(
                "level",
                format!(
                    "{level} % of {n} classes is no whole number of classes; levels are {} (or list `classes` yourself)",
                    levels.join(", ")
                ),
            );
        }
        let replaced = level * n / 100;
        if replaced > self.outside.len() {
            let message = format!(
                "level {level} takes {replaced} classes from outside, and there are {}",
                self.outside.len()
            );
            return at("outside", message);
        }
        Ok(replaced)
    }

    fn classes(&self) -> Result<Vec<Class>, Invalid> {
        let replaced = self.replaced()?;
        let outside = self.outside[..replaced].iter();
        Ok(outside.chain(&self.inside[replaced..]).cloned().collect())
    }
}

impl FilterClasses {
    /// The classes to keep, in the order in which they are listed.
    ///
    /// # Errors
    /// Classes that make no sense; see [`Names::numbers`].
    pub fn kept(&self, names: &Names) -> Result<Vec<i64>, Invalid> {
        match (&self.classes, &self.mismatch) {
            (Some(classes), None) => names.numbers(classes, "classes"),
            (None, Some(mismatch)) => {
                // A class on both sides would make another level than the one that is named.
                let all = [&mismatch.inside[..], &mismatch.outside[..]].concat();
                names.numbers(&all, "mismatch")?;
                names.numbers(&mismatch.classes()?, "mismatch")
            }
            (Some(_), Some(_)) => Err(Invalid::at(
                "mismatch",
                "`classes` already says which classes to keep; leave one of them out",
            )),
            (None, None) => Err(Invalid::at(
                "",
                "missing `classes`; give `classes: [2, 3]`, or `mismatch: {inside: […], outside: […], level: 50}`",
            )),
        }
    }

    /// Kept class to new label.
    ///
    /// # Errors
    /// A map that lacks a kept class or names another one.
    pub fn labels(&self, kept: &[i64], names: &Names) -> Result<BTreeMap<i64, i64>, Invalid> {
        let map = match &self.relabel {
            Relabel::All(false) => return Ok(kept.iter().map(|k| (*k, *k)).collect()),
            Relabel::All(true) => return Ok(kept.iter().copied().zip(0..).collect()),
            Relabel::Map(map) => names.map(map, "relabel")?,
        };
        if let Some(class) = kept.iter().find(|class| !map.contains_key(class)) {
            let message = format!("class {class} is kept, and has no new label here");
            return Err(Invalid::at("relabel", message));
        }
        if let Some(class) = map.keys().find(|class| !kept.contains(class)) {
            let message = format!("class {class} has a new label here, and is not kept");
            return Err(Invalid::at("relabel", message));
        }
        Ok(map)
    }
}

impl Stage for FilterClasses {
    const NAME: &'static str = "filter_classes";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        vec![
            Output::new("records", "records.tfrecord"),
            Output::new("indexes", "indexes.json"),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.classes.as_ref().is_some_and(Vec::is_empty) {
            return Err(Invalid::at("classes", "expected at least one class"));
        }
        if let Some(mismatch) = &self.mismatch {
            mismatch.replaced()?;
        }
        // With names the numbers are known only when the job runs.
        if self.names.is_none() || self.classes.is_some() == self.mismatch.is_some() {
            let names = Names::default();
            self.labels(&self.kept(&names)?, &names)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn stage(mut params: Value) -> Result<FilterClasses, Invalid> {
        params["records"] = "x.tfrecord".into();
        let stage: FilterClasses = crate::kind::typed(params)?;
        stage.check()?;
        Ok(stage)
    }

    fn realmix(level: u32) -> Value {
        json!({"mismatch": {"inside": [4, 5, 6, 7], "outside": [0, 1, 8, 9], "level": level}})
    }

    #[test]
    fn levels_are_realmixs() {
        // spec/realmix.md 4.1.
        for (level, classes) in [
            (0, [4, 5, 6, 7]),
            (25, [0, 5, 6, 7]),
            (50, [0, 1, 6, 7]),
            (75, [0, 1, 8, 7]),
            (100, [0, 1, 8, 9]),
        ] {
            let kept = stage(realmix(level)).unwrap().kept(&Names::default());
            assert_eq!(kept.unwrap(), classes, "level {level}");
        }
    }

    #[test]
    fn a_level_that_is_no_whole_number_of_classes_is_refused_with_those_that_are() {
        let error = stage(realmix(30)).unwrap_err();
        assert_eq!(error.path, "mismatch.level");
        assert!(
            error.message.contains("levels are 0, 25, 50, 75, 100 "),
            "{error}"
        );
        assert!(stage(realmix(125)).is_err());
        let three = json!({"mismatch": {"inside": [1, 2, 3], "outside": [4], "level": 50}});
        assert!(
            stage(three)
                .unwrap_err()
                .message
                .contains("levels are 0, 100 ")
        );
        let few = json!({"mismatch": {"inside": [1, 2], "outside": [], "level": 50}});
        assert_eq!(stage(few).unwrap_err().path, "mismatch.outside");
        let none = json!({"mismatch": {"inside": [], "outside": [], "level": 0}});
        assert_eq!(stage(none).unwrap_err().path, "mismatch.inside");
    }

    #[test]
    fn any_list_works_and_new_labels_follow_it() {
        let labels = |params: Value| {
            let stage = stage(params)?;
            let names = Names::default();
            stage.labels(&stage.kept(&names)?, &names)
        };
        let map = |pairs: &[(i64, i64)]| pairs.iter().copied().collect::<BTreeMap<_, _>>();
        let kept = json!({"classes": [9, 2]});
        assert_eq!(labels(kept).unwrap(), map(&[(2, 2), (9, 9)]));
        let numbered = json!({"classes": [9, 2], "relabel": true});
        assert_eq!(labels(numbered).unwrap(), map(&[(9, 0), (2, 1)]));
        let mapped = json!({"classes": [9, 2], "relabel": {"2": 5, "9": 5}});
        assert_eq!(labels(mapped).unwrap(), map(&[(9, 5), (2, 5)]));
        for (relabel, word) in [
            (json!({"2": 5}), "class 9 is kept"),
            (json!({"2": 5, "9": 0, "3": 1}), "class 3 has a new label"),
            (json!({"2": 5, "9": -1}), "count from 0"),
        ] {
            let error = labels(json!({"classes": [9, 2], "relabel": relabel})).unwrap_err();
            assert!(error.message.contains(word), "{error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(
            stage(json!({}))
                .unwrap_err()
                .message
                .contains("missing `classes`")
        );
        assert!(stage(json!({"classes": []})).is_err());
        assert!(
            stage(json!({"classes": [1, 1]}))
                .unwrap_err()
                .message
                .contains("twice")
        );
        let mut both = realmix(0);
        both["classes"] = json!([1]);
        assert!(
            stage(both)
                .unwrap_err()
                .message
                .contains("leave one of them out")
        );
        let overlap = json!({"mismatch": {"inside": [1, 2], "outside": [2, 3], "level": 50}});
        assert!(stage(overlap).unwrap_err().message.contains("twice"));
    }
}
