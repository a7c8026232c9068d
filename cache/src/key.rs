//! Keys: what identifies a job's result. The id and the explanation of a change come from the same
//! walk over the same `Key::fields`, so whatever changes the id can be named.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// Everything that a job's result depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// The stage kind, `train`.
    pub kind: String,
    /// The kind's version: raised by hand when its results change.
    pub version: u32,
    /// Typed parameters as JSON.
    pub params: Value,
    /// Content of every input by name.
    pub inputs: BTreeMap<String, Digest>,
}

/// The id of a key: BLAKE3 of its canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Digest);

/// One field in which two keys differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where, `params.seed`, `inputs.labeled`, `version`.
    pub field: String,
    /// Before; `None` where the field was not there.
    pub old: Option<Value>,
    /// Now; `None` where the field is gone.
    pub new: Option<Value>,
}

impl Key {
    /// The id.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of_bytes(self.to_json().as_bytes()))
    }

    /// The canonical JSON: no spaces, members sorted by name at every level.
    pub fn to_json(&self) -> String {
        let mut text = String::with_capacity(1024);
        write(&self.fields(), &mut text);
        text
    }

    /// The whole key as one JSON value. A new field of [`Key`] does not compile before it is here.
    fn fields(&self) -> Value {
        let Self {
            kind,
            version,
            params,
            inputs,
        } = self;
        let inputs = inputs
            .iter()
            .map(|(name, digest)| (name.clone(), Value::from(digest.to_hex())));
        Value::Object(serde_json::Map::from_iter([
            ("inputs".to_owned(), Value::Object(inputs.collect())),
            ("kind".to_owned(), Value::from(kind.as_str())),
            ("params".to_owned(), params.clone()),
            ("version".to_owned(), Value::from(*version)),
        ]))
    }
}

/// Every field in which `new` differs from `old`, sorted; empty exactly if their ids are equal.
pub fn changes(old: &Key, new: &Key) -> Vec<Change> {
    let mut found = Vec::new();
    compare(
        String::new(),
        Some(&old.fields()),
        Some(&new.fields()),
        &mut found,
    );
    found
}

/// The members of an object sorted by name, whatever order the map type keeps.
fn members(value: &Value) -> Option<BTreeMap<&str, &Value>> {
    Some(
        value
            .as_object()?
            .iter()
            .map(|(name, member)| (name.as_str(), member))
            .collect(),
    )
}

fn write(value: &Value, text: &mut String) {
    if let Some(members) = members(value) {
        let mut between = '{';
        for (name, member) in &members {
            text.push(between);
            between = ',';
            quote(name, text);
            text.push(':');
            write(member, text);
        }
        text.push_str(if members.is_empty() { "{}" } else { "}" });
    } else if let Some(items) = value.as_array() {
        text.push('[');
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                text.push(',');
            }
            write(item, text);
        }
        text.push(']');
    } else if let Some(inner) = value.as_str() {
        quote(inner, text);
    } else {
        text.push_str(&scalar(value));
    }
}

/// A text as JSON. Most are names and digests, which `status` writes by the thousand: what needs no
/// escape is copied as it is.
fn quote(inner: &str, text: &mut String) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if inner.bytes().all(plain) {
        text.push('"');
        text.push_str(inner);
        text.push('"');
    } else {
        text.push_str(&Value::from(inner).to_string());
    }
}

/// A number, text, boolean or null in its only form: a number is the shortest text that reads back
/// as the same integer or double, so `3e-2` and `0.03` are one.
fn scalar(value: &Value) -> String {
    if let Value::Number(number) = value {
        if let Some(n) = number.as_u64() {
            return n.to_string();
        }
        if let Some(n) = number.as_i64() {
            return n.to_string();
        }
        if let Some(n) = number.as_f64() {
            return Value::from(n).to_string();
        }
    }
    value.to_string()
}

