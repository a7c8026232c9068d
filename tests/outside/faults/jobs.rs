//! Jobs that do what nobody expects of them.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{processes_in, sound};
use crate::outside::project::{Project, Ran, eventually, written};

/// A pipeline of one job with one output.
fn job(script: &str) -> Project {
    Project::quick(&pipeline(script))
}

fn pipeline(script: &str) -> String {
    let lines = script.replace('\n', "\n        ");
    format!("stages:\n  a:\n    command:\n      outputs: {{x: x}}\n      run: |\n        {lines}\n")
}

/// Runs it and expects a failure that says something.
#[track_caller]
fn refused(script: &str, words: &str) -> Project {
    let project = job(script);
    project.run(&["run", "p.yaml"]).fails(1).says(words);
    assert!(!project.path("out/p/a/x").exists());
    project
        .run(&["status", "p.yaml", "--json"])
        .code(0)
        .says("\"to_run\": 1");
    project
}

#[test]
fn daemons_of_a_job_end_with_it_and_write_to_no_result() {
    // In a session of its own, and with a parent that is gone.
    let project = job(
        "setsid sh -c 'exec 3>> ${out.x}; echo $$ > COUNT; while sleep 0.02; do echo more >&3; done' > /dev/null 2>&1 &\n\
         while ! [ -s COUNT ]; do sleep 0.01; done\n\
         echo done >> ${out.x}",
    );
    project.done();
    let pid = project.counted()[0].clone();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(
        stat.is_empty() || stat.contains(") Z"),
        "process {pid} lives on"
    );
    let first = project.read("out/p/a/x");
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(project.read("out/p/a/x"), first);
    sound(&project);
    assert!(
        first.ends_with("done\n") || first.ends_with("more\n"),
        "{first}"
    );
    project.done().says("nothing to do");
}

#[test]
fn a_job_that_forks_twice_and_holds_every_stream_does_not_hold_up_the_run() {
    let project = job("(setsid sleep 30 &) ; (sleep 30 &) ; setsid -f sleep 30; echo > ${out.x}");
    let start = Instant::now();
    project.done();
    assert!(start.elapsed() < Duration::from_secs(20));
    let folder = project.path("").canonicalize().unwrap();
    eventually("the end of all of them", || {
        processes_in(&folder).is_empty()
    });
}

