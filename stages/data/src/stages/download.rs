//! `download`: makes a dataset available as TFRecord files, from its official archives or generated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rematch_spec::datasets::{Archive, Source};
use rematch_spec::download::{CLASSES, Download};
use rematch_spec::job::Report;
use serde_json::json;

use crate::child::Child;
use crate::error::StageError;
use crate::http::{self, Patience};
use crate::image::Shape;
use crate::readers::{self, Batch, Opened, Reader};
use crate::records;
use crate::shapes::{self, Part};
use crate::tfrecord::Writer;
use crate::{checksum, fs, json};

/// Generated images that are in memory at once.
const CHUNK: u64 = 2000;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Download = child.params()?;
    let dataset = params.dataset.dataset();
    fs::write(child.output(CLASSES)?, json::classes(&dataset.classes))?;
    match params.source() {
        Some(source) => official(child, params, source),
        None => generate(child, &params),
    }
}

fn generate(child: &Child, params: &Download) -> Result<Report, StageError> {
    let counted = |name: &str| match name {
        "train" => (Part::Train, params.train_images),
        _ => (Part::Test, params.test_images),
    };
    let parts: Vec<&str> = params.parts().map(|part| part.name.as_str()).collect();
    let all = parts.iter().map(|name| counted(name).1).sum();
    let mut done = 0;
    let mut report = Report::default();
    for name in parts {
        let (part, count) = counted(name);
        let mut writer = Writer::create(child.output(name)?)?;
        for first in (0..count).step_by(CHUNK as usize) {
            child.check()?;
            let number = CHUNK.min(count - first);
            let (images, labels) = shapes::images(params.seed, part, first, number as usize);
            writer.write_frames(&records::encode(shapes::SHAPE, &images, &labels))?;
            done += number;
            child.progress(done, all, "images");
        }
        writer.finish()?;
        report.metrics.insert(name.into(), count as f64);
    }
    Ok(report)
}

fn official(
    child: &Child,
    params: Download,
    source: &'static Source,
) -> Result<Report, StageError> {
    let reader = readers::find(&source.reader)
        .ok_or_else(|| StageError::failed(format!("there is no reader `{}`", source.reader)))?;
    let wanted = params.archives();
    let given = params.file.as_ref().map(|files| {
        let paths: Vec<PathBuf> = files.0.iter().map(|f| f.path().to_owned()).collect();
        matched(&wanted, paths)
    });
    let mut archives = BTreeMap::new();
    let mut facts = Vec::new();
    for (n, archive) in wanted.iter().enumerate() {
        let (path, from) = match &given {
            Some(paths) => (paths[n].clone(), paths[n].display().to_string()),
            None => fetch(child, &params, source, &archive.name)?,
        };
        let sum = verify(child, &params, &path, &from, archive.checksum.as_deref())?;
        facts.push(json!({"source": from, "checksum": sum}));
        archives.insert(archive.name.as_str(), path);
    }
    let extras = &params.dataset.dataset().extras;
    let extras = extras.iter().map(|extra| {
        let path = child.output(&extra.output)?.to_owned();
        Ok((extra.output.as_str(), path))
    });
    let opened = Opened {
        extras: extras.collect::<Result<_, StageError>>()?,
        params,
        source,
        archives,
    };

    let counts = convert(child, &opened, reader)?;
    let mut report = Report::default();
    for (part, count) in opened.params.parts().zip(counts) {
        if count != part.records {
            let message = format!(
                "{} has {count} records of `{}` here; officially it has {}",
                opened.params.dataset.name, part.name, part.records
            );
            child.warning(message);
        }
        report.metrics.insert(part.name.clone(), count as f64);
    }
    if opened.params.file.is_none() {
        for path in opened.archives.values() {
            fs::remove_file(path)?;
        }
    }
    report.facts.insert("archives".into(), facts.into());
    Ok(report)
}

