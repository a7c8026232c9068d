//! `download`: makes a dataset available as TFRecord files, from its official archive or generated.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rematch_spec::download::{Dataset, Download};
use rematch_spec::job::Report;
use serde::Deserialize;

use crate::child::{Child, report};
use crate::error::StageError;
use crate::http::{self, Patience};
use crate::records;
use crate::shapes::{self, Part};
use crate::tfrecord::Writer;
use crate::{archive, checksum, cifar, fs};

/// Generated images that are in memory at once.
const CHUNK: u64 = 2000;

/// A dataset's row in `datasets.yaml`.
#[derive(Deserialize)]
struct Source {
    address: String,
    train: usize,
    test: usize,
    archives: BTreeMap<String, String>,
}

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Download = child.params()?;
    match params.dataset {
        Dataset::Cifar10 => cifar10(child, &params),
        Dataset::Shapes => generate(child, &params),
    }
}

fn generate(child: &Child, params: &Download) -> Result<Report, StageError> {
    let all = params.train_images + params.test_images;
    let mut done = 0;
    for (part, output, count) in [
        (Part::Train, "train", params.train_images),
        (Part::Test, "test", params.test_images),
    ] {
        let mut writer = Writer::create(child.output(output)?)?;
        for first in (0..count).step_by(CHUNK as usize) {
            child.check()?;
            let number = CHUNK.min(count - first);
            let (images, labels) = shapes::images(params.seed, part, first, number as usize);
            writer.write_frames(&records::encode(shapes::SHAPE, &images, &labels))?;
            done += number;
            child.progress(done, all, "images");
        }
        writer.finish()?;
    }
    Ok(report([
        ("train", params.train_images as f64),
        ("test", params.test_images as f64),
    ]))
}

fn cifar10(child: &Child, params: &Download) -> Result<Report, StageError> {
    let mut sources: BTreeMap<String, Source> =
        serde_yaml::from_str(include_str!("../datasets.yaml"))
            .map_err(|e| StageError::failed(format!("datasets.yaml: {e}")))?;
    let source = sources
        .remove("cifar10")
        .ok_or_else(|| StageError::failed("datasets.yaml has no cifar10"))?;
    let name = params.layout.cifar10_archive();
    let official = source.archives.get(name).map(String::as_str);
    let (archive, from) = fetch(child, params, &source, name)?;
    let sum = verify(child, params, &archive, &from, official)?;

    let [train, test] = convert(child, params, &archive, source.train + source.test)?;
    if (train, test) != (source.train, source.test) {
        let message = format!(
            "{from} holds {train} training and {test} test images; CIFAR-10 has {} and {}",
            source.train, source.test
        );
        child.warning(message);
    }
    if params.file.is_none() {
        fs::remove_file(&archive)?;
    }
    let mut report = report([("train", train as f64), ("test", test as f64)]);
    report.facts.insert("source".into(), from.as_ref().into());
    report.facts.insert("checksum".into(), sum.into());
    Ok(report)
}

/// The archive as a local file, and where it is from.
fn fetch<'a>(
    child: &Child,
    params: &'a Download,
    source: &Source,
    name: &str,
) -> Result<(PathBuf, Cow<'a, str>), StageError> {
    if let Some(file) = &params.file {
        return Ok((file.path().to_owned(), file.path().to_string_lossy()));
    }
    let base = params.mirror.as_deref().unwrap_or(&source.address);
    let address = format!("{}/{name}", base.trim_end_matches('/'));
    let archive = child.work().join(name);
    if !archive.exists() {
        child.note(format!("downloading {address}"));
        http::download(child, &address, &archive, Patience::default())?;
    }
    Ok((archive, address.into()))
}

/// Checks the archive's checksum where one is binding, and returns it.
///
/// One that the user gave is binding, and the official one for the public address. Elsewhere another
/// archive may be meant (a part, a rebuilt one), so that only earns a warning: what is in it is
/// checked anyway.
fn verify(
    child: &Child,
    params: &Download,
    archive: &Path,
    from: &str,
    official: Option<&str>,
) -> Result<String, StageError> {
    let public = params.file.is_none() && params.mirror.is_none();
    let Some(expected) = params.checksum.as_deref().or(official) else {
        return Ok(checksum::of_file(archive, "sha256:")?);
    };
    let found = checksum::of_file(archive, expected)?;
    if checksum::same(&found, expected) {
        return Ok(found);
    }
    if params.checksum.is_none() && !public {
        child.warning(format!("{from} is not the official archive: its checksum is {found}, the official one {expected}"));
        return Ok(found);
    }
    let help = if params.file.is_none() {
        // Whatever it is, going on from it would not help.
        fs::remove_file(archive)?;
        "run again to download it anew; if that changes nothing, the file on the server is another one"
    } else {
        "take the file that the checksum is of, or correct `checksum`"
    };
    Err(StageError::failed(format!(
        "{from} has the checksum {found}, but {expected} is expected"
    ))
    .help(help))
}

/// Writes the archive's images as records; returns how many training and test images there are.
///
/// One thread unpacks the next batch while the others encode the last one.
fn convert(
    child: &Child,
    params: &Download,
    archive: &Path,
    all: usize,
) -> Result<[usize; 2], StageError> {
    let members = cifar::members(params.layout);
    let last = members.len() - 1;
    let mut train = Writer::create(child.output("train")?)?;
    let mut test = Writer::create(child.output("test")?)?;
    let (mut counts, mut done) = ([0, 0], 0);
    // Batches stand in the archive in any order; those that come early wait here, encoded.
    let mut waiting: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut next = 0;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(0);
        let names = &members;
        let unpacking = scope.spawn(move || {
            archive::read(archive, names, cifar::LARGEST, |number, content| {
                // Nobody takes it any more where converting failed, and that error counts.
                sender
                    .send((number, content))
                    .map_err(|_| StageError::Interrupted)
            })
        });
        let mut converted = Ok(());
        for (number, content) in receiver {
            converted = (|| {
                child.check()?;
                let batch = cifar::parse(params.layout, &content).map_err(|what| {
                    let message = format!("{}: {}: {what}", archive.display(), members[number]);
                    StageError::failed(message)
                        .help("the archive is damaged, or not in the layout that `layout` names")
                })?;
                drop(content);
                let frames = records::encode(cifar::SHAPE, &batch.images, &batch.labels);
                done += batch.labels.len();
                counts[usize::from(number == last)] += batch.labels.len();
                child.progress(done as u64, all as u64, "images");
                if number == last {
                    return Ok(test.write_frames(&frames)?);
                }
                waiting.insert(number, frames);
                while let Some(frames) = waiting.remove(&next) {
                    train.write_frames(&frames)?;
                    next += 1;
                }
                Ok::<(), StageError>(())
            })();
            if converted.is_err() {
                break;
            }
        }
        let unpacked = unpacking
            .join()
            .unwrap_or_else(|_| Err(StageError::failed("unpacking panicked")));
        converted.and(unpacked)
    })?;
    train.finish()?;
    test.finish()?;
    Ok(counts)
}

#[cfg(test)]
mod tests;
