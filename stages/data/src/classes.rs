//! Names of classes: `classes.json`, `{"0": "airplane", …}`, as `download` and `import` write it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::StageError;
use crate::fs;

/// Longest file that is read: some 100,000 names.
const LONGEST: u64 = 1 << 23;

/// Names of classes by label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<i64, String>);

impl Names {
    /// Reads a file of names.
    ///
    /// # Errors
    /// What is no map of labels to names.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        let wrong = |what: &str| {
            StageError::failed(format!("{}: {what}", path.display()))
                .help(r#"names of classes are JSON such as {"0": "airplane", "1": "automobile"}"#)
        };
        if fs::len(path)? > LONGEST {
            return Err(wrong("it is too long for a file of names"));
        }
        let map: BTreeMap<String, String> =
            serde_json::from_slice(&fs::read(path)?).map_err(|e| wrong(&e.to_string()))?;
        let mut names = BTreeMap::new();
        for (label, name) in map {
            let label: i64 = label
                .parse()
                .map_err(|_| wrong(&format!("`{label}` is no label")))?;
            names.insert(label, name);
        }
        Ok(Self(names))
    }

    /// Those of the file, or none.
    pub fn read_optional(path: Option<&Path>) -> Result<Self, StageError> {
        path.map_or_else(|| Ok(Self::default()), Self::read)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_label_and_wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("classes.json");
        fs::write(&path, r#"{"0": "airplane", "10": "a\u001bb"}"#).unwrap();
        let names = Names::read(&path).unwrap();
        assert_eq!(names.get(0), Some("airplane"));
        assert_eq!((names.show(10), names.show(3)), ("ab".into(), "3".into()));
        for (text, what) in [
            (r#"{"airplane": 0}"#, "invalid type"),
            (r#"{"one": "airplane"}"#, "`one` is no label"),
            (r#"{"0""#, "EOF"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Names::read(&path).unwrap_err().to_string();
            assert!(
                error.contains("classes.json: ") && error.contains(what),
                "{error}"
            );
        }
    }
}
