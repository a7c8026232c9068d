//! Training in two processes, as a job with two GPUs does; here on the CPU.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use common::{Place, assert_same, checkpoints, scalars, start};
use rematch_spec::job::{Job, REPORT, Report, exit};
use serde_json::{Value, json};

fn run(job: &Job) -> Option<i32> {
    start(job).wait().unwrap().code()
}

fn report(job: &Job) -> Report {
    serde_json::from_slice(&fs::read(job.work.join(REPORT)).unwrap()).unwrap()
}

/// The same job for one process and for two.
fn twins(place: &Place, name: &str, changes: &Value) -> [Job; 2] {
    let [one, mut two] = ["one", "two"].map(|n| place.job(&format!("{name}-{n}"), changes.clone()));
    two.gpus = 2.0;
    [one, two]
}

/// The processes of a job but its first.
fn workers(job: &Job) -> Vec<i32> {
    let work = job.work.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line);
        let ours = line.contains("--worker") && line.contains(&format!("{work}/"));
        ours.then(|| process.file_name().to_str()?.parse().ok())?
    });
    ours.collect()
}

fn signal(name: &str, process: i32) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).arg(process.to_string());
    assert!(kill.status().unwrap().success());
}

/// The newest checkpoint of a run.
fn newest(job: &Job) -> Option<PathBuf> {
    let there = job.work.join("out/run/checkpoints").exists();
    there.then(|| checkpoints(job).pop()).flatten()
}

/// Starts a job and waits until it has saved a checkpoint that was not there.
fn start_until_saved(job: &Job) -> Child {
    let before = newest(job);
    let mut process = start(job);
    for _ in 0..2000 {
        if newest(job) > before {
            return process;
        }
        thread::sleep(Duration::from_millis(10));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    panic!("no checkpoint came");
}

const LONG: u64 = 100_000;

fn endless(place: &Place, name: &str) -> Job {
    let changes = json!({
        "device": "cpu", "length": {"steps": LONG}, "save": {"steps": 5}, "report": {"steps": 1000},
    });
    let [_, job] = twins(place, name, &changes);
    job
}

#[test]
fn two_processes_report_what_one_reports() {
    let place = Place::new();
    let methods = [
        json!({"fixmatch": {"uratio": 2, "confidence": 0.4}}),
        // Looks for the worst change of an image by the gradient; that of a step as small as the published one
        // is mostly rounding.
        json!({"vat": {"vat_xi": 0.1}}),
        // Mixes images, sharpens guesses, learns its augmentation.
        json!({"remixmatch": {}}),
        // Remembers predictions of single images.
        json!({"flexmatch": {"uratio": 2, "confidence": 0.4}}),
        // Batch norm that looks and leaves its statistics.
        json!({"mean_teacher": {}}),
    ];
    for algorithm in methods {
        let changes = json!({
            "device": "cpu", "algorithm": algorithm, "length": {"steps": 7}, "batch": 5,
        });
        let [one, two] = twins(
            &place,
            algorithm.as_object().unwrap().keys().next().unwrap(),
            &changes,
        );
        assert_eq!(run(&one), Some(exit::DONE), "{:?}", report(&one));
        assert_eq!(run(&two), Some(exit::DONE), "{:?}", report(&two));
        assert_eq!(report(&one).facts["processes"], 1);
        assert_eq!(report(&two).facts["processes"], 2);
        let (one, two) = (scalars(&one), scalars(&two));
        assert_eq!(one.len(), two.len());
        for (one, two) in one.iter().zip(&two) {
            assert_eq!((one.0, &one.1), (two.0, &two.1));
            // Losses and accuracies by the same numbers, added in another order.
            let bound = 1e-3 * one.2.abs().max(1.0);
            assert!(
                (one.2 - two.2).abs() < bound,
                "{algorithm}: {one:?} {two:?}"
            );
        }
    }
}

#[test]
fn two_processes_that_are_stopped_go_on_to_the_same_bits() {
    let place = Place::new();
    let [_, straight] = twins(&place, "straight", &json!({"device": "cpu"}));
    assert_eq!(run(&straight), Some(exit::DONE));
    let [_, stopped] = twins(&place, "stopped", &json!({"device": "cpu"}));
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut process = start(&stopped);
        thread::sleep(Duration::from_millis(300 + 150 * attempts));
        signal("TERM", process.id() as i32);
        match process.wait().unwrap().code() {
            Some(exit::DONE) => break,
            // None: before it listened.
            Some(exit::INTERRUPTED) | None => assert!(attempts < 30),
            other => panic!("{other:?} {:?}", report(&stopped)),
        }
    }
    assert_same(&stopped, &straight);
    assert_eq!(workers(&stopped), Vec::<i32>::new());
}

#[test]
fn a_worker_that_is_killed_ends_the_job_with_its_name_and_the_run_can_go_on() {
    let place = Place::new();
    let job = endless(&place, "killed");
    let mut process = start_until_saved(&job);
    let [worker] = workers(&job)[..] else {
        panic!("one worker")
    };
    signal("KILL", worker);
    assert_eq!(process.wait().unwrap().code(), Some(exit::TRY_AGAIN));
    let error = report(&job).error.unwrap();
    assert!(
        error
            .message
            .starts_with("process 2 of 2 of this job ended with signal: 9"),
        "{error:?}"
    );
    assert!(error.help.unwrap().contains("goes on"));
    let mut process = start_until_saved(&job);
    signal("TERM", process.id() as i32);
    assert_eq!(process.wait().unwrap().code(), Some(exit::INTERRUPTED));
}

#[test]
fn a_first_process_that_is_killed_takes_the_others_along() {
    let place = Place::new();
    let job = endless(&place, "first");
    let mut process = start_until_saved(&job);
    assert_eq!(workers(&job).len(), 1);
    process.kill().unwrap();
    process.wait().unwrap();
    for _ in 0..500 {
        if workers(&job).is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("a worker is left");
}

#[test]
fn a_run_goes_on_with_another_number_of_gpus() {
    let place = Place::new();
    let mut job = endless(&place, "fewer");
    for gpus in [2.0, 0.0, 3.0] {
        job.gpus = gpus;
        let before = newest(&job);
        let mut process = start_until_saved(&job);
        signal("TERM", process.id() as i32);
        assert_eq!(process.wait().unwrap().code(), Some(exit::INTERRUPTED));
        assert!(newest(&job) > before);
    }
}

#[test]
fn a_failure_that_all_share_is_told_once() {
    let place = Place::new();
    let changes = json!({"device": "cpu", "optimizer": {"sgd": {"lr": 1e30}}});
    let [_, job] = twins(&place, "diverges", &changes);
    assert_eq!(run(&job), Some(exit::DIVERGED));
    let error = report(&job).error.unwrap();
    assert!(error.message.contains("step"), "{error:?}");
}

#[test]
fn a_batch_smaller_than_the_group_is_refused() {
    let place = Place::new();
    let [_, job] = twins(&place, "small", &json!({"device": "cpu", "batch": 1}));
    assert_eq!(run(&job), Some(exit::USAGE));
    assert!(report(&job).error.unwrap().message.contains("2 GPUs"));
}
