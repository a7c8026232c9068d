//! Job patterns, one a line, on the jobs of a small pipeline.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use rematch::pattern::{one, select};
use rematch::pipeline::Pipeline;
use rematch::plan::Plan;
use rematch_fuzz::pipeline;

fuzz_target!(|text: &str| {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    let plan = PLAN.get_or_init(|| {
        let pipeline = Pipeline::read(&pipeline(), &[]).expect("a pipeline");
        Plan::new(pipeline).expect("a plan")
    });
    let patterns: Vec<String> = text.lines().map(str::to_owned).collect();
    match select(plan, &patterns) {
        Ok(jobs) => assert!(!jobs.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = one(plan, text);
});
