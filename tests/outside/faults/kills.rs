//! Kills, of everything at once and of single processes.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::{SWEEP, kill_rest, kill_tree, processes_in, sound, sweep, swept, times};
use crate::outside::project::{Project, eventually, files, written};
use crate::outside::random::Random;

/// How long an undisturbed run of something takes.
fn time(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// Nothing but results lies among the results.
#[track_caller]
fn check(project: &Project, text: &str) {
    assert_eq!(project.read("out/p/all/all.txt"), swept(text));
    let found = files(&project.path("out/p"));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let mut expected = vec!["all/all.txt".to_owned(), "strip/x".to_owned()];
    for n in 1..=3 {
        for file in [
            "tree/n=N/d/a",
            "tree/n=N/d/sub/b",
            "two/n=N/x",
            "two/n=N/sub/y",
        ] {
            expected.push(file.replace('N', &n.to_string()));
        }
    }
    expected.sort();
    assert_eq!(names, expected);
    sound(project);
}

#[test]
fn a_run_killed_at_any_instant_is_gone_on_with_to_the_same_result() {
    let mut random = Random::new(u64::from(std::process::id()));
    let project = sweep();
    let cold = time(|| drop(project.done()));
    for round in 0..15 * times() {
        let project = sweep();
        // Killed several times in a row, until it is done.
        for _ in 0..=random.below(3) {
            let runner = project.start(&["run", "p.yaml"]);
            let wait = cold.mul_f64(random.below(1000) as f64 / 900.0);
            std::thread::sleep(wait);
            kill_tree(runner, &project);
        }
        project.done();
        check(&project, "hello\n");
        project.done().says("nothing to do");
        check(&project, "hello\n");
        // Then with results that are there, and one change.
        if round % 3 == 0 {
            project.file("f.txt", "other\n");
            let runner = project.start(&["run", "p.yaml"]);
            std::thread::sleep(cold.mul_f64(random.below(1000) as f64 / 1000.0));
            kill_tree(runner, &project);
            project.done();
            check(&project, "other\n");
        }
    }
}

#[test]
fn a_run_of_which_any_single_process_is_killed_ends_or_fails_and_the_next_one_is_right() {
    let mut random = Random::new(u64::from(std::process::id()) + 1);
    let project = sweep();
    let cold = time(|| drop(project.done()));
    for _ in 0..15 * times() {
        let project = sweep();
        let folder = project.path("").canonicalize().unwrap();
        let runner = project.start(&["run", "p.yaml"]);
        std::thread::sleep(cold.mul_f64(random.below(1000) as f64 / 1000.0));
        // The runner, a child of its, a shell, or what a shell started.
        let all = processes_in(&folder);
        if !all.is_empty() {
            let _ = kill_process(*random.pick(&all), Signal::KILL);
        }
        let output = runner.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(
            matches!(output.status.code(), None | Some(0 | 1)),
            "{stderr}"
        );
        project.done();
        check(&project, "hello\n");
        project.done().says("nothing to do");
    }
}

#[test]
fn a_job_whose_own_process_is_killed_ends_with_all_that_it_started() {
    let project = Project::quick(
        "stages:\n  a: {command: {run: 'echo $$ > COUNT; sleep 60', outputs: {x: x}}}\n",
    );
    let runner = project.start(&["run", "p.yaml"]);
    eventually("the job", || written(&project.path("count")));
    let shell: i32 = project.counted()[0].parse().unwrap();
    let shell = rustix::process::Pid::from_raw(shell).unwrap();
    kill_process(shell, Signal::KILL).unwrap();
    let output = runner.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("signal 9"), "{stderr}");
    let folder = project.path("").canonicalize().unwrap();
    eventually("the end of the job's program", || {
        processes_in(&folder).is_empty()
    });
}

#[test]
fn a_killed_runner_is_followed_by_its_daemons() {
    let project = Project::quick(
        "stages:\n  a: {command: {run: 'setsid sh -c \"echo \\$\\$ > COUNT; exec sleep 60\"; echo > ${out.x}', outputs: {x: x}}}\n",
    );
    let mut runner = project.start(&["run", "p.yaml"]);
    eventually("the daemon", || written(&project.path("count")));
    runner.kill().unwrap();
    runner.wait().unwrap();
    let folder = project.path("").canonicalize().unwrap();
    eventually("the end of the daemon", || processes_in(&folder).is_empty());
}

#[test]
fn what_kills_left_in_the_store_does_not_grow() {
    let project = Project::quick(SWEEP);
    let mut random = Random::new(u64::from(std::process::id()) + 2);
    for n in 0..6 {
        project.file("f.txt", &format!("{n}\n"));
        let runner = project.start(&["run", "p.yaml"]);
        std::thread::sleep(Duration::from_millis(random.below(100) as u64));
        kill_tree(runner, &project);
        project.done();
    }
    kill_rest(&project);
    for folder in ["work", "publish", "locks", "unsynced"] {
        let left = files(&project.path(".rematch").join(folder));
        assert!(left.is_empty(), "{folder}: {:?}", left.keys());
    }
}
