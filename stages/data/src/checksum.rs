//! Checksums of archives, written `md5:…` or `sha256:…`.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::fs;

/// The checksum of a file, of the same kind as `expected` (`md5:…`, else SHA-256).
pub fn of_file(path: &Path, expected: &str) -> Result<String, fs::Error> {
    if expected.starts_with("md5:") {
        Ok(format!("md5:{}", digest::<Md5>(path)?))
    } else {
        Ok(format!("sha256:{}", digest::<Sha256>(path)?))
    }
}

/// Whether two checksums are the same, upper case or lower.
pub fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn digest<D: Digest>(path: &Path) -> Result<String, fs::Error> {
    let mut file = fs::open(path)?;
    let mut buffer = vec![0; 1 << 18];
    let mut digest = D::new();
    loop {
        match file.read(&mut buffer).map_err(fs::at("read", path))? {
            0 => return Ok(hex(&digest.finalize())),
            n => digest.update(&buffer[..n]),
        }
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_the_well_known_sums() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        assert_eq!(
            of_file(file.path(), "md5:").unwrap(),
            "md5:900150983cd24fb0d6963f7d28e17f72"
        );
        let sha256 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(file.path(), "sha256:").unwrap(), sha256);
        assert!(same(sha256, &sha256.to_uppercase()));
    }
}
