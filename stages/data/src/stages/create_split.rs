//! `create_split`: the labeled records of a published split, and whatever else its system divides at the
//! same time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use rematch_spec::create_split::CreateSplit;
use rematch_spec::input::{Input, Inputs};
use rematch_spec::job::Report;
use rematch_spec::protocol::{
    Amount, CadrSplit, DomainnetSplit, FeatmatchSplit, FirstKPerClass, Protocol, RealmixSplit,
};
use serde::Serialize;

use super::create_unlabeled::unusable;
use super::record_files::{copy, scan};
use crate::child::{Child, report};
use crate::error::StageError;
use crate::records::Index;
use crate::split::cadr::{self, Tail};
use crate::split::featmatch::{self, Parts};
use crate::split::{self, Distribution, domainnet, first_k, listed, realmix};
use crate::{fs, json};

/// Longest file of positions that is read; the longest real one names 1.3 million.
const LONGEST_LIST: u64 = 1 << 26;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: CreateSplit = child.params()?;
    match &params.protocol {
        Protocol::Fixmatch(_) => fixmatch(child, &params),
        Protocol::Cadr(cadr) => long_tailed(child, &params, cadr),
        Protocol::Realmix(realmix) => disjoint(child, &params, realmix),
        Protocol::Featmatch(featmatch) => proportional(child, &params, featmatch),
        Protocol::Domainnet(domainnet) => several_domains(child, &params, domainnet),
        Protocol::FirstKPerClass(first_k) => first_of_each(child, &params, first_k),
        Protocol::List(list) => from_list(child, &params, list),
    }
}

fn fixmatch(child: &Child, params: &CreateSplit) -> Result<Report, StageError> {
    let (index, distribution) = classes(child, params)?;
    let labeled = match fold(params, count(params)?, index.labels.len())? {
        Some(fold) => fold,
        None => split::labeled(&distribution, seed(params)?, count(params)?)
            .map_err(unusable(&params.train))?,
    };
    write_labeled(child, &index, &distribution.shares, &labeled)
}

fn long_tailed(
    child: &Child,
    params: &CreateSplit,
    cadr: &CadrSplit,
) -> Result<Report, StageError> {
    let (index, distribution) = classes(child, params)?;
    let tail = if cadr.random {
        Tail::Random
    } else {
        Tail::Long(cadr.lambda)
    };
    let (shares, mut labeled) = cadr::labeled(&distribution, tail, seed(params)?, count(params)?)
        .map_err(unusable(&params.train))?;
    if let Some(fold) = fold(params, labeled.len() as u64, index.labels.len())? {
        labeled = fold;
    }
    write_labeled(child, &index, &shares, &labeled)
}

fn disjoint(
    child: &Child,
    params: &CreateSplit,
    realmix: &RealmixSplit,
) -> Result<Report, StageError> {
    let index = scan(child, &params.train.0)?;
    let unusable = unusable(&params.train);
    let candidates = realmix::candidates(&index.labels, realmix.label_size, params.uniform)
        .map_err(&unusable)?;
    let size = count(params)?;
    let labeled = match fold(params, size, index.labels.len())? {
        Some(fold) => fold,
        None => realmix::labeled(&candidates, seed(params)?, size, realmix.class_balance)
            .map_err(&unusable)?,
    };
    let unlabeled = realmix::unlabeled(&index.labels, &candidates, &labeled);
    copy(child, &index, &labeled, child.output("labeled")?)?;
    copy(child, &index, &unlabeled, child.output("unlabeled")?)?;
    let document = realmix::document(&labeled, &unlabeled);
    json::write(child.output("indexes")?, &document, 2)?;
    Ok(report([
        ("records", labeled.len() as f64),
        ("unlabeled", unlabeled.len() as f64),
        ("classes", candidates.counts.len() as f64),
    ]))
}

fn proportional(
    child: &Child,
    params: &CreateSplit,
    featmatch: &FeatmatchSplit,
) -> Result<Report, StageError> {
    let index = scan(child, &params.train.0)?;
    let sizes = featmatch::Sizes {
        keep: featmatch.keep,
        valid: featmatch.valid,
        labeled: size(params)?,
        unlabeled: featmatch.unlabeled,
    };
    let seed = seed(params)?;
    let parts = featmatch::divide(&index.labels, seed, &sizes);
    let warn = |what: &str, found: usize, amount: Amount| {
        if let Amount::Count(asked) = amount
            && asked > found as u64
        {
            child.warning(format!(
                "{asked} {what} records are asked for, and there are {found}"
            ));
        }
    };
    warn("labeled", parts.labeled.len(), sizes.labeled);
    warn("unlabeled", parts.unlabeled.len(), sizes.unlabeled);
    if let Some(valid) = sizes.valid {
        warn("validation", parts.validation.len(), valid);
    }
    let rest = Rest {
        held_out: sizes.valid.is_some(),
        test: featmatch.test.as_ref(),
        sources: None,
    };
    write_shuffled(child, &index, parts, seed, rest)
}

