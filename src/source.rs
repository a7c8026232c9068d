//! A pipeline file's text, and places in it that messages can point at.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::error::{Error, Result, printable};

/// A pipeline file larger than this is something else.
const LARGEST: u64 = 16 << 20;
/// Characters of a line that a message shows.
const WIDEST: usize = 160;

/// What some editors put before a file's text.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// A file as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it was read from, as the user named it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Reads a file. Anything that has no end, or that a read might wait for, is refused.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let fail = |e: io::Error| {
            // Without the operating system's number.
            let text = e.to_string();
            let reason = text.split(" (os error").next().unwrap_or(&text);
            Error::usage(format!("cannot read `{name}`: {}", reason.to_lowercase()))
        };
        // Opening a named pipe would wait for its writer.
        let file = File::options()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        if !meta.is_file() {
            let what = if meta.is_dir() {
                "folder"
            } else {
                "pipe or device"
            };
            return Err(Error::usage(format!("`{name}` is a {what}, not a file")));
        }
        // The size may be a lie, as those in /proc are.
        let mut bytes = Vec::new();
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
        if read.map_err(fail)? as u64 > LARGEST {
            return Err(Error::usage(format!(
                "`{name}` has more than {} MiB; that is no pipeline file",
                LARGEST >> 20
            )));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Error::usage(format!("`{name}` is not UTF-8 text: byte {at} is wrong"))
        })?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }
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

    /// The line that it is in, without a byte order mark.
    fn text(&self) -> &str {
        let text = &self.source.text;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        text.lines().nth(self.line - 1).unwrap_or_default()
    }

    /// The stretch of this place that holds `part`, where the line shows it; else all of it.
    #[must_use]
    pub fn within(&self, part: &str) -> Self {
        let line = self.text();
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

/// `file:line:column`, the line, and carets under the place. Of a long line only the part around it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let before = self.column - 1;
        let skipped = if before > WIDEST / 2 {
            before - WIDEST / 4
        } else {
            0
        };
        let shown = |c: char| {
            if c.is_control() && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        };
        let rest = self.text().chars().skip(skipped);
        let line: String = rest.clone().take(WIDEST).map(shown).collect();
        let start = if skipped > 0 { "…" } else { "" };
        let end = if rest.clone().nth(WIDEST).is_some() {
            "…"
        } else {
            ""
        };
        // Tabs keep their width only if the line of carets has them as well.
        let indent: String = start
            .chars()
            .chain(line.chars().take(before - skipped))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let room = line.chars().count().saturating_sub(before - skipped).max(1);
        writeln!(
            f,
            "{}:{}:{}",
            printable(self.source.path.display().to_string()),
            self.line,
            self.column
        )?;
        writeln!(f, "  {number} | {start}{line}{end}")?;
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

    #[test]
    fn of_a_long_line_only_the_part_around_the_place_is_shown() {
        let text = format!(
            "{}\t\u{1b}[2Jkey: 1{}",
            "x".repeat(500),
            "y".repeat(5_000_000)
        );
        let source = Arc::new(Source {
            path: "p.yaml".into(),
            text,
        });
        let place = Place {
            source,
            line: 1,
            column: 506,
            length: 3,
        };
        let shown = place.to_string();
        let [_, line, carets] = shown.lines().collect::<Vec<_>>()[..] else {
            panic!("{shown}");
        };
        assert!(
            line.starts_with("  1 | …xxx")
                && line.contains("\t\u{fffd}[2Jkey: 1yyy")
                && line.ends_with("y…"),
            "{line}"
        );
        let under: String = line
            .chars()
            .zip(carets.chars())
            .filter(|(_, caret)| *caret == '^')
            .map(|(c, _)| c)
            .collect();
        assert_eq!(under, "key");
        assert!(shown.len() < 500, "{}", shown.len());
    }

    #[test]
    fn what_is_no_text_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let latin = folder.path().join("latin.yaml");
        std::fs::write(&latin, b"a: \xe9\n").unwrap();
        let large = folder.path().join("large.yaml");
        File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
        for (path, says) in [
            (folder.path(), "is a folder, not a file"),
            (&pipe, "is a pipe or device, not a file"),
            (Path::new("/dev/zero"), "is a pipe or device, not a file"),
            (&latin, "is not UTF-8 text: byte 3 is wrong"),
            (&large, "has more than 16 MiB"),
            (
                Path::new("/absent"),
                "cannot read `/absent`: no such file or directory",
            ),
        ] {
            let error = Source::read(path).unwrap_err();
            assert!(error.message().contains(says), "{error}");
        }
    }
}
