//! `args/args.json`: the hyper-parameters as the originals write them, for tools that read theirs
//! (spec/fixmatch.md 9).

use std::collections::BTreeMap;

use rematch_data::json;
use rematch_spec::method::Method;
use rematch_spec::train::{Network, Optimizer, Train};
use serde_json::{Value, json};

/// The file's content.
pub fn arguments(spec: &Train, classes: i64) -> Vec<u8> {
    let Network::Resnet(size) = &spec.network;
    let Optimizer::Sgd(sgd) = &spec.optimizer;
    let mut all: BTreeMap<&str, Value> = BTreeMap::from([
        ("arch", json!("resnet")),
        ("batch", json!(spec.batch)),
        ("filters", json!(size.filters)),
        ("lr", json!(sgd.lr)),
        ("nclass", json!(classes)),
        ("repeat", json!(size.repeat)),
        ("scales", json!(size.scales)),
        ("wd", json!(sgd.weight_decay)),
    ]);
    match &spec.algorithm {
        Method::Supervised(_) => {}
        Method::Fixmatch(fixmatch) => all.extend([
            ("confidence", json!(fixmatch.confidence)),
            ("uratio", json!(fixmatch.uratio)),
            ("wu", json!(fixmatch.wu)),
        ]),
    }
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
        // The file of a run of the original with these settings.
        let expected = "{\n    \"arch\": \"resnet\",\n    \"batch\": 16,\n    \"confidence\": 0.5,\n    \"filters\": 4,\n    \"lr\": 0.03,\n    \"nclass\": 10,\n    \"repeat\": 1,\n    \"scales\": 3,\n    \"uratio\": 1,\n    \"wd\": 0.0005,\n    \"wu\": 1.0\n}";
        assert_eq!(String::from_utf8(arguments(&spec, 10)).unwrap(), expected);
    }
}
