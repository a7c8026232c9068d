//! What stands between `${` and `}`.

use rematch_spec::named::{Named, looks_named};

use crate::error::{Error, Result};

/// A text taken apart: literal text and references.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text as it is; `$${` has become `${`.
    Text(String),
    /// A reference.
    Reference(Reference),
}

/// A reference.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    /// `${axis.method.confidence}`: a value of an axis, or something inside it.
    Axis {
        /// The axis.
        name: String,
        /// The members that lead into a map value.
        path: Vec<String>,
    },
    /// `${var.steps}`.
    Var {
        /// The variable.
        name: String,
        /// The members that lead into a map value.
        path: Vec<String>,
    },
    /// `${split.labeled}`, or with `[*]` the collection over the stage's remaining axes.
    Output {
        /// The stage.
        stage: String,
        /// Its output.
        output: String,
        /// Whether it is a collection.
        all: bool,
    },
    /// `${cifar10.3@40-1.labeled}`.
    Named {
        /// The split.
        split: Named,
        /// What of it.
        output: String,
    },
    /// `${in.script}` or `${out.table}`: left for the command that runs.
    Child(String),
}

/// Takes a text apart.
pub fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            literal.push_str(&rest[..start - 1]);
            literal.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        literal.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('}') else {
            let error = Error::usage(format!("`{}` has no closing `}}`", &rest[start..]));
            return Err(error.help("write `$${` for a literal `${`"));
        };
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Reference(reference(
            rest[start + 2..start + length].trim(),
        )?));
        rest = &rest[start + length + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

fn reference(text: &str) -> Result<Reference> {
    let wrong = |what: &str| {
        Error::usage(format!("`${{{text}}}` {what}")).help(
            "references are ${stage.output}, ${stage[*].output}, ${axis.name} and ${var.name}",
        )
    };
    let steps: Vec<String> = text.split('.').map(str::to_owned).collect();
    match steps.first().map(String::as_str) {
        Some("axis" | "var") if steps.len() >= 2 => {
            let (name, path) = (steps[1].clone(), steps[2..].to_vec());
            if steps.iter().any(String::is_empty) {
                return Err(wrong("has an empty name"));
            }
            Ok(if steps[0] == "axis" {
                Reference::Axis { name, path }
            } else {
                Reference::Var { name, path }
            })
        }
        Some("in" | "out") if steps.len() == 2 => Ok(Reference::Child(format!("${{{text}}}"))),
        _ => {
            let Some((head, output)) = text.rsplit_once('.') else {
                return Err(wrong("names no output"));
            };
            if looks_named(head) {
                let split = head
                    .parse()
                    .map_err(|e: rematch_spec::kind::Invalid| Error::usage(e.message))?;
                return Ok(Reference::Named {
                    split,
                    output: output.to_owned(),
                });
            }
            let (stage, all) = match head.strip_suffix("[*]") {
                Some(stage) => (stage, true),
                None => (head, false),
            };
            if stage == "vars" || stage == "axes" {
                return Err(wrong("is unknown").help(format!(
                    "did you mean `${{{}.{output}}}`?",
                    if stage == "vars" { "var" } else { "axis" }
                )));
            }
            if !is_name(stage) || !is_name(output) {
                return Err(wrong("is no reference"));
            }
            Ok(Reference::Output {
                stage: stage.to_owned(),
                output: output.to_owned(),
                all,
            })
        }
    }
}

/// Whether a stage, axis, variable or output may be called that: names end up in job names and
/// folder names.
pub fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stage: &str, output: &str, all: bool) -> Reference {
        Reference::Output {
            stage: stage.into(),
            output: output.into(),
            all,
        }
    }

    #[test]
    fn references_and_text_are_told_apart() {
        let read = pieces("a ${split.labeled} $${x} ${acc[*].stats}").unwrap();
        assert_eq!(
            read,
            [
                Piece::Text("a ".into()),
                Piece::Reference(output("split", "labeled", false)),
                Piece::Text(" ${x} ".into()),
                Piece::Reference(output("acc", "stats", true)),
            ]
        );
    }

    #[test]
    fn a_split_name_is_a_reference() {
        let read = pieces("${cifar10.3@40-1.labeled}").unwrap();
        assert!(
            matches!(&read[..], [Piece::Reference(Reference::Named { split, output })]
            if split.size == 40 && output == "labeled")
        );
    }

    #[test]
    fn wrong_references_say_what_is_right() {
        for wrong in [
            "${}",
            "${a}",
            "${a.b",
            "${axis.}",
            "${vars.x}",
            "${a/b.c}",
            "${cifar10.9@40-1.labeled}",
            "${ä.b}",
        ] {
            let error = pieces(wrong).unwrap_err();
            assert!(!error.message().is_empty(), "{wrong}");
        }
    }

    #[test]
    fn what_a_path_a_shell_or_a_reader_could_mistake_is_no_name() {
        for name in ["seed", "wrn-28-2", "_a", "2", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "-x",
            "a b",
            "a.b",
            "$(id)",
            "${a}",
            "'",
            "%41",
            "a\0",
            "a\n",
            "é",
            "ａ",
            "а",
            "a\u{202e}b",
            "\u{200b}",
            "\u{1b}[2J",
            &"x".repeat(65),
        ] {
            assert!(!is_name(name), "{}", name.escape_debug());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,100}") {
            let _ = pieces(&text);
        }
        #[test]
        fn a_text_without_dollars_stays_as_it_is(text in "[^$]{0,60}") {
            proptest::prop_assert_eq!(pieces(&text).unwrap(), [Piece::Text(text)]);
        }
    }
}
