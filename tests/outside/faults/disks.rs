//! Disks: full, read-only, without links, or not the store's.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{SWEEP, Space, skip, sweep, swept};
use crate::outside::project::{Project, Ran, files};

/// A project on a disk of `size` that can grow; the lines that jobs count with lie on it, too.
fn small(space: &Space, size: &str, pipeline: &str) -> Project {
    let project = Project::quick(pipeline);
    let folder = project.path("");
    let folder = folder.display();
    let mounted = format!(
        "mkdir /tmp/keep.$$ && cp {folder}p.yaml /tmp/keep.$$ && mount -t tmpfs -o size={size} none {folder} && mv /tmp/keep.$$/p.yaml {folder} && rmdir /tmp/keep.$$"
    );
    assert!(space.sh(&mounted), "{mounted}");
    project
}

fn grow(space: &Space, project: &Project) {
    assert!(space.sh(&format!(
        "mount -o remount,size=64m {}",
        project.path("").display()
    )));
}

const BIG: &str = r"
axes: {n: [1, 2, 3, 4]}
stages:
  big: {command: {run: 'HOW', outputs: {x: x}}}
  all: {command: {run: 'cat ${big[*].x} | wc -c > ${out.x}', outputs: {x: x}}}
";

/// Runs a pipeline of four large results on a disk that holds two, then gives it room.
fn on_a_full_disk(how: &str) {
    let Some(space) = Space::new() else { return };
    let project = small(&space, "2500k", &BIG.replace("HOW", how));
    let ran = space.run(&project, &["run", "p.yaml"]).calm();
    assert!([1, 3].contains(&ran.code), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("No space left") || ran.stderr.contains("is full"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("free some space") || ran.stderr.contains("free space"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains(project.path("").to_str().unwrap()),
        "no place: {}",
        ran.stderr
    );
    // What is there is whole.
    let out = space.inside(&project.path("out"));
    for (name, bytes) in files(&out) {
        assert_eq!(bytes.len(), 1_000_000, "{name}");
    }
    // Looking works on a full disk.
    for command in ["status", "plan"] {
        space.run(&project, &[command, "p.yaml"]).code(0);
    }
    grow(&space, &project);
    space.run(&project, &["run", "p.yaml"]).code(0);
    assert_eq!(files(&out)["p/all/x"], b"4000000\n");
    space
        .run(&project, &["run", "p.yaml"])
        .code(0)
        .says("nothing to do");
}

#[test]
fn a_disk_that_jobs_fill_is_named_and_with_room_the_run_goes_on() {
    on_a_full_disk("head -c 1000000 /dev/zero | tr \"\\\\0\" ${axis.n} > ${out.x}");
}

#[test]
fn a_job_that_fills_the_disk_and_does_not_look_is_no_result() {
    // Its output is cut short, and its exit code is that of success. `sync` tells nothing either.
    on_a_full_disk(
        "head -c 1000000 /dev/zero | tr \"\\\\0\" ${axis.n} > ${out.x}; [ $(wc -c < ${out.x}) = 1000000 ]",
    );
}

#[test]
fn a_disk_without_any_room_is_named() {
    let Some(space) = Space::new() else { return };
    let project = small(&space, "400k", SWEEP);
    let folder = project.path("");
    let folder = folder.display();
    assert!(space.sh(&format!("echo hello > {folder}f.txt")));
    let mut fill = 4;
    // A little more room each time: each step of a run meets the end of the disk once.
    loop {
        space.sh(&format!("rm -rf {folder}.rematch {folder}out {folder}fill"));
        space.sh(&format!(
            "head -c 400k /dev/zero > {folder}fill; truncate -s -{fill}k {folder}fill"
        ));
        let ran = space.run(&project, &["run", "p.yaml"]).calm();
        if ran.code == 0 {
            break;
        }
        assert!([1, 3].contains(&ran.code), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("No space left") || ran.stderr.contains("is full"),
            "{fill} kB: {}",
            ran.stderr
        );
        // The same with room, from where it was.
        assert!(space.sh(&format!("rm {folder}fill")));
        space.run(&project, &["run", "p.yaml"]).code(0);
        let out = space.inside(&project.path("out/p/all/all.txt"));
        assert_eq!(
            std::fs::read_to_string(out).unwrap(),
            swept("hello\n"),
            "{fill} kB"
        );
        fill += 12;
    }
    assert!(fill > 30, "the disk was never full");
}

#[test]
fn a_read_only_store_can_be_looked_at_and_a_run_with_nothing_to_do_works() {
    let Some(space) = Space::new() else { return };
    let project = sweep();
    project.done();
    let store = project.path(".rematch");
    let store = store.display();
    assert!(space.sh(&format!(
        "mount --bind {store} {store} && mount -o remount,bind,ro {store}"
    )));
    assert!(!space.sh(&format!("touch {store}/x")));
    looks(|arguments| space.run(&project, arguments), &project);
}

#[test]
fn a_store_of_somebody_else_can_be_looked_at_and_a_run_with_nothing_to_do_works() {
    let project = sweep();
    project.done();
    if !rustix::process::getuid().is_root() {
        skip("only root can become somebody else");
        return;
    }
    let folder = project.path("");
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // A copy that anybody can start, wherever this checkout lies.
    let program = project.path("rematch");
    std::fs::copy(env!("CARGO_BIN_EXE_rematch"), &program).unwrap();
    let run = |arguments: &[&str]| {
        let inner = project.command(arguments);
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&program).args(arguments).current_dir(&folder);
        for (name, _) in inner.get_envs() {
            command.env_remove(name);
        }
        Ran::of(&command.output().unwrap())
    };
    looks(run, &project);
}

/// With a store that cannot be written to.
fn looks(run: impl Fn(&[&str]) -> Ran, project: &Project) {
    let touch = |path: &str| {
        let file = std::fs::File::options()
            .append(true)
            .open(project.path(path))
            .unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    };
    for arguments in [
        &["status", "p.yaml"][..],
        &["plan", "p.yaml"],
        &["explain", "p.yaml", "all"],
        &["log", "p.yaml", "all"],
        &["graph", "p.yaml"],
    ] {
        run(arguments).code(0);
    }
    run(&["run", "p.yaml"]).code(0).says("nothing to do");
    touch("f.txt");
    run(&["run", "p.yaml"]).code(0).says("nothing to do");
    // What must run cannot, and why is said.
    project.file("f.txt", "changed\n");
    let ran = run(&["run", "p.yaml"]).fails(3);
    assert!(
        ran.stderr.contains("ead-only") || ran.stderr.contains("denied"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains(project.path(".rematch").to_str().unwrap()),
        "{}",
        ran.stderr
    );
    run(&["plan", "p.yaml"]).code(0).says("strip");
}

#[test]
fn results_on_another_file_system_than_the_store_are_copies() {
    let project = Project::new(SWEEP);
    project.file("f.txt", "hello\n");
    let other = tempfile::tempdir_in("/dev/shm").ok();
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    let Some(other) = other.filter(|other| device(other.path()) != device(&project.path("")))
    else {
        return skip("only one file system here");
    };
    let out = other.path().join("out");
    let arguments = ["run", "p.yaml", "--out", out.to_str().unwrap()];
    project.run(&arguments).code(0);
    project.run(&arguments).code(0).says("nothing to do");
    edits(&project, &out, &arguments);
    // The store apart from the project: work folders and inputs lie there.
    let store = other.path().join("store");
    project
        .run(&["run", "p.yaml", "--store", store.to_str().unwrap()])
        .code(0);
    assert_eq!(project.read("out/p/all/all.txt"), swept("other\n"));
}

/// A run whose results cannot be links repairs them and replaces them.
fn edits(project: &Project, out: &Path, arguments: &[&str]) {
    let all = out.join("p/all/all.txt");
    assert_eq!(std::fs::read_to_string(&all).unwrap(), swept("hello\n"));
    std::fs::write(&all, "mine").unwrap();
    std::fs::remove_file(out.join("p/tree/n=1/d/a")).unwrap();
    project.run(arguments).code(0).says("nothing to do");
    assert_eq!(std::fs::read_to_string(&all).unwrap(), swept("hello\n"));
    assert_eq!(
        std::fs::read_to_string(out.join("p/tree/n=1/d/a")).unwrap(),
        "hello\n"
    );
    project.file("f.txt", "other\n");
    project.run(arguments).code(0);
    assert_eq!(std::fs::read_to_string(&all).unwrap(), swept("other\n"));
}

#[test]
fn results_on_another_mount_of_the_same_file_system_are_copies() {
    let Some(space) = Space::new() else { return };
    let project = sweep();
    let out = project.path("out");
    std::fs::create_dir(&out).unwrap();
    assert!(space.sh(&format!("mount --bind {0} {0}", out.display())));
    for text in ["hello\n", "other\n", "hello\n"] {
        project.file("f.txt", text);
        space.run(&project, &["run", "p.yaml"]).code(0);
        assert_eq!(project.read("out/p/all/all.txt"), swept(text));
        space
            .run(&project, &["run", "p.yaml"])
            .code(0)
            .says("nothing to do");
    }
    assert!(files(&out).keys().all(|name| !name.contains(".rematch-")));
}

#[test]
fn a_file_system_that_knows_no_hard_links_is_enough() {
    let project = sweep();
    let traced = |arguments: &[&str]| {
        let inner = project.command(arguments);
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=link,linkat"]);
        command.args(["-e", "inject=link,linkat:error=EPERM"]);
        command.arg(inner.get_program()).args(arguments);
        command.current_dir(project.path(""));
        command.output().ok().map(|output| Ran::of(&output))
    };
    if traced(&["--version"]).is_none_or(|ran| ran.code != 0) {
        return skip("no `strace` here");
    }
    for text in ["hello\n", "other\n", "hello\n"] {
        project.file("f.txt", text);
        traced(&["run", "p.yaml"]).unwrap().code(0);
        assert_eq!(project.read("out/p/all/all.txt"), swept(text));
    }
    let placed = std::fs::metadata(project.path("out/p/all/all.txt")).unwrap();
    assert_eq!(placed.nlink(), 1);
    traced(&["run", "p.yaml"])
        .unwrap()
        .code(0)
        .says("nothing to do");
}
