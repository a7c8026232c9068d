//! A reader for MATLAB 5 files, as much of it as CIFAR and SVHN need: matrices of numbers, plain or
//! compressed, little-endian, of which only those that are asked for are unpacked.
//!
//! A file is a header of 128 bytes and elements; an element is a type, a size and that many bytes,
//! padded to 8. A matrix is an element of elements: flags, dimensions, name, values.

use std::io::{self, Read};

use flate2::read::ZlibDecoder;

/// Numbers of one byte, with sign or without, and of eight bytes with a fraction.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const DOUBLE: u32 = 9;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Class of a matrix of unsigned bytes.
const UINT8_CLASS: u32 = 9;
/// Classes of matrices of numbers; others have no plain values.
const NUMBERS: std::ops::RangeInclusive<u32> = 6..=15;
/// Most bytes of the elements in front of a matrix's values.
const HEAD: u64 = 4096;
/// Most bytes behind the values of a compressed matrix: padding.
const TAIL: u64 = 64;

const CUT: &str = "the file is cut off";

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CUT.into(),
        _ => format!("a damaged compressed element: {error}"),
    }
}

/// The matrices of a file, one after the other.
pub struct Matrices<R> {
    input: Counted<R>,
    /// Where the current element ends.
    end: u64,
}

/// Knows how many bytes were read.
struct Counted<R> {
    input: R,
    at: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A matrix whose values were not read yet.
pub struct Matrix<'a> {
    /// Its name.
    pub name: String,
    /// Rows, columns and so on.
    pub dimensions: Vec<usize>,
    /// Bytes that its values take.
    pub size: u64,
    class: u32,
    /// How values are stored; a matrix of fractions may be stored as bytes.
    kind: u32,
    content: Box<dyn Read + 'a>,
    compressed: bool,
}

impl<R: Read> Matrices<R> {
    /// Reads the file's header.
    pub fn new(input: R) -> Result<Self, String> {
        let mut input = Counted { input, at: 0 };
        let mut header = [0; 128];
        let read = input.read_exact(&mut header);
        read.map_err(|_| "it is too short for a MATLAB file".to_owned())?;
        match &header[124..] {
            [0, 1, b'I', b'M'] => Ok(Self { input, end: 128 }),
            [1, 0, b'M', b'I'] => Err("it is big-endian, which the official files are not".into()),
            _ => Err("it is no MATLAB 5 file".into()),
        }
    }

    /// The next matrix; what was left of the last one is passed over without unpacking it.
    pub fn next(&mut self) -> Result<Option<Matrix<'_>>, String> {
        let kind = loop {
            let left = self.end.saturating_sub(self.input.at);
            let passed = io::copy(&mut (&mut self.input).take(left), &mut io::sink());
            if passed.map_err(|e| words(&e))? != left {
                return Err(CUT.into());
            }
            let mut tag = Vec::new();
            let read = (&mut self.input).take(8).read_to_end(&mut tag);
            read.map_err(|e| words(&e))?;
            let (kind, size) = match <[u8; 8]>::try_from(tag) {
                Ok(tag) => plain_tag(tag),
                Err(tag) if tag.is_empty() => return Ok(None),
                Err(_) => return Err(CUT.into()),
            };
            self.end = self.input.at + size;
            if kind == MATRIX || kind == COMPRESSED {
                break kind;
            }
        };
        let size = self.end - self.input.at;
        let content = (&mut self.input).take(size);
        if kind == MATRIX {
            return Matrix::open(Box::new(content), false).map(Some);
        }
        let mut content = ZlibDecoder::new(content);
        let mut tag = [0; 8];
        content.read_exact(&mut tag).map_err(|e| words(&e))?;
        let (kind, _) = plain_tag(tag);
        if kind != MATRIX {
            return Err(format!("a compressed element of type {kind}"));
        }
        Matrix::open(Box::new(content), true).map(Some)
    }
}

/// Type and size of an element.
fn plain_tag(tag: [u8; 8]) -> (u32, u64) {
    let [a, b, c, d, e, f, g, h] = tag;
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]).into(),
    )
}

