//! `args/args.json`: the hyper-parameters as the originals write them, for tools that read theirs
//! (spec/fixmatch.md 9).

use std::collections::BTreeMap;

use rematch_data::json;
use rematch_spec::network::Network;
use rematch_spec::train::Train;
use serde_json::{Map, Value, json};

/// The file's content: what every script of the originals has, then the method's own.
pub fn arguments(spec: &Train, classes: i64) -> Vec<u8> {
    let recipe = spec.recipe();
    let mut all = Map::from_iter([
        ("arch".to_owned(), json!(recipe.network.name())),
        ("batch".to_owned(), json!(recipe.batch)),
        ("lr".to_owned(), json!(recipe.optimizer.lr())),
        ("nclass".to_owned(), json!(classes)),
        ("wd".to_owned(), json!(recipe.optimizer.weight_decay())),
    ]);
    if let Network::Resnet(size) = &recipe.network {
        all.extend([
            ("filters".to_owned(), json!(size.filters)),
            ("repeat".to_owned(), json!(size.repeat)),
            ("scales".to_owned(), json!(size.scales)),
        ]);
    }
    // A method is written as a map with its name and its hyper-parameters.
    let method = json!(spec.algorithm);
    let settings = method
        .as_object()
        .and_then(|m| m.values().next()?.as_object());
    all.extend(
        settings
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    let all: BTreeMap<String, Value> = all.into_iter().collect();
    json::python(&all, 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_as_the_originals_write_them() {
        let spec: Train = serde_json::from_value(json!({
            "algorithm": {"fixmatch": {"confidence": 0.5, "uratio": 1}},
            "batch": 16,
            "network": {"resnet": {"filters": 4, "repeat": 1, "scales": 3}},
        }))
        .unwrap();
        // The file of a run of the original with these settings, and the options that are ours: there
        // each is a script of its own.
        let expected = "{\n    \"arch\": \"resnet\",\n    \"batch\": 16,\n    \"confidence\": 0.5,\n    \"filters\": 4,\n    \"guess\": \"student\",\n    \"lr\": 0.03,\n    \"nclass\": 10,\n    \"repeat\": 1,\n    \"scales\": 3,\n    \"soft\": false,\n    \"temperature\": 1.0,\n    \"uratio\": 1,\n    \"wd\": 0.0005,\n    \"wu\": 1.0\n}";
        assert_eq!(String::from_utf8(arguments(&spec, 10)).unwrap(), expected);
    }
}
