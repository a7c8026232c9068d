//! A run on virtual copies is the run on the copies themselves.

mod common;

use common::{Place, record, scalars, tensors};
use rematch_data::child::Child;
use rematch_spec::job::Job;
use serde_json::{Value, json};

#[test]
fn a_run_on_virtual_copies_is_that_on_written_ones_to_the_bit() {
    let place = Place::new();
    let copies = |name: &str, recipe: bool| {
        let mut job: Job = place.job("copies", json!({}));
        job.kind = "augment_copies".into();
        let records = json!({"$input": place.path("unlabeled")});
        job.params =
            json!({"records": records, "copies": 3, "augment": "color", "virtual": recipe});
        job.outputs = [("records".to_owned(), place.path(name))].into();
        rematch_data::stages::run(&Child::new(job, std::io::sink())).unwrap();
    };
    copies("written", false);
    copies("virtual", true);
    let run = |name: &str| {
        let unlabeled = json!([{"$input": place.path(name)}]);
        let changes: Value = json!({"unlabeled": unlabeled, "length": {"steps": 12}});
        let job = place.job(&format!("train on {name}"), changes);
        place.run(&job).unwrap();
        (scalars(&job), record(&job), tensors(&job))
    };
    let (written, made) = (run("written"), run("virtual"));
    assert_eq!((written.0, written.1), (made.0, made.1));
    assert!(written.2 == made.2, "the checkpoints differ");
}
