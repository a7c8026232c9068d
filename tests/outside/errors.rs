//! Wrong pipelines and wrong flags: what a user reads.

use super::project::Project;

/// A pipeline, and what its error must say.
const WRONG: &[(&str, &[&str])] = &[
    (
        "stages:\n  s:\n    create_split: {train: x, seed: 1, size: 40, lables: 4}\n",
        &[
            "create_split has no parameter `lables`",
            "p.yaml:3:49",
            "known: train, seed, size, uniform",
        ],
    ),
    (
        "axes: {labels: [1]}\nstages:\n  s: {create_split: {train: p.yaml, seed: 1, size: '${axis.lables}'}}\n",
        &[
            "there is no axis `lables`",
            "p.yaml:3:",
            "did you mean `labels`?",
            "^^^^^^",
        ],
    ),
    (
        "stages:\n  a: {create_unlabeled: {train: '${dta.train}'}}\n  data: {download: {dataset: cifar10}}\n",
        &["there is no stage `dta`", "did you mean `data`?"],
    ),
    (
        "stages:\n  a: {create_unlabeled: {train: '${b.trian}'}}\n  b: {download: {dataset: shapes}}\n",
        &["stage `b` has no output `trian`", "did you mean `train`?"],
    ),
    (
        "stages:\n  a: {downlaod: {dataset: cifar10}}\n",
        &[
            "there is no stage kind `downlaod`",
            "did you mean `download`?",
            "p.yaml:2:7",
        ],
    ),
    (
        "stages:\n  a: {download: {dataset: cifar11}}\n",
        &["has no choice `cifar11`", "did you mean `cifar10`?"],
    ),
    (
        "stages:\n  a: {create_split: {train: p.yaml, seed: one, size: 40}}\n",
        &[
            "`seed`: found the text \"one\", expected a whole number",
            "p.yaml:2:43",
        ],
    ),
    (
        "stages:\n  a: {create_split: {train: p.yaml, seed: 1}}\n",
        &["missing field `size`"],
    ),
    (
        "stages:\n  a: {create_split: {train: p.yaml, seed: 1, size: 0}}\n",
        &["at least 1 labeled record"],
    ),
    (
        "stages:\n  a: {create_unlabeled: {train: nowhere.tfrecord}}\n",
        &["there is no file `nowhere.tfrecord`", "p.yaml:2:33"],
    ),
    (
        "stages:\n  a: {command: {run: 'cat ${b.x}', outputs: {x: x}}}\n  b: {command: {run: 'cat ${a.x}', outputs: {x: x}}}\n",
        &["in a circle: a → b → a"],
    ),
    (
        "stages: {a: {download: {dataset: shapes}}}\nstages: {}\n",
        &["`stages` is there twice; line 1 has the first"],
    ),
    (
        "stages:\n  a: {download: {dataset: shapes}}\n  a: {download: {dataset: shapes}}\n",
        &["`a` is there twice"],
    ),
    (
        "stages:\n  a/b: {download: {dataset: shapes}}\n",
        &["`a/b` cannot name a stage"],
    ),
    (
        "stages:\n  a: {resources: {cpus: 1}}\n",
        &["stage `a` says not what to run"],
    ),
    (
        "stages:\n  a: {download: {dataset: shapes}, command: {run: x, outputs: {}}}\n",
        &["two stage kinds"],
    ),
    (
        "stages:\n  a: {download: {dataset: shapes}, resources: {gpu: 1}}\n",
        &["has no parameter `gpu`", "did you mean `gpus`?"],
    ),
    (
        "stages:\n  a: {download: {dataset: shapes}, resources: {memory: lots}}\n",
        &["`lots` is no size"],
    ),
    (
        "stages:\n  a: {download: {dataset: shapes}, timeout: soon}\n",
        &["`soon` is no time"],
    ),
    (
        "axes: {seed: []}\nstages: {}\n",
        &["axis `seed` has no values"],
    ),
    (
        "axes: {seed: [1, 1]}\nstages: {}\n",
        &["axis `seed` has `1` twice"],
    ),
    (
        "axes: {seed: [1]}\nexclude: [{seed: 2}]\nstages: {}\n",
        &["no such value to leave out"],
    ),
    (
        "stage: {}\n",
        &[
            "a pipeline has no parameter `stage`",
            "did you mean `stages`?",
        ],
    ),
    (
        "- a\n- b\n",
        &["a pipeline is a map with `stages`, found a list"],
    ),
    (
        "stages: {a: {download: {dataset: ${axis.x}}}}\n",
        &["inside `{ }` and `[ ]` a reference needs quotes"],
    ),
    (
        "stages: {a: {create_unlabeled: {train: '${x'}}}\n",
        &["has no closing `}`"],
    ),
    (
        "vars: {a: '${var.b}', b: '${var.a}'}\nstages: {s: {download: {dataset: '${var.a}'}}}\n",
        &["refers to itself"],
    ),
    ("include: [p.yaml]\n", &["`p.yaml` includes itself"]),
    (
        "include: [absent.yaml]\n",
        &["cannot read pipeline `absent.yaml`", "p.yaml:1:11"],
    ),
    (
        "stages: {t: {train: {algorithm: fixmatch, dataset: cifar10.3@41-1}}}\n",
        &["size 41 is none of 10, 20"],
    ),
    (
        "stages: {t: {train: {algorithm: fixmach, dataset: cifar10.3@40-1}}}\n",
        &["has no choice `fixmach`", "did you mean `fixmatch`?"],
    ),
    (
        "stages: {t: {train: {algorithm: {fixmatch: {confidance: 1}}, dataset: cifar10.3@40-1}}}\n",
        &["`confidance`", "confidence"],
    ),
];

