//! Both programs together, on the pipeline that every user runs first, cut short. Skipped, aloud,
//! where the trainer was not built.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use super::project::{Project, Ran};

/// The quickstart with few images and few steps.
const SHORT: [&str; 12] = [
    "--set",
    "train.length={steps: 12}",
    "--set",
    "train.report={steps: 4}",
    "--set",
    "train.augment=d.d.d",
    "--set",
    "split.size=20",
    "--set",
    "dataset.train_images=600",
    "--set",
    "dataset.test_images=200",
];

fn trainer() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_rematch")).with_file_name("rematch-train");
    if !path.exists() {
        eprintln!("skipped: {} is not built", path.display());
        return None;
    }
    Some(path)
}

fn quickstart() -> String {
    format!("{}/pipelines/quickstart.yaml", env!("CARGO_MANIFEST_DIR"))
}

fn run(project: &Project) -> Ran {
    project.run(&[&["run", &quickstart()], &SHORT[..]].concat())
}

#[test]
fn the_quickstart_ends_with_a_table_and_reruns_nothing() {
    if trainer().is_none() {
        return;
    }
    let project = Project::new("stages: {}\n");
    let first = run(&project).code(0);
    assert!(
        first.stdout.contains("supervised")
            && first.stdout.contains("fixmatch")
            && first.stdout.contains('±'),
        "{}",
        first.stdout
    );
    let second = run(&project).code(0).says("nothing to do");
    assert_eq!(first.stdout, second.stdout);
}

/// Kills the runner with all its jobs, or a trainer alone, at many instants; the table must be that
/// of an undisturbed run. REMATCH_KILLS sets how often.
#[test]
fn kills_at_random_instants_change_nothing_in_the_table() {
    let Some(_) = trainer() else { return };
    let kills: u32 = std::env::var("REMATCH_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(12);
    let calm = Project::new("stages: {}\n");
    let expected = run(&calm).code(0).stdout;
    let project = Project::new("stages: {}\n");
    let mut random = 88_172_645_463_325_252_u64;
    let mut killed = (0, 0);
    while killed.0 + killed.1 < kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let pipeline = quickstart();
        let arguments = [&["run", &pipeline], &SHORT[..]].concat();
        let mut child = project
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random % 3000));
        if random.is_multiple_of(3) {
            killed.1 += kill_trainers(&project);
            let _ = child.wait();
        } else {
            let _ = child.kill();
            let _ = child.wait();
            killed.0 += 1;
        }
    }
    println!(
        "killed the runner {} times and trainers {} times",
        killed.0, killed.1
    );
    assert_eq!(run(&project).code(0).stdout, expected);
    run(&project).code(0).says("nothing to do");
}

/// Kills the trainers that work in a project's store; says how many.
fn kill_trainers(project: &Project) -> u32 {
    let store = project.path(".rematch").canonicalize().unwrap_or_default();
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let ours = line.contains("rematch-train") && line.contains(&*store.to_string_lossy());
        if let (true, Some(pid)) = (ours, rustix::process::Pid::from_raw(pid)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            count += 1;
        }
    }
    count
}
