//! Positions that a file names: STL-10's ten label sets (spec/fixmatch.md 2.5, step 5), and lists such as those
//! of ImageNet's 10 % splits (spec/fixmatch.md 11).

/// How many records each of STL-10's label sets has.
pub const FOLD: usize = 1000;

/// What is wrong with a file of positions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are not that many lines.
    #[error("it has {lines} lines, and seed {line} asks for the one that has {line} before it")]
    Lines {
        /// How many there are.
        lines: usize,
        /// Which one was asked for, counted from 0.
        line: u32,
    },
    /// A word is no position.
    #[error("line {line}: `{word}` is no position of a record, a number below {records}")]
    Word {
        /// Which line, counted from 1.
        line: usize,
        /// The word.
        word: String,
        /// How many records there are.
        records: usize,
    },
    /// A position stands there twice.
    #[error("line {line}: position {position} stands there for the second time")]
    Twice {
        /// Which line, counted from 1.
        line: usize,
        /// The position.
        position: usize,
    },
    /// A label set of another size.
    #[error("line {line} has {found} positions; expected {FOLD}")]
    Fold {
        /// Which line, counted from 1.
        line: usize,
        /// How many it has.
        found: usize,
    },
    /// No positions at all.
    #[error("it names no records")]
    Empty,
}

/// The positions on line `line` (from 0) of STL-10's fold file, sorted.
pub fn fold(text: &str, line: u32, records: usize) -> Result<Vec<usize>, Error> {
    let number = line as usize + 1;
    let Some(words) = text.lines().nth(line as usize) else {
        let lines = text.lines().count();
        return Err(Error::Lines { lines, line });
    };
    let found = words.split_whitespace().count();
    if found != FOLD {
        return Err(Error::Fold {
            line: number,
            found,
        });
    }
    positions(words.split_whitespace().map(|word| (number, word)), records)
}

/// The positions of a list, one a line, sorted. Empty lines do not count.
pub fn list(text: &str, records: usize) -> Result<Vec<usize>, Error> {
    let lines = (1..).zip(text.lines().map(str::trim));
    positions(lines.filter(|(_, word)| !word.is_empty()), records)
}

fn positions<'a>(
    words: impl Iterator<Item = (usize, &'a str)>,
    records: usize,
) -> Result<Vec<usize>, Error> {
    let mut named = vec![false; records];
    for (line, word) in words {
        let position = word.parse().ok().filter(|position| *position < records);
        let Some(position): Option<usize> = position else {
            // A file that is no list may be one long line.
            let word = word.chars().take(40).collect();
            return Err(Error::Word {
                line,
                word,
                records,
            });
        };
        if std::mem::replace(&mut named[position], true) {
            return Err(Error::Twice { line, position });
        }
    }
    let sorted: Vec<usize> = (0..records).filter(|position| named[*position]).collect();
    if sorted.is_empty() {
        return Err(Error::Empty);
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folds(lines: usize) -> String {
        let line = |n: usize| {
            let words: Vec<String> = (0..FOLD).map(|p| (p * 5 + n).to_string()).collect();
            // The official file has a space at the end of its lines.
            words.join(" ") + " \n"
        };
        (0..lines).map(line).collect()
    }

    #[test]
    fn a_fold_is_the_line_that_the_seed_names() {
        let expected: Vec<usize> = (0..FOLD).map(|p| p * 5 + 1).collect();
        assert_eq!(fold(&folds(2), 1, 5000).unwrap(), expected);
    }

    #[test]
    fn bad_fold_files_say_what_is_wrong() {
        let error = |text: &str, line, records| fold(text, line, records).unwrap_err().to_string();
        assert_eq!(
            error(&folds(2), 2, 5000),
            "it has 2 lines, and seed 2 asks for the one that has 2 before it"
        );
        assert_eq!(
            error("1 2 3", 0, 5000),
            "line 1 has 3 positions; expected 1000"
        );
        assert_eq!(
            error(&folds(1), 0, 4000),
            "line 1: `4000` is no position of a record, a number below 4000"
        );
        assert!(error(&folds(1).replace("4995", "5"), 0, 5000).contains("position 5 stands"));
        assert!(error(&folds(1).replace("4995", "-5"), 0, 5000).contains("`-5` is no position"));
    }

    #[test]
    fn a_list_has_a_position_a_line() {
        assert_eq!(list("7\n\n 2 \r\n0\n", 8).unwrap(), [0, 2, 7]);
        assert_eq!(list("\n", 8), Err(Error::Empty));
        assert_eq!(
            list("1\n1", 8),
            Err(Error::Twice {
                line: 2,
                position: 1
            })
        );
        let error = list(&"x".repeat(1000), 8).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
        assert!(list("8", 8).is_err() && list("1 2", 8).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_positions_or_refused(text: String, line in 0..20u32, records in 1..2000usize) {
            for found in [list(&text, records), fold(&text, line, records)].into_iter().flatten() {
                prop_assert!(found.is_sorted() && found.iter().all(|p| *p < records));
            }
        }
    }
}
