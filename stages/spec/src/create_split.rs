//! Parameters of `create_split`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::{Input, Inputs};
use crate::kind::{Invalid, Output, Stage};
use crate::protocol::{Amount, Protocol};

/// Picks the labeled records of a split, as one of the published systems does. FixMatch's way is the
/// default (`create_split.py`, spec/fixmatch.md 2.5): classes take turns by their frequency, records
/// within a class are shuffled by numpy's generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSplit {
    /// The TFRecord files to read, in this order.
    pub train: Inputs,
    /// Seed of the shuffles; 0 does not shuffle at all, except in `featmatch` and `domainnet`.
    /// Every protocol but `first_k_per_class` and `list` needs it.
    #[serde(default)]
    pub seed: Option<u32>,
    /// How many records to pick; for `featmatch` and `domainnet` a count or a fraction. Every protocol
    /// but `list` needs it.
    #[serde(default)]
    pub size: Option<Amount>,
    /// Treats all classes as equally frequent, which the originals do for STL-10.
    #[serde(default)]
    pub uniform: bool,
    /// STL-10's own file of ten label sets, a line each. Where exactly 1,000 records are to be picked,
    /// the line number `seed`, counted from 0, is the split, as in the originals; `train` must then
    /// begin with STL-10's training records. Other sizes are drawn as ever.
    #[serde(default)]
    pub folds: Option<Input>,
    /// Whose split. `fixmatch`, `cadr` and `list` make `labeled` and `indexes`; `realmix` and
    /// `first_k_per_class` also `unlabeled`, and the latter `validation`; `featmatch` and `domainnet` make
    /// `validation` and `test` where they are given the records for it.
    #[serde(default)]
    pub protocol: Protocol,
}

impl Stage for CreateSplit {
    const NAME: &'static str = "create_split";
    // 1: first
    const VERSION: u32 = 1;

    fn outputs(&self) -> Vec<Output> {
        self.protocol.outputs()
    }

