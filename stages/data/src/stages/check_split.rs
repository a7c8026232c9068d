//! `check_split`: whether a split is what it should be, by the content of its images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rematch_spec::check_split::CheckSplit;
use rematch_spec::input::{Input, Inputs};
use rematch_spec::job::Report;
use serde::Serialize;
use serde_json::Value;

use super::record_files::watch;
use crate::child::{Child, report};
use crate::classes::Names;
use crate::error::StageError;
use crate::inspect::count;
use crate::{classes, fs, json, scan};

/// Longest JSON of a split that is read: 600,000 positions (SVHN with its extra part) take 12 MB.
const LONGEST: u64 = 1 << 28;
/// Classes that the report lists.
const LINES: usize = 200;
/// Share of the test records, in images that are also in a part of the split, from which the split is called wrong.
/// Datasets have a few such images themselves (CIFAR-100 most), which published splits keep.
const LEAK: f64 = 0.01;

/// An image and its label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    image: [u8; 16],
    label: i64,
}

/// Records of one role.
struct Part {
    name: &'static str,
    /// In file order.
    records: Vec<Content>,
    /// In order of content.
    sorted: Vec<Content>,
}

impl Part {
    fn read(child: &Child, name: &'static str, inputs: &Inputs) -> Result<Self, StageError> {
        child.note(format!("reading the {name} records"));
        let mut records = Vec::new();
        scan::each(
            &inputs.paths(),
            &watch(child),
            |image| Ok(scan::digest(&image)),
            |record| {
                let (image, label) = (record.value, record.label);
                records.push(Content { image, label });
                Ok(())
            },
        )?;
        let mut sorted = records.clone();
        sorted.sort_unstable();
        Ok(Self {
            name,
            records,
            sorted,
        })
    }

    fn len(&self) -> u64 {
        self.records.len() as u64
    }

    fn has_image(&self, image: [u8; 16]) -> bool {
        let place = self.sorted.partition_point(|c| c.image < image);
        self.sorted.get(place).is_some_and(|c| c.image == image)
    }

    fn has(&self, content: &Content) -> bool {
        self.sorted.binary_search(content).is_ok()
    }

    /// How many of our records show an image that is in `other`.
    fn shared(&self, other: &Self) -> u64 {
        let shared = self.records.iter().filter(|c| other.has_image(c.image));
        shared.count() as u64
    }

    fn classes(&self) -> BTreeMap<i64, u64> {
        let mut classes = BTreeMap::new();
        for content in &self.records {
            *classes.entry(content.label).or_default() += 1;
        }
        classes
    }

    /// Records beyond those that `train` has of the same image and label.
    fn repeated(&self, train: &Self) -> u64 {
        let times = |part: &Self, content: &Content| {
            let from = part.sorted.partition_point(|c| c < content);
            let to = part.sorted.partition_point(|c| c <= content);
            (to - from) as u64
        };
        self.sorted
            .chunk_by(|a, b| a == b)
            .map(|same| (same.len() as u64).saturating_sub(times(train, &same[0]).max(1)))
            .sum()
    }
}

/// What was found.
#[derive(Default, Serialize)]
struct Facts {
    /// Records of each part.
    records: BTreeMap<&'static str, u64>,
    /// By label: records of each part.
    classes: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Records that show an image of another part: `labeled in train`.
    shared: BTreeMap<String, u64>,
    /// Parts that their JSON describes.
    indexes_checked: Vec<&'static str>,
    /// What is worth knowing.
    notes: Vec<String>,
    /// What is wrong.
    problems: Vec<String>,
}

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: CheckSplit = child.params()?;
    let names = classes::read(params.classes.as_ref().map(Input::path))?;
    let optional = |name, inputs: &Option<Inputs>| match inputs {
        Some(inputs) => Part::read(child, name, inputs).map(Some),
        None => Ok(None),
    };
    let train = Part::read(child, "train", &params.train)?;
    let labeled = Part::read(child, "labeled", &params.labeled)?;
    let unlabeled = optional("unlabeled", &params.unlabeled)?;
    let test = optional("test", &params.test)?;

    let mut facts = Facts::default();
    let parts = [
        Some(&train),
        Some(&labeled),
        unlabeled.as_ref(),
        test.as_ref(),
    ];
    facts.count(parts);
    facts.check_labeled(&train, &labeled);
    if let Some(unlabeled) = &unlabeled {
        facts.check_unlabeled(&train, &labeled, unlabeled);
    }
    if let Some(test) = &test {
        for part in [Some(&labeled), unlabeled.as_ref()].into_iter().flatten() {
            facts.check_leak(part, test);
        }
    }
    facts.check_classes(parts, &names);
    for (part, path) in [
        (Some(&labeled), &params.labeled_indexes),
        (unlabeled.as_ref(), &params.unlabeled_indexes),
    ] {
        if let (Some(part), Some(path)) = (part, path) {
            facts.check_indexes(&train, part, path.path())?;
        }
    }
    fs::write(child.output("report")?, facts.report(&names))?;
    json::write(child.output("facts")?, &facts, 2)?;
    if params.strict && !facts.problems.is_empty() {
        let message = format!("the split is wrong: {}", facts.problems.join("; "));
        return Err(StageError::failed(message).help(
            "correct the stage that made it, or leave out `strict` to see the whole report",
        ));
    }
    for problem in &facts.problems {
        child.warning(problem);
    }
    Ok(report([("problems", facts.problems.len() as f64)]))
}

