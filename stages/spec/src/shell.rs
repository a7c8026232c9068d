//! Values in the text of a shell: whatever comes through a reference is data, and stays one word.

/// Where in a shell's text something stands. Comments and here-documents are not told apart from the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quotes {
    /// In no quotes.
    #[default]
    None,
    /// Between `'` and `'`.
    Single,
    /// Between `"` and `"`.
    Double,
}

impl Quotes {
    /// Where the end of `text` stands, if its start stands here.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        let mut quotes = self;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            quotes = match (quotes, character) {
                (Self::None | Self::Double, '\\') => {
                    characters.next();
                    quotes
                }
                (Self::None, '\'') => Self::Single,
                (Self::None, '"') => Self::Double,
                (Self::Single, '\'') | (Self::Double, '"') => Self::None,
                _ => quotes,
            };
        }
        quotes
    }

    /// A value as it must be written here to be nothing but itself. The result holds no `${`.
    pub fn write(self, value: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        match self {
            Self::None if !value.is_empty() && value.chars().all(plain) => value.to_owned(),
            Self::None => format!("'{}'", Self::Single.write(value)),
            Self::Single => value.replace('\'', "'\\''").replace("${", "$''{"),
            Self::Double => {
                let mut text = String::with_capacity(value.len());
                for character in value.chars() {
                    if "\\\"$`".contains(character) {
                        text.push('\\');
                    }
                    text.push(character);
                }
                text.replace("\\${", "\\$\"\"{")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn quotes_are_followed_through_a_text() {
        let after = |text: &str| Quotes::None.after(text);
        assert_eq!(after("echo \"it's "), Quotes::Double);
        assert_eq!(after("echo 'say \"x\" "), Quotes::Single);
        assert_eq!(after("echo \\\" \"\\\"\" 'a'"), Quotes::None);
    }

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_eq!(Quotes::None.write("a/b.c-1,2"), "a/b.c-1,2");
        assert_eq!(Quotes::None.write(""), "''");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_shell_takes_any_value_for_itself(value in "[ -~äé\n]{0,20}") {
            for (before, behind) in [("", ""), ("'", "'"), ("\"", "\"")] {
                let quotes = Quotes::None.after(before);
                let word = quotes.write(&value);
                let hole = word.contains("${");
                prop_assert!(!hole);
                let line = format!("printf %s x{before}{word}{behind}");
                let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
                prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("x{value}"));
            }
        }
    }
}