    fn check(&self) -> Result<(), Invalid> {
        let protocol = self.protocol.name();
        let unfit = |name: &str| {
            Err(Invalid::at(
                name,
                format!("the protocol `{protocol}` has no use for `{name}`; leave it out"),
            ))
        };
        let missing = |name: &str| {
            Err(Invalid::at(
                "",
                format!("missing field `{name}`, which the protocol `{protocol}` needs"),
            ))
        };
        let by_frequency = matches!(
            self.protocol,
            Protocol::Fixmatch(_) | Protocol::Cadr(_) | Protocol::Realmix(_)
        );
        let by_fraction = matches!(
            self.protocol,
            Protocol::Featmatch(_) | Protocol::Domainnet(_)
        );
        if self.uniform && !by_frequency {
            return unfit("uniform");
        }
        if self.folds.is_some() && !by_frequency {
            return unfit("folds");
        }
        match (&self.protocol, self.seed) {
            (Protocol::List(_), Some(_)) => return unfit("seed"),
            (Protocol::List(_) | Protocol::FirstKPerClass(_), _) => {}
            (_, None) => return missing("seed"),
            // The trainer's shuffles use the seed plus 1 to 4, and numpy's seeds end at 2^32 - 1.
            (_, Some(seed)) if by_fraction && seed > u32::MAX - 4 => {
                return Err(Invalid::at("seed", "expected at most 4294967291"));
            }
            _ => {}
        }
        match (&self.protocol, self.size) {
            (Protocol::List(_), Some(_)) => return unfit("size"),
            (Protocol::List(_), None) => {}
            (_, None) => return missing("size"),
            (_, Some(Amount::Count(0))) => {
                return Err(Invalid::at(
                    "size",
                    "a split needs at least 1 labeled record, found 0",
                ));
            }
            (_, Some(Amount::Fraction(fraction))) if !by_fraction => {
                return Err(Invalid::at(
                    "size",
                    format!(
                        "the protocol `{protocol}` takes a count such as 40, found {fraction:?}"
                    ),
                ));
            }
            _ => {}
        }
        self.protocol.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{Declaration, find};
    use serde_json::{Value, json};

    fn declare(params: Value) -> Result<Declaration, Invalid> {
        find("create_split").unwrap().declare(params, &|_| None)
    }

    #[test]
    fn a_key_is_that_of_the_first_release_and_holds_no_default() {
        let declared = declare(json!({"train": "a", "seed": 1, "size": 40})).unwrap();
        let key = json!({"train": [{"$input": "a"}], "seed": 1, "size": 40});
        assert_eq!(declared.key_params, key);
        for protocol in [
            json!("fixmatch"),
            json!({"fixmatch": {}}),
            json!({"fixmatch": null}),
        ] {
            let same = json!({"train": "a", "seed": 1, "size": 40, "protocol": protocol});
            assert_eq!(declare(same).unwrap().key_params, key);
        }
        let cadr =
            json!({"train": "a", "seed": 1, "size": 40, "protocol": {"cadr": {"lambda": 50}}});
        assert_eq!(
            declare(cadr).unwrap().key_params["protocol"],
            json!({"cadr": {}})
        );
    }

    #[test]
    fn outputs_follow_from_the_protocol() {
        let names = |protocol: Value| {
            let params = json!({"train": "a", "seed": 1, "size": 40, "protocol": protocol});
            let outputs = declare(params).unwrap().outputs;
            outputs
                .into_iter()
                .map(|o| o.name)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(names(json!({"cadr": {"random": true}})), "labeled indexes");
        assert_eq!(names(json!("realmix")), "labeled unlabeled indexes");
        assert_eq!(names(json!("featmatch")), "labeled unlabeled indexes");
        assert_eq!(
            names(json!({"featmatch": {"valid": 4000, "test": "b"}})),
            "labeled unlabeled validation test indexes"
        );
        assert_eq!(
            names(
                json!({"domainnet": {"sources": {"sketch": "b"}, "replaced": 0.5, "valid": 0.01}})
            ),
            "labeled unlabeled validation indexes"
        );
        assert_eq!(
            names(json!({"first_k_per_class": {}})),
            "labeled unlabeled validation indexes"
        );
    }

    #[test]
    fn a_count_is_no_fraction() {
        let amount = |text: &str| serde_json::from_str::<Amount>(text);
        assert_eq!(amount("1").unwrap(), Amount::Count(1));
        assert_eq!(amount("1.0").unwrap(), Amount::Fraction(1.0));
        assert_eq!(
            serde_json::to_string(&Amount::Fraction(1.0)).unwrap(),
            "1.0"
        );
        for wrong in ["-1", "1.5", "-0.1", "\"x\"", "null"] {
            let error = amount(wrong).unwrap_err().to_string();
            assert!(error.contains("a count such as 40"), "{error}");
        }
    }

    #[test]
    fn parameters_that_do_not_fit_the_protocol_are_refused() {
        let cases = [
            (json!({"size": 40}), "missing field `seed`"),
            (json!({"seed": 1}), "missing field `size`"),
            (json!({"seed": 1, "size": 0.5}), "takes a count"),
            (json!({"seed": 1, "size": 0}), "at least 1 labeled record"),
            (
                json!({"seed": 1, "size": 1, "protocol": "list"}),
                "list: expected a reference",
            ),
            (
                json!({"size": 1, "protocol": {"list": "b"}}),
                "no use for `size`",
            ),
            (
                json!({"seed": 1, "protocol": {"list": "b"}}),
                "no use for `seed`",
            ),
            (
                json!({"seed": 1, "size": 1, "protocol": "realmx"}),
                "expected one of `fixmatch`",
            ),
            (
                json!({"seed": 1, "size": 1, "protocol": {"cadr": {"lambda": 0.5}}}),
                "1 or more",
            ),
            (
                json!({"seed": 1, "size": 1, "protocol": {"cadr": {"lamda": 5}}}),
                "unknown field `lamda`",
            ),
            (
                json!({"seed": 1, "size": 1, "protocol": {"realmix": {"label_size": 0}}}),
                "at least 1",
            ),
            (
                json!({"seed": 1, "size": 1, "uniform": true, "protocol": "featmatch"}),
                "no use for `uniform`",
            ),
            (
                json!({"seed": u32::MAX, "size": 1, "protocol": "featmatch"}),
                "at most 4294967291",
            ),
            (
                json!({"seed": 1, "size": 0.05, "protocol": {"domainnet": {
                    "sources": {"a": "x"}, "replaced": 0.5, "weights": {"b": 1}}}}),
                "`b` is none of `sources`",
            ),
            (
                json!({"seed": 1, "size": 0.05, "protocol": {"domainnet": {
                    "sources": {"a": "x"}, "replaced": 0.5, "weights": {"a": 0}}}}),
                "at least one above 0",
            ),
        ];
        for (mut params, expected) in cases {
            params["train"] = json!("a");
            let error = declare(params.clone()).unwrap_err().to_string();
            assert!(error.contains(expected), "{params}: {error}");
        }
    }
}
