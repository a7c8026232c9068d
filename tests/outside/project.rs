//! A folder with a pipeline in it, and the program to run there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A project in a temporary folder.
pub struct Project {
    folder: tempfile::TempDir,
}

/// How a run of the program ended.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Project {
    /// With `p.yaml`. `COUNT` in it stands for a file that jobs can write a line to, to be counted.
    pub fn new(pipeline: &str) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        project.pipeline(pipeline);
        project
    }

    /// The same in memory where there is such a place: quick, and without reflinks.
    pub fn quick(pipeline: &str) -> Self {
        let project = Self {
            folder: tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .unwrap(),
        };
        project.pipeline(pipeline);
        project
    }

    /// Writes `p.yaml` anew.
    pub fn pipeline(&self, text: &str) {
        self.file(
            "p.yaml",
            &text.replace("COUNT", &self.path("count").display().to_string()),
        );
    }

    /// Writes a file.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The program, ready to be started in the project.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rematch"));
        command.args(arguments).current_dir(self.folder.path());
        for name in [
            "REMATCH_STORE",
            "REMATCH_OUT",
            "REMATCH_MIRROR",
            "REMATCH_TRAIN",
            "CUDA_VISIBLE_DEVICES",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Runs `p.yaml` and expects it to end well.
    #[track_caller]
    pub fn done(&self) -> Ran {
        self.run(&["run", "p.yaml"]).code(0)
    }

    /// Starts the program and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The lines that jobs wrote since the last call.
    pub fn counted(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("count")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("count"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// A program that stands in for the trainer: `script` runs with `$run` set to the run folder.
    pub fn trainer(&self, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let text = format!(
            "#!/bin/sh\nrun=$(sed -n 's/.*\"run\": \"\\(.*\\)\".*/\\1/p' \"$1\" | tail -n 1)\n{script}\n"
        );
        let path = self.file("trainer", &text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text) || self.stdout.contains(text),
            "no `{text}` in\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// Waits until something is true, at most ten seconds.
#[track_caller]
pub fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..500 {
        if ready() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{what} did not happen within ten seconds");
}

/// All files below a folder, by path from there. Of a link, where it leads.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for member in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = member.file_name().to_string_lossy().into_owned();
        let path = member.path();
        let kind = member.file_type().unwrap();
        if kind.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(path, bytes)| (format!("{name}/{path}"), bytes)));
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            found.insert(name, target.into_os_string().into_encoded_bytes());
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Whether a path exists and is not empty.
pub fn written(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0)
}
