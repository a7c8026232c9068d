//! Commands that behave, and some that do not.

use serde_json::{Value, json};

use super::*;
use crate::child::tests::{Lines, job};

fn child(work: &Path, params: Value) -> Child {
    let outputs: Vec<(String, String)> = params["outputs"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(n, p)| (n.clone(), p.as_str().unwrap().to_owned()))
        .collect();
    let outputs: Vec<(&str, &str)> = outputs
        .iter()
        .map(|(n, p)| (n.as_str(), p.as_str()))
        .collect();
    Child::new(job(work, "command", params, &outputs), Lines::default())
}

fn run_in(work: &Path, params: Value) -> Result<Report, StageError> {
    crate::stages::run(&child(work, params))
}

#[test]
fn arguments_and_shell_lines_get_their_paths() {
    let work = tempfile::tempdir().unwrap();
    let input = work.path().join("it's a file");
    fs::write(&input, "text").unwrap();
    let params = json!({
        "run": ["cp", {"$template": [{"$input": input}]}, "${out.copy}"],
        "outputs": {"copy": "sub/copy.txt"}
    });
    run_in(work.path(), params).unwrap();
    assert_eq!(
        fs::read_to_string(&work.path().join("out/sub/copy.txt")).unwrap(),
        "text"
    );

    let params = json!({
        "run": {"$template": ["cat ${in.one} ", {"$input": input}, " > ${out.both}; x=1; echo ${x} >> ${out.both}"]},
        "inputs": {"one": {"$input": input}},
        "outputs": {"both": "both.txt"}
    });
    run_in(work.path(), params).unwrap();
    assert_eq!(
        fs::read_to_string(&work.path().join("out/both.txt")).unwrap(),
        "texttext1\n"
    );
}

#[test]
fn the_environment_is_stated_and_not_inherited() {
    let work = tempfile::tempdir().unwrap();
    let params = json!({"run": "env | cut -d= -f1 | sort > ${out.names}; pwd > ${out.place}; ls -A > ${out.files}", "outputs": {"names": "n", "place": "p", "files": "f"}, "env": {"MINE": "${out.names}"}, "pass_env": ["CARGO_MANIFEST_DIR"]});
    run_in(work.path(), params).unwrap();
    let names = fs::read_to_string(&work.path().join("out/n")).unwrap();
    let names: Vec<&str> = names.lines().collect();
    // The shell adds the last three of these.
    let allowed = [
        &VARIABLES[..],
        &["MINE", "CARGO_MANIFEST_DIR", "PWD", "SHLVL", "_"],
    ]
    .concat();
    assert!(names.iter().all(|n| allowed.contains(n)), "{names:?}");
    assert!(
        names.contains(&"MINE") && names.contains(&"CARGO_MANIFEST_DIR"),
        "{names:?}"
    );
    assert_eq!(fs::read_to_string(&work.path().join("out/f")).unwrap(), "");
}

#[test]
fn an_output_left_in_its_own_folder_is_taken() {
    let work = tempfile::tempdir().unwrap();
    run_in(
        work.path(),
        json!({"run": "echo 1 > result.csv", "outputs": {"table": "result.csv"}}),
    )
    .unwrap();
    assert_eq!(
        fs::read_to_string(&work.path().join("out/result.csv")).unwrap(),
        "1\n"
    );
}

#[test]
fn a_missing_output_a_code_and_a_signal_are_told() {
    let work = tempfile::tempdir().unwrap();
    let message = |run: Value| {
        run_in(work.path(), json!({"run": run, "outputs": {"a": "a"}}))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(json!("true")),
        "the command succeeded but did not make its output `a`"
    );
    assert_eq!(message(json!("exit 7")), "the command ended with code 7");
    assert_eq!(
        message(json!("kill -SEGV $$")),
        "the command was killed by signal 11"
    );
    assert!(message(json!(["no-such-program"])).starts_with("cannot start `no-such-program`: "));
    assert!(message(json!("${out.b}")).contains("there is no `b`"));
}

#[test]
fn an_order_to_stop_reaches_the_command() {
    let work = tempfile::tempdir().unwrap();
    let params = json!({"run": "echo $$ > ${out.pid}; exec sleep 600", "outputs": {"pid": "pid"}});
    let child = child(work.path(), params);
    let pid = work.path().join("out/pid");
    thread::scope(|scope| {
        let running = scope.spawn(|| crate::stages::run(&child));
        while fs::read_to_string(&pid).unwrap_or_default().is_empty() {
            thread::sleep(SHORT_TICK);
        }
        child.interrupt();
        assert_eq!(running.join().unwrap(), Err(StageError::Interrupted));
    });
    assert!(gone(fs::read_to_string(&pid).unwrap().trim()));
}

/// Whether a process has ended; one that nobody waited for yet counts as well.
fn gone(pid: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        thread::sleep(SHORT_TICK);
    }
}
