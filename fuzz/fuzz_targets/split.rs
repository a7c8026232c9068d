//! Names of well-known splits, `cifar10.3@40-1`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_spec::kind::find;
use rematch_spec::named::{Named, looks_named};

fuzz_target!(|text: &str| {
    let Ok(split) = text.parse::<Named>() else {
        return;
    };
    assert!(looks_named(text));
    assert_eq!(split.to_string().parse(), Ok(split.clone()));
    for stage in split.stages() {
        let kind = find(stage.kind).expect("a stage kind");
        kind.declare(stage.params, &|_| None)
            .expect("parameters that fit");
    }
    for output in ["labeled", "unlabeled", "train", "test"] {
        split.output(output).expect("an output");
    }
});
