//! Axes, points, references and what they expand to.

use super::project::Project;

fn jobs(project: &Project, arguments: &[&str]) -> Vec<String> {
    let ran = project
        .run(&[&["plan", "p.yaml", "--json"], arguments].concat())
        .code(0);
    let jobs = ran.json()["jobs"].as_array().unwrap().clone();
    jobs.iter()
        .map(|job| job["job"].as_str().unwrap().to_owned())
        .collect()
}

const SWEEP: &str = r"
axes:
  seed: [1, 2]
  method: [supervised, {name: fixmatch, confidence: 0.9}]
stages:
  data: {command: {run: 'echo > ${out.x}', outputs: {x: x}}}
  split: {command: {run: 'cat ${data.x} > ${out.x}; echo ${axis.seed}', outputs: {x: x}}}
  train: {command: {run: 'cat ${split.x} > ${out.x}', env: {M: '${axis.method.name}'}, outputs: {x: x}}}
  table: {command: {run: 'cat ${train[*].x} > ${out.x}', outputs: {x: x}}}
";

#[test]
fn a_stage_fans_out_over_the_axes_behind_it() {
    let mut text = SWEEP.replace("supervised,", "{name: supervised},");
    let project = Project::new(&text);
    let all = [
        "data",
        "split[seed=1]",
        "split[seed=2]",
        "train[seed=1,method=supervised]",
        "train[seed=1,method=fixmatch]",
        "train[seed=2,method=supervised]",
        "train[seed=2,method=fixmatch]",
        "table",
    ];
    assert_eq!(jobs(&project, &[]), all);
    assert_eq!(
        jobs(&project, &["train[method=fix*,seed=2]"]),
        ["data", "split[seed=2]", "train[seed=2,method=fixmatch]"]
    );
    text += "exclude:\n- {seed: 2, method: fixmatch}\ninclude:\n- {seed: 7, method: fixmatch}\n";
    project.pipeline(&text);
    let jobs = jobs(&project, &[]);
    assert!(
        jobs.contains(&"train[seed=7,method=fixmatch]".into())
            && jobs.contains(&"split[seed=7]".into()),
        "{jobs:?}"
    );
    assert!(
        !jobs.contains(&"train[seed=2,method=fixmatch]".into())
            && jobs.contains(&"split[seed=2]".into()),
        "{jobs:?}"
    );
}

#[test]
fn a_collection_keeps_to_the_axes_that_its_stage_mentions() {
    let project = Project::new(
        r"
axes: {seed: [1, 2], labels: [40, 250]}
stages:
  train: {command: {run: 'echo ${axis.seed} ${axis.labels} > ${out.x}', outputs: {x: x}}}
  mean: {command: {run: 'cat ${train[*].x} > ${out.x}; echo for ${axis.labels} >> ${out.x}', outputs: {x: x}}}
",
    );
    project.done();
    assert_eq!(
        project.read("out/p/mean/labels=250/x"),
        "1 250\n2 250\nfor 250\n"
    );
}

#[test]
fn variables_fragments_and_settings_combine() {
    let project = Project::new(
        "include: [shared/base.yaml]\nvars: {word: two}\nstages:\n  b: {command: {run: 'cat ${a.x} > ${out.y}', outputs: {y: y}}}\n",
    );
    project.file("shared/base.yaml", "vars: {word: one, end: '!${var.word}'}\nstages:\n  a: {command: {run: 'echo ${var.word}${var.end} > ${out.x}', outputs: {x: x}}}\n");
    project.done();
    assert_eq!(project.read("out/p/b/y"), "two!two\n");
    project.run(&["run", "p.yaml", "--set", "word=3"]).code(0);
    assert_eq!(project.read("out/p/b/y"), "3!3\n");
    // A stage's own parameters can be set as well.
    project
        .run(&[
            "run",
            "p.yaml",
            "--set",
            "a.run=[sh, -c, 'echo set > ${out.x}']",
        ])
        .code(0);
    assert_eq!(project.read("out/p/b/y"), "set\n");
}

