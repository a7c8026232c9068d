//! Job patterns: `train`, `train[seed=1]`, `train[labels=40,seed=*]`.

use std::collections::BTreeSet;

use petgraph::graph::NodeIndex;

use crate::error::{Error, Result};
use crate::plan::Plan;

/// A pattern, taken apart. `*` stands for any run of characters, in stages and in values.
struct Pattern<'a> {
    stage: &'a str,
    point: Vec<(&'a str, &'a str)>,
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let wrong = || {
            Error::usage(format!("`{text}` is no job pattern"))
                .help("patterns look like train, train[seed=1] or train[labels=40,seed=*]")
        };
        let Some((stage, rest)) = text.split_once('[') else {
            return Ok(Self {
                stage: text,
                point: Vec::new(),
            });
        };
        let inside = rest.strip_suffix(']').ok_or_else(wrong)?;
        let point: Option<Vec<_>> = inside
            .split(',')
            .filter(|p| !p.is_empty())
            .map(|pair| pair.split_once('='))
            .collect();
        Ok(Self {
            stage,
            point: point
                .ok_or_else(wrong)?
                .into_iter()
                .map(|(a, v)| (a.trim(), v.trim()))
                .collect(),
        })
    }

    fn matches(&self, plan: &Plan, job: NodeIndex) -> bool {
        like(self.stage, plan.stage(job))
            && self.point.iter().all(|(axis, value)| {
                plan.labels(job)
                    .any(|(known, label)| known == *axis && like(value, label))
            })
    }
}

/// The jobs that any of the patterns matches; every job for no patterns.
pub fn select(plan: &Plan, patterns: &[String]) -> Result<BTreeSet<NodeIndex>> {
    if patterns.is_empty() {
        return Ok(plan.jobs().collect());
    }
    let mut selected = BTreeSet::new();
    for text in patterns {
        let pattern = Pattern::parse(text)?;
        let before = selected.len();
        // A job's own name always means that job, whatever characters are in it.
        let named = |job| text.starts_with(plan.stage(job)) && plan.name(job) == *text;
        let hits = plan
            .jobs()
            .filter(|job| pattern.matches(plan, *job) || named(*job));
        let hits: Vec<NodeIndex> = hits.collect();
        selected.extend(&hits);
        if hits.is_empty() && selected.len() == before {
            let stages: BTreeSet<&str> = plan.jobs().map(|job| plan.stage(job)).collect();
            let error = Error::usage(format!("no job matches `{text}`"));
            if !stages.contains(pattern.stage) {
                return Err(error.suggest(pattern.stage, stages));
            }
            let first = plan.jobs().find(|job| plan.stage(*job) == pattern.stage);
            let name = first.map_or("?".into(), |job| plan.name(job));
            return Err(error.help(format!("its jobs look like {name}")));
        }
    }
    Ok(selected)
}

/// The one job that a name or pattern means.
pub fn one(plan: &Plan, text: &str) -> Result<NodeIndex> {
    let hits = select(plan, &[text.to_owned()])?;
    let mut jobs = hits.iter();
    match (jobs.next(), jobs.next()) {
        (Some(job), None) => Ok(*job),
        _ => {
            let names: Vec<String> = hits.iter().take(4).map(|job| plan.name(*job)).collect();
            let error = Error::usage(format!("`{text}` means {} jobs", hits.len()));
            Err(error.help(format!(
                "name one of them: {}{}",
                names.join(", "),
                if hits.len() > 4 { ", …" } else { "" }
            )))
        }
    }
}

fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(
            like("*", "anything") && like("a*c", "abc") && like("a*c", "ac") && like("*b*", "abc")
        );
        assert!(!like("a*c", "abd") && !like("ab", "abc") && !like("a*bc*c", "abc"));
    }
}
