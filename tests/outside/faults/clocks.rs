//! Clocks that jump, and files with times from anywhere.

use std::fs::{File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{skip, sweep, swept};
use crate::outside::project::{Project, Ran};

const YEARS: Duration = Duration::from_secs(20 * 365 * 86400);

/// Sets the times of a file, or of everything below a folder.
fn set_times(path: &Path, time: SystemTime) {
    if path.is_dir() {
        for member in std::fs::read_dir(path).unwrap() {
            set_times(&member.unwrap().path(), time);
        }
    }
    let file = File::open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time))
        .unwrap();
}

#[track_caller]
fn right(project: &Project, text: &str) {
    assert_eq!(project.read("out/p/all/all.txt"), swept(text));
}

#[test]
fn files_from_the_past_and_the_future_are_known_by_content() {
    let project = sweep();
    project.done();
    for (n, time) in [
        SystemTime::UNIX_EPOCH,
        SystemTime::now() - YEARS,
        SystemTime::now() + YEARS,
        SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33),
    ]
    .into_iter()
    .enumerate()
    {
        set_times(&project.path("f.txt"), time);
        project.done().says("nothing to do");
        // Another content with the same time.
        let text = format!("{n}{n}\n");
        project.file("f.txt", &text);
        set_times(&project.path("f.txt"), time);
        project.done();
        right(&project, &text);
        project.done().says("nothing to do");
    }
}

#[test]
fn an_edit_that_keeps_size_and_time_is_seen() {
    let project = sweep();
    let path = project.file("f.txt", "aaaaa\n");
    let time = SystemTime::now() - YEARS;
    set_times(&path, time);
    // Long enough for its state to be remembered.
    std::thread::sleep(Duration::from_millis(150));
    project.done();
    project.done().says("nothing to do");
    let before = std::fs::metadata(&path).unwrap();
    std::fs::write(&path, "bbbbb\n").unwrap();
    set_times(&path, time);
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (before.len(), before.mtime_nsec(), before.ino()),
        (after.len(), after.mtime_nsec(), after.ino())
    );
    project.done();
    right(&project, "bbbbb\n");
}

#[test]
fn a_result_that_was_replaced_by_one_with_its_size_and_time_is_put_right() {
    let project = sweep();
    project.done();
    let path = project.path("out/p/all/all.txt");
    let old = std::fs::metadata(&path).unwrap().modified().unwrap();
    let text = project.read("out/p/all/all.txt").replace("hello", "jello");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, text).unwrap();
    set_times(&path, old);
    project.done().says("nothing to do");
    right(&project, "hello\n");
}

#[test]
fn a_store_with_times_from_anywhere_is_trusted_by_content() {
    let project = sweep();
    project.done();
    for (n, time) in [SystemTime::UNIX_EPOCH, SystemTime::now() + YEARS]
        .into_iter()
        .enumerate()
    {
        set_times(&project.path(".rematch"), time);
        project.done().says("nothing to do");
        let text = format!("{n}\n");
        project.file("f.txt", &text);
        project.done();
        right(&project, &text);
        project.done().says("nothing to do");
    }
}

#[test]
fn a_clock_that_jumps_by_years_between_runs_changes_nothing() {
    let project = sweep();
    let at = |shift: &str| {
        let inner = project.command(&["run", "p.yaml"]);
        let mut command = std::process::Command::new("faketime");
        command
            .args(["-f", shift])
            .arg(inner.get_program())
            .args(inner.get_args());
        command.current_dir(project.path(""));
        command.output().ok().map(|output| Ran::of(&output))
    };
    if at("+0d").is_none() {
        return skip("no `faketime` here");
    }
    for (n, shift) in ["+20y", "-20y", "+0d", "-1d", "+3650d"]
        .into_iter()
        .enumerate()
    {
        at(shift).unwrap().code(0).says("nothing to do");
        let text = format!("{n}\n");
        project.file("f.txt", &text);
        at(shift).unwrap().code(0);
        right(&project, &text);
        // At the right time again.
        project.done().says("nothing to do");
        project.file("f.txt", "# one\nhello\n");
        project.done();
    }
}