/// The tag of an element inside a matrix: type, size, and the content where it stands in the tag, as
/// up to 4 bytes may.
fn inner_tag(content: &mut dyn Read) -> Result<(u32, u64, Option<[u8; 4]>), String> {
    let mut tag = [0; 8];
    content.read_exact(&mut tag).map_err(|e| words(&e))?;
    let (kind, size) = plain_tag(tag);
    if kind >> 16 == 0 {
        return Ok((kind, size, None));
    }
    let size = u64::from(kind >> 16);
    if size > 4 {
        return Err("a short element of more than 4 bytes".into());
    }
    let [_, _, _, _, bytes @ ..] = tag;
    Ok((kind & 0xffff, size, Some(bytes)))
}

/// A small element inside a matrix, with its padding.
fn small(content: &mut dyn Read) -> Result<Vec<u8>, String> {
    let (_, size, short) = inner_tag(content)?;
    if let Some(bytes) = short {
        return Ok(bytes[..size as usize].to_vec());
    }
    if size > HEAD {
        return Err(format!("a matrix with a head of {size} bytes"));
    }
    let mut bytes = vec![0; size.next_multiple_of(8) as usize];
    content.read_exact(&mut bytes).map_err(|e| words(&e))?;
    bytes.truncate(size as usize);
    Ok(bytes)
}

impl<'a> Matrix<'a> {
    fn open(mut content: Box<dyn Read + 'a>, compressed: bool) -> Result<Self, String> {
        let flags = small(&mut content)?;
        let class = u32::from(*flags.first().ok_or("a matrix without flags")?);
        let dimensions = small(&mut content)?;
        let name = small(&mut content)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let sizes = dimensions
            .chunks_exact(4)
            .map(|d| i32::from_le_bytes([d[0], d[1], d[2], d[3]]));
        let dimensions: Option<Vec<usize>> = sizes.map(|d| usize::try_from(d).ok()).collect();
        let dimensions = dimensions.ok_or_else(|| format!("`{name}` has a negative size"))?;
        let (mut kind, mut size) = (0, 0);
        if NUMBERS.contains(&class) {
            let short;
            (kind, size, short) = inner_tag(&mut content)?;
            if let Some(bytes) = short {
                content = Box::new(io::Cursor::new(bytes).take(size));
            }
        }
        Ok(Self {
            name,
            dimensions,
            size,
            class,
            kind,
            content,
            compressed,
        })
    }

    /// How many values it has by its dimensions, where they are bytes; an error where they are not, or
    /// where that is not how many are there.
    pub fn bytes(&self) -> Result<u64, String> {
        if self.kind != UINT8 && self.kind != INT8 {
            let (name, kind) = (&self.name, self.kind);
            return Err(format!("`{name}` stores bytes as type {kind}"));
        }
        self.count(1)
    }

    fn count(&self, width: u64) -> Result<u64, String> {
        let mut dimensions = self.dimensions.iter();
        let count = dimensions.try_fold(1u64, |all, d| all.checked_mul(*d as u64));
        match count {
            Some(count) if count.checked_mul(width) == Some(self.size) => Ok(count),
            _ => Err(format!(
                "`{}` is {:?} but has {} values",
                self.name,
                self.dimensions,
                self.size / width
            )),
        }
    }

