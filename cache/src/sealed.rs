//! Small JSON files that tell whether they are whole: `{"format": 1, "blake3": "…", "content": …}`,
//! where the digest is that of the content's bytes as they stand in the file.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::digest::Digest;

/// The newest format of these files.
pub const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    format: u32,
    blake3: Digest,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// Why a file's content is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Cut short, or never of this kind.
    #[error("it is no sealed JSON: {0}")]
    NotSealed(String),
    /// From a newer rematch.
    #[error("its format is {0}, and this rematch knows up to {FORMAT}")]
    Newer(u32),
    /// Bytes changed since it was written.
    #[error("its checksum does not match")]
    Checksum,
    /// Whole, but not what was expected.
    #[error("its content is not understood: {0}")]
    Content(String),
}

/// The bytes of a sealed file.
pub fn seal<T: Serialize>(content: &T) -> serde_json::Result<Vec<u8>> {
    let content = serde_json::value::to_raw_value(content)?;
    let blake3 = Digest::of_bytes(content.get().as_bytes());
    let mut bytes = serde_json::to_vec(&Sealed {
        format: FORMAT,
        blake3,
        content: &content,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The content of a sealed file, if it is whole.
pub fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damage> {
    let sealed: Sealed =
        serde_json::from_slice(bytes).map_err(|e| Damage::NotSealed(e.to_string()))?;
    if sealed.format > FORMAT {
        return Err(Damage::Newer(sealed.format));
    }
    let content = sealed.content.get();
    if Digest::of_bytes(content.as_bytes()) != sealed.blake3 {
        return Err(Damage::Checksum);
    }
    serde_json::from_str(content).map_err(|e| Damage::Content(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #[test]
        fn what_is_sealed_is_unsealed(text: String, number: f64) {
            let content = json!({ "text": text, "number": number });
            prop_assert_eq!(unseal::<Value>(&seal(&content).unwrap()), Ok(content));
        }

        #[test]
        fn other_content_behind_the_same_seal_is_noticed(a: String, b: String) {
            prop_assume!(a != b);
            let sealed = String::from_utf8(seal(&a).unwrap()).unwrap();
            let quoted = |text: &str| Value::from(text).to_string();
            let changed = sealed.replace(&quoted(&a), &quoted(&b));
            prop_assume!(changed != sealed);
            prop_assert!(unseal::<String>(changed.as_bytes()) != Ok(b));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            prop_assert!(unseal::<Value>(&bytes).is_err());
        }
    }
}
