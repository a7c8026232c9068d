//! A reader for MATLAB 5 files, as much of it as CIFAR's batches need: matrices of bytes, plain or
//! compressed, little-endian.
//!
//! A file is a header of 128 bytes and elements; an element is a type, a size and that many bytes,
//! padded to 8. A matrix is an element of elements: flags, dimensions, name, values.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// Numbers of one byte, with sign or without.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Class of a matrix of unsigned bytes.
const UINT8_CLASS: u32 = 9;

/// A matrix of bytes.
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Rows, columns and so on.
    pub dimensions: Vec<usize>,
    /// The values, column by column.
    pub values: Vec<u8>,
}

/// All variables that are matrices of bytes; others are left out. No element may unpack to more
/// than `limit` bytes.
pub fn variables(file: &[u8], limit: usize) -> Result<Vec<Variable>, String> {
    let header = file.get(..128).ok_or("it is too short for a MATLAB file")?;
    match &header[124..] {
        [0, 1, b'I', b'M'] => {}
        [1, 0, b'M', b'I'] => {
            return Err("it is big-endian, which the official batches are not".into());
        }
        _ => return Err("it is no MATLAB 5 file".into()),
    }
    let mut rest = &file[128..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (kind, content) = element(&mut rest, false)?;
        match kind {
            MATRIX => found.extend(matrix(content)?),
            COMPRESSED => {
                let mut unpacked = Vec::new();
                let read = ZlibDecoder::new(content)
                    .take(limit as u64 + 1)
                    .read_to_end(&mut unpacked);
                read.map_err(|e| format!("a damaged compressed element: {e}"))?;
                if unpacked.len() > limit {
                    return Err(format!(
                        "an element that unpacks to more than {limit} bytes"
                    ));
                }
                let mut inner = &unpacked[..];
                if let (MATRIX, content) = element(&mut inner, false)? {
                    found.extend(matrix(content)?);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Takes one element off the front. Those inside a matrix are padded to 8 bytes, and have a short
/// form in which up to 4 bytes of content stand in the tag.
fn element<'a>(rest: &mut &'a [u8], inside: bool) -> Result<(u32, &'a [u8]), String> {
    const CUT: &str = "the file is cut off";
    let (tag, after) = rest.split_first_chunk::<8>().ok_or(CUT)?;
    let kind = u32::from_le_bytes([tag[0], tag[1], tag[2], tag[3]]);
    if inside && kind >> 16 != 0 {
        let size = (kind >> 16) as usize;
        let content = rest[4..8]
            .get(..size)
            .ok_or("a short element of more than 4 bytes")?;
        *rest = after;
        return Ok((kind & 0xffff, content));
    }
    let size = u32::from_le_bytes([tag[4], tag[5], tag[6], tag[7]]) as usize;
    let (content, after) = after.split_at_checked(size).ok_or(CUT)?;
    let padding = if inside { (8 - size % 8) % 8 } else { 0 };
    *rest = after.get(padding..).unwrap_or_default();
    Ok((kind, content))
}

/// Reads a matrix; `None` for one that is not of bytes.
fn matrix(mut rest: &[u8]) -> Result<Option<Variable>, String> {
    let (_, flags) = element(&mut rest, true)?;
    let class = u32::from(*flags.first().ok_or("a matrix without flags")?);
    let (_, dimensions) = element(&mut rest, true)?;
    let dimensions = dimensions
        .chunks_exact(4)
        .map(|d| i32::from_le_bytes([d[0], d[1], d[2], d[3]]));
    let dimensions: Option<Vec<usize>> = dimensions.map(|d| usize::try_from(d).ok()).collect();
    let (_, name) = element(&mut rest, true)?;
    let name = String::from_utf8_lossy(name).into_owned();
    if class != UINT8_CLASS {
        return Ok(None);
    }
    let dimensions = dimensions.ok_or_else(|| format!("`{name}` has a negative size"))?;
    let (kind, values) = element(&mut rest, true)?;
    if kind != UINT8 && kind != INT8 {
        return Err(format!("`{name}` stores bytes as type {kind}"));
    }
    let size = dimensions
        .iter()
        .try_fold(1usize, |all, d| all.checked_mul(*d));
    if size != Some(values.len()) {
        return Err(format!(
            "`{name}` is {dimensions:?} but has {} values",
            values.len()
        ));
    }
    Ok(Some(Variable {
        name,
        dimensions,
        values: values.to_vec(),
    }))
}

#[cfg(test)]
pub mod tests {
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
    pub fn file(variables: &[(&str, &[i32], &[u8])]) -> Vec<u8> {
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