fn compare(field: String, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Change>) {
    if let (Some(old), Some(new)) = (old, new) {
        if let (Some(old), Some(new)) = (members(old), members(new)) {
            let mut names: Vec<&str> = old.keys().chain(new.keys()).copied().collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let inner = if field.is_empty() {
                    name.to_owned()
                } else {
                    format!("{field}.{name}")
                };
                compare(inner, old.get(name).copied(), new.get(name).copied(), found);
            }
            return;
        }
        if let (Value::Array(old), Value::Array(new)) = (old, new)
            && old.len() == new.len()
        {
            for (n, (old, new)) in old.iter().zip(new).enumerate() {
                compare(format!("{field}[{n}]"), Some(old), Some(new), found);
            }
            return;
        }
        let form = |value: &Value| {
            let mut text = String::new();
            write(value, &mut text);
            text
        };
        if form(old) == form(new) {
            return;
        }
    }
    found.push(Change {
        field,
        old: old.cloned(),
        new: new.cloned(),
    });
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KeyId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn key(params: Value) -> Key {
        let inputs = BTreeMap::from([("labeled".to_owned(), Digest::of_bytes(b"x"))]);
        Key {
            kind: "train".into(),
            version: 1,
            params,
            inputs,
        }
    }

    #[test]
    fn the_canonical_json_is_sorted_and_tight() {
        let key = Key {
            inputs: BTreeMap::new(),
            ..key(json!({"b": [1, {"z": null, "a": "é\n"}], "a": 0.03}))
        };
        assert_eq!(
            key.to_json(),
            r#"{"inputs":{},"kind":"train","params":{"a":0.03,"b":[1,{"a":"é\n","z":null}]},"version":1}"#
        );
        assert_eq!(key.id().0, Digest::of_bytes(key.to_json().as_bytes()));
    }

    #[test]
    fn the_way_a_number_is_written_does_not_matter() {
        let read = |text| key(serde_json::from_str(text).unwrap()).id();
        assert_eq!(
            read(r#"{"lr": 3e-2, "n": 7}"#),
            read(r#"{"n":7,"lr":0.03}"#)
        );
        assert_ne!(read(r#"{"n": 7}"#), read(r#"{"n": "7"}"#));
    }

    #[test]
    fn a_change_is_named_with_old_and_new() {
        let old = key(
            json!({"seed": 1, "method": {"fixmatch": {"confidence": 0.95}}, "gone": true, "list": [1, 2]}),
        );
        let mut new =
            key(json!({"seed": 2, "method": {"fixmatch": {"confidence": 0.8}}, "list": [1, 3]}));
        new.version = 2;
        new.inputs.insert("labeled".into(), Digest::of_bytes(b"y"));
        let found = changes(&old, &new);
        let fields: Vec<&str> = found.iter().map(|c| c.field.as_str()).collect();
        let expected = [
            "inputs.labeled",
            "params.gone",
            "params.list[1]",
            "params.method.fixmatch.confidence",
            "params.seed",
            "version",
        ];
        assert_eq!(fields, expected);
        assert_eq!((&found[1].old, &found[1].new), (&Some(json!(true)), &None));
        assert_eq!(
            (&found[4].old, &found[4].new),
            (&Some(json!(1)), &Some(json!(2)))
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3_i64).prop_map(Value::from),
            Just(json!(0.5)),
            any::<f64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ab]{0,1}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[ab.]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_text_is_written_as_json_writes_it(text in any::<String>()) {
            let mut written = String::new();
            quote(&text, &mut written);
            prop_assert_eq!(written, serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn ids_differ_exactly_if_a_change_is_named(a in any_json(), b in any_json()) {
            let (a, b) = (key(a), key(b));
            prop_assert_eq!(a.id() == b.id(), changes(&a, &b).is_empty());
            prop_assert!(changes(&a, &a).is_empty());
        }

        #[test]
        fn the_canonical_json_reads_back_as_the_key(params in any_json()) {
            let key = key(params);
            let read: Key = serde_json::from_str(&key.to_json()).unwrap();
            prop_assert_eq!(read.id(), key.id());
        }
    }
}
