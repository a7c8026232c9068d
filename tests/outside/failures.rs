//! Jobs that go wrong.

use std::os::unix::fs::FileExt;
use std::process::Stdio;

use super::project::Project;

#[test]
fn a_failure_shows_the_log_and_stops_new_jobs() {
    let project = Project::new(
        r"
stages:
  bad: {command: {run: 'echo went wrong >&2; exit 7', outputs: {x: x}}}
  after: {command: {run: 'cat ${bad.x} > ${out.y}', outputs: {y: y}}}
",
    );
    let ran = project.run(&["run", "p.yaml"]).code(1);
    for words in [
        "failed bad",
        "ended with code 7",
        "| went wrong",
        "rematch log 'bad'",
        "1 failed, 1 not started",
    ] {
        assert!(ran.stderr.contains(words), "{words}\n{}", ran.stderr);
    }
    project.run(&["log", "bad"]).code(0).says("went wrong");
}

#[test]
fn keep_going_runs_what_does_not_depend_on_a_failure() {
    let text = "stages:\n  bad: {command: {run: 'exit 1', outputs: {x: x}}}\n  good: {command: {run: 'sleep 0.3; echo > ${out.x}', outputs: {x: x}}}\n  then: {command: {run: 'cp ${good.x} ${out.x}', outputs: {x: x}}}\n";
    let project = Project::new(text);
    project
        .run(&["run", "p.yaml", "--keep-going"])
        .code(1)
        .says("2 ran");
    let project = Project::new(text);
    project
        .run(&["run", "p.yaml", "--jobs", "1"])
        .code(1)
        .says("0 ran");
}

#[test]
fn a_later_attempt_may_take_longer() {
    let text = "stages:
  a:
    timeout: 1s
    retries: {times: 1, timeout: 100}
    command: {run: 'sleep 2; echo > ${out.x}', outputs: {x: x}}
";
    let project = Project::new(text);
    project.done().says("attempt 2");
    project.pipeline(&text.replace("100", "0.5"));
    let ran = project.run(&["plan", "p.yaml"]).code(2);
    ran.says("p.yaml:4:").says("expected 1 to 1000 times");
}

#[test]
fn a_pool_limits_how_many_jobs_run_at_once() {
    let text = "axes: {n: [1, 2, 3, 4]}
pools: {seat: 1}
stages:
  a:
    resources: {pools: {seat: 1}}
    command: {run: 'mkdir ${var.lock}; sleep 0.1; rmdir ${var.lock}; echo ${axis.n} > ${out.x}', outputs: {x: x}}
vars: {lock: COUNT}
";
    let project = Project::new(text);
    project.run(&["run", "p.yaml", "--jobs", "4"]).code(0);
    project.pipeline(&text.replace("{seat: 1}\nstages", "{chair: 1}\nstages"));
    let ran = project.run(&["plan", "p.yaml"]).code(2);
    ran.says("p.yaml:5:")
        .says("no pool `seat`; add `pools: {seat: 1}`");
    project.pipeline(text);
    let ran = project
        .run(&["plan", "p.yaml", "--set", "pools.seat=0"])
        .code(2);
    ran.says("takes 1 of the pool `seat`, which has 0");
}

#[test]
fn a_job_that_needs_much_does_not_wait_until_all_that_need_little_are_done() {
    let text = "axes: {n: [POINTS]}
pools: {seat: 2}
stages:
  long:
    resources: {pools: {seat: 1}}
    command: {run: 'until [ $(wc -l < COUNT) -ge 40 ]; do sleep 0.01; done; echo > ${out.x}', outputs: {x: x}}
  wide:
    resources: {pools: {seat: 2}}
    command: {run: 'echo wide >> COUNT; echo > ${out.x}', outputs: {x: x}}
  narrow:
    resources: {pools: {seat: 1}}
    command: {run: 'sleep 0.01; echo ${axis.n} >> COUNT; echo ${axis.n} > ${out.x}', outputs: {x: x}}
";
    let points: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let project = Project::new(&text.replace("POINTS", &points.join(",")));
    project.file("count", "");
    project.run(&["run", "p.yaml", "--jobs", "2"]).code(0);
    let order = project.read("count");
    let place = order.lines().position(|line| line == "wide").unwrap();
    assert!((40..=50).contains(&place), "{place} before it: {order}");
}

#[test]
fn retries_try_again() {
    let project = Project::new(
        "stages:\n  a:\n    retries: 2\n    command: {run: 'echo x >> COUNT; [ $(wc -l < COUNT) -gt 1 ] && echo > ${out.x}', outputs: {x: x}}\n",
    );
    project.done().says("trying again in 1 s");
    assert_eq!(project.counted().len(), 2);
}