#[test]
fn a_split_name_stands_for_its_preparation() {
    let project = Project::new(
        "axes: {seed: [1, 2]}\nstages:\n  t: {train: {algorithm: fixmatch, dataset: 'cifar10.${axis.seed}@40-5000'}}\n",
    );
    let expected = [
        "cifar10",
        "cifar10-unlabel",
        "cifar10.1@40-label",
        "cifar10.2@40-label",
        "t[seed=1]",
        "t[seed=2]",
    ];
    assert_eq!(jobs(&project, &[]), expected);
}

#[test]
fn names_from_yaml_stay_in_the_results_folder() {
    let project = Project::new(
        r#"
axes: {odd: ["../../up", "a b;$(touch pwned)", "ünïcode", "."]}
stages:
  a: {command: {run: 'printf %s "$V" > ${out.x}', env: {V: "${axis.odd}"}, outputs: {x: "it's x.txt"}}}
"#,
    );
    project.done();
    assert_eq!(
        project.read("out/p/a/odd=%2E.%2F..%2Fup/it's x.txt"),
        "../../up"
    );
    assert_eq!(
        project.read("out/p/a/odd=a%20b%3B%24%28touch%20pwned%29/it's x.txt"),
        "a b;$(touch pwned)"
    );
    assert!(!project.path("pwned").exists() && !project.path("../up").exists());
}

#[test]
fn the_graph_is_drawn_in_every_form() {
    let project = Project::new(SWEEP.replace("supervised,", "{name: supervised},").as_str());
    project
        .run(&["graph", "p.yaml"])
        .code(0)
        .says("train  command × 4  ← split.x");
    for form in ["dot", "mermaid", "svg"] {
        let drawn = project
            .run(&["graph", "p.yaml", "--all", "-f", form])
            .code(0)
            .stdout;
        assert!(drawn.contains("train[seed=2,method=fixmatch]"), "{drawn}");
    }
}

/// Ends with success and no result, if nobody takes care.
#[test]
fn a_selection_whose_inputs_are_missing_fails_and_names_them() {
    let project = Project::new(SWEEP.replace("supervised,", "{name: supervised},").as_str());
    let ran = project.run(&["run", "p.yaml", "train", "--only"]).code(1);
    let ran = ran.says("data must run first, and was not selected");
    ran.says("help: select these, too");
    assert!(!project.path("out/p/train").exists());
    let ran = project.run(&["run", "p.yaml", "split", "--downstream", "--json"]);
    ran.code(1).says(r#""barred":["data"]"#);
    // What can run runs.
    project.run(&["run", "p.yaml", "split[seed=1]"]).code(0);
    let ran = project.run(&["run", "p.yaml", "train", "--only"]).code(1);
    ran.says("2 ran")
        .says("split[seed=2] must run first, and was not selected");
    project.run(&["run", "p.yaml", "split"]).code(0);
    project.run(&["run", "p.yaml", "train", "--only"]).code(0);
}

#[test]
fn what_set_took_away_needs_no_leaving_out() {
    let project = Project::new(
        "axes: {a: [1, 2, 3], b: [x, y]}\nexclude: [{a: [2, 3], b: x}]\nstages:\n  s: {command: {run: 'echo ${axis.a} ${axis.b} > ${out.o}', outputs: {o: o}}}\n",
    );
    let ran = project.run(&["plan", "p.yaml", "--json", "--set", "axis.a=[1, 3]"]);
    assert_eq!(ran.code(0).json()["jobs"].as_array().unwrap().len(), 3);
    let ran = project.run(&["plan", "p.yaml", "--json", "--set", "axis.a=[1]"]);
    assert_eq!(ran.code(0).json()["jobs"].as_array().unwrap().len(), 2);
}
