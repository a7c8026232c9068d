//! What ran when, what differs between runs and jobs, and where results are.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::project::{Project, Ran, eventually, written};

/// Three trainings and a table. The stand-in for the trainer reports a metric and a device.
const SWEEP: &str = "axes: {seed: [1, 2, 3]}
stages:
  train: {train: {algorithm: {fixmatch: {confidence: 0.95}}, labeled: x, unlabeled: x, test: x, seed: '${axis.seed}'}}
  all: {command: {run: 'for r in ${train[*].run}; do cat $r/accuracy; done > ${out.x}', outputs: {x: x}}}
";

struct Sweep(Project);

impl Sweep {
    fn new() -> Self {
        let project = Project::new(SWEEP);
        project.file("x", "data");
        let sweep = Self(project);
        sweep.accuracy("9$seed");
        sweep
    }

    /// What the next trainings report; `$seed` is known.
    fn accuracy(&self, words: &str) {
        self.0.trainer(&format!(
            "seed=$(sed -n 's/.*\"seed\": \\([0-9]*\\).*/\\1/p' $1); mkdir -p $run; echo {words} > $run/accuracy
             echo '{{\"metrics\": {{\"accuracy\": '{words}'}}, \"facts\": {{\"device\": \"gpu '$seed'\"}}}}' > report.json"
        ));
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.0.command(arguments);
        command.env("REMATCH_TRAIN", self.0.path("trainer"));
        Ran::of(&command.output().unwrap())
    }
}

fn runs(project: &Project) -> Vec<Value> {
    let json = project.run(&["history", "--json"]).code(0).json();
    json["runs"].as_array().unwrap().clone()
}

const ONE: &str = "stages:\n  a: {command: {run: 'echo ${var.word} > ${out.x}', outputs: {x: x}}}\nvars: {word: one}\n";

