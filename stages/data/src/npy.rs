//! numpy's `.npy` files: magic, version, length of the header, the header (a Python dictionary with `descr`,
//! `fortran_order` and `shape`), then the values. Format: numpy's `numpy.lib.format`, versions 1 to 3.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::StageError;
use crate::fs;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest header that is believed; ours and numpy's for plain arrays have 118 bytes.
const LONGEST: usize = 1 << 14;
/// Most dimensions that numpy has.
const DIMENSIONS: usize = 64;
/// Where values begin in files that we write: a multiple of 64, with room for any shape of up to four sides.
const BEGIN: usize = 192;
/// Size of the buffers towards files.
const BUFFER: usize = 1 << 18;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type of the values as numpy writes it: `|u1`, `<f8`.
    pub descr: String,
    /// Whether the first index runs fastest.
    pub fortran_order: bool,
    /// The sides of the array.
    pub shape: Vec<u64>,
}

impl Header {
    /// How many values there are; `None` where that is no number that can be.
    pub fn values(&self) -> Option<u64> {
        self.shape
            .iter()
            .try_fold(1_u64, |n, side| n.checked_mul(*side))
    }

    /// Reads a header; the values follow. An error says what is wrong.
    pub fn read(input: &mut impl Read) -> Result<Self, String> {
        let cut = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => "the file ends inside its header".to_owned(),
            _ => e.to_string(),
        };
        let mut start = [0; 8];
        input.read_exact(&mut start).map_err(cut)?;
        if start[..6] != *MAGIC {
            return Err("it is no .npy file".into());
        }
        let length = match start[6] {
            1 => {
                let mut length = [0; 2];
                input.read_exact(&mut length).map_err(cut)?;
                usize::from(u16::from_le_bytes(length))
            }
            2 | 3 => {
                let mut length = [0; 4];
                input.read_exact(&mut length).map_err(cut)?;
                u32::from_le_bytes(length) as usize
            }
            other => return Err(format!("it has the unknown format version {other}")),
        };
        if length > LONGEST {
            return Err(format!(
                "its header of {length} bytes is longer than a plain array needs"
            ));
        }
        let mut text = vec![0; length];
        input.read_exact(&mut text).map_err(cut)?;
        Words(&text)
            .header()
            .ok_or_else(|| format!("its header cannot be read: {}", text.escape_ascii()))
    }

    /// Everything before the values, [`BEGIN`] bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut sides = String::new();
        for side in &self.shape {
            sides += &format!("{side}, ");
        }
        let sides = match self.shape.len() {
            1 => sides.trim_end(),
            _ => sides.trim_end_matches(", "),
        };
        let order = if self.fortran_order { "True" } else { "False" };
        let text = format!(
            "{{'descr': '{}', 'fortran_order': {order}, 'shape': ({sides}), }}",
            self.descr
        );
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(((BEGIN - 10) as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.resize(BEGIN - 1, b' ');
        bytes.push(b'\n');
        bytes
    }
}

/// What is left of a header's text.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn header(&mut self) -> Option<Header> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.take(b'{')?;
        while self.take(b'}').is_none() {
            let name = self.text()?;
            self.take(b':')?;
            match name {
                b"descr" => descr = Some(String::from_utf8(self.text()?.to_vec()).ok()?),
                b"fortran_order" => fortran_order = Some(self.truth()?),
                b"shape" => shape = Some(self.shape()?),
                _ => return None,
            }
            if self.take(b',').is_none() {
                self.take(b'}')?;
                break;
            }
        }
        self.skip();
        self.0.is_empty().then_some(())?;
        Some(Header {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }

    fn skip(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip();
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        self.skip();
        let (quote, rest) = self.0.split_first()?;
        matches!(quote, b'\'' | b'"').then_some(())?;
        let end = rest.iter().position(|b| b == quote)?;
        self.0 = &rest[end + 1..];
        Some(&rest[..end])
    }

    fn truth(&mut self) -> Option<bool> {
        self.skip();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Some(value);
            }
        }
        None
    }

    fn shape(&mut self) -> Option<Vec<u64>> {
        let mut sides = Vec::new();
        self.take(b'(')?;
        while self.take(b')').is_none() {
            self.skip();
            let digits = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
            let (number, rest) = self.0.split_at(digits);
            sides.push(std::str::from_utf8(number).ok()?.parse().ok()?);
            // Python 2 wrote `3L`.
            self.0 = rest.strip_prefix(b"L").unwrap_or(rest);
            (sides.len() <= DIMENSIONS).then_some(())?;
            if self.take(b',').is_none() {
                self.take(b')')?;
                break;
            }
        }
        Some(sides)
    }
}

/// An array in a file, read from its start.
pub struct Array {
    /// What its header says.
    pub header: Header,
    input: BufReader<File>,
    path: PathBuf,
}