/// Brings files that a user gave into the table's order: by name where all have official names.
fn matched(wanted: &[&Archive], paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let named = |name: &str| {
        let mut same = paths
            .iter()
            .filter(|path| path.file_name().is_some_and(|n| n == name));
        same.next().cloned()
    };
    let by_name: Option<Vec<PathBuf>> = wanted.iter().map(|a| named(&a.name)).collect();
    by_name.unwrap_or(paths)
}

/// The archive as a local file, and where it is from.
fn fetch(
    child: &Child,
    params: &Download,
    source: &Source,
    name: &str,
) -> Result<(PathBuf, String), StageError> {
    let base = params.mirror.as_deref().unwrap_or(&source.address);
    let address = format!("{}/{name}", base.trim_end_matches('/'));
    let archive = child.work().join(name);
    if !archive.exists() {
        child.note(format!("downloading {address}"));
        http::download(child, &address, &archive, Patience::default())?;
    }
    Ok((archive, address))
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

/// The record file of a part, while it is written.
struct Output {
    writer: Writer,
    shape: Option<Shape>,
    count: u64,
}

/// Writes the archives' images as records; returns how many there are of each part.
///
/// One thread unpacks the next batch while the others encode the last one.
fn convert(child: &Child, opened: &Opened, reader: Reader) -> Result<Vec<u64>, StageError> {
    let params = &opened.params;
    let names: Vec<&str> = params.parts().map(|part| part.name.as_str()).collect();
    let all: u64 = params.parts().map(|part| part.records).sum();
    let outputs = names.iter().map(|name| {
        Ok(Output {
            writer: Writer::create(child.output(name)?)?,
            shape: None,
            count: 0,
        })
    });
    let mut outputs = outputs.collect::<Result<Vec<_>, StageError>>()?;
    let classes = params.dataset.classes.len() as i64;
    let mut done = 0;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(0);
        let unpacking = scope.spawn(move || {
            reader(opened, &mut |batch| {
                // Nobody takes it any more where converting failed, and that error counts.
                sender.send(batch).map_err(|_| StageError::Interrupted)
            })
        });
        let mut converted = Ok(());
        for batch in receiver {
            converted = (|| {
                child.check()?;
                let part = names.iter().position(|name| *name == batch.part);
                let part = part.ok_or_else(|| {
                    StageError::failed(format!("a reader's part `{}`", batch.part))
                })?;
                outputs[part].take(&batch, classes)?;
                done += batch.labels.len() as u64;
                child.progress(done, all.max(done), "images");
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
    let mut counts = Vec::new();
    for (output, name) in outputs.into_iter().zip(&names) {
        if output.count == 0 {
            let message = format!("the archive has no images of `{name}`");
            return Err(StageError::failed(message).help("check that it is the official one"));
        }
        output.writer.finish()?;
        counts.push(output.count);
    }
    Ok(counts)
}

impl Output {
    fn take(&mut self, batch: &Batch, classes: i64) -> Result<(), StageError> {
        let Batch {
            part,
            shape,
            images,
            labels,
        } = batch;
        if images.len() != labels.len() * shape.bytes() {
            let message = format!(
                "{} bytes of `{part}` for {} labels",
                images.len(),
                labels.len()
            );
            return Err(StageError::failed(message));
        }
        if let Some(n) = labels.iter().position(|l| !(0..classes).contains(l)) {
            let message = format!(
                "image {} of `{part}` has label {}; expected 0 to {}",
                self.count + n as u64,
                labels[n],
                classes - 1
            );
            return Err(StageError::failed(message)
                .help("the archive is damaged, or not that of this dataset"));
        }
        let first = *self.shape.get_or_insert(*shape);
        if first != *shape {
            let message = format!(
                "image {} of `{part}` is {shape:?}, those before it {first:?}",
                self.count
            );
            return Err(StageError::failed(message));
        }
        self.count += labels.len() as u64;
        self.writer
            .write_frames(&records::encode(*shape, images, labels))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