#[test]
fn the_jobs_of_a_run_are_listed_with_what_they_took() {
    let project = Project::new(
        "stages:
  a: {command: {run: 'echo > ${out.x}', outputs: {x: x}}}
  b: {command: {run: 'cat ${a.x}; false', outputs: {x: x}}}
  c: {command: {run: 'cat ${b.x}', outputs: {x: x}}}
",
    );
    project.run(&["run", "p.yaml"]).code(1);
    let json = project.run(&["history", "last", "--json"]).code(0).json();
    let jobs = json["runs"][0]["jobs"].as_array().unwrap();
    let states: Vec<_> = jobs
        .iter()
        .map(|job| (job["job"].as_str().unwrap(), job["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [("a", "ran"), ("b", "failed"), ("c", "skipped")]);
    assert!(jobs[0]["peak_memory"].as_u64().unwrap() > 0, "{json}");
    assert!(jobs[0]["cpu_seconds"].as_f64().is_some(), "{json}");
    assert!(jobs[1]["peak_memory"].is_null(), "{json}");
    let ran = project.run(&["history", "last"]).code(0);
    ran.says("not started").says("memory");
    let ran = project.run(&["history", "nonsense"]).code(1);
    ran.says("there is no run `nonsense`");
}

#[test]
fn the_history_tells_how_every_run_ended() {
    let project = Project::new(ONE);
    project
        .run(&["history"])
        .code(0)
        .says("nothing ran in this project yet");
    project
        .run(&["run", "p.yaml", "a", "--set", "word=two words"])
        .code(0);
    project.done();
    project.done();
    project.pipeline("stages: {a: {command: {run: 'false', outputs: {x: x}}}}");
    project.run(&["run", "p.yaml"]).code(1);
    // A usage error is no run.
    project.run(&["run", "p.yaml", "b"]).code(2);

    let runs = runs(&project);
    let told: Vec<_> = runs
        .iter()
        .map(|run| (run["state"].as_str().unwrap(), &run["did"]))
        .map(|(state, did)| {
            (
                state,
                did["ran"].as_u64(),
                did["fresh"].as_u64(),
                did["failed"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("failed", Some(0), Some(0), Some(1)),
            ("done", Some(0), Some(1), Some(0)),
            ("done", Some(1), Some(0), Some(0)),
            ("done", Some(1), Some(0), Some(0)),
        ]
    );
    assert_eq!(
        (&runs[3]["set"], &runs[3]["patterns"]),
        (
            &serde_json::json!(["word=two words"]),
            &serde_json::json!(["a"])
        )
    );
    let table = project.run(&["history", "-n", "2"]).code(0).stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(
        table.contains("just now") && table.contains("failed"),
        "{table}"
    );
    assert!(!table.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn a_killed_run_and_one_that_goes_on_are_told_apart() {
    let project = Project::new(
        "stages:\n  a: {command: {run: 'echo > COUNT; sleep 60; echo > ${out.x}', outputs: {x: x}}}\n",
    );
    let mut child = project.start(&["run", "p.yaml"]);
    eventually("the job", || written(&project.path("count")));
    assert_eq!(runs(&project)[0]["state"], "running");
    project
        .run(&["diff", "last", "now"])
        .code(1)
        .says("goes on");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(runs(&project)[0]["state"], "killed");
    assert_eq!(runs(&project)[0]["did"], Value::Null);
    project
        .run(&["diff", "last", "now"])
        .code(1)
        .says("was killed");
    // It still says which pipeline later commands mean.
    project.run(&["status"]).code(0);
}

#[test]
fn a_stopped_run_says_so() {
    let project = Project::new(
        "stages:\n  a: {command: {run: 'echo > COUNT; sleep 60; echo > ${out.x}', outputs: {x: x}}}\n  b: {command: {run: 'cat ${a.x} > ${out.x}', outputs: {x: x}}}\n",
    );
    let mut child = project.start(&["run", "p.yaml"]);
    eventually("the job", || written(&project.path("count")));
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::INT,
    )
    .unwrap();
    child.wait().unwrap();
    let run = &runs(&project)[0];
    assert_eq!(
        (
            &run["state"],
            &run["did"]["stopped"],
            &run["did"]["skipped"]
        ),
        (&"stopped".into(), &1.into(), &1.into())
    );
}

#[test]
fn runs_with_nothing_to_do_share_one_list_of_jobs() {
    let project = Project::new(ONE);
    for _ in 0..5 {
        project.done();
    }
    let lists = std::fs::read_dir(project.path(".rematch/runs"))
        .unwrap()
        .filter(|file| {
            let name = file.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(".jobs")
        })
        .count();
    assert_eq!(lists, 1);
    assert_eq!(project.read(".rematch/history.jsonl").lines().count(), 10);
}

#[test]
fn jobs_that_changed_alike_are_one_line_with_their_metrics() {
    let sweep = Sweep::new();
    sweep.run(&["run", "p.yaml"]).code(0);
    sweep.accuracy("8$seed.5");
    let set = "train.algorithm={fixmatch: {confidence: 0.9}}";
    sweep.run(&["run", "p.yaml", "--set", set]).code(0);

    let text = sweep.run(&["diff", "last~1", "last"]).code(0).stdout;
    for line in [
        "train: 3 jobs: algorithm.fixmatch.confidence (default) → 0.9",
        "    accuracy 92 → 82.5 (means of 3 jobs, from -9.5 to -9.5)",
        "all: 3 inputs changed",
        "0 jobs are the same",
    ] {
        assert!(
            text.lines().any(|told| told == line),
            "no `{line}` in\n{text}"
        );
    }
    let json = sweep
        .run(&["diff", "last~1", "last", "--json"])
        .code(0)
        .json();
    assert_eq!(json["jobs"].as_array().unwrap().len(), 4);
    let first = &json["jobs"][1];
    assert_eq!(first["job"], "train[seed=1]");
    assert_eq!(first["metrics"][0]["difference"], -9.5);
    // A run is also the beginning of its id; other way round, other sign.
    let ids: Vec<String> = runs(&sweep.0)
        .iter()
        .map(|run| run["id"].as_str().unwrap().to_owned())
        .collect();
    let json = sweep
        .run(&["diff", &ids[0], &ids[1][..19], "--json"])
        .code(0)
        .json();
    assert_eq!(json["jobs"][1]["metrics"][0]["difference"], 9.5);
}

#[test]
fn a_run_compares_with_the_pipeline_as_it_stands() {
    let sweep = Sweep::new();
    let set = "train.algorithm={fixmatch: {confidence: 0.9}}";
    sweep.run(&["run", "p.yaml", "--set", set]).code(0);
    // With the run's own --set nothing differs, and without a last line about jobs of one side.
    let same = sweep.run(&["diff", "last", "now"]).code(0).stdout;
    assert!(
        same.ends_with("4 jobs are the same\n") && same.lines().count() == 2,
        "{same}"
    );
    let text = SWEEP.replace("seed: [1, 2, 3]", "seed: [1, 2, 4]");
    sweep.0.pipeline(&text);
    sweep
        .run(&[
            "diff",
            "last",
            "now",
            "--set",
            "train.algorithm={fixmatch: {confidence: 0.8}}",
        ])
        .code(0)
        .says("train: 2 jobs: algorithm.fixmatch.confidence 0.9 → 0.8; it must run in the second")
        .says("all: it waits for jobs that must run in the second")
        .says("only in now: train[seed=4]");
}

#[test]
fn two_jobs_compare_with_how_they_were_made() {
    let sweep = Sweep::new();
    sweep.run(&["run", "p.yaml"]).code(0);
    let ran = sweep
        .run(&["diff", "train[seed=1]", "train[seed=3]"])
        .code(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "train[seed=1] → train[seed=3]",
            "  seed 1 → 3",
            "  accuracy 91 → 93 (+2)",
            "  made: device gpu 1 → gpu 3",
        ]
    );
    sweep
        .run(&["diff", "train[seed=1]", "train[seed=1]"])
        .code(0)
        .says("they have the same key");
    sweep
        .run(&["diff", "last", "train[seed=1]"])
        .code(2)
        .says("`train[seed=1]` is no run");
    sweep
        .run(&["diff", "train[seed=1]", "train"])
        .code(2)
        .says("`train` means 3 jobs");
}

#[test]
fn results_that_are_gone_are_told_and_hide_nothing_else() {
    let sweep = Sweep::new();
    sweep.run(&["run", "p.yaml"]).code(0);
    let set = "train.algorithm={fixmatch: {confidence: 0.9}}";
    sweep.run(&["run", "p.yaml", "--set", set]).code(0);
    let key = sweep
        .run(&["explain", "p.yaml", "train[seed=2]", "--json"])
        .json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let entry = format!(".rematch/entries/{}/{}.json", &key[..2], &key[2..]);
    std::fs::remove_file(sweep.0.path(&entry)).unwrap();
    sweep
        .run(&["diff", "last~1", "last"])
        .code(0)
        .says("train[seed=2]: its result is gone from the store in the first")
        .says("train: 2 jobs: algorithm.fixmatch.confidence (default) → 0.9");
    let lists = std::fs::read_dir(sweep.0.path(".rematch/runs")).unwrap();
    for list in lists.flatten() {
        if list.file_name().to_string_lossy().ends_with(".jobs") {
            std::fs::remove_file(list.path()).unwrap();
        }
    }
    sweep
        .run(&["diff", "last~1", "last"])
        .code(1)
        .says("is gone from the store");
}

#[test]
fn words_that_mean_no_run_say_what_would() {
    let project = Project::new(ONE);
    project
        .run(&["diff", "last", "now"])
        .code(1)
        .says("nothing ran in this project yet");
    project.done();
    project
        .run(&["diff", "last~1", "last"])
        .code(1)
        .says("there is no run `last~1`: the history has 1");
    project
        .run(&["diff", "now", "now"])
        .code(2)
        .says("`now` and `now` do not compare");
    project.done();
    let days: Vec<String> = runs(&project)
        .iter()
        .map(|run| run["id"].as_str().unwrap()[..8].to_owned())
        .collect();
    // Unless midnight came in between.
    if days[0] == days[1] {
        project
            .run(&["diff", &days[0], "last"])
            .code(2)
            .says("begins the ids of 2 runs");
    }
    project
        .run(&["diff", "last~1", "19990101"])
        .code(2)
        .says("`19990101` is no run");
}

#[test]
fn out_prints_where_an_output_is() {
    let project = Project::new(
        "axes: {n: [1, 2]}\nstages:\n  a: {command: {run: 'echo ${axis.n} > ${out.x}; mkdir ${out.d}; echo > ${out.d}/f', outputs: {x: x.txt, d: d}}}\n  b: {command: {run: 'cat ${a[*].x} > ${out.x}', outputs: {x: x}}}\n",
    );
    project
        .run(&["out", "p.yaml", "b"])
        .code(1)
        .says("there is no result of b: jobs that it reads from must run")
        .says("`rematch run p.yaml 'b'` makes it");
    project.done();
    let path = |name: &str| {
        project
            .path(name)
            .canonicalize()
            .unwrap()
            .display()
            .to_string()
    };
    let ran = project.run(&["out", "b"]).code(0);
    assert_eq!(ran.stdout, path("out/p/b/x") + "\n");
    let ran = project.run(&["out", "p.yaml", "a[n=2]", "x"]).code(0);
    assert_eq!(ran.stdout, path("out/p/a/n=2/x.txt") + "\n");
    let ran = project.run(&["out", "a[n=1]"]).code(0);
    let both = format!(
        "x\t{}\nd\t{}\n",
        path("out/p/a/n=1/x.txt"),
        path("out/p/a/n=1/d")
    );
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&ran.stdout), sorted(&both));
    let ran = project.run(&["out", "a[n=2]", "x", "--object"]).code(0);
    assert_eq!(
        std::fs::read_to_string(ran.stdout.trim_end()).unwrap(),
        "2\n"
    );
    project
        .run(&["out", "a[n=1]", "y"])
        .code(2)
        .says("has no output `y`")
        .says("known: ");
    project.run(&["out", "a"]).code(2).says("means 2 jobs");

    std::fs::remove_file(project.path("out/p/b/x")).unwrap();
    let ran = project.run(&["out", "b"]).code(1).says("puts it there");
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    assert_eq!(
        project.run(&["out", "b", "--json"]).code(0).json()["outputs"][0]["path"],
        Value::Null
    );
}

#[test]
fn the_result_of_an_earlier_key_is_given_only_where_that_is_asked_for() {
    let project = Project::new(ONE);
    project.done();
    project.pipeline(&ONE.replace("one", "two"));
    let ran = project
        .run(&["out", "a"])
        .code(1)
        .says("the result of a is out of date")
        .says("one")
        .says("--stale takes what is there");
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    let ran = project.run(&["out", "a", "--stale"]).code(0);
    assert_eq!(
        std::fs::read_to_string(ran.stdout.trim_end()).unwrap(),
        "one\n"
    );
    let json = project
        .run(&["out", "a", "--stale", "--json"])
        .code(0)
        .json();
    assert_eq!(json["stale"], true);
}

#[test]
fn a_folder_with_a_jobs_name_is_no_pipeline() {
    let project = Project::new(ONE);
    project.done();
    std::fs::create_dir(project.path("a")).unwrap();
    project.run(&["plan", "a"]).code(0).says("nothing to do");
    project.run(&["out", "a"]).code(0);
}

#[test]
fn shells_and_manuals_know_every_command() {
    let project = Project::new(ONE);
    let help = project.run(&["--help"]).code(0).stdout;
    assert!(!help.contains('\u{1b}'), "no colours in a pipe");
    // The lines of the groups: two spaces, the command, what it does.
    let commands: Vec<&str> = help
        .lines()
        .filter(|line| line.starts_with("  ") && line.as_bytes()[2].is_ascii_lowercase())
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert!(commands.len() >= 14, "{commands:?}");
    project.run(&["man", "pages"]).code(0);
    assert!(project.read("pages/rematch.1").contains("Exit codes"));
    project.run(&["man"]).code(0).says("rematch\\-history(1)");
    let docs = include_str!("../../docs/commands.md");
    for command in &commands {
        assert!(
            project.path(&format!("pages/rematch-{command}.1")).exists(),
            "{command}"
        );
        assert!(
            docs.contains(&format!("| `{command}")),
            "docs/commands.md lacks {command}"
        );
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.run(&["completions", shell]).code(0).stdout;
        for command in &commands {
            assert!(script.contains(command), "{shell} lacks {command}");
        }
    }
    let script = project.file("complete", &project.run(&["completions", "bash"]).stdout);
    let ask = "source \"$1\"; COMP_WORDS=(rematch hi) COMP_CWORD=1; _rematch rematch hi rematch; echo \"${COMPREPLY[@]}\"";
    let answer = Command::new("bash")
        .args(["-c", ask, "bash"])
        .arg(script)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "history\n");
}