fn several_domains(
    child: &Child,
    params: &CreateSplit,
    domainnet: &DomainnetSplit,
) -> Result<Report, StageError> {
    let sources = domainnet.sources.values().flat_map(|inputs| &inputs.0);
    let files: Vec<Input> = params.train.0.iter().chain(sources).cloned().collect();
    let index = scan(child, &files)?;
    let mut ends = index.ends.iter().copied();
    // Every list of inputs has at least one file.
    let mut end_after = |inputs: &Inputs| ends.nth(inputs.0.len() - 1).unwrap_or(0);
    let target = end_after(&params.train);
    let mut start = target;
    let (mut sources, mut starts) = (Vec::new(), BTreeMap::new());
    for (name, inputs) in &domainnet.sources {
        let end = end_after(inputs);
        sources.push(domainnet::Source {
            records: start..end,
            weight: domainnet.weights.get(name).copied().unwrap_or(1.0),
        });
        starts.insert(name.as_str(), start);
        start = end;
    }
    let sizes = domainnet::Sizes {
        valid: domainnet.valid,
        labeled: size(params)?,
        replaced: domainnet.replaced,
        data: domainnet.data,
    };
    let seed = seed(params)?;
    let parts = domainnet::divide(&index.labels, 0..target, &sources, seed, &sizes);
    let rest = Rest {
        held_out: sizes.valid.is_some(),
        test: domainnet.test.as_ref(),
        sources: Some(starts),
    };
    write_shuffled(child, &index, parts, seed, rest)
}

fn first_of_each(
    child: &Child,
    params: &CreateSplit,
    first_k: &FirstKPerClass,
) -> Result<Report, StageError> {
    let (index, distribution) = classes(child, params)?;
    let size = count(params)?;
    let seed = params.seed.unwrap_or(0);
    let parts = first_k::divide(&distribution, size, first_k.valid, seed)
        .map_err(unusable(&params.train))?;
    if parts.labeled.len() as u64 != size {
        child.warning(format!(
            "{size} labels for {} classes are {} in all, the same for each",
            distribution.counts.len(),
            parts.labeled.len()
        ));
    }
    copy(child, &index, &parts.labeled, child.output("labeled")?)?;
    copy(child, &index, &parts.unlabeled, child.output("unlabeled")?)?;
    copy(
        child,
        &index,
        &parts.validation,
        child.output("validation")?,
    )?;
    let document = Document {
        labeled: &parts.labeled,
        unlabeled: &parts.unlabeled,
        validation: Some(&parts.validation),
        ..Document::default()
    };
    json::write(child.output("indexes")?, &document, 2)?;
    Ok(document.report())
}

fn from_list(child: &Child, params: &CreateSplit, list: &Input) -> Result<Report, StageError> {
    let (index, distribution) = classes(child, params)?;
    let path = list.path();
    let labeled = listed::list(&read_list(path)?, index.labels.len())
        .map_err(|error| unlisted(path, &error))?;
    write_labeled(child, &index, &distribution.shares, &labeled)
}

/// Records and their classes.
fn classes(child: &Child, params: &CreateSplit) -> Result<(Index, Distribution), StageError> {
    let index = scan(child, &params.train.0)?;
    let distribution = Distribution::of(&index.labels, params.uniform);
    Ok((index, distribution.map_err(unusable(&params.train))?))
}

/// STL-10's own label set, where there is one for this many records.
fn fold(
    params: &CreateSplit,
    labeled: u64,
    records: usize,
) -> Result<Option<Vec<usize>>, StageError> {
    let Some(folds) = &params.folds else {
        return Ok(None);
    };
    if labeled != listed::FOLD as u64 {
        return Ok(None);
    }
    let path = folds.path();
    let fold = listed::fold(&read_list(path)?, seed(params)?, records);
    Ok(Some(fold.map_err(|error| unlisted(path, &error))?))
}

fn read_list(path: &Path) -> Result<String, StageError> {
    let mut text = String::new();
    fs::open(path)?
        .take(LONGEST_LIST + 1)
        .read_to_string(&mut text)
        .map_err(fs::at("read", path))?;
    if text.len() as u64 > LONGEST_LIST {
        let message = format!("{} is longer than any list of positions", path.display());
        return Err(StageError::failed(message).help("give a text file with record positions"));
    }
    Ok(text)
}

