//! What reruns after which edit.

use super::project::Project;

const CHAIN: &str = r#"
axes:
  seed: [1, 2]
stages:
  shared:
    command:
      run: "echo shared >> COUNT; grep -v '^#' ${in.source} > ${out.data}"
      inputs: {source: source.txt}
      outputs: {data: data.txt}
  work:
    command:
      run: "echo work${axis.seed} >> COUNT; { cat ${shared.data}; echo ${axis.seed}; } > ${out.result}"
      outputs: {result: result.txt}
  all:
    command:
      run: "echo all >> COUNT; cat ${work[*].result} > ${out.sum}"
      outputs: {sum: sum.txt}
"#;

fn chain() -> Project {
    let project = Project::new(CHAIN);
    project.file("source.txt", "# first\nhello\n");
    project.done();
    assert_eq!(project.counted(), ["all", "shared", "work1", "work2"]);
    project
}

#[test]
fn a_second_run_reruns_nothing_and_says_so() {
    let project = chain();
    project
        .done()
        .says("nothing to do: all 4 jobs are up to date");
    assert!(project.counted().is_empty());
    assert_eq!(project.read("out/p/all/sum.txt"), "hello\n1\nhello\n2\n");
}

#[test]
fn a_new_axis_value_runs_only_what_is_behind_it() {
    let project = chain();
    project.pipeline(&CHAIN.replace("[1, 2]", "[1, 2, 3]"));
    project.done();
    assert_eq!(project.counted(), ["all", "work3"]);
    project
        .run(&["run", "p.yaml", "--set", "axis.seed=[4]", "work"])
        .code(0);
    assert_eq!(project.counted(), ["work4"]);
}

#[test]
fn an_edit_that_changes_no_output_stops_there() {
    let project = chain();
    project.file("source.txt", "# second\nhello\n");
    project.done();
    assert_eq!(project.counted(), ["shared"]);
}

#[test]
fn an_edit_and_its_undoing_find_the_old_results() {
    let project = chain();
    project.file("source.txt", "bye\n");
    project.done();
    assert_eq!(project.counted(), ["all", "shared", "work1", "work2"]);
    project.file("source.txt", "# first\nhello\n");
    project.done();
    assert!(project.counted().is_empty());
    assert_eq!(project.read("out/p/all/sum.txt"), "hello\n1\nhello\n2\n");
}

#[test]
fn a_touched_file_reruns_nothing() {
    let project = chain();
    let file = std::fs::File::options()
        .append(true)
        .open(project.path("source.txt"))
        .unwrap();
    file.set_modified(
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000),
    )
    .unwrap();
    project.done();
    assert!(project.counted().is_empty());
}

#[test]
fn names_order_comments_and_resources_are_not_part_of_a_key() {
    let project = chain();
    let mut edited = CHAIN.replace("work:\n    command", "# a comment\n  labour:\n    resources: {cpus: 2}\n    timeout: 1h\n    retries: 2\n    command");
    edited = edited
        .replace("${work[*]", "${labour[*]")
        .replace("{source: source.txt}", "{\"source\": 'source.txt'}");
    project.pipeline(&edited);
    project.done();
    assert!(project.counted().is_empty());
    assert_eq!(project.read("out/p/labour/seed=2/result.txt"), "hello\n2\n");
}

#[test]
fn a_result_that_was_deleted_or_edited_comes_back_without_running() {
    let project = chain();
    std::fs::remove_dir_all(project.path("out")).unwrap();
    project.done();
    assert_eq!(project.read("out/p/all/sum.txt"), "hello\n1\nhello\n2\n");
    std::fs::remove_file(project.path("out/p/all/sum.txt")).unwrap();
    project.file("out/p/all/sum.txt", "mine");
    project.done();
    assert_eq!(project.read("out/p/all/sum.txt"), "hello\n1\nhello\n2\n");
    assert!(project.counted().is_empty());
}

#[test]
fn a_lost_object_is_made_again() {
    let project = chain();
    let store = project.path(".rematch/objects");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    project.done();
    assert_eq!(project.counted(), ["all", "shared", "work1", "work2"]);
}

#[test]
fn force_runs_the_selected_jobs_alone() {
    let project = chain();
    project
        .run(&["run", "p.yaml", "work[seed=1]", "--force"])
        .code(0);
    assert_eq!(project.counted(), ["work1"]);
}

#[test]
fn stores_are_shared_between_pipelines() {
    let project = chain();
    project.file("q.yaml", &project.read("p.yaml"));
    project
        .run(&["run", "q.yaml"])
        .code(0)
        .says("nothing to do");
    assert!(project.path("out/q/all/sum.txt").exists());
}

#[test]
fn explain_names_the_field_with_its_old_and_new_value() {
    let project = Project::new(
        "vars: {n: 1}\nstages:\n  a:\n    command: {run: 'echo $N > ${out.x}', env: {N: '${var.n}'}, outputs: {x: x}}\n",
    );
    project.done();
    let ran = project.run(&["explain", "a", "--set", "n=2"]).code(0);
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    assert_eq!(lines[..4], ["a must run", "params.env.N", "old 1", "new 2"]);
    let plan = project.run(&["plan", "p.yaml", "--set", "n=2"]).code(0);
    assert!(
        plan.stdout.contains("run  a (env.N 1 → 2)"),
        "{}",
        plan.stdout
    );
    project
        .run(&["explain", "p.yaml", "a"])
        .code(0)
        .says("a is up to date");
}

#[test]
fn two_runs_at_once_share_the_work() {
    let project = Project::new(
        "axes: {n: [1, 2, 3, 4, 5, 6]}\nstages:\n  a:\n    command: {run: 'echo ${axis.n} >> COUNT; sleep 0.2; echo ${axis.n} > ${out.x}', outputs: {x: x}}\n",
    );
    let mut other = project.start(&["run", "p.yaml"]);
    project.done();
    assert!(other.wait().unwrap().success());
    assert_eq!(project.counted(), ["1", "2", "3", "4", "5", "6"]);
}
