//! Pipelines, files, flags and jobs that mean harm, or look like it: each is refused, or handled, at
//! once and in words.

use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::project::{Project, Ran};

/// Far more than any of these needs, on any machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the program to its end, which must come soon and not by a signal, with a message of a size
/// that a person reads and without characters that steer a terminal.
#[track_caller]
fn run(project: &Project, arguments: &[&str]) -> Ran {
    let mut command = project.command(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let id = Pid::from_child(&child);
    let (done, ended) = channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        kill_process(id, Signal::KILL).unwrap();
        panic!("{arguments:?} did not end within {PATIENCE:?}");
    };
    let ran = Ran::of(&output.unwrap());
    assert_ne!(ran.code, -1, "died by a signal\n{}", ran.stderr);
    assert!(
        ran.stderr.len() < 8192,
        "{} bytes of message",
        ran.stderr.len()
    );
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!ran.stderr.contains(steers), "{:?}", ran.stderr);
    ran
}

/// Whether each of these pipelines is refused with these words, and nothing comes of it.
#[track_caller]
fn all_refused(pipelines: &[(&str, &[u8], &str)]) {
    let mut wrong = Vec::new();
    for (what, text, says) in pipelines {
        let project = Project::new("");
        std::fs::write(project.path("p.yaml"), text).unwrap();
        let ran = run(&project, &["run", "p.yaml"]);
        let touched = project.path("out").exists() || project.path(".rematch").exists();
        if ran.code != 2 || !ran.stderr.contains(says) || touched {
            wrong.push(format!(
                "{what}: no `{says}` in (exit code {}):\n{}",
                ran.code, ran.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A pipeline of one command.
fn command(words: &str) -> String {
    format!("stages:\n  s: {{command: {{run: 'echo {words} > ${{out.x}}', outputs: {{x: x}}}}}}\n")
}

/// What the jobs of `s` made, sorted.
fn made(project: &Project) -> Vec<String> {
    let folders = std::fs::read_dir(project.path("out/p/s")).unwrap();
    let mut found: Vec<String> = folders
        .map(|folder| std::fs::read_to_string(folder.unwrap().path().join("x")).unwrap())
        .collect();
    found.sort();
    found
}

/// `count` definitions, each made from the one before it; the first is `&a0` or `a0`.
fn levels(first: &str, count: usize, next: impl Fn(usize) -> String) -> String {
    let rest: Vec<String> = (1..count).map(next).collect();
    format!("vars:\n  a0: {first}\n{}stages: {{}}\n", rest.concat())
}

#[test]
fn alias_bombs_are_refused() {
    let ten = |item: &str| [item; 10].join(", ");
    let lists = levels("&a0 [x]", 12, |i| {
        format!("  a{i}: &a{i} [{}]\n", ten(&format!("*a{}", i - 1)))
    });
    let maps = levels("&a0 {k: x}", 30, |i| {
        format!("  a{i}: &a{i} {{l: *a{0}, r: *a{0}}}\n", i - 1)
    });
    let long = format!(
        "vars: [&a {}, {}]\n",
        "x".repeat(30_000),
        "*a, ".repeat(9000)
    );
    let anchors: Vec<String> = (0..60).map(|n| format!("&a{n} [")).collect();
    let anchors = format!(
        "vars: {}{}{}\n",
        anchors.concat(),
        "x, ".repeat(15_000),
        "]".repeat(60)
    );
    all_refused(&[
        ("lists", lists.as_bytes(), "when its aliases are copied"),
        ("maps", maps.as_bytes(), "when its aliases are copied"),
        (
            "a long text",
            long.as_bytes(),
            "when its aliases are copied",
        ),
        (
            "nested anchors",
            anchors.as_bytes(),
            "when its aliases are copied",
        ),
        (
            "an alias of itself",
            b"vars: &a {x: *a}\n",
            "refers to itself or to nothing",
        ),
        (
            "a merge key",
            b"vars: &a {x: 1, <<: *a}\n",
            "merge keys (`<<`) are not part of YAML 1.2",
        ),
    ]);
}

#[test]
fn deep_nesting_is_refused() {
    let many = 100_000;
    let forms = [
        ("lists", "[".repeat(many)),
        (
            "closed lists",
            format!("{}{}", "[".repeat(many), "]".repeat(many)),
        ),
        ("maps", "{a: ".repeat(many)),
        ("block lists", format!("a:\n  {}x", "- ".repeat(many))),
        (
            "block maps",
            (0..300)
                .map(|n| " ".repeat(n) + "a:\n")
                .collect::<Vec<_>>()
                .concat(),
        ),
        ("names of maps", "? ".repeat(many)),
        ("names in lists", "[? ".repeat(many)),
    ];
    for (what, text) in forms {
        let message = run(&Project::new(&text), &["plan", "p.yaml"])
            .code(2)
            .stderr;
        let says = ["nested deeper than 64", "recursion limit", "must be a text"];
        assert!(
            says.iter().any(|words| message.contains(words)),
            "{what}: {message}"
        );
    }
    let quotes = format!(
        "vars: {{a: '{}', b: \"{}\"}}\nstages: {{}}\n",
        "''".repeat(many),
        "\\\"".repeat(many)
    );
    run(&Project::new(&quotes), &["plan", "p.yaml"]).code(0);
}

#[test]
fn absurd_sweeps_are_refused() {
    let values: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let values = values.join(", ");
    let cube = format!("axes: {{a: [{values}], b: [{values}], c: [{values}]}}\n");
    let all = format!("{cube}{}", command("${axis.a} ${axis.b} ${axis.c}"));
    let excluded = format!(
        "{cube}exclude: [{{a: 1, b: 2, c: 3}}]\n{}",
        command("${axis.a}")
    );
    let (axes, words): (Vec<String>, Vec<String>) = (0..64)
        .map(|n| (format!("a{n}: [1, 2]"), format!("${{axis.a{n}}}")))
        .unzip();
    let many = format!(
        "axes: {{{}}}\n{}",
        axes.join(", "),
        command(&words.join(" "))
    );
    all_refused(&[
        (
            "a billion points",
            all.as_bytes(),
            "more than 1000000 combinations",
        ),
        (
            "an exclude over a billion",
            excluded.as_bytes(),
            "more than 1000000 combinations",
        ),
        (
            "2^64 points",
            many.as_bytes(),
            "more than 1000000 combinations",
        ),
    ]);
}

#[test]
fn variables_that_refer_to_themselves_are_refused() {
    let ring = format!(
        "vars: {{a: '${{var.b}}', b: '${{var.c}}', c: '${{var.a}}'}}\n{}",
        command("${var.a}")
    );
    let inside = format!(
        "vars: {{a: {{b: ['${{var.a}}']}}}}\n{}",
        command("${var.a.b}")
    );
    all_refused(&[
        ("a ring", ring.as_bytes(), "refers to itself"),
        (
            "a variable in itself",
            inside.as_bytes(),
            "refers to itself",
        ),
    ]);
}

#[test]
fn numbers_that_are_none_are_refused() {
    let nines = "9".repeat(100_000);
    for number in [
        "1e999",
        "-1e999",
        ".nan",
        ".inf",
        "-.inf",
        "0x",
        "0xfffffffffffffffff",
        "1_000",
        "-1",
        "1.5",
        "0o17",
        "+",
        "1e",
        "18446744073709551616",
        &nines,
    ] {
        let text = format!(
            "stages:\n  s: {{create_split: {{train: p.yaml, seed: {number}, size: 40}}}}\n"
        );
        all_refused(&[(
            &number[..number.len().min(20)],
            text.as_bytes(),
            "expected a whole number, 0 or more",
        )]);
    }
}

#[test]
fn names_that_are_no_names_are_refused() {
    let long = "x".repeat(1000);
    for name in ["../x", "\\e[2J", &long] {
        for text in [
            format!("stages:\n  \"{name}\": {{download: {{dataset: shapes}}}}\n"),
            format!("axes:\n  \"{name}\": [1]\nstages: {{}}\n"),
            format!("vars:\n  \"{name}\": 1\nstages: {{}}\n"),
            format!("name: \"{name}\"\nstages: {{}}\n"),
            format!("stages:\n  s: {{command: {{run: x, outputs: {{\"{name}\": x}}}}}}\n"),
        ] {
            all_refused(&[(&text, text.as_bytes(), "letters, digits, `-` and `_`")]);
        }
    }
    for path in ["../x", "/etc/x", "a\\nb", &long] {
        let text = format!("stages:\n  s: {{command: {{run: x, outputs: {{x: \"{path}\"}}}}}}\n");
        all_refused(&[(path, text.as_bytes(), "expected a relative path")]);
    }
    for members in ["env: {A B: x}", "env: {\"\\0\": x}", "pass_env: [A=B]"] {
        let text = format!("stages:\n  s: {{command: {{run: x, outputs: {{x: x}}, {members}}}}}\n");
        let says = "cannot name an environment variable";
        all_refused(&[(members, text.as_bytes(), says)]);
    }
}

#[test]
fn names_of_the_runner_are_refused_in_a_pipeline() {
    for text in [
        "stages:\n  s: {create_unlabeled: {train: {$input: 7}}}\n",
        "stages:\n  s: {create_unlabeled: {train: {\"\\x24input\": 18446744073709551615}}}\n",
        "axes: {a: [{name: x, v: {$input: 3}}]}\nstages:\n  s: {create_unlabeled: {train: '${axis.a.v}'}}\n",
        "vars: {a: {$input: 3}}\nstages:\n  s: {create_unlabeled: {train: '${var.a}'}}\n",
        "axes: {a: [1]}\ninclude: [{a: {name: x, v: {$input: 3}}}]\nstages: {}\n",
        "stages:\n  s: {command: {run: {$template: [a, {$input: 9}]}, outputs: {x: x}}}\n",
    ] {
        all_refused(&[(text, text.as_bytes(), "it begins with `$`")]);
    }
    let project = Project::new(&command("x"));
    run(
        &project,
        &["plan", "p.yaml", "--set", "s.inputs={i: {$input: 7}}"],
    )
    .code(2)
    .says("it begins with `$`");
}

#[test]
fn what_is_no_text_is_refused() {
    let large = vec![b'#'; (16 << 20) + 1];
    all_refused(&[
        ("nothing", b"", "found nothing"),
        ("zeros", &[0; 1000], "U+0000"),
        (
            "a NUL and more behind it",
            b"stages: {}\n\0\nstages: 1\n",
            "U+0000",
        ),
        ("an escape sequence", b"stages: {a\x1b[2J: 1}\n", "U+001B"),
        ("other bytes", b"vars: {a: \xff\xfe}\n", "UTF-8"),
        ("UTF-16", b"\xff\xfes\0t\0a\0", "UTF-8"),
        ("a large file", &large, "that is no pipeline file"),
        (
            "a name twice",
            b"vars: {a: 1, \"\\x61\": 2}\n",
            "`a` is there twice",
        ),
        (
            "a map as name",
            b"{{a: b}: c}\n",
            "a name in a map must be a text",
        ),
        (
            "a list as name",
            b"? [a]\n: b\n",
            "a name in a map must be a text",
        ),
        (
            "an alias as name",
            b"vars: {a: &x y, *x : 1}\n",
            "a name in a map must be a text",
        ),
        (
            "two documents",
            b"stages: {}\n---\nstages: {}\n",
            "holds one",
        ),
        ("tabs", b"stages:\n\ts:\n", "this is not YAML"),
    ]);
}

#[test]
fn marks_and_line_ends_of_other_systems_make_no_difference() {
    let text = format!("axes: {{a: [1, 2]}}\n{}", command("${axis.a}"));
    let plan = |text: &str| {
        let project = Project::new(text);
        run(&project, &["plan", "p.yaml", "--json"]).code(0).json()
    };
    let expected = plan(&text);
    assert_eq!(plan(&format!("\u{feff}{text}")), expected);
    assert_eq!(plan(&text.replace('\n', "\r\n")), expected);
    assert_eq!(
        plan(&format!("\u{feff}{}", text.replace('\n', "\r\n"))),
        expected
    );
}

#[test]
fn messages_stay_short() {
    let long = "k".repeat(1 << 20);
    let known: Vec<String> = (0..9_000).map(|n| format!("v{n}: 1")).collect();
    let unknown = format!(
        "vars: {{{}}}\n{}",
        known.join(", "),
        command(&format!("${{var.{}}}", "y".repeat(5000)))
    );
    all_refused(&[
        (
            "a long name",
            format!("vars:\n  ? {long}\n  : 1\n").as_bytes(),
            "cannot name a variable",
        ),
        (
            "a long line",
            format!("vars: {{a: {long}, a: 1}}\n").as_bytes(),
            "`a` is there twice",
        ),
        (
            "a long kind",
            format!("stages:\n  s: {{{}: 1}}\n", "y".repeat(60_000)).as_bytes(),
            "there is no stage kind",
        ),
        (
            "a long parameter",
            format!("stages:\n  s: {{train: {{? {long} : 1}}}}\n").as_bytes(),
            "has no parameter",
        ),
        (
            "many references",
            command(&"${".repeat(100_000)).as_bytes(),
            "references are ${stage.output}",
        ),
        ("much that is known", unknown.as_bytes(), "and 8976 more"),
    ]);
    let project = Project::new(&command("x"));
    let pattern = format!("s[{}]", "x=*,".repeat(20_000));
    run(&project, &["plan", "p.yaml", &pattern])
        .code(2)
        .says("no job matches");
    run(&project, &["plan", "p.yaml", "a\u{1b}c"])
        .code(2)
        .says("no job matches `a\\u{1b}c`");
}

#[test]
fn includes_that_are_no_files_or_never_end_are_refused() {
    let project = Project::new("include: [a.yaml]\n");
    project.file("a.yaml", "include: [b.yaml]\n");
    project.file("b.yaml", "include: [../p.yaml, a.yaml]\n");
    run(&project, &["plan", "p.yaml"]).code(2);
    project.file("b.yaml", "include: [a.yaml]\n");
    run(&project, &["plan", "p.yaml"])
        .code(2)
        .says("`a.yaml` includes itself");
    for wrong in [".", "/", "/absent", "a\\0b", "p.yaml"] {
        project.pipeline(&format!("include: [\"{wrong}\"]\n"));
        run(&project, &["plan", "p.yaml"])
            .code(2)
            .says("p.yaml:1:11");
    }
    std::fs::File::create(project.path("large.yaml"))
        .unwrap()
        .set_len(100 << 20)
        .unwrap();
    project.pipeline("include: [large.yaml]\n");
    run(&project, &["plan", "p.yaml"])
        .code(2)
        .says("that is no pipeline file");
}

#[test]
fn inputs_that_are_no_files_are_refused_before_anything_runs() {
    let project = Project::new("");
    let pipe = project.path("pipe");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for (input, says) in [("pipe", "named pipe"), ("/dev/zero", "device")] {
        project.pipeline(&format!(
            "stages:\n  s: {{create_unlabeled: {{train: {input}}}}}\n"
        ));
        run(&project, &["run", "p.yaml"]).code(3).says(says);
        assert!(!project.path("out").exists());
    }
    for input in ["../../../../x", "a\\0b", &"x".repeat(10_240)] {
        project.pipeline(&format!(
            "stages:\n  s: {{create_unlabeled: {{train: \"{input}\"}}}}\n"
        ));
        run(&project, &["run", "p.yaml"])
            .code(2)
            .says("there is no file");
    }
}

#[test]
fn odd_values_of_an_axis_stay_in_their_folder_and_reach_a_program_as_they_are() {
    let values = [
        "../../x",
        "/etc",
        "..",
        "a b",
        "$(id)",
        "`id`",
        "x;y",
        "*",
        "~",
        "-n",
        "CON",
        "é\u{202e}",
        "%41",
        "a'b",
    ];
    let list: Vec<String> = values.iter().map(|v| format!("\"{v}\"")).collect();
    let project = Project::new(&format!(
        "axes: {{a: [{}]}}\nstages:\n  s:\n    command:\n      run: [/bin/sh, -c, 'printf %s \"$1\" > \"$2\"', sh, '${{axis.a}}', '${{out.x}}']\n      outputs: {{x: x}}\n",
        list.join(", ")
    ));
    run(&project, &["run", "p.yaml"]).code(0);
    let found = made(&project);
    let mut expected = values;
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_drawing_shows_names_and_runs_nothing() {
    let project = Project::new(&format!(
        "axes: {{a: ['<script>x</script>', 'a\"b|c']}}\n{}",
        command("${axis.a}")
    ));
    for format in ["mermaid", "svg"] {
        let drawn = run(&project, &["graph", "p.yaml", "--all", "--format", format])
            .code(0)
            .stdout;
        assert!(
            !drawn.contains("<script>") && drawn.contains("script"),
            "{drawn}"
        );
    }
}

#[test]
fn includes_that_wait_or_have_no_end_are_refused() {
    let project = Project::new("");
    let pipe = project.path("pipe.yaml");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    run(&project, &["plan", "pipe.yaml"]).code(2);
    for wrong in ["pipe.yaml", "/dev/zero", "/dev/stdin", "/proc/kmsg"] {
        project.pipeline(&format!("include: [{wrong}]\n"));
        run(&project, &["plan", "p.yaml"])
            .code(2)
            .says("p.yaml:1:11");
    }
    // Each file includes the next one four times: 4^15 readings.
    project.pipeline("include: [a0.yaml]\n");
    for n in 0..14 {
        let next = format!("a{}.yaml", n + 1);
        project.file(
            &format!("a{n}.yaml"),
            &format!("include: [{next}, {next}, {next}, {next}]\n"),
        );
    }
    project.file("a14.yaml", "vars: {a: 1}\n");
    run(&project, &["plan", "p.yaml"]).code(2);
}

#[test]
fn variables_that_double_are_refused() {
    let doubling = |item: &str| {
        let next: Vec<String> = (1..31)
            .map(|i| format!("  a{i}: {}\n", item.replace('#', &(i - 1).to_string())))
            .collect();
        format!("vars:\n  a0: x\n{}{}", next.concat(), command("${var.a30}"))
    };
    for item in [
        "'${var.a#}${var.a#}'",
        "['${var.a#}', '${var.a#}']",
        "{l: '${var.a#}', r: '${var.a#}'}",
    ] {
        run(&Project::new(&doubling(item)), &["plan", "p.yaml"]).code(2);
    }
    // Each of 31 levels adds 50: deeper than a job file may be, and than some stacks.
    let next: Vec<String> = (1..31)
        .map(|i| {
            format!(
                "  a{i}: {}'${{var.a{}}}'{}\n",
                "{a: ".repeat(50),
                i - 1,
                "}".repeat(50)
            )
        })
        .collect();
    let deep = format!(
        "vars:\n  a0: x\n{}axes: {{m: [{{name: x, d: '${{var.a30}}'}}]}}\n{}",
        next.concat(),
        command("${axis.m.name}")
    );
    run(&Project::new(&deep), &["plan", "p.yaml"]).code(2);
}

#[test]
fn sweeps_that_grow_by_references_are_refused() {
    let values: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let values = values.join(", ");
    let square = format!("axes: {{a: [{values}], b: [{values}]}}\n");
    // A million references, at about a kilobyte each.
    let collected = format!(
        "{square}stages:\n  s: {{command: {{run: 'echo ${{axis.a}} > ${{out.x}}', outputs: {{x: x}}}}}}\n  t: {{command: {{run: 'cat ${{axis.b}} ${{s[*].x}} > ${{out.x}}', outputs: {{x: x}}}}}}\n"
    );
    run(&Project::new(&collected), &["plan", "p.yaml"]).code(2);
    let points: Vec<String> = (0..1000).map(|n| format!("- {{a: x{n}}}\n")).collect();
    let included = format!(
        "{square}include:\n{}{}",
        points.concat(),
        command("${axis.a} ${axis.b}")
    );
    run(&Project::new(&included), &["plan", "p.yaml"])
        .code(2)
        .says("more than 1000000");
}

#[test]
fn a_chain_without_end_is_refused() {
    let stage = |n: usize| {
        let read = if n == 0 {
            "echo".into()
        } else {
            format!("cat ${{s{}.x}}", n - 1)
        };
        format!("  s{n}: {{command: {{run: '{read} > ${{out.x}}', outputs: {{x: x}}}}}}\n")
    };
    let stages: Vec<String> = (0..5_000).rev().map(stage).collect();
    let project = Project::new(&format!("stages:\n{}", stages.concat()));
    run(&project, &["plan", "p.yaml"])
        .code(2)
        .says("more than 2000 stages refer to one another in a row");
}

#[test]
fn settings_cannot_name_inputs_or_nest_without_end() {
    let project = Project::new(&command("x"));
    let set = |setting: &str| run(&project, &["plan", "p.yaml", "--set", setting]).code(2);
    set("s.inputs.i.$input=7").says("it begins with `$`");
    set("s.run.$template=[a]").says("it begins with `$`");
    set(&format!("s.env{}=1", ".a".repeat(60_000)));
    set("s..run=x");
}

#[test]
fn a_value_of_an_axis_is_a_word_of_a_command_line_and_no_program() {
    let values = [
        "$(echo ran)",
        "`echo ran`",
        "a;echo ran",
        "a|cat",
        "a b",
        "*",
        "~",
        "'",
        "\\\"",
        "${out.x}",
        "${in.y}",
    ];
    let list: Vec<String> = values.iter().map(|v| format!("\"{v}\"")).collect();
    let project = Project::new(&format!(
        "axes: {{a: [{}]}}\nstages:\n  s: {{command: {{run: 'printf %s ${{axis.a}} > ${{out.x}}', outputs: {{x: x}}}}}}\n",
        list.join(", ")
    ));
    run(&project, &["run", "p.yaml"]).code(0);
    let found = made(&project);
    let mut expected: Vec<String> = values.iter().map(|v| v.replace("\\\"", "\"")).collect();
    expected.sort();
    assert_eq!(found, expected);
}