impl Array {
    /// Opens a file whose values are as many as its header says, in C order.
    ///
    /// # Errors
    /// Other files; the error names the file.
    pub fn open(path: &Path) -> Result<Self, StageError> {
        let mut input = BufReader::with_capacity(BUFFER, fs::open(path)?);
        let header = Header::read(&mut input).map_err(|what| wrong(path, &what))?;
        if header.fortran_order && header.shape.len() > 1 {
            return Err(wrong(
                path,
                "it is in Fortran order; save numpy.ascontiguousarray of it",
            ));
        }
        let size = Number::of(&header.descr).map_or(0, |number| number.size as u64);
        let begin = input.stream_position().map_err(fs::at("read", path))?;
        let there = fs::len(path)?.saturating_sub(begin);
        let needed = header.values().and_then(|n| n.checked_mul(size));
        if size > 0 && needed != Some(there) {
            let message = format!(
                "its header says {:?} of {size} bytes each, but {there} bytes follow",
                header.shape
            );
            return Err(wrong(path, &message));
        }
        Ok(Self {
            header,
            input,
            path: path.to_owned(),
        })
    }

    /// The next bytes, exactly as many as `out` has.
    pub fn read(&mut self, out: &mut [u8]) -> Result<(), StageError> {
        Ok(self
            .input
            .read_exact(out)
            .map_err(fs::at("read", &self.path))?)
    }

    /// The type of the values, which must be integers.
    pub fn integers(&self) -> Result<Number, StageError> {
        Number::of(&self.header.descr).ok_or_else(|| {
            let message = format!(
                "its values are `{}`; expected integers",
                self.header.descr.escape_default()
            );
            wrong(&self.path, &message)
        })
    }

    /// An error that names the file.
    pub fn error(&self, what: &str) -> StageError {
        wrong(&self.path, what)
    }
}

fn wrong(path: &Path, what: &str) -> StageError {
    StageError::failed(format!("{}: {what}", path.display()))
        .help("expected what numpy.save writes of a plain array")
}

/// A type of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// 1, 2, 4 or 8.
    pub size: usize,
    signed: bool,
    big_endian: bool,
}

impl Number {
    /// Reads numpy's word for it.
    pub fn of(descr: &str) -> Option<Self> {
        let (order, kind) = descr.split_at_checked(1)?;
        let big_endian = match order {
            "<" | "|" | "=" => false,
            ">" => true,
            _ => return None,
        };
        let (signed, size) = match kind {
            "b1" | "u1" => (false, 1),
            "i1" => (true, 1),
            "u2" => (false, 2),
            "i2" => (true, 2),
            "u4" => (false, 4),
            "i4" => (true, 4),
            "u8" => (false, 8),
            "i8" => (true, 8),
            _ => return None,
        };
        Some(Self {
            size,
            signed,
            big_endian,
        })
    }

    /// The value of `bytes`, or `None` if it does not fit.
    ///
    /// # Panics
    /// Unless there are `size` bytes.
    pub fn value(self, bytes: &[u8]) -> Option<i64> {
        let mut wide = [0; 8];
        if self.big_endian {
            wide[8 - self.size..].copy_from_slice(bytes);
            wide.reverse();
        } else {
            wide[..self.size].copy_from_slice(bytes);
        }
        let value = u64::from_le_bytes(wide);
        let unused = 64 - 8 * self.size as u32;
        if self.signed {
            Some((value << unused) as i64 >> unused)
        } else {
            i64::try_from(value).ok()
        }
    }
}

/// Writes an array whose first side is known only at the end.
pub struct Writer {
    header: Header,
    output: BufWriter<File>,
    path: PathBuf,
}

impl Writer {
    /// Begins an array of `descr` values, rows of the sides `row`.
    pub fn create(path: &Path, descr: &str, row: &[u64]) -> Result<Self, StageError> {
        let header = Header {
            descr: descr.to_owned(),
            fortran_order: false,
            shape: [&[0], row].concat(),
        };
        let mut output = BufWriter::with_capacity(BUFFER, fs::create(path)?);
        output
            .write_all(&header.bytes())
            .map_err(fs::at("write", path))?;
        Ok(Self {
            header,
            output,
            path: path.to_owned(),
        })
    }

    /// Writes one row.
    pub fn row(&mut self, bytes: &[u8]) -> Result<(), StageError> {
        self.header.shape[0] += 1;
        Ok(self
            .output
            .write_all(bytes)
            .map_err(fs::at("write", &self.path))?)
    }

    /// Writes what is still in memory, and the final header.
    pub fn finish(mut self) -> Result<(), StageError> {
        let mut act = || {
            self.output.seek(SeekFrom::Start(0))?;
            self.output.write_all(&self.header.bytes())?;
            self.output.flush()
        };
        Ok(act().map_err(fs::at("write", &self.path))?)
    }
}

