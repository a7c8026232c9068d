//! Processes that a job left behind and that also left its process group. The runner is their parent then, as a
//! subreaper, and knows them by what they still hold open.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};

/// How long they may take to die.
const DEATH: Duration = Duration::from_secs(1);

/// Kills the children of this process that are in `work`, or have a file in it or the file `lock` open. `ours` are
/// those that belong to running jobs.
pub fn end(work: &Path, lock: &Path, ours: &dyn Fn(Pid) -> bool) {
    let since = Instant::now();
    while since.elapsed() < DEATH {
        let mut found = false;
        for child in children().into_iter().filter(|child| !ours(*child)) {
            if holds(child, work, lock) {
                found = true;
                let _ = kill_process(child, Signal::KILL);
            }
            // One that has ended is waited for by nobody else.
            let _ = waitid(
                WaitId::Pid(child),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            );
        }
        // Children of those that were killed come to us, in their turn.
        if !found {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The children of this process; none where the system does not list them.
fn children() -> Vec<Pid> {
    // Orphans become those of the first thread.
    let me = getpid().as_raw_nonzero();
    let list = std::fs::read_to_string(format!("/proc/self/task/{me}/children"));
    let list = list.unwrap_or_default();
    let numbers = list
        .split_whitespace()
        .filter_map(|number| number.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

fn holds(process: Pid, work: &Path, lock: &Path) -> bool {
    let folder = Path::new("/proc").join(process.as_raw_nonzero().to_string());
    let leads_in =
        |link: &Path| std::fs::read_link(link).is_ok_and(|to| to.starts_with(work) || to == lock);
    let files = std::fs::read_dir(folder.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    leads_in(&folder.join("cwd")) || files.into_iter().any(|file| leads_in(&file.path()))
}
