//! JSON as Python's `json.dump(…, sort_keys=True, indent=n)` writes it, to the byte: the originals'
//! files are compared by checksum.

use std::io::{self, BufWriter};
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::fs;

struct Python<'a>(PrettyFormatter<'a>);

impl Formatter for Python<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }
    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
    fn write_f64<W: ?Sized + io::Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        out.write_all(repr(value).as_bytes())
    }
}

/// The text that Python's `json.dumps` gives; members are sorted where `value` is a sorted map.
pub fn python(value: &impl Serialize, indent: usize) -> Vec<u8> {
    let mut out = Vec::new();
    serialize(value, indent, &mut out).expect("numbers, texts and lists always have a JSON form");
    out
}

/// Writes a file with the text of [`python`], piece by piece.
pub fn write(path: &Path, value: &impl Serialize, indent: usize) -> Result<(), fs::Error> {
    let mut out = BufWriter::new(fs::create(path)?);
    let written = serialize(value, indent, &mut out).map_err(io::Error::from);
    written
        .and_then(|()| io::Write::flush(&mut out))
        .map_err(fs::at("write", path))
}

fn serialize(
    value: &impl Serialize,
    indent: usize,
    out: &mut impl io::Write,
) -> Result<(), serde_json::Error> {
    let indent = b" ".repeat(indent);
    let formatter = Python(PrettyFormatter::with_indent(&indent));
    value.serialize(&mut Serializer::with_formatter(out, formatter))
}

/// Python's `repr` of a float: the shortest digits that read back the same, an exponent below
/// 1e-4 and from 1e16 on.
pub fn repr(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let shortest = format!("{value:e}");
    let digits = shortest
        .bytes()
        .take_while(|b| *b != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    // Of two shortest forms at the same distance Python takes the one that ends in an even digit, as
    // rounding to a number of digits does.
    let even = format!("{value:.*e}", digits - 1);
    let scientific = if even.parse() == Ok(value) {
        even
    } else {
        shortest
    };
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let (sign, digits) = digits
        .strip_prefix('-')
        .map_or(("", digits), |rest| ("-", rest));
    let digits = digits.replace('.', "");
    match usize::try_from(exponent) {
        Err(_) => format!("{sign}0.{}{digits}", "0".repeat(-exponent as usize - 1)),
        Ok(exponent) if digits.len() > exponent + 1 => {
            let (whole, rest) = digits.split_at(exponent + 1);
            format!("{sign}{whole}.{rest}")
        }
        Ok(exponent) => format!(
            "{sign}{digits}{}.0",
            "0".repeat(exponent + 1 - digits.len())
        ),
    }
}

/// The class map of a dataset, label to name in the order of the labels: `{"0": "airplane", …}`.
pub fn classes<S: AsRef<str>>(names: &[S]) -> String {
    let lines: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(label, name)| format!("  \"{label}\": {}", serde_json::Value::from(name.as_ref())))
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn floats_look_as_in_python() {
        // The right-hand sides are what `repr` printed in Python 3.11.
        let cases = [
            (1.0, "1.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.2345e300, "1.2345e+300"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (5e-324, "5e-324"),
            (123456.0, "123456.0"),
            (-12.5, "-12.5"),
            (0.00123, "0.00123"),
            // Lies in the middle between …12 and …13.
            (80.36306762695312, "80.36306762695312"),
        ];
        for (value, expected) in cases {
            assert_eq!(repr(value), expected);
        }
    }

    #[test]
    fn a_document_looks_as_in_python() {
        let map = BTreeMap::from([("b", vec![1.0, 2.5]), ("a", vec![])]);
        assert_eq!(
            String::from_utf8(python(&map, 2)).unwrap(),
            "{\n  \"a\": [],\n  \"b\": [\n    1.0,\n    2.5\n  ]\n}"
        );
    }
}
