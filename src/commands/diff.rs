//! `rematch diff`: which parameters and metrics differ between two runs, or two jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use rematch_cache::entry::Entry;
use rematch_cache::history::{JobState, RunRecord};
use rematch_cache::key::{self, Key, KeyId};
use rematch_cache::store::Store;
use serde_json::Value;

use crate::cli::{Global, Pipelines};
use crate::commands::{Latest, Project, print_json, print_line, runs, say, store_path};
use crate::error::{Error, Result};
use crate::facts::{self, Change, Diff, JobDiff, MetricDiff};
use crate::freshness::{Verdict, change_in_words};
use crate::pattern;
use crate::style::Style;

/// So many names are shown of jobs that only one side has.
const NAMES: usize = 4;
/// So many inputs that changed are named.
const INPUTS: usize = 2;

pub fn exec(
    global: &Global,
    words: [&str; 2],
    pipeline: Option<PathBuf>,
    changes: &Pipelines,
) -> Result<ExitCode> {
    let store = Store::open_existing(&store_path(global))?;
    let runs = match &store {
        Some(store) => store.runs()?,
        None => Vec::new(),
    };
    let [a, b] = words;
    let diff = match (operand(&runs, a)?, operand(&runs, b)?) {
        (Operand::Job(a), Operand::Job(b)) => {
            let project = Project::open_whole(global, pipeline, changes)?;
            return two_jobs(global, &project, a, b);
        }
        (a, b) => {
            let run = match (&a, &b) {
                (Operand::Run(run), _) | (_, Operand::Run(run)) => *run,
                _ => {
                    let text = format!("`{}` and `{}` do not compare", words[0], words[1]);
                    return Err(Error::usage(text).help(
                        "name two runs, a run and `now`, or two jobs; `rematch history` lists the runs",
                    ));
                }
            };
            // The pipeline as it stands is that of the run, changed in the same way.
            let mut changes = changes.clone();
            if pipeline.is_none() && changes.settings.is_empty() {
                changes.settings.clone_from(&run.start.set);
            }
            let pipeline = pipeline.unwrap_or_else(|| PathBuf::from(&run.start.pipeline));
            let side = |operand| match (operand, &store) {
                (Operand::Run(run), Some(store)) => Side::of_run(store, run),
                (Operand::Now, _) => Side::now(&Project::open_whole(
                    global,
                    Some(pipeline.clone()),
                    &changes,
                )?),
                (Operand::Job(name), _) => {
                    let error = Error::usage(format!("`{name}` is no run"));
                    Err(error
                        .help("a job is compared with a job; `rematch history` lists the runs"))
                }
                (Operand::Run(run), None) => Err(runs::no_list(run)),
            };
            let (a, b) = (side(a)?, side(b)?);
            compare(store.as_ref(), a, b)
        }
    };
    if global.json {
        print_json(&diff);
    } else {
        print_runs(&diff);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a word on the command line means.
enum Operand<'a> {
    Run(&'a RunRecord),
    Now,
    Job(&'a str),
}

fn operand<'a>(runs: &'a [RunRecord], word: &'a str) -> Result<Operand<'a>> {
    if word == "now" {
        return Ok(Operand::Now);
    }
    let run = runs::find(runs, word)?;
    Ok(run.map_or(Operand::Job(word), Operand::Run))
}

/// The jobs of a run, or of the pipeline as it stands.
struct Side {
    facts: facts::Side,
    jobs: BTreeMap<String, Job>,
}

struct Job {
    id: Option<KeyId>,
    found: Found,
}

/// What is known of a job, or where to look.
enum Found {
    InStore(JobState),
    /// It must run first.
    Key(Box<Key>),
    Waits,
}

impl Side {
    fn of_run(store: &Store, run: &RunRecord) -> Result<Self> {
        let jobs = runs::jobs(store, run)?.into_iter().map(|job| {
            let found = Found::InStore(job.state);
            (job.job, Job { id: job.key, found })
        });
        Ok(Self {
            facts: facts::Side {
                run: Some(run.id.to_string()),
                job: None,
                pipeline: run.start.name.clone(),
            },
            jobs: jobs.collect(),
        })
    }

    fn now(project: &Project) -> Result<Self> {
        let plan = &project.plan;
        let all = plan.jobs().collect();
        let verdicts = project.freshness(&all)?.look_at_all(&all)?;
        let jobs = verdicts.into_iter().map(|(job, verdict)| {
            let (id, found) = match verdict {
                Verdict::Fresh { id, .. } => (Some(id), Found::InStore(JobState::Fresh)),
                Verdict::Run(key, _) => (Some(key.id()), Found::Key(key)),
                Verdict::Waits => (None, Found::Waits),
            };
            (plan.name(job), Job { id, found })
        });
        Ok(Self {
            facts: facts::Side {
                run: None,
                job: None,
                pipeline: project.plan.pipeline().name.clone(),
            },
            jobs: jobs.collect(),
        })
    }
}

fn compare(store: Option<&Store>, a: Side, b: Side) -> Diff {
    let mut diff = Diff {
        a: a.facts,
        b: b.facts,
        same: 0,
        jobs: Vec::new(),
        only_a: Vec::new(),
        only_b: Vec::new(),
    };
    let mut others = b.jobs;
    for (name, old) in a.jobs {
        match others.remove(&name) {
            None => diff.only_a.push(name),
            Some(new) if old.id.is_some() && old.id == new.id => diff.same += 1,
            Some(new) => diff.jobs.push(compare_jobs(store, name, &old, &new)),
        }
    }
    diff.only_b = others.into_keys().collect();
    diff
}

fn compare_jobs(store: Option<&Store>, name: String, old: &Job, new: &Job) -> JobDiff {
    let (old, old_lacks) = known(store, old);
    let (new, new_lacks) = known(store, new);
    let unknown = match (old_lacks, new_lacks) {
        (Some(old), Some(new)) if old == new => Some(format!("{old} in both")),
        (Some(old), Some(new)) => Some(format!("{old} in the first, {new} in the second")),
        (Some(old), None) => Some(format!("{old} in the first")),
        (None, Some(new)) => Some(format!("{new} in the second")),
        (None, None) => None,
    };
    let mut diff = JobDiff {
        job: name,
        changes: Vec::new(),
        metrics: Vec::new(),
        provenance: Vec::new(),
        unknown,
    };
    if let (Some((old, _)), Some((new, _))) = (&old, &new) {
        diff.changes = key_changes(old, new);
    }
    if let (Some((_, Some(old))), Some((_, Some(new)))) = (&old, &new) {
        diff.metrics = metrics(old, new);
        diff.provenance = provenance(old, new);
    }
    diff
}

type KeyAndEntry = (Key, Option<Entry>);

/// The key and the result of a job, as far as they are there, and what is not.
fn known(store: Option<&Store>, job: &Job) -> (Option<KeyAndEntry>, Option<&'static str>) {
    let state = match &job.found {
        Found::Key(key) => return (Some((Key::clone(key), None)), Some("it must run")),
        Found::Waits => return (None, Some("it waits for jobs that must run")),
        Found::InStore(state) => state,
    };
    // Whether its objects are still there does not matter here.
    let entry = job.id.zip(store).and_then(|(id, store)| {
        let bytes = std::fs::read(store.entry_path(&id)).ok()?;
        Entry::parse(&bytes, &id).ok()
    });
    match (entry, state) {
        (Some(entry), _) => (Some((entry.key.clone(), Some(entry))), None),
        (None, JobState::Ran | JobState::Fresh) => {
            (None, Some("its result is gone from the store"))
        }
        (None, JobState::Failed) => (None, Some("it failed")),
        (None, JobState::Stopped) => (None, Some("it was stopped")),
        (None, JobState::Skipped) => (None, Some("it was not started")),
    }
}

fn key_changes(old: &Key, new: &Key) -> Vec<Change> {
    let says_nothing = |value: &Option<Value>| matches!(value, None | Some(Value::Null));
    key::changes(old, new)
        .into_iter()
        // An input that comes or goes leaves a hole in the parameters as well.
        .filter(|change| !(says_nothing(&change.old) && says_nothing(&change.new)))
        .map(Change::from)
        .collect()
}

fn metrics(old: &Entry, new: &Entry) -> Vec<MetricDiff> {
    let names: BTreeSet<&String> = old.metrics.keys().chain(new.metrics.keys()).collect();
    let both = names.into_iter().map(|name| {
        let (old, new) = (old.metrics.get(name), new.metrics.get(name));
        MetricDiff {
            name: name.clone(),
            old: old.copied(),
            new: new.copied(),
            difference: old.zip(new).map(|(old, new)| new - old),
        }
    });
    both.filter(|metric| metric.old != metric.new).collect()
}

/// How they were made, without what differs between any two jobs.
fn provenance(old: &Entry, new: &Entry) -> Vec<Change> {
    let facts = |entry: &Entry| {
        let made = &entry.provenance;
        let mut facts = made.facts.clone();
        facts.insert("rematch".into(), made.rematch.clone().into());
        facts.insert("host".into(), made.host.clone().into());
        facts
    };
    let (old, new) = (facts(old), facts(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let both = names.into_iter().map(|name| Change {
        field: name.clone(),
        old: old.get(name).cloned(),
        new: new.get(name).cloned(),
    });
    both.filter(|change| change.old != change.new).collect()
}

fn two_jobs(global: &Global, project: &Project, a: &str, b: &str) -> Result<ExitCode> {
    let side = |text: &str| -> Result<(facts::Side, Entry, Option<String>)> {
        let index = pattern::one(&project.plan, text)?;
        let name = project.plan.name(index);
        let (entry, why) = match project.latest(index)? {
            Latest::Fresh(entry) => (*entry, None),
            Latest::Stale(entry, why) => (*entry, Some(why)),
            Latest::Absent(why) => {
                let error = Error::absent(format!("there is no result of {name}: {why}"));
                return Err(error.help("`rematch explain` shows its key against the last one"));
            }
        };
        let side = facts::Side {
            run: None,
            job: Some(name),
            pipeline: project.plan.pipeline().name.clone(),
        };
        Ok((side, entry, why))
    };
    let ((a, old, old_why), (b, new, new_why)) = (side(a)?, side(b)?);
    for (side, why) in [(&a, old_why), (&b, new_why)] {
        if let (Some(job), Some(why)) = (&side.job, why) {
            say(&format!(
                "the result of {job} is that of an earlier key: {why}"
            ));
        }
    }
    let job = JobDiff {
        job: b.job.clone().unwrap_or_default(),
        changes: key_changes(&old.key, &new.key),
        metrics: metrics(&old, &new),
        provenance: provenance(&old, &new),
        unknown: None,
    };
    let same = old.key.id() == new.key.id();
    let diff = Diff {
        a,
        b,
        same: usize::from(same),
        jobs: if same { Vec::new() } else { vec![job] },
        only_a: Vec::new(),
        only_b: Vec::new(),
    };
    if global.json {
        print_json(&diff);
    } else {
        print_jobs(&diff);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_jobs(diff: &Diff) {
    let style = Style::of(&std::io::stdout());
    let name = |side: &facts::Side| style.bold(side.job.as_deref().unwrap_or_default());
    print_line(&format!("{} → {}", name(&diff.a), name(&diff.b)));
    let Some(job) = diff.jobs.first() else {
        print_line("they have the same key, and so one result");
        return;
    };
    for words in changes_in_words(&job.changes) {
        print_line(&format!("  {words}"));
    }
    for metric in &job.metrics {
        print_line(&format!("  {}", metric_line(&[metric])));
    }
    for change in &job.provenance {
        print_line(&style.dim(&format!("  made: {}", in_words(change))));
    }
}

fn print_runs(diff: &Diff) {
    let style = Style::of(&std::io::stdout());
    let name = |side: &facts::Side| side.run.clone().unwrap_or_else(|| "now".into());
    let (a, b) = (name(&diff.a), name(&diff.b));
    print_line(&style.dim(&format!("{a} → {b}")));
    // Jobs of one stage that changed alike are one line.
    let mut groups: BTreeMap<(&str, String), Vec<&JobDiff>> = BTreeMap::new();
    for job in &diff.jobs {
        let mut words = changes_in_words(&job.changes);
        words.extend(job.unknown.clone());
        groups
            .entry((stage(&job.job), words.join("; ")))
            .or_default()
            .push(job);
    }
    for ((stage, words), jobs) in &groups {
        let title = match &jobs[..] {
            [job] => style.bold(&job.job),
            jobs => format!("{}: {} jobs", style.bold(stage), jobs.len()),
        };
        print_line(&format!("{title}: {words}"));
        let mut metrics: BTreeMap<&str, Vec<&MetricDiff>> = BTreeMap::new();
        for metric in jobs.iter().flat_map(|job| &job.metrics) {
            metrics.entry(&metric.name).or_default().push(metric);
        }
        for metrics in metrics.values() {
            print_line(&format!("    {}", metric_line(metrics)));
        }
    }
    for (run, names) in [(&a, &diff.only_a), (&b, &diff.only_b)] {
        let mut stages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in names {
            stages.entry(stage(name)).or_default().push(name);
        }
        for (stage, names) in &stages {
            let more = if names.len() > NAMES { ", …" } else { "" };
            let count = match names.len() {
                1 => String::new(),
                n => format!("{stage}, {n} jobs: "),
            };
            let names = names[..names.len().min(NAMES)].join(", ");
            print_line(&format!("only in {run}: {count}{names}{more}"));
        }
    }
    let alike = match diff.same {
        1 => "1 job is".to_owned(),
        n => format!("{n} jobs are"),
    };
    print_line(&style.dim(&format!("{alike} the same")));
}

fn stage(job: &str) -> &str {
    job.split('[').next().unwrap_or(job)
}

/// Inputs are counted where they are many: a table reads from every job of a sweep.
fn changes_in_words(changes: &[Change]) -> Vec<String> {
    let is_input = |change: &&Change| change.field.starts_with("inputs.");
    let count = changes.iter().filter(is_input).count();
    let named = changes
        .iter()
        .filter(|change| count <= INPUTS || !is_input(change));
    let mut words: Vec<String> = named.map(in_words).collect();
    if count > INPUTS {
        words.push(format!("{count} inputs changed"));
    }
    words
}

fn in_words(change: &Change) -> String {
    change_in_words(&key::Change {
        field: change.field.clone(),
        old: change.old.clone(),
        new: change.new.clone(),
    })
}

/// `accuracy 91.2 → 92.1 (+0.9)`; of several jobs the means, and how far the differences reach.
fn metric_line(metrics: &[&MetricDiff]) -> String {
    let name = &metrics[0].name;
    let show = |value: Option<f64>| value.map_or_else(|| "(none)".to_owned(), number);
    if let [metric] = metrics {
        let difference = metric.difference.map(signed);
        let difference = difference.map_or_else(String::new, |words| format!(" ({words})"));
        return format!(
            "{name} {} → {}{difference}",
            show(metric.old),
            show(metric.new)
        );
    }
    let mean = |value: &dyn Fn(&MetricDiff) -> Option<f64>| {
        let values: Vec<f64> = metrics.iter().filter_map(|metric| value(metric)).collect();
        let count = values.len() as f64;
        (count > 0.0).then(|| values.iter().sum::<f64>() / count)
    };
    let differences: Vec<f64> = metrics.iter().filter_map(|m| m.difference).collect();
    let least = differences.iter().copied().reduce(f64::min);
    let most = differences.iter().copied().reduce(f64::max);
    let reach = match least.zip(most) {
        Some((least, most)) => format!(", from {} to {}", signed(least), signed(most)),
        None => String::new(),
    };
    format!(
        "{name} {} → {} (means of {} jobs{reach})",
        show(mean(&|metric| metric.old)),
        show(mean(&|metric| metric.new)),
        metrics.len()
    )
}

/// With four places, or four digits where that shows nothing.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.4}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn signed(value: f64) -> String {
    let sign = if value >= 0.0 { "+" } else { "" };
    format!("{sign}{}", number(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_small_ones_stay_visible() {
        let words = [91.25, 0.0, -0.5, 1e-5, 12.0, f64::INFINITY].map(number);
        assert_eq!(words, ["91.25", "0", "-0.5", "1.000e-5", "12", "inf"]);
        assert_eq!([0.9, -0.9].map(signed), ["+0.9", "-0.9"]);
    }
}
