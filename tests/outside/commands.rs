//! Commands that tell facts, the `command` stage, and the trainer's side of the protocol.

use super::project::{Project, Ran};

#[test]
fn a_command_sees_only_the_stated_environment() {
    let project = Project::new(
        "stages:\n  a: {command: {run: 'env | cut -d= -f1 | sort > ${out.x}', env: {MINE: 1}, pass_env: [PASSED], outputs: {x: x}}}\n",
    );
    let output = project
        .command(&["run", "p.yaml"])
        .env("SECRET", "s")
        .env("PASSED", "p")
        .output()
        .unwrap();
    Ran::of(&output).code(0);
    let names = project.read("out/p/a/x");
    assert!(
        names.contains("MINE\n") && names.contains("PASSED\n") && !names.contains("SECRET"),
        "{names}"
    );
}

#[test]
fn arguments_reach_a_program_as_they_are() {
    let project = Project::new(
        r#"stages:
  a: {command: {run: ["sh", "-c", "printf '%s|' \"$@\" > ${out.x}", "name", "a b", "$(id)", "*", "'"], outputs: {x: x}}}
"#,
    );
    project.done();
    assert_eq!(project.read("out/p/a/x"), "a b|$(id)|*|'|");
}

#[test]
fn a_line_ends_at_the_first_program_that_fails() {
    let text = "stages:\n  a: {command: {run: 'false; echo 1 > ${out.x}', outputs: {x: x}}}\n";
    let project = Project::new(text);
    project.run(&["run", "p.yaml"]).code(1);
    assert!(!project.path("out/p/a/x").exists());
    project.pipeline(&text.replace("false", "false || true"));
    project.done();
    // As a file, where the line is too long for an argument.
    let long = format!("false; : {}; echo", "x".repeat(200_000));
    project.pipeline(&text.replace("false; echo", &long));
    project.run(&["run", "p.yaml"]).code(1);
}

#[test]
fn outputs_may_be_folders() {
    let project = Project::new(
        "stages:\n  a: {command: {run: 'mkdir -p ${out.d}/e; echo 1 > ${out.d}/e/f', outputs: {d: d}}}\n  b: {command: {run: 'cat ${a.d}/e/f > ${out.x}', outputs: {x: x}}}\n",
    );
    project.done();
    assert_eq!(project.read("out/p/b/x"), "1\n");
    assert_eq!(project.read("out/p/a/d/e/f"), "1\n");
    project.done().says("nothing to do");
}

#[test]
fn outputs_outside_their_folder_are_refused() {
    for path in ["../x", "/tmp/x", "a/../../x", ""] {
        let project = Project::new(&format!(
            "stages:\n  a: {{command: {{run: ['true'], outputs: {{x: '{path}'}}}}}}\n"
        ));
        let ran = project.run(&["plan", "p.yaml"]);
        assert_eq!(ran.code, 2, "{path}: {}", ran.stderr);
    }
}

#[test]
fn the_trainer_gets_a_job_file_and_its_run_folder_is_live() {
    let project = Project::new(
        "stages:\n  t: {train: {algorithm: supervised, labeled: p.yaml, test: p.yaml, seed: 3}}\n",
    );
    let trainer = project.trainer("mkdir -p $run; cp $1 $run/job.json; ls -l FOLDER/out/p/t > $run/seen; echo '{\"event\":\"note\",\"text\":\"hello there\"}'");
    let text = std::fs::read_to_string(&trainer)
        .unwrap()
        .replace("FOLDER", &project.path("").display().to_string());
    std::fs::write(&trainer, text).unwrap();
    let output = project
        .command(&["run", "p.yaml"])
        .env("REMATCH_TRAIN", &trainer)
        .output()
        .unwrap();
    Ran::of(&output).code(0).says("t: hello there");
    assert!(
        project.read("out/p/t/run/seen").contains("run -> "),
        "the run folder is linked while it runs"
    );
    let job: serde_json::Value =
        serde_json::from_str(&project.read("out/p/t/run/job.json")).unwrap();
    assert_eq!(
        (&job["protocol"], &job["kind"], &job["params"]["seed"]),
        (&1.into(), &"train".into(), &3.into())
    );
    assert_eq!(job["params"]["batch"], 64, "defaults are filled in");
}

