//! Processes that a job left behind, and that also left its process group. All that a job starts inherits the end of a
//! pipe; whoever still holds it when the job has ended is a stray.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

/// How long they may take to die.
const DEATH: Duration = Duration::from_secs(1);

/// Tells whether anything that a job started still lives.
pub struct Leash {
    ours: OwnedFd,
}

impl Leash {
    /// The leash, and the end that the job inherits: to be dropped when that has started.
    pub fn new() -> std::io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = rustix::pipe::pipe()?;
        rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
        Ok((Self { ours }, theirs))
    }

    /// Kills what is left. A process that closed every file that it inherited escapes.
    pub fn end_strays(&self) {
        let since = Instant::now();
        while self.is_held() && since.elapsed() < DEATH {
            for stray in self.holders() {
                let _ = kill_process(stray, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_held(&self) -> bool {
        let mut look = [PollFd::new(&self.ours, PollFlags::IN)];
        let _ = poll(&mut look, Some(&Timespec::default()));
        !look[0].revents().contains(PollFlags::HUP)
    }

    /// Other processes that hold the other end.
    fn holders(&self) -> Vec<Pid> {
        let Ok(stat) = rustix::fs::fstat(&self.ours) else {
            return Vec::new();
        };
        let pipe = format!("pipe:[{}]", stat.st_ino);
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let files = std::fs::read_dir(process.path().join("fd")).ok()?;
            let mut links = files.flatten().map(|file| std::fs::read_link(file.path()));
            let holds = links.any(|link| link.is_ok_and(|to| to == Path::new(&pipe)));
            (holds && pid != std::process::id().cast_signed()).then(|| Pid::from_raw(pid))?
        });
        pids.collect()
    }
}
