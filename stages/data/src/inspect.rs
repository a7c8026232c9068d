//! What is in a set of records: counts, sizes, classes, pixel statistics, duplicates, a contact sheet. One pass;
//! memory holds 24 bytes a record and the images of the sheet.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rematch_spec::inspect::{Class, Duplicates, Inspection, Pixels, Sheet, Size};

use crate::classes::Names;
use crate::error::StageError;
use crate::image::{Image, Shape};
use crate::png;
use crate::rng::{Purpose, Stream};
use crate::scan::{self, Watch};

mod font;
mod sheet;

/// Sizes that are listed.
const SIZES: usize = 100;
/// Classes that the report lists; the facts have all.
const LINES: usize = 200;
/// Blocks of the longest bar.
const BAR: u64 = 30;
/// Draws which images a sheet shows.
const SAMPLE: Purpose = Purpose::named("inspect.sheet");

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The facts.
    pub facts: Inspection,
    /// The contact sheet, a PNG.
    pub sheet: Vec<u8>,
}

/// What one image adds to the statistics.
struct Look {
    shape: Shape,
    digest: [u8; 16],
    /// Sums of the values of each channel, and of their squares.
    sums: [(u64, u64); 3],
}

impl Look {
    fn at(image: &Image) -> Self {
        let mut sums = [(0, 0); 3];
        let mut add = |channel: usize, value: u8| {
            let value = u64::from(value);
            sums[channel].0 += value;
            sums[channel].1 += value * value;
        };
        if image.shape.channels == 3 {
            for pixel in image.data.chunks_exact(3) {
                add(0, pixel[0]);
                add(1, pixel[1]);
                add(2, pixel[2]);
            }
        } else {
            for value in &image.data {
                add(0, *value);
            }
        }
        Self {
            shape: image.shape,
            digest: scan::digest(image),
            sums,
        }
    }
}

/// Sums over all images of as many channels.
#[derive(Default)]
struct Sums {
    records: u64,
    pixels: u128,
    channels: [(u128, u128); 3],
}

/// Looks at all records of `paths`, as one set.
///
/// # Errors
/// Damaged files and records, no record at all, and what `watch` says.
pub fn inspect<P: AsRef<Path>>(
    paths: &[P],
    names: &Names,
    options: &Sheet,
    watch: Watch,
) -> Result<Found, StageError> {
    let mut sizes: HashMap<Shape, u64> = HashMap::new();
    let mut classes: BTreeMap<i64, u64> = BTreeMap::new();
    let mut sums: [Sums; 2] = Default::default();
    let mut contents: Vec<([u8; 16], i64)> = Vec::new();
    let mut samples = Samples::new(options);
    scan::each(
        paths,
        watch,
        |image| Ok(Look::at(&image)),
        |record| {
            let Look {
                shape,
                digest,
                sums: of_image,
            } = record.value;
            *sizes.entry(shape).or_default() += 1;
            *classes.entry(record.label).or_default() += 1;
            let sums = &mut sums[usize::from(shape.channels == 3)];
            sums.records += 1;
            sums.pixels += shape.pixels() as u128;
            for (all, one) in sums.channels.iter_mut().zip(of_image) {
                all.0 += u128::from(one.0);
                all.1 += u128::from(one.1);
            }
            contents.push((digest, record.label));
            samples.offer(record.position, record.label, record.file);
            Ok(())
        },
    )?;
    if contents.is_empty() {
        return Err(scan::empty(paths));
    }
    let facts = Inspection {
        records: contents.len() as u64,
        sizes: sizes.len() as u64,
        most_frequent_sizes: most_frequent(sizes),
        classes: classes
            .iter()
            .map(|(label, records)| Class {
                label: *label,
                name: names.get(*label).map(str::to_owned),
                records: *records,
            })
            .collect(),
        pixels: sums
            .iter()
            .zip([1, 3])
            .filter(|(sums, _)| sums.records > 0)
            .map(|(sums, channels)| sums.pixels(channels))
            .collect(),
        duplicates: duplicates(contents),
    };
    let rows = samples.rows(names, &classes)?;
    Ok(Found {
        sheet: sheet::draw(&rows, options),
        facts,
    })
}

fn most_frequent(sizes: HashMap<Shape, u64>) -> Vec<Size> {
    let mut sizes: Vec<Size> = sizes
        .into_iter()
        .map(|(shape, records)| Size {
            height: shape.height as u64,
            width: shape.width as u64,
            channels: shape.channels as u64,
            records,
        })
        .collect();
    sizes.sort_by_key(|s| (u64::MAX - s.records, s.height, s.width, s.channels));
    sizes.truncate(SIZES);
    sizes
}

impl Sums {
    /// From whole numbers, so that the order of the images changes no bit.
    fn pixels(&self, channels: usize) -> Pixels {
        let n = self.pixels as f64;
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for (sum, squares) in &self.channels[..channels] {
            mean.push(*sum as f64 / n / 255.0);
            // n² times the variance.
            let spread = (self.pixels * squares - sum * sum) as f64;
            std.push(spread.sqrt() / n / 255.0);
        }
        Pixels {
            channels: channels as u64,
            records: self.records,
            mean,
            std,
        }
    }
}

fn duplicates(mut contents: Vec<([u8; 16], i64)>) -> Duplicates {
    contents.sort_unstable();
    let mut found = Duplicates::default();
    for same in contents.chunk_by(|a, b| a.0 == b.0) {
        if same.len() > 1 {
            found.images += 1;
            found.records += same.len() as u64 - 1;
            found.conflicting += u64::from(same[0].1 != same[same.len() - 1].1);
        }
    }
    found
}

