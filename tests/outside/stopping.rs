//! Ctrl-C, kills, and going on.

use std::io::Read;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::project::{Project, Ran, eventually, written};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn end(mut child: Child) -> Ran {
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    Ran {
        code: child.wait().unwrap().code().unwrap_or(-1),
        stdout: String::new(),
        stderr,
    }
}

/// Counts to ten in its work folder, saving each number; on SIGTERM it ends resumably.
const COUNTER: &str = r#"
trap 'kill $nap; exit 75' TERM
i=$(cat saved 2>/dev/null || echo 0)
mkdir -p $run
echo "from $i" >> FOLDER/starts
while [ $i -lt 10 ]; do
  sleep 0.1 & nap=$!; wait $nap
  i=$((i+1)); echo $i > saved.new; mv saved.new saved
done
echo $i > $run/count
"#;

fn counting() -> (Project, std::path::PathBuf) {
    let project =
        Project::new("stages:\n  t: {train: {algorithm: supervised, labeled: x, test: x}}\n");
    project.file("x", "data");
    let trainer =
        project.trainer(&COUNTER.replace("FOLDER", &project.path("").display().to_string()));
    (project, trainer)
}

fn saved(project: &Project) -> usize {
    let works = std::fs::read_dir(project.path(".rematch/work"))
        .into_iter()
        .flatten()
        .flatten();
    works
        .filter_map(|work| {
            std::fs::read_to_string(work.path().join("saved"))
                .ok()?
                .trim()
                .parse()
                .ok()
        })
        .max()
        .unwrap_or(0)
}

#[test]
fn ctrl_c_lets_jobs_save_and_says_how_to_go_on() {
    let (project, trainer) = counting();
    let child = project
        .command(&["run", "p.yaml"])
        .env("REMATCH_TRAIN", &trainer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("saving", || saved(&project) >= 2);
    signal(&child, Signal::INT);
    let ran = end(child)
        .code(130)
        .says("stopped t")
        .says("to go on where it stopped: rematch run p.yaml");
    assert!(ran.stderr.contains("1 stopped"), "{}", ran.stderr);
    let output = project
        .command(&["run", "p.yaml"])
        .env("REMATCH_TRAIN", &trainer)
        .output()
        .unwrap();
    Ran::of(&output).code(0);
    assert_eq!(project.read("out/p/t/run/count"), "10\n");
    let starts = project.read("starts");
    assert!(
        starts.lines().count() == 2 && !starts.lines().nth(1).unwrap().ends_with(" 0"),
        "{starts}"
    );
}

#[test]
fn a_killed_runner_can_go_on_and_takes_nothing_half_done() {
    let (project, trainer) = counting();
    let mut child = project
        .command(&["run", "p.yaml"])
        .env("REMATCH_TRAIN", &trainer)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("saving", || saved(&project) >= 2);
    child.kill().unwrap();
    child.wait().unwrap();
    // The orphan holds the key until it ends; the next run waits for it, or goes on from where it was.
    let output = project
        .command(&["run", "p.yaml"])
        .env("REMATCH_TRAIN", &trainer)
        .output()
        .unwrap();
    Ran::of(&output).code(0);
    assert_eq!(project.read("out/p/t/run/count"), "10\n");
}

#[test]
fn kills_at_many_instants_leave_a_store_that_works() {
    let project = Project::new(
        "axes: {n: [1, 2, 3, 4]}\nstages:\n  a: {command: {run: 'echo ${axis.n} > ${out.x}', outputs: {x: x}}}\n  b: {command: {run: 'cat ${a[*].x} > ${out.x}', outputs: {x: x}}}\n",
    );
    for wait in 0..20 {
        let mut child = project.start(&["run", "p.yaml"]);
        std::thread::sleep(std::time::Duration::from_millis(wait * 3));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    project.done();
    assert_eq!(project.read("out/p/b/x"), "1\n2\n3\n4\n");
    project.done().says("nothing to do");
}

#[test]
fn a_second_ctrl_c_kills() {
    let project = Project::new(
        "stages:\n  a: {command: {run: 'trap \"\" TERM; echo > COUNT; sleep 60; echo > ${out.x}', outputs: {x: x}}}\n",
    );
    let child = project.start(&["run", "p.yaml"]);
    eventually("the job", || written(&project.path("count")));
    signal(&child, Signal::INT);
    std::thread::sleep(std::time::Duration::from_millis(200));
    signal(&child, Signal::INT);
    end(child).code(130);
}

#[test]
fn a_command_ends_when_its_runner_is_gone() {
    let project = Project::new(
        "stages:\n  a: {command: {run: 'echo $$ > COUNT; sleep 60', outputs: {x: x}}}\n",
    );
    let mut child = project.start(&["run", "p.yaml"]);
    eventually("the job", || written(&project.path("count")));
    let pid = project.counted()[0].clone();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the end of the orphan", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z")
    });
}