/// A whole array of float64 as bytes of a `.npy` file goes to `out`.
pub fn write_floats(out: &mut impl Write, shape: &[usize], values: &[f64]) -> std::io::Result<()> {
    let header = Header {
        descr: "<f8".into(),
        fortran_order: false,
        shape: shape.iter().map(|side| *side as u64).collect(),
    };
    out.write_all(&header.bytes())?;
    for value in values {
        out.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Header, String> {
        Header::read(&mut &bytes[..])
    }

    /// A file of version 1 with this header.
    fn file(header: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes
    }

    #[test]
    fn headers_of_numpy_are_read() {
        // As numpy 2.4 (version 1), numpy 1 with a text over 65,535 bytes allowed (version 2), Python 2 write them.
        let new = file(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (50000, 32, 32, 3), }       \n",
        );
        let header = read(&new).unwrap();
        assert_eq!(header.descr, "|u1");
        assert_eq!(header.shape, [50000, 32, 32, 3]);
        assert_eq!(header.values(), Some(153_600_000));
        let mut second = b"\x93NUMPY\x02\x00".to_vec();
        let text = b"{'descr': '<i8', 'fortran_order': True, 'shape': (3L,)}\n";
        second.extend((text.len() as u32).to_le_bytes());
        second.extend(text);
        let header = read(&second).unwrap();
        assert_eq!((header.shape, header.fortran_order), (vec![3], true));
        let scalar = read(&file(
            "{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
        ))
        .unwrap();
        assert_eq!(scalar.values(), Some(1));
    }

    #[test]
    fn other_headers_are_refused() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '|u1', 'fortran_order': False}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '|u1', 'fortran_order': No, 'shape': (1,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} rest",
            "{'descr': '|u1', 'fortran_order': False, 'shape': 1}",
        ] {
            let error = read(&file(text)).unwrap_err();
            assert!(error.contains("cannot be read"), "{text}: {error}");
        }
        let many = "1, ".repeat(65);
        assert!(
            read(&file(&format!(
                "{{'descr': '|u1', 'fortran_order': False, 'shape': ({many})}}"
            )))
            .is_err()
        );
        assert!(
            read(b"PK\x03\x04 and more")
                .unwrap_err()
                .contains("no .npy file")
        );
        assert!(
            read(b"\x93NUMPY\x04\x00\x00\x00")
                .unwrap_err()
                .contains("version 4")
        );
        let long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff";
        assert!(read(long).unwrap_err().contains("longer than"));
    }

    #[test]
    fn a_header_cut_anywhere_is_refused() {
        let whole = Header {
            descr: "|u1".into(),
            fortran_order: false,
            shape: vec![u64::MAX; 4],
        };
        let bytes = whole.bytes();
        assert_eq!(bytes.len(), BEGIN);
        assert_eq!(read(&bytes), Ok(whole.clone()));
        assert_eq!(whole.values(), None);
        for length in 0..BEGIN {
            assert!(
                read(&bytes[..length]).unwrap_err().contains("ends inside"),
                "{length}"
            );
        }
    }

    #[test]
    fn a_header_that_lies_about_the_values_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let mut writer = Writer::create(&path, "|u1", &[2, 2]).unwrap();
        for n in 0..3 {
            writer.row(&[n; 4]).unwrap();
        }
        writer.finish().unwrap();
        let mut array = Array::open(&path).unwrap();
        assert_eq!(array.header.shape, [3, 2, 2]);
        let mut row = [0; 12];
        array.read(&mut row).unwrap();
        assert_eq!(row, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
        let bytes = fs::read(&path).unwrap();
        for (wrong, bytes) in [
            ("short", &bytes[..bytes.len() - 1]),
            ("long", &[&bytes[..], b"x"].concat()),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = Array::open(&path).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.contains("a.npy: its header says [3, 2, 2]"),
                "{wrong}: {error}"
            );
        }
        let huge = "{'descr': '<i8', 'fortran_order': False, 'shape': (4611686018427387904, 8)}";
        fs::write(&path, file(huge)).unwrap();
        assert!(Array::open(&path).is_err());
    }

    #[test]
    fn integers_of_every_type_are_read() {
        let value = |descr: &str, bytes: &[u8]| Number::of(descr).unwrap().value(bytes);
        assert_eq!(value("|u1", &[255]), Some(255));
        assert_eq!(value("|i1", &[255]), Some(-1));
        assert_eq!(value("<i2", &[1, 0x80]), Some(-32767));
        assert_eq!(value(">i4", &[0, 0, 1, 2]), Some(258));
        assert_eq!(value(">i2", &[0xff, 0xfe]), Some(-2));
        assert_eq!(value("<i8", &(-5_i64).to_le_bytes()), Some(-5));
        assert_eq!(value("<u8", &u64::MAX.to_le_bytes()), None);
        for other in ["", "<f4", "O", "é1", "<i3", "|S5"] {
            assert_eq!(Number::of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text: String) {
            let _ = read(&bytes);
            let _ = read(&file(&text));
        }

        #[test]
        fn what_is_written_is_read_back(shape in prop::collection::vec(0..=u64::MAX, 0..4), order: bool) {
            let header = Header { descr: "<i4".into(), fortran_order: order, shape };
            prop_assert_eq!(read(&header.bytes()), Ok(header));
        }
    }
}
