//! A process that outlives the runner for a moment, should the runner be killed, and ends the jobs that it left.
//!
//! Jobs that speak the protocol notice by themselves that their runner is gone. A program that knows nothing of it
//! does not.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::strays::{self, Leash};

/// How long orphans may take to end when asked.
const GRACE: Duration = Duration::from_secs(5);
/// How often to look whether they have.
const TICK: Duration = Duration::from_millis(50);

/// The guard, seen from the runner. It ends when this is dropped.
#[derive(Debug)]
pub struct Guard {
    process: Child,
}

impl Guard {
    /// Starts `program guard`. Without a guard everything works; only a killed runner leaves its jobs running.
    pub fn start(program: &Path) -> Option<Self> {
        let process = Command::new(program)
            .arg("guard")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Some(Self {
            process: process.ok()?,
        })
    }

    /// From now on a process group, and whoever holds this leash, is to be ended with the runner.
    pub fn watch(&self, group: Pid, leash: &Leash) {
        self.tell(&format!("+{} {}", group.as_raw_nonzero(), leash.number()));
    }

    /// A group has ended; its number may soon be another's.
    pub fn forget(&self, group: Pid) {
        self.tell(&format!("-{}", group.as_raw_nonzero()));
    }

    fn tell(&self, order: &str) {
        if let Some(mut pipe) = self.process.stdin.as_ref() {
            let _ = writeln!(pipe, "{order}");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Is the guard: reads which groups there are, and ends those that are left when the runner is gone.
pub fn stand(orders: impl BufRead) {
    let mut groups: BTreeMap<i32, u64> = BTreeMap::new();
    for line in orders.lines().map_while(Result::ok) {
        let mut numbers = line.get(1..).unwrap_or_default().split(' ');
        let group = numbers.next().and_then(|number| number.parse().ok());
        let Some(group) = group.filter(|number| *number > 1) else {
            continue;
        };
        if line.starts_with('+') {
            let leash = numbers.next().and_then(|number| number.parse().ok());
            groups.insert(group, leash.unwrap_or_default());
        } else {
            groups.remove(&group);
        }
    }
    let tell = |signal| {
        for group in groups.keys().filter_map(|group| Pid::from_raw(*group)) {
            let _ = kill_process_group(group, signal);
        }
    };
    let lives = |group: &i32| {
        Pid::from_raw(*group).is_some_and(|g| rustix::process::test_kill_process_group(g).is_ok())
    };
    tell(Signal::TERM);
    let mut waited = Duration::ZERO;
    while waited < GRACE && groups.keys().any(lives) {
        thread::sleep(TICK);
        waited += TICK;
    }
    tell(Signal::KILL);
    groups.into_values().for_each(strays::end_holders);
}
