//! How parameters name classes: by number, or by name where the dataset's names are given.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::Invalid;

/// A class: its number, or its name where `names` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Class {
    /// As it stands in the records, counted from 0.
    Number(i64),
    /// As the file of `names` has it.
    Name(String),
}

/// The names of a dataset's classes, as its output `classes` has them: `{"0": "airplane", …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub BTreeMap<i64, String>);

impl Names {
    /// Reads such a file.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let names = serde_json::from_slice(text);
        let names = names.map_err(|e| format!("it is no map of labels to names: {e}"))?;
        Ok(Self(names))
    }

    /// Those, if no two classes have one name, so that classes can be found by it.
    ///
    /// # Errors
    /// Which classes have one name, as the end of a sentence.
    pub fn distinct(self) -> Result<Self, String> {
        let mut seen = BTreeMap::new();
        for (number, name) in &self.0 {
            if let Some(other) = seen.insert(name, number) {
                return Err(format!("classes {other} and {number} are both `{name}`"));
            }
        }
        Ok(self)
    }

    /// The name of a class.
    pub fn get(&self, label: i64) -> Option<&str> {
        self.0.get(&label).map(String::as_str)
    }

    /// The name of a class, or its label, with nothing in it that could steer a terminal.
    pub fn show(&self, label: i64) -> String {
        self.get(label).map_or_else(
            || label.to_string(),
            |name| name.chars().filter(|c| !c.is_control()).collect(),
        )
    }

    /// The number of a class; `at` is the parameter that names it.
    ///
    /// # Errors
    /// A name that is not among these, with those that are.
    pub fn number(&self, class: &Class, at: &str) -> Result<i64, Invalid> {
        let name = match class {
            Class::Number(number) => return Ok(*number),
            Class::Name(name) => name,
        };
        // References in a text arrive as text.
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        if let Some((number, _)) = self.0.iter().find(|(_, known)| *known == name) {
            return Ok(*number);
        }
        let message = if self.0.is_empty() {
            format!(
                "`{name}` is no class number; to name classes, give `names: ${{dataset.classes}}`"
            )
        } else {
            let known: Vec<&str> = self.0.values().take(50).map(String::as_str).collect();
            format!("there is no class `{name}`; there are {}", known.join(", "))
        };
        Err(Invalid::at(at, message))
    }

    /// The numbers of classes.
    ///
    /// # Errors
    /// As [`number`](Self::number), and a class that is given twice.
    pub fn numbers(&self, classes: &[Class], at: &str) -> Result<Vec<i64>, Invalid> {
        let mut numbers = Vec::new();
        for class in classes {
            let number = self.number(class, at)?;
            if numbers.contains(&number) {
                return Err(Invalid::at(at, format!("class {number} is given twice")));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// A map from class to class.
    ///
    /// # Errors
    /// As [`number`](Self::number); a class that is given twice, and a negative target.
    pub fn map(
        &self,
        map: &BTreeMap<String, Class>,
        at: &str,
    ) -> Result<BTreeMap<i64, i64>, Invalid> {
        let mut numbers = BTreeMap::new();
        for (from, to) in map {
            let from = self.number(&Class::Name(from.clone()), at)?;
            let to = self.number(to, at)?;
            if to < 0 {
                let message = format!("class {from} becomes {to}; classes count from 0");
                return Err(Invalid::at(at, message));
            }
            if numbers.insert(from, to).is_some() {
                return Err(Invalid::at(at, format!("class {from} is given twice")));
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::parse(br#"{"0": "airplane", "1": "automobile"}"#).unwrap()
    }

    #[test]
    fn classes_go_by_number_or_name() {
        let classes = [Class::Name("automobile".into()), Class::Number(0)];
        assert_eq!(names().numbers(&classes, "classes").unwrap(), [1, 0]);
        let map = BTreeMap::from([
            ("airplane".into(), Class::Number(3)),
            ("7".into(), Class::Number(3)),
        ]);
        let expected = BTreeMap::from([(0, 3), (7, 3)]);
        assert_eq!(names().map(&map, "map").unwrap(), expected);
    }

    #[test]
    fn what_is_no_class_is_refused_in_words() {
        let refused = |classes: &[Class], names: &Names| {
            names.numbers(classes, "classes").unwrap_err().message
        };
        let cat = [Class::Name("cat".into())];
        assert_eq!(
            refused(&cat, &names()),
            "there is no class `cat`; there are airplane, automobile"
        );
        assert!(refused(&cat, &Names::default()).contains("give `names"));
        let twice = [Class::Number(1), Class::Name("automobile".into())];
        assert_eq!(refused(&twice, &names()), "class 1 is given twice");
        assert!(
            Names::parse(br#"{"0": "a", "1": "a"}"#)
                .and_then(Names::distinct)
                .unwrap_err()
                .contains("classes 0 and 1 are both `a`")
        );
        assert!(Names::parse(b"[1]").is_err());
        let map = BTreeMap::from([("0".into(), Class::Number(-1))]);
        assert!(
            names()
                .map(&map, "map")
                .unwrap_err()
                .message
                .contains("count from 0")
        );
    }
}