impl Facts {
    fn count(&mut self, parts: [Option<&Part>; 4]) {
        for part in parts.into_iter().flatten() {
            self.records.insert(part.name, part.len());
            for (label, records) in part.classes() {
                let class = self.classes.entry(label.to_string()).or_default();
                class.insert(part.name, records);
            }
        }
    }

    /// Notes how many of `part`'s records show an image of `other`.
    fn share(&mut self, part: &Part, other: &Part) -> u64 {
        let shared = part.shared(other);
        let name = format!("{} in {}", part.name, other.name);
        self.shared.insert(name, shared);
        shared
    }

    fn check_labeled(&mut self, train: &Part, labeled: &Part) {
        if labeled.records.is_empty() {
            self.problems.push("there are no labeled records".into());
        }
        let strange = labeled.len() - self.share(labeled, train);
        if strange > 0 {
            let strange = count(strange);
            self.problems.push(format!(
                "{strange} labeled records are not in the training set"
            ));
        }
        let relabeled = labeled.records.iter();
        let relabeled = relabeled
            .filter(|c| train.has_image(c.image) && !train.has(c))
            .count();
        if relabeled > 0 {
            self.problems.push(format!(
                "{} labeled records have another label than in the training set",
                count(relabeled as u64)
            ));
        }
        let repeated = labeled.repeated(train);
        if repeated > 0 {
            let repeated = count(repeated);
            self.problems.push(format!(
                "{repeated} labeled records are there more than once"
            ));
        }
    }

    fn check_unlabeled(&mut self, train: &Part, labeled: &Part, unlabeled: &Part) {
        let strange = unlabeled.len() - self.share(unlabeled, train);
        if strange > 0 {
            self.notes.push(format!(
                "{} unlabeled records are not in the training set: augmented, or from elsewhere",
                count(strange)
            ));
        }
        self.share(labeled, unlabeled);
    }

    fn check_leak(&mut self, part: &Part, test: &Part) {
        let shared = self.share(part, test);
        let line = format!(
            "{} {} records are also in the test set",
            count(shared),
            part.name
        );
        // The smaller one counts: all of 40 labeled records may be test images.
        let smaller = part.len().min(test.len()) as f64;
        if shared as f64 > smaller * LEAK {
            self.problems.push(line);
        } else if shared > 0 {
            self.notes.push(line);
        }
    }

    /// Classes that some part lacks.
    fn check_classes(&mut self, parts: [Option<&Part>; 4], names: &Names) {
        let [train, labeled, unlabeled, test] = parts.map(|p| p.map(Part::classes));
        let mut lacks = |one: &Option<BTreeMap<i64, u64>>,
                         other: &Option<BTreeMap<i64, u64>>,
                         what: &str| {
            let (Some(one), Some(other)) = (one, other) else {
                return;
            };
            let lacking: Vec<i64> = one
                .keys()
                .filter(|k| !other.contains_key(k))
                .copied()
                .collect();
            if !lacking.is_empty() {
                let some: Vec<String> = lacking.iter().take(5).map(|k| names.show(*k)).collect();
                let more = if lacking.len() > 5 { ", …" } else { "" };
                let number = count(lacking.len() as u64);
                self.notes.push(format!(
                    "{number} classes {what}: {}{more}",
                    some.join(", ")
                ));
            }
        };
        lacks(&train, &labeled, "have no labeled record");
        lacks(
            &labeled,
            &unlabeled,
            "are labeled and have no unlabeled record",
        );
        lacks(&labeled, &test, "are labeled and not in the test set");
    }

