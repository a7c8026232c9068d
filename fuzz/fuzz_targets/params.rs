//! Parameters of every stage kind from any JSON. The first byte chooses the kind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch::resources::Options;
use rematch_spec::kind::{KINDS, typed};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let Ok(params) = serde_json::from_slice::<Value>(rest) else {
        return;
    };
    let kind = &KINDS[usize::from(*first) % KINDS.len()];
    let _ = (kind.implied)(&params);
    if let Ok(options) = typed::<Options>(params.clone()) {
        let _ = options.needs(kind);
    }
    let variable = |_: &str| Some("/mirror".to_owned());
    match kind.declare(params, &variable) {
        // What a job file carries is typed again by the child, and must mean the same.
        Ok(first) => {
            let again = kind
                .declare(first.params.clone(), &|_| None)
                .expect("its own parameters");
            assert_eq!(first.params, again.params);
            assert_eq!(first.outputs, again.outputs);
            // Those carry a method's whole recipe, the key only what differs from it; it is of parameters, too.
            let key = kind
                .declare(first.key_params.clone(), &|_| None)
                .expect("parameters of a key");
            assert_eq!(first.key_params, key.key_params);
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
});