#[test]
fn every_wrong_pipeline_is_refused_with_place_and_advice() {
    let mut wrong = Vec::new();
    for (text, expected) in WRONG {
        let project = Project::new(text);
        let ran = project.run(&["plan", "p.yaml"]);
        let missing: Vec<&&str> = expected
            .iter()
            .filter(|words| !ran.stderr.contains(**words))
            .collect();
        if ran.code != 2 || !missing.is_empty() || project.path("out").exists() {
            wrong.push(format!(
                "{text}missing {missing:?} in (exit code {}):\n{}",
                ran.code, ran.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_whole_message_reads_well() {
    let project = Project::new(
        "stages:\n  split:\n    create_split:\n      train: p.yaml\n      seed: 1\n      sise: 40\n",
    );
    let expected = "\
error: create_split has no parameter `sise`
  --> p.yaml:6:7
  6 |       sise: 40
    |       ^^^^
  help: did you mean `size`?
";
    assert_eq!(project.run(&["run", "p.yaml"]).code(2).stderr, expected);
}

#[test]
fn wrong_flags_and_names_are_refused() {
    let project = Project::new(
        "axes: {seed: [1]}\nvars: {steps: 1}\nstages:\n  a: {command: {run: 'echo ${axis.seed} > ${out.x}', outputs: {x: x}}}\n",
    );
    project
        .run(&["run", "q.yaml"])
        .code(2)
        .says("cannot read pipeline `q.yaml`");
    project
        .run(&["run", "p.yaml", "b"])
        .code(2)
        .says("no job matches `b`");
    project
        .run(&["run", "p.yaml", "a[seed=2]"])
        .code(2)
        .says("its jobs look like a[seed=1]");
    project
        .run(&["run", "p.yaml", "a[seed"])
        .code(2)
        .says("is no job pattern");
    project
        .run(&["run", "p.yaml", "--set", "step=2"])
        .code(2)
        .says("did you mean `steps`?");
    project
        .run(&["run", "p.yaml", "--set", "steps"])
        .code(2)
        .says("expected KEY=VALUE");
    project.run(&["status"]).code(2).says("which pipeline?");
    project
        .run(&["log", "p.yaml", "a[seed=1]"])
        .code(1)
        .says("it did not run yet");
    project
        .run(&["stages", "tarin"])
        .code(2)
        .says("did you mean `train`?");
    project.file("readme.txt", "not a store");
    project
        .run(&["run", "p.yaml", "--store", "."])
        .code(3)
        .says("is not a rematch store");
}

#[test]
fn odd_but_harmless_things_get_a_warning() {
    let project = Project::new(
        "axes: {seed: [1], unused: [1]}\nstages:\n  a: {command: {run: 'echo ${axis.seed} > ${out.x}', outputs: {x: x}}}\n",
    );
    let ran = project
        .done()
        .says("axis `unused` is mentioned by no stage (p.yaml:1)");
    assert_eq!(ran.stderr.matches("warning:").count(), 1, "{}", ran.stderr);
}

#[test]
fn absurd_sweeps_are_refused_before_anything_runs() {
    let values: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    let values = values.join(", ");
    let project = Project::new(&format!(
        "axes: {{a: [{values}], b: [{values}]}}\nstages:\n  s: {{command: {{run: 'echo ${{axis.a}} ${{axis.b}}', outputs: {{x: x}}}}}}\n"
    ));
    project
        .run(&["plan", "p.yaml"])
        .code(2)
        .says("more than 1000000 combinations");
}
