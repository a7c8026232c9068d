//! What went wrong, where, and what to do next.

use std::fmt;

use crate::source::Place;

/// Characters of a message beyond which only its ends are shown: some file's content is in it.
const LONGEST: usize = 1000;
/// So many names are worth listing as known.
const MOST_KNOWN: usize = 24;
/// A longer name is no slip of one that is known.
const LONGEST_SLIP: usize = 100;

/// Result with this package's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error a user sees.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    class: Class,
    message: String,
    place: Option<Place>,
    help: Option<String>,
}

/// Decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What was asked for is not there.
    Absent,
    /// The pipeline, a flag or a name is wrong: nothing ran.
    Usage,
    /// The store, the file system or a program failed.
    System,
}

impl Error {
    /// A mistake in what the user wrote.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Class::Usage, message.into())
    }

    /// What was asked for is not there.
    pub fn absent(message: impl Into<String>) -> Self {
        Self::new(Class::Absent, message.into())
    }

    /// Something outside failed.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Class::System, message.into())
    }

    fn new(class: Class, message: String) -> Self {
        Self(Box::new(Inner {
            class,
            message: printable(message),
            place: None,
            help: None,
        }))
    }

    /// With the place in a pipeline file, unless it has one.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.0.place.get_or_insert_with(|| place.clone());
        self
    }

    /// With what to do next, unless it says so already.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help.get_or_insert_with(|| printable(help.into()));
        self
    }

    /// With a suggestion, where one of `known` resembles `unknown`; else with the list of them.
    #[must_use]
    pub fn suggest<'a>(self, unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match closest(unknown, &known) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None if known.is_empty() => self,
            None => {
                let more = match known.len().saturating_sub(MOST_KNOWN) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let first = &known[..known.len().min(MOST_KNOWN)];
                self.help(format!("known: {}{more}", first.join(", ")))
            }
        }
    }

    /// What kind of error it is.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The advice alone.
    pub fn advice(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The place alone.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(place) = &self.0.place {
            write!(f, "\n  --> {place}")?;
        }
        if let Some(help) = &self.0.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<rematch_cache::Error> for Error {
    fn from(error: rematch_cache::Error) -> Self {
        Self::system(error.to_string())
    }
}

/// A text that fits on a screen and cannot steer it: names and values out of files may be as long as
/// these, and hold anything.
pub(crate) fn printable(text: String) -> String {
    let ends = || {
        let (start, _) = text.char_indices().nth(LONGEST * 3 / 4)?;
        let (end, _) = text.char_indices().rev().nth(LONGEST / 4)?;
        (start < end).then(|| format!("{} … {}", &text[..start], &text[end..]))
    };
    let text = ends().unwrap_or(text);
    if !text.contains(|c: char| c.is_control() && c != '\n') {
        return text;
    }
    let escape = |c: char| {
        if c.is_control() && c != '\n' {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escape).collect()
}

/// The known name that differs least from `unknown`, if it is near enough to be meant.
fn closest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = unknown.chars().count();
    let limit = length / 3;
    if length > LONGEST_SLIP {
        return None;
    }
    let near = known
        .iter()
        .filter(|name| name.chars().count().abs_diff(length) <= limit)
        .map(|name| (distance(unknown, name), *name))
        .min_by_key(|(d, _)| *d);
    near.filter(|(d, _)| *d <= limit).map(|(_, name)| name)
}

/// Edit distance in which swapping two neighbours is one edit (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_one_letter_is_recognised_and_a_stranger_is_not() {
        assert_eq!(closest("lables", &["labels", "seed"]), Some("labels"));
        assert_eq!(closest("sed", &["labels", "seed"]), Some("seed"));
        assert_eq!(closest("zebra", &["labels", "seed"]), None);
    }

    #[test]
    fn a_message_is_short_whatever_is_in_it() {
        let long = "é".repeat(1_000_000);
        let known: Vec<String> = (0..50_000).map(|n| format!("name{n}")).collect();
        let error = Error::usage(format!("`{long}` is unknown"))
            .suggest(&long, known.iter().map(String::as_str));
        assert!(error.message().starts_with("`éé") && error.message().ends_with("é` is unknown"));
        assert!(error.to_string().len() < 4000);
        assert!(error.advice().unwrap().ends_with("name23 and 49976 more"));
    }

    #[test]
    fn a_message_cannot_steer_a_terminal() {
        let error = Error::usage("`\x1b[2Ja\u{9b}1m` is\nunknown").help("not `\r`");
        assert_eq!(error.message(), "`\\u{1b}[2Ja\\u{9b}1m` is\nunknown");
        assert_eq!(error.advice(), Some("not `\\r`"));
    }
}
