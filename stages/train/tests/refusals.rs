//! What a training job refuses, and in which words.

mod common;

use common::{Place, records};
use rematch_data::child::StageError;
use rematch_spec::job::exit;
use serde_json::{Value, json};

fn refused(place: &Place, changes: Value) -> (i32, String) {
    let error: StageError = place.run(&place.job("job", changes)).unwrap_err();
    (error.exit_code(), error.failure().message)
}

#[test]
fn a_run_that_diverges_names_the_term_and_the_step() {
    let changes = json!({"optimizer": {"sgd": {"lr": 1e30, "momentum": 0.0, "nesterov": false}}});
    let (code, message) = refused(&Place::new(), changes);
    assert_eq!(code, exit::DIVERGED);
    assert!(
        message.starts_with("the term `xe` of fixmatch is NaN or infinite at step "),
        "{message}"
    );
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let place = Place::new();
    for (changes, expected) in [
        (
            json!({"batch": 0}),
            "batch: expected at least 1 image per step",
        ),
        (json!({"keep": 0}), "keep: expected at least 1 checkpoint"),
        (
            json!({"algorithm": {"fixmatch": {"confidence": 1.5}}}),
            "algorithm.fixmatch.confidence: expected a number from 0 to 1",
        ),
        (
            json!({"algorithm": {"fixmatch": {"uratio": 0}}}),
            "algorithm.fixmatch.uratio: expected 1 to 1000 unlabeled images per labeled one",
        ),
        (
            json!({"optimizer": {"sgd": {"lr": -1.0}}}),
            "optimizer.sgd.lr: expected a learning rate above 0",
        ),
        (
            json!({"network": {"resnet": {"filters": 0}}}),
            "network.resnet.filters: expected 1 to 4096, found 0",
        ),
        (
            json!({"augment": "d.d"}),
            "augment: augmentation `d.d` has 2 parts, expected 3",
        ),
        (
            json!({"normalize": {"mean": [0.5], "std": [0.0]}}),
            "normalize: expected a `mean` and a `std` above 0 for each channel",
        ),
        (
            json!({"normalize": {"mean": [0.5], "std": [0.2]}}),
            "`normalize` has 1 means, and the images have 3 channels",
        ),
    ] {
        let (code, message) = refused(&place, changes);
        assert_eq!(code, exit::USAGE, "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn sets_that_do_not_fit_are_refused() {
    let place = Place::new();
    for (changes, expected) in [
        (
            json!({"batch": 20}),
            "a step takes 40 unlabeled images (20 × 2), and there are 36 beside 4 for validation",
        ),
        (
            json!({"valid": 41}),
            "`valid` is 41, and `unlabeled` has 40 images",
        ),
        (
            json!({"network": "cnn13"}),
            "network `cnn13` takes images of 12×12 pixels and more, these have 8×8",
        ),
    ] {
        let (code, message) = refused(&place, changes);
        assert_eq!((code, message.as_str()), (exit::FAILED, expected));
    }
    std::fs::write(place.path("labeled"), records(2, 1)).unwrap();
    let (_, message) = refused(&place, json!({}));
    assert_eq!(
        message,
        "`labeled` has no image of class 2, and there are labels up to 2"
    );
    std::fs::write(place.path("labeled"), b"").unwrap();
    let (_, message) = refused(&place, json!({}));
    assert_eq!(message, "`labeled` has no image");
    std::fs::remove_file(place.path("labeled")).unwrap();
    let (_, message) = refused(&place, json!({}));
    assert!(
        message.contains("labeled") && message.contains("No such file"),
        "{message}"
    );
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_where_it_is_demanded() {
    let place = Place::new();
    let mut job = place.job("job", json!({"device": "cuda"}));
    match place.run(&job) {
        Ok(report) => assert_eq!(report.facts["device"], "cuda"),
        Err(error) => assert!(
            error.failure().message.starts_with("no GPU can be used: "),
            "{error}"
        ),
    }
    // `auto` goes on without it.
    job.params["device"] = json!("auto");
    job.gpus = 1.0;
    place.run(&job).unwrap();
}

#[test]
fn whitening_takes_the_place_of_normalising_and_needs_its_file() {
    let place = Place::new();
    let normalize = json!({"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]});
    let zca = json!({"$input": place.path("test")});
    let (code, message) = refused(&place, json!({"zca": zca, "normalize": normalize}));
    assert_eq!(code, exit::USAGE);
    assert!(
        message.starts_with("zca: images are either whitened or normalised"),
        "{message}"
    );
    let (_, message) = refused(&place, json!({"zca": zca}));
    assert!(message.contains("it is no numpy archive"), "{message}");
}
