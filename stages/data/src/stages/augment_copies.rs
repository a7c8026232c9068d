//! `augment_copies`: RealMix's offline copies, written out or as a recipe for them.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rematch_spec::augment_copies::AugmentCopies;
use rematch_spec::job::Report;

use crate::child::{Child, report};
use crate::copies::{self, Copies};
use crate::error::StageError;
use crate::fs;
use crate::tfrecord::Writer;

/// Copies that are made at once. Some ten megabytes of CIFAR's, and a look at the order to stop each
/// tenth of a second.
const CHUNK: usize = 4096;
/// Chunks that may wait to be written.
const WAITING: usize = 2;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: AugmentCopies = child.params()?;
    let source = params.records.path();
    let copies = Copies::of(source, &params, copies::SMALL)?;
    let to = child.output("records")?;
    if params.r#virtual {
        fs::create_dir_all(to)?;
        fs::link_or_copy(source, &to.join(copies::SOURCE))?;
        fs::write(&to.join(copies::RECIPE), copies.recipe())?;
    } else {
        write(child, &copies, to)?;
    }
    Ok(report([
        ("records", copies.len() as f64),
        ("source", (copies.len() / params.copies as usize) as f64),
    ]))
}

/// Makes the copies in their order, and writes each chunk while the next ones are made.
fn write(child: &Child, copies: &Copies, to: &Path) -> Result<(), StageError> {
    let mut writer = Writer::create(to)?;
    let (sender, chunks) = sync_channel::<Vec<u8>>(WAITING);
    thread::scope(move |scope| {
        let writing = scope.spawn(move || -> Result<(), fs::Error> {
            for chunk in chunks {
                writer.write_frames(&chunk)?;
            }
            writer.finish()
        });
        let made = make(child, copies, &sender);
        drop(sender);
        let written = writing
            .join()
            .map_err(|_| StageError::failed("the writing thread ended"))?;
        // Where writing failed, making stopped for that reason.
        written?;
        made
    })
}

fn make(child: &Child, copies: &Copies, sender: &SyncSender<Vec<u8>>) -> Result<(), StageError> {
    let records: Vec<usize> = (0..copies.len()).collect();
    let mut done = 0;
    for chunk in records.chunks(CHUNK) {
        child.check()?;
        let chunk: Vec<(usize, i64)> = chunk.iter().map(|n| (*n, copies.label(*n))).collect();
        if sender.send(copies.frames(&chunk)?).is_err() {
            return Ok(());
        }
        done += chunk.len();
        child.progress(done as u64, copies.len() as u64, "images");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
