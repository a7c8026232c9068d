//! `rematch doctor`: whether everything is there that runs need.

use std::path::Path;
use std::process::{Command, ExitCode};

use rematch_cache::artifact::Artifact;
use rematch_cache::store::Store;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::commands::{print_json, print_line, project_root};
use crate::engine::programs;
use crate::error::Result;
use crate::facts::{Check, Doctor};
use crate::slots::Machine;
use crate::style::Style;

pub fn exec(global: &Global) -> Result<ExitCode> {
    let root = project_root();
    let store = global
        .store
        .clone()
        .unwrap_or_else(|| root.join(".rematch"));
    let mut checks = vec![Check {
        what: "rematch".into(),
        good: true,
        found: env!("CARGO_PKG_VERSION").into(),
        facts: json!({ "version": env!("CARGO_PKG_VERSION") }),
    }];
    checks.push(trainer()?);
    checks.push(machine());
    checks.extend(storage(&store));
    let good = checks.iter().all(|check| check.good);
    if global.json {
        print_json(&Doctor { good, checks });
    } else {
        let style = Style::of(&std::io::stdout());
        for check in &checks {
            let mark = if check.good {
                style.green("✓")
            } else {
                style.red("✗")
            };
            print_line(&format!("{mark} {:11} {}", check.what, check.found));
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

/// The trainer, and what its libtorch can do.
fn trainer() -> Result<Check> {
    let (_, trainer) = programs()?;
    let bad = |found: String| Check {
        what: "trainer".into(),
        good: false,
        found,
        facts: Value::Null,
    };
    let Ok(output) = Command::new(&trainer).arg("--probe").output() else {
        let how = "run `make setup`, then `cargo build --release`";
        return Ok(bad(format!("{} is not there; {how}", trainer.display())));
    };
    let Ok(facts) = serde_json::from_slice::<Value>(&output.stdout) else {
        let words = String::from_utf8_lossy(&output.stderr);
        return Ok(bad(format!(
            "{} does not start: {}",
            trainer.display(),
            words.lines().next().unwrap_or("it says nothing")
        )));
    };
    let text = |name: &str| facts[name].as_str().unwrap_or("?").to_owned();
    let cuda = match (
        facts["cuda_library"].as_bool(),
        facts["gpus"].as_u64().unwrap_or(0),
    ) {
        (Some(true), 0) => "CUDA library, but no GPU that it can use".to_owned(),
        (Some(true), n) => format!("CUDA with {n} GPU{}", if n == 1 { "" } else { "s" }),
        _ => "CPU only".to_owned(),
    };
    let found = format!(
        "rematch-train {}, libtorch {}, {cuda}",
        text("version"),
        text("libtorch")
    );
    Ok(Check {
        what: "trainer".into(),
        good: true,
        found,
        facts,
    })
}

fn machine() -> Check {
    let Machine { cpus, gpus, memory } = Machine::here();
    let found = format!(
        "{cpus} CPU cores, {} GPUs, {:.1} GB of memory",
        gpus.len(),
        memory as f64 / 1e9
    );
    Check {
        what: "machine".into(),
        good: true,
        found,
        facts: json!({ "cpus": cpus, "gpus": gpus, "memory": memory }),
    }
}

/// The store, its disk, and how results get from there to the results folder.
fn storage(path: &Path) -> Vec<Check> {
    let store = match Store::open(path) {
        Ok(store) => store,
        Err(error) => {
            return vec![Check {
                what: "store".into(),
                good: false,
                found: error.to_string(),
                facts: Value::Null,
            }];
        }
    };
    let root = store.root().to_owned();
    let free =
        rustix::fs::statvfs(&root).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let enough = free > 1 << 30;
    let found = format!(
        "{}, {:.1} GB free{}",
        root.display(),
        free as f64 / 1e9,
        if enough { "" } else { ": little room" }
    );
    let mut checks = vec![Check {
        what: "store".into(),
        good: enough,
        found,
        facts: json!({ "path": root.to_string_lossy(), "free": free }),
    }];
    checks.push(match try_placing(&root) {
        Ok(how) => Check {
            what: "file system".into(),
            good: true,
            found: format!("results appear by {how}"),
            facts: json!({ "how": how }),
        },
        Err(why) => Check {
            what: "file system".into(),
            good: false,
            found: why,
            facts: Value::Null,
        },
    });
    checks
}

/// Tries, in a scratch store beside the real one, how an object is placed.
fn try_placing(root: &Path) -> std::result::Result<&'static str, String> {
    use rematch_cache::place::How;
    let words = |e: &dyn std::fmt::Display| format!("cannot write beside the store: {e}");
    let folder = root.join(format!("tmp/doctor-{}", std::process::id()));
    let attempt = || -> std::result::Result<How, String> {
        std::fs::create_dir_all(&folder).map_err(|e| words(&e))?;
        let scratch = Store::open(&folder.join("store")).map_err(|e| words(&e))?;
        let bytes = b"doctor";
        let digest = rematch_cache::digest::Digest::of_bytes(bytes);
        let object = scratch.object_path(&digest);
        std::fs::create_dir_all(object.parent().unwrap_or(&folder)).map_err(|e| words(&e))?;
        std::fs::write(&object, bytes).map_err(|e| words(&e))?;
        let artifact = Artifact {
            digest,
            size: bytes.len() as u64,
            folder: false,
        };
        let placed = scratch.materialise(&artifact, &folder, Path::new("out/file"), None);
        Ok(placed.map_err(|e| words(&e))?.how)
    };
    let result = attempt();
    let _ = std::fs::remove_dir_all(&folder);
    Ok(match result? {
        How::Reflink => "reflink",
        How::HardLink | How::Already => "hard link",
        How::Copy => "copy",
    })
}