#[test]
fn run_can_report_as_json_lines() {
    let project =
        Project::new("stages:\n  a: {command: {run: 'echo > ${out.x}', outputs: {x: x}}}\n");
    let ran = project.run(&["run", "p.yaml", "--json"]).code(0);
    let events: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["started", "job_started", "job_done", "finished"]);
    assert_eq!(events[3]["ran"], 1);
}

#[test]
fn stages_and_schema_tell_the_same_parameters() {
    let project = Project::new("stages: {}\n");
    let stages = project.run(&["stages", "--json"]).code(0).json();
    let schema = project.run(&["schema"]).code(0).json();
    for kind in stages.as_array().unwrap() {
        let name = kind["name"].as_str().unwrap();
        let mine: Vec<&String> = kind["parameters"]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        let theirs: Vec<&String> = schema["$defs"][format!("kind_{name}")]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        assert_eq!(mine, theirs, "{name}");
        project.run(&["stages", name]).code(0).says(name);
    }
}

#[test]
fn every_parameter_of_every_stage_has_words() {
    let project = Project::new("stages: {}\n");
    let stages = project.run(&["stages", "--json"]).code(0).json();
    for kind in stages.as_array().unwrap() {
        assert!(
            kind["parameters"]["description"].is_string(),
            "{}",
            kind["name"]
        );
        for (name, parameter) in kind["parameters"]["properties"].as_object().unwrap() {
            assert!(
                parameter["description"].is_string(),
                "{}.{name}",
                kind["name"]
            );
        }
    }
}

#[test]
fn status_counts_jobs_by_stage() {
    let project = Project::new(
        "axes: {n: [1, 2]}\nstages:\n  a: {command: {run: 'echo ${axis.n} > ${out.x}', outputs: {x: x}}}\n  b: {command: {run: 'cat ${a.x} > ${out.x}', outputs: {x: x}}}\n",
    );
    project.run(&["run", "p.yaml", "a[n=1]"]).code(0);
    let stages = project.run(&["status", "--json"]).code(0).json()["stages"].clone();
    assert_eq!(
        (
            &stages[0]["fresh"],
            &stages[0]["to_run"],
            &stages[1]["to_run"],
            &stages[1]["waiting"]
        ),
        (&1.into(), &1.into(), &1.into(), &1.into())
    );
}

#[test]
fn commands_without_a_pipeline_take_that_of_the_last_run() {
    let project = Project::new(
        "vars: {word: one}\nstages:\n  a: {command: {run: 'echo said >&2; echo ${var.word} > ${out.x}', outputs: {x: x}}}\n",
    );
    project.run(&["run", "p.yaml", "--set", "word=two"]).code(0);
    project
        .run(&["status"])
        .code(0)
        .says("all 1 jobs are up to date");
    project.run(&["plan", "a"]).code(0).says("nothing to do");
    project.run(&["log", "a"]).code(0).says("said");
    project
        .run(&["plan", "b"])
        .code(2)
        .says("no job matches `b`");
    project
        .run(&["plan", "q.yaml"])
        .code(2)
        .says("cannot read pipeline `q.yaml`");
    project.run(&["plan", "p.yaml"]).code(0).says("1 to run");
}

#[test]
fn doctor_looks_at_everything() {
    let project = Project::new("stages: {}\n");
    let output = project
        .command(&["doctor", "--json"])
        .env("REMATCH_TRAIN", "/nowhere/rematch-train")
        .output()
        .unwrap();
    let ran = Ran::of(&output).code(3);
    let checks = ran.json()["checks"].as_array().unwrap().clone();
    let good: Vec<(&str, bool)> = checks
        .iter()
        .map(|c| (c["what"].as_str().unwrap(), c["good"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        good[..3],
        [("rematch", true), ("trainer", false), ("machine", true)]
    );
}