    /// Reads the next values, as they are stored.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        self.content.read_exact(buffer).map_err(|e| words(&e))
    }

    /// Reads what is behind the values, so that a wrong checksum is noticed.
    pub fn finish(mut self) -> Result<(), String> {
        if !self.compressed {
            return Ok(());
        }
        let mut rest = (&mut self.content).take(TAIL);
        io::copy(&mut rest, &mut io::sink()).map_err(|e| words(&e))?;
        if rest.limit() == 0 {
            return Err(format!("`{}` unpacks to more than its values", self.name));
        }
        Ok(())
    }

    /// All values as they are stored, up to `limit` bytes.
    fn stored(mut self, limit: u64) -> Result<Vec<u8>, String> {
        if self.size > limit {
            return Err(format!(
                "an element that unpacks to more than {limit} bytes"
            ));
        }
        // Grown as bytes come: the size may lie.
        let mut values = Vec::new();
        let read = (&mut self.content).take(self.size).read_to_end(&mut values);
        read.map_err(|e| words(&e))?;
        if values.len() as u64 != self.size {
            return Err(CUT.into());
        }
        self.finish()?;
        Ok(values)
    }

    /// All values as whole numbers from 0 to 255, up to `limit` of them: bytes, or fractions that have none.
    pub fn small_numbers(self, limit: u64) -> Result<Vec<u8>, String> {
        if self.kind != DOUBLE {
            self.bytes()?;
            return self.stored(limit);
        }
        self.count(8)?;
        let name = self.name.clone();
        let stored = self.stored(limit.saturating_mul(8))?;
        let (numbers, _) = stored.as_chunks::<8>();
        let byte = |bytes: &[u8; 8]| {
            let number = f64::from_le_bytes(*bytes);
            let byte = number as u8;
            (f64::from(byte) == number).then_some(byte)
        };
        let numbers: Option<Vec<u8>> = numbers.iter().map(byte).collect();
        numbers.ok_or_else(|| format!("`{name}` holds other things than small numbers"))
    }
}

/// A matrix of bytes.
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Rows, columns and so on.
    pub dimensions: Vec<usize>,
    /// The values, column by column.
    pub values: Vec<u8>,
}

