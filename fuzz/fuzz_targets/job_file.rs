//! The job file that a child process reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::child::Child;
use rematch_spec::command::Command;
use rematch_spec::download::Download;
use rematch_spec::job::Job;
use rematch_spec::train::Train;

fuzz_target!(|data: &[u8]| {
    let Ok(job) = serde_json::from_slice::<Job>(data) else {
        return;
    };
    let text = serde_json::to_vec(&job).expect("JSON");
    assert_eq!(
        serde_json::from_slice::<Job>(&text).expect("its own text"),
        job
    );
    let child = Child::new(job, std::io::sink());
    let _ = child.params::<Command>();
    let _ = child.params::<Download>();
    let _ = child.params::<Train>();
    let _ = child.output("labeled");
});