fn unlisted(path: &Path, error: &listed::Error) -> StageError {
    let help = match error {
        listed::Error::Lines { .. } => "take a smaller seed",
        listed::Error::Word { .. } | listed::Error::Twice { .. } | listed::Error::Empty => {
            "positions count from 0 over the files of `train`; check both"
        }
        listed::Error::Fold { .. } => "give STL-10's own fold_indices.txt",
    };
    StageError::failed(format!("{}: {error}", path.display())).help(help)
}

fn seed(params: &CreateSplit) -> Result<u32, StageError> {
    params
        .seed
        .ok_or_else(|| StageError::usage("missing field `seed`"))
}

fn size(params: &CreateSplit) -> Result<Amount, StageError> {
    params
        .size
        .ok_or_else(|| StageError::usage("missing field `size`"))
}

fn count(params: &CreateSplit) -> Result<u64, StageError> {
    match size(params)? {
        Amount::Count(count) => Ok(count),
        Amount::Fraction(_) => Err(StageError::usage("size: expected a count such as 40")),
    }
}

fn write_labeled(
    child: &Child,
    index: &Index,
    shares: &[f64],
    labeled: &[usize],
) -> Result<Report, StageError> {
    copy(child, index, labeled, child.output("labeled")?)?;
    let document = split::document(shares, "label", labeled);
    json::write(child.output("indexes")?, &document, 2)?;
    Ok(report([
        ("records", labeled.len() as f64),
        ("classes", shares.len() as f64),
    ]))
}

/// Positions of the records of each file that a split writes, in the order of that file. FeatMatch and the
/// four-method comparison leave no such document.
#[derive(Default, Serialize)]
struct Document<'a> {
    labeled: &'a [usize],
    /// Where the records of each other domain begin; the target's are at 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<BTreeMap<&'a str, usize>>,
    /// Positions in the test files.
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<&'a [usize]>,
    unlabeled: &'a [usize],
    /// Positions in the test files where nothing was held out of the training files.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<&'a [usize]>,
}

impl Document<'_> {
    fn report(&self) -> Report {
        let mut report = report([
            ("records", self.labeled.len() as f64),
            ("unlabeled", self.unlabeled.len() as f64),
        ]);
        for (name, part) in [("validation", self.validation), ("test", self.test)] {
            if let Some(part) = part {
                report.metrics.insert(name.into(), part.len() as f64);
            }
        }
        report
    }
}

/// What a shuffled split has beside its labeled and unlabeled records.
struct Rest<'a> {
    /// Whether training records were held out for validation. Otherwise the test set validates.
    held_out: bool,
    test: Option<&'a Inputs>,
    sources: Option<BTreeMap<&'a str, usize>>,
}

/// Writes parts in the order in which FeatMatch's trainer gets them.
fn write_shuffled(
    child: &Child,
    index: &Index,
    mut parts: Parts,
    seed: u32,
    rest: Rest<'_>,
) -> Result<Report, StageError> {
    if parts.labeled.is_empty() {
        let message = "no record becomes labeled";
        return Err(StageError::failed(message).help("ask for a larger `size`"));
    }
    let label = |position: &usize| index.labels[*position];
    let some: BTreeSet<i64> = parts.labeled.iter().map(label).collect();
    let others: BTreeSet<i64> = parts.unlabeled.iter().map(label).collect();
    let missing = others.difference(&some).count();
    if missing > 0 {
        let all = some.union(&others).count();
        child.warning(format!("{missing} of {all} classes have no labeled record"));
    }
    parts.shuffle(seed);
    copy(child, index, &parts.labeled, child.output("labeled")?)?;
    copy(child, index, &parts.unlabeled, child.output("unlabeled")?)?;
    if rest.held_out {
        copy(child, index, &parts.validation, child.output("validation")?)?;
    }
    let mut validation = rest.held_out.then_some(parts.validation);
    let mut test = None;
    if let Some(files) = rest.test {
        let index = scan(child, &files.0)?;
        let records = index.labels.len();
        let order = featmatch::test_order(records, seed);
        copy(child, &index, &order, child.output("test")?)?;
        test = Some(order);
        if validation.is_none() {
            let order = featmatch::omniscient_order(records, seed);
            copy(child, &index, &order, child.output("validation")?)?;
            validation = Some(order);
        }
    }
    let document = Document {
        labeled: &parts.labeled,
        sources: rest.sources,
        test: test.as_deref(),
        unlabeled: &parts.unlabeled,
        validation: validation.as_deref(),
    };
    json::write(child.output("indexes")?, &document, 2)?;
    Ok(document.report())
}

#[cfg(test)]
mod tests;