/// All variables that are matrices of bytes; others are left out. None may have more than `limit`
/// values.
pub fn variables(file: &[u8], limit: u64) -> Result<Vec<Variable>, String> {
    let mut matrices = Matrices::new(file)?;
    let mut found = Vec::new();
    while let Some(matrix) = matrices.next()? {
        if matrix.class != UINT8_CLASS {
            continue;
        }
        matrix.bytes()?;
        found.push(Variable {
            name: matrix.name.clone(),
            dimensions: matrix.dimensions.clone(),
            values: matrix.stored(limit)?,
        });
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    fn put(out: &mut Vec<u8>, kind: u32, content: &[u8]) {
        out.extend(kind.to_le_bytes());
        out.extend((content.len() as u32).to_le_bytes());
        out.extend(content);
        out.resize(out.len().next_multiple_of(8), 0);
    }

    /// Matrices of bytes, every second one compressed, small contents in the short form.
    pub(crate) fn file(variables: &[(&str, &[i32], &[u8])]) -> Vec<u8> {
        let mut out = vec![b' '; 124];
        out.extend([0, 1, b'I', b'M']);
        for (n, (name, dimensions, values)) in variables.iter().enumerate() {
            let mut content = Vec::new();
            put(&mut content, 6, &[UINT8_CLASS as u8, 0, 0, 0, 0, 0, 0, 0]);
            put(
                &mut content,
                5,
                &dimensions
                    .iter()
                    .flat_map(|d| d.to_le_bytes())
                    .collect::<Vec<u8>>(),
            );
            put(&mut content, 1, name.as_bytes());
            if values.len() <= 4 {
                content.extend((UINT8 | (values.len() as u32) << 16).to_le_bytes());
                content.extend([values, &[0; 4][values.len()..]].concat());
            } else {
                put(&mut content, UINT8, values);
            }
            let mut whole = Vec::new();
            put(&mut whole, MATRIX, &content);
            if n % 2 == 1 {
                let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
                packer.write_all(&whole).unwrap();
                let packed = packer.finish().unwrap();
                out.extend(COMPRESSED.to_le_bytes());
                out.extend((packed.len() as u32).to_le_bytes());
                out.extend(packed);
            } else {
                out.extend(whole);
            }
        }
        out
    }

    fn example() -> Vec<u8> {
        file(&[
            ("a", &[2, 2], &[1, 2, 3, 4]),
            ("bcd", &[1, 3, 2], &[1, 2, 3, 4, 5, 6]),
            ("last", &[5, 1], &[9; 5]),
        ])
    }

    #[test]
    fn matrices_are_read_plain_compressed_and_short() {
        let found = variables(&example(), 1000).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|v| (v.name.as_str(), &v.dimensions[..], &v.values[..]))
            .collect();
        let expected: [(&str, &[usize], &[u8]); 3] = [
            ("a", &[2, 2], &[1, 2, 3, 4]),
            ("bcd", &[1, 3, 2], &[1, 2, 3, 4, 5, 6]),
            ("last", &[5, 1], &[9; 5]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_element_that_unpacks_to_too_much_is_refused() {
        let error = variables(
            &file(&[("a", &[1, 1], &[1]), ("b", &[1000, 100], &vec![0; 100_000])]),
            50_000,
        )
        .err()
        .unwrap();
        assert_eq!(error, "an element that unpacks to more than 50000 bytes");
    }

    #[test]
    fn a_wrong_checksum_and_bytes_behind_the_values_are_noticed() {
        let mut damaged = file(&[("a", &[1, 1], &[1]), ("b", &[1, 9], &[7; 9])]);
        *damaged.last_mut().unwrap() ^= 1;
        let error = variables(&damaged, 1000).err().unwrap();
        assert!(error.starts_with("a damaged compressed element"), "{error}");

        let mut content = Vec::new();
        put(&mut content, 6, &[UINT8_CLASS as u8, 0, 0, 0, 0, 0, 0, 0]);
        put(&mut content, 5, &[1, 0, 0, 0, 9, 0, 0, 0]);
        put(&mut content, 1, b"b");
        put(&mut content, UINT8, &[7; 9]);
        content.resize(1 << 20, 0);
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
        let mut whole = Vec::new();
        put(&mut whole, MATRIX, &content);
        packer.write_all(&whole).unwrap();
        let packed = packer.finish().unwrap();
        let mut bomb = file(&[]);
        bomb.extend(COMPRESSED.to_le_bytes());
        bomb.extend((packed.len() as u32).to_le_bytes());
        bomb.extend(packed);
        let error = variables(&bomb, 1000).err().unwrap();
        assert_eq!(error, "`b` unpacks to more than its values");
    }

    #[test]
    fn fractions_that_are_whole_are_numbers_too() {
        let matrix = |values: [f64; 2]| {
            let mut content = Vec::new();
            put(&mut content, 6, &[6, 0, 0, 0, 0, 0, 0, 0]);
            put(&mut content, 5, &[2, 0, 0, 0, 1, 0, 0, 0]);
            put(&mut content, 1, b"y");
            put(&mut content, DOUBLE, &values.map(f64::to_le_bytes).concat());
            let mut whole = file(&[]);
            put(&mut whole, MATRIX, &content);
            let mut matrices = Matrices::new(&whole[..]).unwrap();
            matrices.next().unwrap().unwrap().small_numbers(10)
        };
        assert_eq!(matrix([1.0, 10.0]).unwrap(), [1, 10]);
        for wrong in [1.5, -1.0, 256.0, f64::NAN] {
            assert!(matrix([1.0, wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let error = |dimensions: &[i32]| {
            variables(&file(&[("a", dimensions, &[0; 6])]), 1000)
                .err()
                .unwrap()
        };
        assert_eq!(error(&[2, 2]), "`a` is [2, 2] but has 6 values");
        assert_eq!(
            error(&[i32::MAX, i32::MAX, i32::MAX]),
            "`a` is [2147483647, 2147483647, 2147483647] but has 6 values"
        );
        assert_eq!(error(&[-2, -3]), "`a` has a negative size");
        assert_eq!(
            variables(&[0; 128], 1000).err().unwrap(),
            "it is no MATLAB 5 file"
        );
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_read_or_refused(place: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut file = example();
            let place = place.index(file.len());
            file[place] = byte;
            let _ = variables(&file, 1000);
            let _ = variables(&file[..cut.index(file.len())], 1000);
        }
    }
}
