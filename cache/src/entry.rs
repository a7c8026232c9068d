//! Entries: what a finished job left in the store. On disk a JSON file (see [`crate::sealed`]); one
//! that is damaged, foreign or newer counts as absent, and the reason is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::Artifact;
use crate::key::{Key, KeyId};
use crate::sealed::{self, Damage};

/// A finished job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What identifies it.
    pub key: Key,
    /// Its outputs by name.
    pub outputs: BTreeMap<String, Artifact>,
    /// What it printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Artifact>,
    /// Final numbers; may hold NaN and infinities.
    #[serde(default, with = "numbers")]
    pub metrics: BTreeMap<String, f64>,
    /// Where, when and how it was made.
    pub provenance: Provenance,
}

/// Where, when and how a result was made. None of this is in the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of rematch.
    #[serde(default)]
    pub rematch: String,
    /// Name of the machine.
    #[serde(default)]
    pub host: String,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it started, seconds since 1970.
    #[serde(default)]
    pub started: f64,
    /// How long it ran, over all its attempts that counted.
    #[serde(default)]
    pub seconds: f64,
    /// CPU time that its processes took in the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Most bytes of main memory that one of its processes held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// Which attempt succeeded, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// The job's name when it was made, `train[seed=1]`.
    #[serde(default)]
    pub job: String,
    /// The pipeline that it was made for.
    #[serde(default)]
    pub pipeline: String,
    /// Anything else: device, library versions, source address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Value>,
}

/// What a publisher says beside the outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Final numbers.
    pub metrics: BTreeMap<String, f64>,
    /// Where, when and how.
    pub provenance: Provenance,
}

impl Entry {
    /// The bytes of its file.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        sealed::seal(self)
    }

    /// Reads the file of the entry `id`.
    pub fn parse(bytes: &[u8], id: &KeyId) -> Result<Self, Damage> {
        let entry: Self = sealed::unseal(bytes)?;
        if entry.key.id() == *id {
            Ok(entry)
        } else {
            Err(Damage::Content("it is the entry of another key".into()))
        }
    }

    /// Every artifact with a name for messages.
    pub fn artifacts(&self) -> impl Iterator<Item = (&str, &Artifact)> {
        let outputs = self
            .outputs
            .iter()
            .map(|(name, artifact)| (name.as_str(), artifact));
        outputs.chain(self.log.as_ref().map(|log| ("log", log)))
    }
}

/// Numbers that JSON has no form for, as texts.
mod numbers {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Plain(f64),
        Text(String),
    }

    pub fn serialize<S: Serializer>(
        all: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(all.iter().map(|(name, value)| {
            let value = if value.is_finite() {
                Number::Plain(*value)
            } else {
                Number::Text(value.to_string())
            };
            (name, value)
        }))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let all = BTreeMap::<String, Number>::deserialize(deserializer)?;
        all.into_iter()
            .map(|(name, value)| match value {
                Number::Plain(value) => Ok((name, value)),
                Number::Text(text) => text
                    .parse()
                    .map(|value| (name, value))
                    .map_err(serde::de::Error::custom),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;
    use serde_json::json;

    fn entry() -> Entry {
        let file = Artifact {
            digest: Digest::of_bytes(b"out"),
            size: 3,
            folder: false,
        };
        Entry {
            key: Key {
                kind: "train".into(),
                version: 3,
                params: json!({"seed": 1, "lr": 0.03}),
                inputs: BTreeMap::from([("labeled".into(), Digest::of_bytes(b"in"))]),
            },
            outputs: BTreeMap::from([
                (
                    "run".into(),
                    Artifact {
                        folder: true,
                        ..file
                    },
                ),
                ("stats".into(), file),
            ]),
            log: Some(file),
            metrics: BTreeMap::from([("accuracy".into(), 94.5), ("loss".into(), f64::INFINITY)]),
            provenance: Provenance {
                started: 1.7e9,
                attempt: 1,
                facts: BTreeMap::from([("device".into(), json!({"name": "cpu"}))]),
                ..Provenance::default()
            },
        }
    }

    #[test]
    fn an_entry_reads_back_with_its_infinities() {
        let entry = entry();
        let bytes = entry.to_bytes().unwrap();
        assert_eq!(Entry::parse(&bytes, &entry.key.id()).unwrap(), entry);
        let other = KeyId(Digest::of_bytes(b"other"));
        assert!(matches!(
            Entry::parse(&bytes, &other),
            Err(Damage::Content(_))
        ));
    }

    #[test]
    fn an_entry_cut_at_any_byte_is_absent() {
        let bytes = entry().to_bytes().unwrap();
        let id = entry().key.id();
        // The last byte is the end of the line, which says nothing.
        for end in 0..bytes.len() - 1 {
            assert!(Entry::parse(&bytes[..end], &id).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn an_entry_from_the_future_is_told_apart() {
        let text = String::from_utf8(entry().to_bytes().unwrap()).unwrap();
        let newer = text.replace("\"format\":1", "\"format\":9");
        assert_eq!(
            Entry::parse(newer.as_bytes(), &entry().key.id()),
            Err(Damage::Newer(9))
        );
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let entry = entry();
            let mut bytes = entry.to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // What still reads is the same entry: the flip hit something that says nothing.
            if let Ok(read) = Entry::parse(&bytes, &entry.key.id()) {
                prop_assert_eq!(read, entry);
            }
        }

        #[test]
        fn any_number_and_any_text_read_back(
            metrics in proptest::collection::btree_map(any::<String>(), any::<f64>(), 0..4),
            facts in proptest::collection::btree_map(any::<String>(), any::<f64>().prop_map(Value::from), 0..4),
            job: String,
            seconds in any::<f64>().prop_filter("JSON has no word for it", |s| s.is_finite()),
        ) {
            let mut entry = entry();
            entry.metrics = metrics;
            entry.provenance.facts = facts;
            entry.provenance.job = job;
            entry.provenance.seconds = seconds;
            let bytes = entry.to_bytes().unwrap();
            let read = Entry::parse(&bytes, &entry.key.id()).unwrap();
            // NaN is no number's equal, but its text is.
            prop_assert_eq!(format!("{read:?}"), format!("{entry:?}"));
            prop_assert_eq!(read.to_bytes().unwrap(), bytes);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = Entry::parse(&bytes, &entry().key.id());
        }
    }
}