#[test]
fn a_trainer_that_leaves_a_daemon_with_its_output_does_not_hold_up_the_run() {
    let project =
        Project::quick("stages:\n  t: {train: {algorithm: supervised, labeled: x, test: x}}\n");
    project.file("x", "data");
    let trainer = project.trainer("mkdir -p $run; echo 1 > $run/a; setsid sh -c 'echo $$ > daemon; exec sleep 30' 2> /dev/null & while ! [ -s daemon ]; do sleep 0.01; done");
    let start = Instant::now();
    let output = project
        .command(&["run", "p.yaml"])
        .env("REMATCH_TRAIN", &trainer)
        .output()
        .unwrap();
    Ran::of(&output).code(0);
    assert!(start.elapsed() < Duration::from_secs(20));
    for pid in processes_in(&project.path("").canonicalize().unwrap()) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

#[test]
fn outputs_that_are_no_files_are_refused() {
    refused("ln -s /etc/hostname ${out.x}", "symbolic link");
    refused("mkfifo ${out.x}", "named pipe");
    refused("mkdir ${out.x}; mkfifo ${out.x}/pipe", "named pipe");
    refused("mkdir ${out.x}; ln -s /etc ${out.x}/link", "symbolic link");
    if rustix::process::getuid().is_root() {
        refused("mknod ${out.x} c 1 3", "device");
    }
}

#[test]
fn a_job_that_removes_its_own_folder_fails_and_can_be_mended() {
    let project = refused(
        "echo > ${out.x}; rm -rf ../../$(basename $(dirname $PWD))",
        "a",
    );
    project.pipeline(&pipeline("echo fine > ${out.x}"));
    project.done();
    assert_eq!(project.read("out/p/a/x"), "fine\n");
}

#[test]
fn a_job_that_removes_the_store_under_its_feet_is_no_panic() {
    let project = job("rm -rf ../../../../.rematch/*; echo > ${out.x}");
    project.run(&["run", "p.yaml"]).calm();
    project.run(&["run", "p.yaml"]).calm();
    let _ = std::fs::remove_dir_all(project.path(".rematch"));
    project.pipeline(&pipeline("echo fine > ${out.x}"));
    project.done();
    assert_eq!(project.read("out/p/a/x"), "fine\n");
}

#[test]
fn a_job_may_write_elsewhere_which_nobody_looks_after() {
    let project = job("echo side > COUNT; echo > ${out.x}");
    project.done();
    assert_eq!(project.counted(), ["side"]);
    project.done().says("nothing to do");
    assert!(project.counted().is_empty());
}

#[test]
fn a_hundred_thousand_files_are_a_result() {
    let many = if cfg!(debug_assertions) {
        20_000
    } else {
        100_000
    };
    let project = job(&format!(
        "mkdir ${{out.x}}; cd ${{out.x}}; seq {many} | split -l 1 -a 5"
    ));
    project.done();
    let count = || {
        std::fs::read_dir(project.path("out/p/a/x"))
            .unwrap()
            .count()
    };
    assert_eq!(count(), many);
    project.done().says("nothing to do");
}

#[test]
fn floods_on_every_stream_do_no_harm() {
    let project =
        job("head -c 50000000 /dev/zero >&2; head -c 50000000 /dev/zero; echo > ${out.x}");
    project.done();
    refused(
        "head -c 20000000 /dev/zero | tr '\\0' x >&2; exit 1",
        "code 1",
    );
}

/// A trainer speaks to the runner directly.
fn speaks(script: &str) -> Ran {
    let project =
        Project::quick("stages:\n  t: {train: {algorithm: supervised, labeled: x, test: x}}\n");
    project.file("x", "data");
    let trainer = project.trainer(script);
    let output = project
        .command(&["run", "p.yaml"])
        .env("REMATCH_TRAIN", &trainer)
        .output()
        .unwrap();
    let ran = Ran::of(&output).calm();
    if ran.code == 0 {
        assert_eq!(project.read("out/p/t/run/a"), "1\n");
    }
    ran
}

#[test]
fn garbage_for_events_is_ignored() {
    let made = "mkdir -p $run; echo 1 > $run/a";
    // Bytes without a line, lines without an end, JSON without a bottom, events that are not quite.
    speaks(&format!("head -c 3000000 /dev/urandom; {made}")).code(0);
    speaks(&format!(
        "head -c 8000000 /dev/zero | tr '\\0' '['; echo; {made}"
    ))
    .code(0);
    speaks(&format!(
        "head -c 4000000 /dev/zero | tr '\\0' 'x'; {made}; printf '{{\"event\"'"
    ))
    .code(0);
    speaks(&format!(
        "echo '{{\"event\": \"progress\", \"done\": 1e400, \"total\": -1, \"unit\": 7}}'; \
         echo '{{\"event\": \"progress\", \"done\": 18446744073709551615, \"total\": 1, \"unit\": \"x\"}}'; \
         echo '{{\"event\": \"metrics\", \"values\": {{\"a\": 1e999}}}}'; \
         echo '{{\"event\": \"note\", \"text\": \"\\u001b[2J\\u0000\\ud800\"}}'; {made}"
    ))
    .code(0);
    speaks(&format!("exec 1>&-; {made}")).code(0);
    speaks(&format!("exec 0<&- 1>&- 2>&-; {made}")).code(0);
}

#[test]
fn reports_that_are_garbage_are_no_panic() {
    let made = "mkdir -p $run; echo 1 > $run/a";
    speaks(&format!("{made}; head -c 1000 /dev/urandom > report.json")).code(0);
    speaks(&format!("{made}; mkdir report.json")).code(0);
    speaks(&format!("{made}; mkfifo report.json")).calm();
    speaks(&format!("{made}; ln -s /dev/zero report.json")).calm();
    speaks(&format!("{made}; rm -f log; mkfifo log")).calm();
}

#[test]
fn a_job_that_ignores_being_told_to_stop_is_killed_when_its_time_is_over() {
    let text = pipeline("trap '' TERM; echo > COUNT; while :; do sleep 0.1; done");
    let project = Project::quick(&text.replace("  a:\n", "  a:\n    timeout: 1s\n"));
    let start = Instant::now();
    project.run(&["run", "p.yaml"]).fails(1).says("timeout");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(written(&project.path("count")));
    let folder = project.path("").canonicalize().unwrap();
    eventually("its end", || processes_in(&folder).is_empty());
}

#[test]
fn names_that_differ_in_case_alone_are_different() {
    let project = Project::quick(
        "stages:\n  a: {command: {run: 'echo 1 > ${out.x}; echo 2 > ${out.X}', outputs: {x: f, X: F}}}\n  A: {command: {run: 'cat ${a.x} ${a.X} > ${out.x}', outputs: {x: f}}}\n",
    );
    project.done();
    assert_eq!(project.read("out/p/a/F"), "2\n");
    assert_eq!(project.read("out/p/A/f"), "1\n2\n");
}

#[test]
fn any_name_that_is_text_can_stand_in_a_folder() {
    let long = "é".repeat(127) + "x";
    let names = [
        "a\nb",
        "it's \"quoted\" `$(x)` \\n",
        "🙂",
        "..x",
        "-rf",
        " ",
        "%2e",
        "\u{202e}txt",
        "a\r",
        &long,
    ];
    let project = Project::quick("");
    let made = project.path("names");
    std::fs::create_dir_all(&made).unwrap();
    for (n, name) in names.iter().enumerate() {
        std::fs::write(made.join(name), n.to_string()).unwrap();
        std::fs::create_dir(made.join(format!("{name}d").chars().take(60).collect::<String>()))
            .unwrap();
    }
    let script = "cp -R ${in.names} ${out.x}";
    let text = pipeline(script).replace("outputs:", "inputs: {names: names}\n      outputs:");
    project.pipeline(&format!(
        "{text}  b: {{command: {{run: 'cp -R ${{a.x}} ${{out.y}}', outputs: {{y: y}}}}}}\n"
    ));
    project.done();
    for (n, name) in names.iter().enumerate() {
        for folder in ["a/x", "b/y"] {
            let path = project.path(&format!("out/p/{folder}")).join(name);
            assert_eq!(
                std::fs::read_to_string(path).unwrap(),
                n.to_string(),
                "{name:?}"
            );
        }
    }
    project.done().says("nothing to do");
}

#[test]
fn a_name_that_is_no_text_is_named() {
    let project = refused(
        "mkdir ${out.x}; echo > ${out.x}/$(printf 'n\\377me')",
        "not UTF-8",
    );
    project
        .run(&["run", "p.yaml"])
        .fails(1)
        .says("rename the file");
}

#[test]
fn a_project_in_a_folder_with_any_name_works_or_says_why_not() {
    for name in ["it's \"a\" $(folder)\n; rm -rf *", "-n", "🙂 ü"] {
        let project = Project::quick("");
        let folder = project.path(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("f"), "text\n").unwrap();
        let text = pipeline("cat ${in.f} > ${out.x}")
            .replace("outputs:", "inputs: {f: f}\n      outputs:");
        std::fs::write(folder.join("p.yaml"), text).unwrap();
        let output = project
            .command(&["run", "p.yaml"])
            .current_dir(&folder)
            .output()
            .unwrap();
        Ran::of(&output).code(0);
        assert_eq!(
            std::fs::read_to_string(folder.join("out/p/a/x")).unwrap(),
            "text\n"
        );
    }
    let project = Project::quick("");
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"n\xffme");
    let folder = project.path("").join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("p.yaml"), pipeline("echo > ${out.x}")).unwrap();
    let output = project
        .command(&["run", "p.yaml"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let ran = Ran::of(&output).calm();
    if ran.code != 0 {
        assert!(ran.stderr.contains("UTF-8"), "{}", ran.stderr);
    }
}

#[test]
fn a_listener_that_goes_away_ends_nothing() {
    let project = job("sleep 0.2; echo fine > ${out.x}");
    for streams in [
        "2>&-",
        "1>&-",
        "0<&- 1>&- 2>&-",
        "2> /dev/full",
        "1> /dev/full",
        "2>&1 | true",
    ] {
        let _ = std::fs::remove_dir_all(project.path(".rematch"));
        let _ = std::fs::remove_dir_all(project.path("out"));
        let inner = project.command(&[]);
        let line = format!("\"$0\" run p.yaml {streams}");
        let output = std::process::Command::new("bash")
            .args(["-o", "pipefail", "-c", &line])
            .arg(inner.get_program())
            .current_dir(project.path(""))
            .output()
            .unwrap();
        Ran::of(&output).code(0);
        assert_eq!(project.read("out/p/a/x"), "fine\n", "{streams}");
    }
}

#[test]
fn a_pipe_as_an_input_is_refused_and_not_waited_for() {
    let text =
        pipeline("cat ${in.f} > ${out.x}").replace("outputs:", "inputs: {f: pipe}\n      outputs:");
    let project = Project::quick(&text);
    let made = std::process::Command::new("mkfifo")
        .arg(project.path("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    project.run(&["run", "p.yaml"]).fails(3).says("named pipe");
    project
        .run(&["status", "p.yaml"])
        .fails(3)
        .says("named pipe");
}

#[test]
fn a_job_that_writes_into_its_inputs_fails_and_spoils_no_result() {
    // Root needs no `chmod` to write to an object, and its owner is allowed one.
    for write in [
        "f=$(readlink -f ${a.x}); chmod u+w $f; echo evil > $f",
        "f=$(readlink -f ${a.x}); chmod u+w $f; echo longer, and evil >> $f",
        "chmod u+w ${a.d}/f; echo evil > ${a.d}/f",
    ] {
        let made = "stages:\n  a: {command: {run: 'echo good > ${out.x}; mkdir ${out.d}; echo fine > ${out.d}/f', outputs: {x: x, d: d}}}\n";
        let project = Project::quick(&format!(
            "{made}  evil: {{command: {{run: '{write}; echo > ${{out.x}}', outputs: {{x: x}}}}}}\n"
        ));
        project.run(&["run", "p.yaml"]).fails(1).says("input");
        project.pipeline(&format!(
            "{made}  good: {{command: {{run: 'cat ${{a.x}} ${{a.d}}/f > ${{out.x}}', outputs: {{x: x}}}}}}\n"
        ));
        project.done();
        assert_eq!(project.read("out/p/good/x"), "good\nfine\n", "{write}");
        assert_eq!(project.read("out/p/a/x"), "good\n");
        sound(&project);
    }
}

#[test]
fn a_command_line_with_thousands_of_inputs_is_not_too_long() {
    // Linux takes 128 kB in one argument, which is a thousand paths of a work folder.
    let many = "${a.x} ".repeat(3000);
    let project = Project::quick(&format!(
        "stages:\n  a: {{command: {{run: 'echo 1 > ${{out.x}}', outputs: {{x: x}}}}}}\n  b: {{command: {{run: 'cat {many} | wc -l > ${{out.x}}', outputs: {{x: x}}}}}}\n"
    ));
    project.done();
    assert_eq!(project.read("out/p/b/x").trim(), "3000");
}

#[test]
fn a_result_that_finds_no_place_leaves_no_job_behind() {
    let project = Project::quick(
        "stages:\n  slow: {command: {run: 'trap \"\" TERM; echo > COUNT; sleep 1; echo > ${out.x}', outputs: {x: x}}}\n  a: {command: {run: 'while ! [ -s COUNT ]; do sleep 0.01; done; echo > ${out.x}', outputs: {x: x}}}\n",
    );
    // A file where the folder of the results of `a` belongs.
    project.file("out/p/a", "mine");
    let ran = project.run(&["run", "p.yaml", "--jobs", "2"]).calm();
    assert!(processes_in(&project.path("").canonicalize().unwrap()).is_empty());
    assert!([1, 3].contains(&ran.code), "{}", ran.stderr);
    let place = project.path("out/p/a");
    assert!(
        ran.stderr.contains(place.to_str().unwrap()),
        "{}",
        ran.stderr
    );
    assert!(
        ["move", "remove", "--out"]
            .iter()
            .any(|word| ran.stderr.contains(word)),
        "no advice: {}",
        ran.stderr
    );
    assert_eq!(project.read("out/p/a"), "mine");
}

#[test]
fn what_a_job_says_cannot_command_a_terminal() {
    let escape = "mkdir -p $run; echo 1 > $run/a; printf '{\"event\": \"note\", \"text\": \"clear \\\\u001b[2J\"}\\n'";
    let ran = speaks(escape).code(0).says("clear");
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
    let project = job("printf 'clear \\033[2J\\n' >&2; exit 1");
    let ran = project.run(&["run", "p.yaml"]).fails(1).says("clear");
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
}
