//! What a child tells the runner: event lines, and the report that it leaves.

#![no_main]

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;

use libfuzzer_sys::fuzz_target;
use rematch::executor::Message;
use rematch::executor::local::read_events;
use rematch_spec::job::{Event, Report};

fuzz_target!(|data: &[u8]| {
    let (to, heard) = channel::<Message>();
    read_events(7, data, &AtomicBool::new(false), &to);
    drop(to);
    let heard = heard.into_iter().count();
    let lines = data.split(|b| *b == b'\n');
    let events = lines.filter(|line| serde_json::from_slice::<Event>(line).is_ok());
    assert_eq!(heard, events.count());

    if let Ok(report) = serde_json::from_slice::<Report>(data) {
        let text = serde_json::to_vec(&report).expect("JSON");
        assert_eq!(
            serde_json::from_slice::<Report>(&text).expect("its own text"),
            report
        );
    }
});