/// The images that the sheet shows, as files: of each of the lowest labels those with the lowest rank, which is the
/// position or, with a seed, drawn for it.
struct Samples {
    rows: usize,
    columns: usize,
    seed: u64,
    /// By label: rank and file, lowest first.
    kept: BTreeMap<i64, Vec<(u64, Vec<u8>)>>,
}

/// A class on a sheet.
struct Row {
    name: String,
    records: u64,
    images: Vec<Image>,
}

impl Samples {
    fn new(options: &Sheet) -> Self {
        Self {
            rows: usize::from(options.rows),
            columns: usize::from(options.columns),
            seed: options.seed,
            kept: BTreeMap::new(),
        }
    }

    fn offer(&mut self, position: u64, label: i64, file: &[u8]) {
        let full = self.kept.len() >= self.rows;
        let beyond = self.kept.last_key_value().is_some_and(|(k, _)| label > *k);
        if full && beyond {
            return;
        }
        let rank = match self.seed {
            0 => position,
            seed => Stream::new(seed, SAMPLE, 0, position).bits(),
        };
        let kept = self.kept.entry(label).or_default();
        let place = kept.partition_point(|(other, _)| *other < rank);
        if place < self.columns {
            kept.truncate(self.columns - 1);
            kept.insert(place, (rank, file.to_vec()));
        }
        if self.kept.len() > self.rows {
            self.kept.pop_last();
        }
    }

    fn rows(self, names: &Names, classes: &BTreeMap<i64, u64>) -> Result<Vec<Row>, StageError> {
        let rows = self.kept.into_iter().map(|(label, kept)| {
            let images: Result<Vec<Image>, _> =
                kept.iter().map(|(_, file)| png::decode(file)).collect();
            Ok(Row {
                name: names.show(label),
                records: classes.get(&label).copied().unwrap_or_default(),
                images: images.map_err(|e| StageError::failed(e.to_string()))?,
            })
        });
        rows.collect()
    }
}

/// The facts as text.
pub fn report(facts: &Inspection) -> String {
    let mut text = format!("{} records\n", count(facts.records));
    match &facts.most_frequent_sizes[..] {
        [only] => text += &format!("images of {}\n", size(only)),
        sizes => {
            text += &format!("images of {} sizes:", count(facts.sizes));
            for one in sizes.iter().take(5) {
                text += &format!(" {} ({})", size(one), count(one.records));
            }
            text += if facts.sizes > 5 { " …\n" } else { "\n" };
        }
    }
    for pixels in &facts.pixels {
        let line = |values: &[f64]| {
            let words: Vec<String> = values.iter().map(|v| format!("{v:.4}")).collect();
            words.join(" ")
        };
        text += &format!(
            "pixels from 0 to 1: mean {}, standard deviation {}",
            line(&pixels.mean),
            line(&pixels.std)
        );
        if facts.pixels.len() > 1 {
            text += &format!(
                " ({} {} images)",
                count(pixels.records),
                if pixels.channels == 1 {
                    "grey"
                } else {
                    "colour"
                }
            );
        }
        text.push('\n');
    }
    let Duplicates {
        images,
        records,
        conflicting,
    } = facts.duplicates;
    text += &match (images, conflicting) {
        (0, _) => "no image occurs twice\n".to_owned(),
        (_, 0) => format!(
            "{} images occur more than once, in {} further records\n",
            count(images),
            count(records)
        ),
        _ => format!(
            "{} images occur more than once, in {} further records; {} of them with more than one label\n",
            count(images),
            count(records),
            count(conflicting)
        ),
    };
    text += &histogram(&facts.classes);
    text
}

/// A line for each class, with a bar for its records.
fn histogram(classes: &[Class]) -> String {
    let words: Vec<[String; 3]> = classes
        .iter()
        .take(LINES)
        .map(|class| {
            let name = class.name.as_deref().unwrap_or_default();
            let name: String = name.chars().filter(|c| !c.is_control()).take(30).collect();
            [class.label.to_string(), name, count(class.records)]
        })
        .collect();
    let width = |n: usize| {
        words
            .iter()
            .map(|w| w[n].chars().count())
            .max()
            .unwrap_or(0)
    };
    let (labels, names, counts) = (width(0), width(1), width(2));
    let most = classes.iter().map(|c| c.records).max().unwrap_or(1);
    let mut text = format!("{} classes:\n", count(classes.len() as u64));
    for ([label, name, number], class) in words.iter().zip(classes) {
        text += &format!("  {label:>labels$}");
        if names > 0 {
            text += &format!("  {name:names$}");
        }
        text += &format!("  {number:>counts$}  {}\n", bar(class.records, most));
    }
    if classes.len() > LINES {
        text += &format!("  … and {} more\n", count((classes.len() - LINES) as u64));
    }
    text
}

/// A bar in eighths of a block; what is there at all has at least one eighth.
fn bar(value: u64, most: u64) -> String {
    let eighths = (u128::from(value) * u128::from(BAR) * 8 / u128::from(most.max(1))) as usize;
    let eighths = eighths.max(usize::from(value > 0));
    let mut text = "█".repeat(eighths / 8);
    text.extend("▏▎▍▌▋▊▉".chars().nth((eighths % 8).wrapping_sub(1)));
    text
}

fn size(size: &Size) -> String {
    let colour = if size.channels == 1 { "grey" } else { "colour" };
    format!("{}×{} {colour}", size.height, size.width)
}

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
