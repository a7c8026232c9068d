//! Names of classes: `classes.json`, `{"0": "airplane", …}`, as `download` and `import` write it.

use std::collections::BTreeMap;
use std::path::Path;

pub use rematch_spec::class::Names;
use rematch_spec::input::Input;

use crate::error::StageError;
use crate::fs;

/// Longest file that is read: some 100,000 names.
const LONGEST: u64 = 1 << 23;

/// Reads a file of names, to show them.
///
/// # Errors
/// What is no map of labels to names.
pub fn read(path: &Path) -> Result<Names, StageError> {
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
    Ok(Names(names))
}

/// Those of the file, or none.
pub fn read_optional(path: Option<&Path>) -> Result<Names, StageError> {
    path.map_or_else(|| Ok(Names::default()), read)
}

/// Those of the file that a parameter names, to find classes by them, or none.
///
/// # Errors
/// What is no map of labels to names, and two classes of one name.
pub fn read_distinct(file: Option<&Input>) -> Result<Names, StageError> {
    let Some(path) = file.map(Input::path) else {
        return Ok(Names::default());
    };
    let refuse = |what: &str| {
        StageError::failed(format!("{} {what}", path.display()))
            .help("give a dataset's output `classes`, such as {\"0\": \"cat\", \"1\": \"dog\"}")
    };
    if fs::len(path)? > LONGEST {
        return Err(refuse("is too long for a file of class names"));
    }
    Names::parse(&fs::read(path)?).map_err(|what| refuse(&what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_label_and_wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("classes.json");
        fs::write(&path, r#"{"0": "airplane", "10": "a\u001bb"}"#).unwrap();
        let names = read(&path).unwrap();
        assert_eq!(names.get(0), Some("airplane"));
        assert_eq!((names.show(10), names.show(3)), ("ab".into(), "3".into()));
        for (text, what) in [
            (r#"{"airplane": 0}"#, "invalid type"),
            (r#"{"one": "airplane"}"#, "`one` is no label"),
            (r#"{"0""#, "EOF"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(
                error.contains("classes.json: ") && error.contains(what),
                "{error}"
            );
        }
    }
}
