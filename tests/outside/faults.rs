//! What goes wrong around the runner: kills, disks, clocks, damage, other runners, wild jobs.
//! A test that needs what this system does not let it have says so on standard error, and passes.
//!
//! `REMATCH_FAULTS=10` does ten times as many kills.

mod clocks;
mod damage;
mod disks;
mod jobs;
mod kills;
mod runners;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::project::{Project, Ran, files};

/// How many times as much of what is random is to be done.
fn times() -> usize {
    let asked = std::env::var("REMATCH_FAULTS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Says why a test shows nothing here. The test harness keeps back what `eprintln!` says.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Sweeps, a collection, folders, two outputs, user files, and an early cutoff after `strip`. A job whose
/// programs are killed one by one does not go on with the next.
const SWEEP: &str = r"
axes: {n: [1, 2, 3]}
stages:
  strip:
    command: {run: 'grep -v ^# ${in.f} > ${out.x}', inputs: {f: f.txt}, outputs: {x: x}}
  tree:
    command: {run: 'mkdir -p ${out.d}/sub && cat ${strip.x} > ${out.d}/a && echo ${axis.n} > ${out.d}/sub/b', outputs: {d: d}}
  two:
    command: {run: 'cat ${tree.d}/a ${tree.d}/sub/b > ${out.x} && echo two > ${out.y}', outputs: {x: x, y: sub/y}}
  all:
    command: {run: 'cat ${two[*].x} ${two[*].y} > ${out.x}', outputs: {x: all.txt}}
";

/// The result of `all` in it, for the content of `f.txt` without comments.
fn swept(text: &str) -> String {
    format!("{text}1\n{text}2\n{text}3\ntwo\ntwo\ntwo\n")
}

fn sweep() -> Project {
    let project = Project::quick(SWEEP);
    project.file("f.txt", "# one\nhello\n");
    project
}

/// Every object of the store holds what its name says.
#[track_caller]
fn sound(project: &Project) {
    let objects = project.path(".rematch/objects");
    for name in files(&objects).keys() {
        let digest = rematch_cache::Digest::of_file(&objects.join(name)).unwrap();
        assert_eq!(name.replace('/', ""), digest.to_hex());
    }
}

/// The processes that work in a folder or below it.
fn processes_in(folder: &Path) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|process| {
        std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    })
    .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
    .collect()
}

/// Kills a runner with all that it started, as a power cut would.
fn kill_tree(mut runner: Child, project: &Project) {
    let _ = runner.kill();
    let _ = runner.wait();
    kill_rest(project);
}

/// Kills whatever works in a project.
fn kill_rest(project: &Project) {
    let folder = project.path("").canonicalize().unwrap();
    while let rest @ [_, ..] = &processes_in(&folder)[..] {
        for process in rest {
            let _ = kill_process(*process, Signal::KILL);
        }
    }
}

/// A mount namespace of its own, in which file systems can be mounted. It ends with the test.
struct Space {
    holder: Child,
    program: PathBuf,
}

impl Space {
    /// None where the system does not let us, which is then said.
    fn new() -> Option<Self> {
        let mut unshare = Command::new("unshare");
        // Its input ends with us, however that happens.
        unshare.args(["--mount", "--map-root-user", "cat"]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = match unshare.stderr(Stdio::null()).spawn() {
            Ok(holder) => holder,
            Err(e) => {
                skip(&format!("no `unshare` here: {e}"));
                return None;
            }
        };
        // It is ready when it echoes.
        let mut byte = [0];
        let ready = holder
            .stdin
            .as_mut()
            .is_some_and(|pipe| pipe.write_all(b"x").is_ok())
            && holder
                .stdout
                .as_mut()
                .is_some_and(|pipe| std::io::Read::read_exact(pipe, &mut byte).is_ok());
        let space = Self {
            holder,
            program: env!("CARGO_BIN_EXE_rematch").into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        if ready && space.sh(&format!("mount -t tmpfs none {path} && umount {path}")) {
            return Some(space);
        }
        skip("no mount namespace here");
        None
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--preserve-credentials",
            "-U",
            "-m",
            "-t",
            &self.holder.id().to_string(),
        ]);
        command
    }

    /// Runs a shell line in it; says whether it went well.
    fn sh(&self, line: &str) -> bool {
        let status = self
            .enter()
            .args(["sh", "-c", line])
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }

    /// The program, in a project that may have mounts.
    fn command(&self, project: &Project, arguments: &[&str]) -> Command {
        let inner = project.command(arguments);
        let mut command = self.enter();
        command.args(["sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh"]);
        command
            .arg(project.path(""))
            .arg(&self.program)
            .args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn run(&self, project: &Project, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(project, arguments).output().unwrap())
    }

    /// A path as it is inside.
    fn inside(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Ran {
    /// Neither a panic nor silence.
    #[track_caller]
    fn fails(self, code: i32) -> Self {
        let ran = self.code(code).calm();
        assert!(!ran.stderr.trim().is_empty(), "it failed without a word");
        ran
    }

    /// No panic.
    #[track_caller]
    fn calm(self) -> Self {
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        assert!(![101, 134].contains(&self.code), "{}", self.stderr);
        self
    }
}