    /// Compares the JSON beside a part with its records.
    fn check_indexes(&mut self, train: &Part, part: &Part, path: &Path) -> Result<(), StageError> {
        let wrong = |what: &str| {
            StageError::failed(format!("{}: {what}", path.display()))
                .help("expected what create_split or create_unlabeled writes beside its records")
        };
        if fs::len(path)? > LONGEST {
            return Err(wrong("it is too long for the JSON of a split"));
        }
        let document: Value =
            serde_json::from_slice(&fs::read(path)?).map_err(|e| wrong(&e.to_string()))?;
        let list = ["label", "indexes", "unlabel"]
            .iter()
            .find_map(|name| document[name].as_array())
            .ok_or_else(|| wrong("it has none of the lists `label`, `indexes` and `unlabel`"))?;
        let positions: Option<Vec<u64>> = list.iter().map(Value::as_u64).collect();
        let positions =
            positions.ok_or_else(|| wrong("its list has something else than positions"))?;
        self.indexes_checked.push(part.name);
        let name = part.name;
        if positions.len() != part.records.len() {
            self.problems.push(format!(
                "the JSON lists {} {name} records, the file has {}",
                count(positions.len() as u64),
                count(part.len())
            ));
        }
        let differs = positions
            .iter()
            .zip(&part.records)
            .position(|(position, record)| {
                let source = usize::try_from(*position)
                    .ok()
                    .and_then(|p| train.records.get(p));
                source.is_none_or(|source| source.image != record.image)
            });
        if let Some(n) = differs {
            self.problems.push(format!(
                "{name} record {n} should be training record {}, by the JSON, but shows another image",
                positions[n]
            ));
        }
        if let Some(shares) = document["distribution"].as_array() {
            self.check_distribution(train, name, shares);
        }
        Ok(())
    }

    fn check_distribution(&mut self, train: &Part, name: &str, shares: &[Value]) {
        let classes = train.classes();
        let most = classes.values().max().copied().unwrap_or(1) as f64;
        let share = |k: usize| {
            let records = classes.get(&(k as i64)).copied();
            records.unwrap_or(0) as f64 / most
        };
        let near =
            |value: &Value, other: f64| value.as_f64().is_some_and(|v| (v - other).abs() < 1e-9);
        let uniform = shares.iter().all(|value| near(value, 1.0));
        let natural = (0..).zip(shares).all(|(k, value)| near(value, share(k)));
        if shares.len() != classes.len() || !(uniform || natural) {
            let line = format!(
                "the distribution in the JSON of the {name} records is not that of the training set's classes"
            );
            self.notes.push(line);
        }
    }

    fn report(&self, names: &Names) -> String {
        let parts: Vec<&str> = ["train", "labeled", "unlabeled", "test"]
            .into_iter()
            .filter(|part| self.records.contains_key(part))
            .collect();
        let mut labels: Vec<i64> = self.classes.keys().filter_map(|k| k.parse().ok()).collect();
        labels.sort_unstable();
        let mut table = vec![
            [&["class"][..], &parts]
                .concat()
                .iter()
                .map(ToString::to_string)
                .collect(),
        ];
        let mut row = |name: String, of: &BTreeMap<&'static str, u64>| {
            let numbers = parts.iter().map(|p| count(of.get(p).copied().unwrap_or(0)));
            table.push([name].into_iter().chain(numbers).collect::<Vec<String>>());
        };
        for label in labels.iter().take(LINES) {
            let name = match names.get(*label) {
                Some(_) => format!("{label} {}", names.show(*label)),
                None => label.to_string(),
            };
            row(name, &self.classes[&label.to_string()]);
        }
        row("all".into(), &self.records);
        let mut text = columns(&table);
        if labels.len() > LINES {
            text += &format!(
                "and {} more classes\n",
                count((labels.len() - LINES) as u64)
            );
        }
        text.push('\n');
        for part in ["labeled", "unlabeled"] {
            let counts: BTreeSet<u64> = self
                .classes
                .values()
                .filter_map(|class| class.get(part).copied())
                .collect();
            if let (Some(least), Some(most)) = (counts.first(), counts.last()) {
                let ratio = *most as f64 / *least as f64;
                text += &format!(
                    "{part}: {} to {} records a class, {ratio:.4} times as many\n",
                    count(*least),
                    count(*most)
                );
            }
        }
        for (name, shared) in &self.shared {
            let of = name.split(' ').next().unwrap_or_default();
            text += &format!(
                "{name}: {} of {}\n",
                count(*shared),
                count(self.records[of])
            );
        }
        for part in &self.indexes_checked {
            text += &format!("{part}: compared with its JSON\n");
        }
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        for problem in &self.problems {
            text += &format!("wrong: {problem}\n");
        }
        if self.problems.is_empty() {
            text += "nothing is wrong\n";
        }
        text
    }
}

/// Lines of words in columns: the first to the left, numbers to the right.
fn columns(table: &[Vec<String>]) -> String {
    let width = |n: usize| {
        table
            .iter()
            .map(|row| row[n].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for row in table {
        for (n, (word, width)) in row.iter().zip(&widths).enumerate() {
            text += &match n {
                0 => format!("{word:width$}"),
                _ => format!("  {word:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
