//! What went wrong, where, and what to do next.

use std::fmt;

use crate::source::Place;

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
            message,
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
        self.0.help.get_or_insert_with(|| help.into());
        self
    }

    /// With a suggestion, where one of `known` resembles `unknown`; else with the list of them.
    #[must_use]
    pub fn suggest<'a>(self, unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match closest(unknown, &known) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None if known.is_empty() => self,
            None => self.help(format!("known: {}", known.join(", "))),
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

/// The known name that differs least from `unknown`, if it is near enough to be meant.
fn closest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = unknown.chars().count() / 3;
    let near = known
        .iter()
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
}
