//! Several runners on one store.

use std::time::Duration;

use super::{kill_rest, sound, times};
use crate::outside::project::{Project, Ran};
use crate::outside::random::Random;

/// Four pipelines with jobs in common: each counts when its program ends well. Names and orders differ.
const PIPELINES: [&str; 4] = [
    "axes: {n: [1, 2, 3, 4]}\nstages:\n  a: {command: {run: 'sleep 0.0${axis.n}; echo a${axis.n} > ${out.x}; echo a${axis.n} >> COUNT', outputs: {x: x}}}\n  b: {command: {run: 'cat ${a.x} > ${out.x}; echo b >> ${out.x}; echo b$(cat ${a.x}) >> COUNT', outputs: {x: x}}}\n",
    "axes: {m: [4, 3, 2, 1]}\nstages:\n  first: {command: {run: 'sleep 0.0${axis.m}; echo a${axis.m} > ${out.x}; echo a${axis.m} >> COUNT', outputs: {x: x}}}\n  then: {command: {run: 'cat ${first.x} > ${out.x}; echo b >> ${out.x}; echo b$(cat ${first.x}) >> COUNT', outputs: {x: x}}}\n",
    "axes: {n: [2, 3]}\nstages:\n  a: {command: {run: 'sleep 0.0${axis.n}; echo a${axis.n} > ${out.x}; echo a${axis.n} >> COUNT', outputs: {x: x}}}\n",
    "axes: {n: [1, 2, 3, 4, 5]}\nstages:\n  a: {command: {run: 'sleep 0.0${axis.n}; echo a${axis.n} > ${out.x}; echo a${axis.n} >> COUNT', outputs: {x: x}}}\n  c: {command: {run: 'cat ${a[*].x} > ${out.x}; echo c >> COUNT', outputs: {x: x}}}\n",
];

fn project() -> Project {
    let project = Project::quick("");
    for (n, text) in PIPELINES.iter().enumerate() {
        let count = project.path("count");
        project.file(
            &format!("p{n}.yaml"),
            &text.replace("COUNT", count.to_str().unwrap()),
        );
    }
    project
}

const ALL: [&str; 10] = [
    "a1", "a2", "a3", "a4", "a5", "ba1", "ba2", "ba3", "ba4", "c",
];

fn right(project: &Project) {
    for n in 0..4 {
        project
            .run(&["run", &format!("p{n}.yaml")])
            .code(0)
            .says("nothing to do");
    }
    assert_eq!(project.read("out/p0/b/n=3/x"), "a3\nb\n");
    assert_eq!(project.read("out/p1/then/m=3/x"), "a3\nb\n");
    assert_eq!(project.read("out/p3/c/x"), "a1\na2\na3\na4\na5\n");
    sound(project);
}

#[test]
fn runners_on_one_store_do_every_piece_of_work_once() {
    let mut random = Random::new(u64::from(std::process::id()) + 3);
    for round in 0..2 * times() {
        let project = project();
        // Twice the same pipelines in the second round: they also place the same results.
        let runners: Vec<_> = (0..4)
            .map(|n| {
                std::thread::sleep(Duration::from_millis(random.below(40) as u64));
                let n = if round % 2 == 0 { n } else { 3 * (n % 2) };
                project.start(&["run", &format!("p{n}.yaml")])
            })
            .collect();
        for runner in runners {
            Ran::of(&runner.wait_with_output().unwrap()).code(0).calm();
        }
        if round % 2 == 0 {
            assert_eq!(project.counted(), ALL);
            right(&project);
        } else {
            assert_eq!(project.counted(), ALL);
        }
    }
}

#[test]
fn a_killed_runner_costs_the_others_no_more_than_what_it_was_doing() {
    let mut random = Random::new(u64::from(std::process::id()) + 4);
    for _ in 0..3 * times() {
        let project = project();
        let mut runners: Vec<_> = (0..4)
            .map(|n| project.start(&["run", &format!("p{n}.yaml")]))
            .collect();
        let mut killed = runners.remove(random.below(4));
        std::thread::sleep(Duration::from_millis(random.below(120) as u64));
        killed.kill().unwrap();
        killed.wait().unwrap();
        for runner in runners {
            Ran::of(&runner.wait_with_output().unwrap()).code(0).calm();
        }
        for n in 0..4 {
            project.run(&["run", &format!("p{n}.yaml")]).code(0);
        }
        // A job may have ended well a moment before its runner could say so.
        let mut counted = project.counted();
        let in_all = counted.len();
        counted.dedup();
        assert_eq!(counted, ALL);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(in_all <= ALL.len() + cores, "{in_all} jobs ended well");
        right(&project);
        kill_rest(&project);
    }
}