#[test]
fn a_timeout_ends_a_job_with_all_its_children() {
    let project = Project::new(
        "stages:\n  a:\n    timeout: 1s\n    command: {run: 'sleep 60 & sleep 60', outputs: {x: x}}\n",
    );
    project
        .run(&["run", "p.yaml"])
        .code(1)
        .says("ran longer than its timeout of 1.0 s");
}

#[test]
fn an_output_that_was_not_made_is_named() {
    let project = Project::new("stages:\n  a: {command: {run: ['true'], outputs: {x: x.txt}}}\n");
    project.run(&["run", "p.yaml"]).code(1).says("`x`");
}

#[test]
fn half_written_outputs_are_never_results() {
    let project = Project::new(
        "stages:\n  a: {command: {run: 'echo half > ${out.x}; exit 1', outputs: {x: x}}}\n",
    );
    project.run(&["run", "p.yaml"]).code(1);
    assert!(!project.path("out/p/a/x").exists());
    project
        .run(&["status", "p.yaml", "--json"])
        .code(0)
        .says("\"to_run\": 1");
}

#[test]
fn a_missing_trainer_is_explained() {
    let project = Project::new(
        "stages:\n  t: {train: {algorithm: supervised, labeled: p.yaml, test: p.yaml}}\n",
    );
    let ran = Ran::of(
        &project
            .command(&["run", "p.yaml"])
            .env("REMATCH_TRAIN", "/nowhere/rematch-train")
            .output()
            .unwrap(),
    );
    ran.code(1).says("cannot start /nowhere/rematch-train");
}

#[test]
fn an_input_that_changes_while_it_is_read_makes_no_result() {
    let project = Project::new(
        "stages:\n  a: {command: {run: 'cat ${in.f} > ${out.x}; echo more >> SOURCE', inputs: {f: f.txt}, outputs: {x: x}}}\n",
    );
    let file = project.file("f.txt", "one\n");
    let text = project
        .read("p.yaml")
        .replace("SOURCE", &file.display().to_string());
    project.pipeline(&text);
    project
        .run(&["run", "p.yaml"])
        .code(1)
        .says("changed while the job ran");
}

#[test]
fn a_large_file_that_shrinks_while_it_is_hashed_is_an_error_or_has_its_digest_and_kills_nobody() {
    const WHOLE: u64 = 64 << 20;
    const SHORT: u64 = 4096;
    let project =
        Project::new("stages:\n  a: {command: {run: ['true'], inputs: {f: f}, outputs: {x: x}}}\n");
    let file = std::fs::File::create(project.path("f")).unwrap();
    file.write_all_at(b"content", 0).unwrap();
    file.set_len(WHOLE).unwrap();
    let whole = rematch_cache::Digest::of_file(&project.path("f")).unwrap();
    file.set_len(SHORT).unwrap();
    let short = rematch_cache::Digest::of_file(&project.path("f")).unwrap();
    file.set_len(WHOLE).unwrap();
    let plan = || {
        let mut command = project.command(&["explain", "p.yaml", "a", "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        child.spawn().unwrap()
    };
    let found = |ran: &Ran| ran.json()["key"]["inputs"]["inputs.f"].clone();
    let ran = Ran::of(&plan().wait_with_output().unwrap()).code(0);
    assert_eq!(found(&ran), whole.to_hex(), "mapped, and read");
    for _ in 0..10 {
        let mut child = plan();
        while child.try_wait().unwrap().is_none() {
            file.set_len(SHORT).unwrap();
            file.set_len(WHOLE).unwrap();
        }
        let ran = Ran::of(&child.wait_with_output().unwrap());
        match ran.code {
            0 => assert!(
                [whole, short]
                    .iter()
                    .any(|digest| found(&ran) == digest.to_hex())
            ),
            _ => drop(ran.code(3).says("changed while")),
        }
    }
}

#[test]
fn a_job_cannot_ask_for_more_than_the_machine_has() {
    let project = Project::new(
        "stages:\n  a:\n    resources: {memory: 900TB}\n    command: {run: ['true'], outputs: {x: x}}\n",
    );
    project
        .run(&["run", "p.yaml"])
        .code(2)
        .says("a asks for 900000.0 GB of memory");
}

use super::project::Ran;

#[test]
fn an_error_names_the_output_that_a_job_read_as_the_pipeline_does() {
    let project = Project::new(
        "axes: {images: [20]}
stages:
  dataset: {download: {dataset: shapes, train_images: '${axis.images}', test_images: 10}}
  split: {create_split: {train: '${dataset.train}', seed: 1, size: 40}}
",
    );
    let ran = project.run(&["run", "p.yaml"]).code(1);
    ran.says("failed split[images=20]: dataset[images=20].train: class 0 has 2 records");
}
