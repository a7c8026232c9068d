//! `export`: records as folders of images, CIFAR's binary format, numpy arrays, or one TFRecord file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::path::Path;

use rematch_spec::export::{Export, Format};
use rematch_spec::input::Input;
use rematch_spec::job::Report;

use super::record_files::{copy_all, watch};
use crate::child::{Child, report};
use crate::classes::Names;
use crate::error::StageError;
use crate::image::Shape;
use crate::readers::cifar;
use crate::records::Index;
use crate::{classes, fs, json, npy, scan};

/// Longest name of a folder, in bytes; systems take 255.
const LONGEST_NAME: usize = 100;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Export = child.params()?;
    let paths = params.records.paths();
    let names = classes::read(params.classes.as_ref().map(Input::path))?;
    let records = match params.to {
        Format::Folders => folders(child, &paths, &names)?,
        Format::CifarBinary => cifar_binary(child, &paths, &names)?,
        Format::Npy => arrays(child, &paths)?,
        Format::Tfrecord => copy_all(child, &params.records.0, child.output("records")?)? as u64,
    };
    if records == 0 {
        return Err(scan::empty(&paths));
    }
    Ok(report([("records", records as f64)]))
}

/// A folder for each class, in it the records' own files.
fn folders(child: &Child, paths: &[&Path], names: &Names) -> Result<u64, StageError> {
    let labels: BTreeSet<i64> = Index::scan(paths)?.labels.into_iter().collect();
    let names = folder_names(&labels, names);
    let folder = child.output("folder")?;
    fs::create_dir_all(folder)?;
    for name in names.values() {
        fs::create_dir_all(&folder.join(name))?;
    }
    let classes: BTreeMap<String, &String> = names
        .iter()
        .map(|(k, name)| (k.to_string(), name))
        .collect();
    json::write(child.output("classes")?, &classes, 2)?;
    let mut written = 0;
    scan::each(
        paths,
        &watch(child),
        |_| Ok(()),
        |record| {
            // Six digits keep names in the records' order up to a million of them.
            let file = folder
                .join(&names[&record.label])
                .join(format!("{:06}.png", record.position));
            written += 1;
            Ok(fs::write(&file, record.file)?)
        },
    )?;
    Ok(written)
}

/// A name for the folder of each class: different from each other on every file system, and no way out of the
/// folder.
fn folder_names(labels: &BTreeSet<i64>, names: &Names) -> BTreeMap<i64, String> {
    // Labels get leading zeros, so that their folders stand in their order.
    let digits = labels.last().map_or(1, |last| last.to_string().len());
    let mut taken = BTreeSet::new();
    let mut found = BTreeMap::new();
    for label in labels {
        let number = format!("{label:0digits$}");
        let mut name = names.get(*label).map_or_else(|| number.clone(), plain);
        if name.is_empty() || taken.contains(&name.to_lowercase()) {
            name = format!("{name}_{number}");
        }
        while taken.contains(&name.to_lowercase()) {
            name.push('_');
        }
        taken.insert(name.to_lowercase());
        found.insert(*label, name);
    }
    found
}

/// A name without what means something to a file system.
fn plain(name: &str) -> String {
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | ',' | '(' | ')');
    let mut text = String::new();
    for character in name.trim_matches(['.', ' ']).chars() {
        if text.len() + character.len_utf8() > LONGEST_NAME {
            break;
        }
        text.push(if plain(character) { character } else { '_' });
    }
    text.trim_end_matches(['.', ' ']).to_owned()
}

/// A byte of label, then the red, green and blue plane.
fn cifar_binary(child: &Child, paths: &[&Path], names: &Names) -> Result<u64, StageError> {
    let path = child.output("binary")?;
    let mut output = BufWriter::new(fs::create(path)?);
    let (mut written, mut last) = (0, -1);
    scan::each(
        paths,
        &watch(child),
        |image| {
            let pixels = image
                .pixels_of(cifar::SHAPE)
                .map_err(|_| "CIFAR's binary format has 32×32 colour images only")?;
            Ok(planes(&pixels))
        },
        |record| {
            let label = u8::try_from(record.label).map_err(|_| {
                let label = record.label;
                record.error(&format!(
                    "label {label}; CIFAR's binary format has 0 to 255"
                ))
            })?;
            last = last.max(record.label);
            written += 1;
            let mut write = || {
                output.write_all(&[label])?;
                output.write_all(&record.value)
            };
            Ok(write().map_err(fs::at("write", path))?)
        },
    )?;
    output.flush().map_err(fs::at("write", path))?;
    let meta: String = (0..=last).map(|label| names.show(label) + "\n").collect();
    fs::write(child.output("meta")?, meta)?;
    Ok(written)
}

/// All red values, all green ones, all blue ones.
fn planes(pixels: &[u8]) -> Vec<u8> {
    let channel = |c: usize| pixels.iter().skip(c).step_by(3).copied();
    (0..3).flat_map(channel).collect()
}

/// Two arrays, images uint8 NHWC and labels int64.
fn arrays(child: &Child, paths: &[&Path]) -> Result<u64, StageError> {
    let shape = scan::first_shape(paths)?;
    let Shape {
        height,
        width,
        channels,
    } = shape;
    let row = [height, width, channels].map(|side| side as u64);
    let mut images = npy::Writer::create(child.output("images")?, "|u1", &row)?;
    let mut labels = npy::Writer::create(child.output("labels")?, "<i8", &[])?;
    let mut written = 0;
    scan::each(
        paths,
        &watch(child),
        |image| image.pixels_of(shape),
        |record| {
            written += 1;
            images.row(&record.value)?;
            labels.row(&record.label.to_le_bytes())
        },
    )?;
    images.finish()?;
    labels.finish()?;
    Ok(written)
}

#[cfg(test)]
mod tests;
