//! Names of classes: `classes.json`, `{"0": "airplane", …}`, as `download` and `import` write it.

use std::path::Path;

pub use rematch_spec::class::Names;

use crate::error::StageError;
use crate::fs;

/// Longest file that is read: some 100,000 names.
const LONGEST: u64 = 1 << 23;

/// The names in the file that a parameter gives, or none.
///
/// # Errors
/// What is no map of labels to names.
pub fn read(path: Option<&Path>) -> Result<Names, StageError> {
    path.map_or_else(|| Ok(Names::default()), |path| parse(path, Names::parse))
}

/// The same, to find classes by their names.
///
/// # Errors
/// As [`read`], and two classes of one name.
pub fn read_distinct(path: Option<&Path>) -> Result<Names, StageError> {
    let distinct = |text: &[u8]| Names::parse(text)?.distinct();
    path.map_or_else(|| Ok(Names::default()), |path| parse(path, distinct))
}

fn parse(path: &Path, names: impl Fn(&[u8]) -> Result<Names, String>) -> Result<Names, StageError> {
    let wrong = |what: &str| {
        StageError::failed(format!("{}: {what}", path.display())).help(
            r#"give a dataset's output `classes`, such as {"0": "airplane", "1": "automobile"}"#,
        )
    };
    if fs::len(path)? > LONGEST {
        return Err(wrong("it is too long for a file of names"));
    }
    names(&fs::read(path)?).map_err(|what| wrong(&what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_label_and_wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("classes.json");
        fs::write(&path, r#"{"0": "airplane", "10": "a\u001bb"}"#).unwrap();
        let names = read(Some(&path)).unwrap();
        assert_eq!(names.get(0), Some("airplane"));
        assert_eq!((names.show(10), names.show(3)), ("ab".into(), "3".into()));
        for (text, what) in [
            (r#"{"0": 0}"#, "invalid type"),
            (r#"{"one": "airplane"}"#, "no map of labels to names"),
            (r#"{"0""#, "EOF"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(Some(&path)).unwrap_err().to_string();
            assert!(
                error.contains("classes.json: ") && error.contains(what),
                "{error}"
            );
        }
    }
}
