//! A pipeline file's text, and places in it that messages can point at.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A file as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it was read from, as the user named it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A stretch of one line of a [`Source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Length in characters, at least 1.
    pub length: usize,
}

impl Place {
    /// The start of a file.
    pub fn start(source: &Arc<Source>) -> Self {
        Self {
            source: Arc::clone(source),
            line: 1,
            column: 1,
            length: 1,
        }
    }

    /// The stretch of this place that holds `part`, where the line shows it; else all of it.
    #[must_use]
    pub fn within(&self, part: &str) -> Self {
        let line = self
            .source
            .text
            .lines()
            .nth(self.line - 1)
            .unwrap_or_default();
        let start = line
            .char_indices()
            .nth(self.column - 1)
            .map_or(line.len(), |(i, _)| i);
        match line[start..].find(part) {
            Some(offset) => Self {
                source: Arc::clone(&self.source),
                line: self.line,
                column: self.column + line[start..start + offset].chars().count(),
                length: part.chars().count().max(1),
            },
            None => self.clone(),
        }
    }
}

/// `file:line:column`, the line, and carets under the place.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let line = self
            .source
            .text
            .lines()
            .nth(self.line - 1)
            .unwrap_or_default();
        let room = line.chars().count().saturating_sub(self.column - 1).max(1);
        // Tabs keep their width only if the line of carets has them as well.
        let indent: String = line
            .chars()
            .take(self.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(
            f,
            "{}:{}:{}",
            self.source.path.display(),
            self.line,
            self.column
        )?;
        writeln!(f, "  {number} | {line}")?;
        write!(
            f,
            "  {} | {indent}{}",
            " ".repeat(number.len()),
            "^".repeat(self.length.min(room))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_shows_its_line_with_carets() {
        let source = Arc::new(Source {
            path: "p.yaml".into(),
            text: "a: 1\n  b: two\n".into(),
        });
        let place = Place {
            source,
            line: 2,
            column: 3,
            length: 1,
        };
        assert_eq!(place.to_string(), "p.yaml:2:3\n  2 |   b: two\n    |   ^");
        assert_eq!(place.within("two").column, 6);
        assert_eq!(place.within("absent"), place);
    }
}
