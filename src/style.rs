//! Colours, where they are welcome.

use std::io::IsTerminal;

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style(bool);

impl Style {
    /// For a stream: colours on a terminal, unless NO_COLOR is set or TERM is `dumb`.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(stream.is_terminal() && !refused && !dumb)
    }

    /// Without colours.
    pub fn plain() -> Self {
        Self(false)
    }

    /// Whether it colours.
    pub fn colours(self) -> bool {
        self.0
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
    /// Dim.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
    /// Green: done, up to date.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }
    /// Yellow: needs attention.
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }
    /// Red: failed.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }
}
