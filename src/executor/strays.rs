//! Processes that a job left behind, and that also left its process group. All that a job starts inherits the end of a
//! pipe; whoever still holds it when the job has ended is a stray.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpid, kill_process};

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
            end_holders(self.number());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_held(&self) -> bool {
        let mut look = [PollFd::new(&self.ours, PollFlags::IN)];
        let _ = poll(&mut look, Some(&Timespec::default()));
        !look[0].revents().contains(PollFlags::HUP)
    }

    /// What names the pipe, for whoever looks for its holders.
    pub fn number(&self) -> u64 {
        rustix::fs::fstat(&self.ours).map_or(0, |stat| stat.st_ino)
    }
}

/// Kills every other process that holds the pipe with that number.
pub fn end_holders(number: u64) {
    let pipe = format!("pipe:[{number}]");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let pid = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw).filter(|pid| *pid != getpid()) else {
            continue;
        };
        let files = std::fs::read_dir(process.path().join("fd"));
        let mut files = files.into_iter().flatten().flatten();
        if files.any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == Path::new(&pipe)))
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
