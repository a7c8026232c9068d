//! `sample`: a random part of the records, in their order.

use std::collections::BTreeMap;

use rematch_spec::job::Report;
use rematch_spec::sample::Sample;
use serde_json::json;

use super::record_files::{copy, scan};
use crate::child::{Child, report};
use crate::error::StageError;
use crate::json;
use crate::rng::{Purpose, Stream};

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: Sample = child.params()?;
    let index = scan(child, &params.records.0)?;
    let positions = choose(&params, &index.labels).map_err(|what| {
        StageError::failed(format!("{}: {what}", params.records.names()))
            .help("ask for a smaller `count`")
    })?;
    copy(child, &index, &positions, child.output("records")?)?;
    let document = json!({"indexes": positions});
    json::write(child.output("indexes")?, &document, 2)?;
    Ok(report([("records", positions.len() as f64)]))
}

/// Positions of the chosen records, sorted.
fn choose(params: &Sample, labels: &[i64]) -> Result<Vec<usize>, String> {
    let mut groups: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
    for (position, label) in labels.iter().enumerate() {
        let group = params.per_class.then_some(*label);
        groups.entry(group).or_default().push(position);
    }
    if groups.is_empty() {
        return Err("there is no record to choose from".into());
    }
    let mut chosen = Vec::new();
    for (class, mut members) in groups {
        let here = members.len();
        let count = match (params.count, params.fraction) {
            (Some(count), _) => count,
            (None, fraction) => (here as f64 * fraction.unwrap_or(1.0)).round() as u64,
        };
        if count > here as u64 {
            let class = class.map_or(String::new(), |class| format!(" of class {class}"));
            return Err(format!(
                "{count} records{class} are asked for, and there are {here}"
            ));
        }
        // The label is cast bit for bit: negative ones are other numbers, too.
        let step = class.unwrap_or(0).cast_unsigned();
        Stream::new(params.seed, Purpose::named("sample"), step, 0).shuffle(&mut members);
        chosen.extend(&members[..count as usize]);
    }
    if chosen.is_empty() {
        return Err("the sample has no record".into());
    }
    chosen.sort_unstable();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rematch_spec::input::Inputs;

    fn params(count: Option<u64>, fraction: Option<f64>, per_class: bool) -> Sample {
        Sample {
            records: Inputs(Vec::new()),
            count,
            fraction,
            seed: 1,
            per_class,
        }
    }

    fn of(labels: &[i64], positions: &[usize], class: i64) -> usize {
        positions.iter().filter(|n| labels[**n] == class).count()
    }

    proptest! {
        #[test]
        fn a_sample_is_a_part_of_the_size_asked_for(labels in prop::collection::vec(0i64..4, 1..200), count in 1u64..200, seed: u64) {
            let params = Sample { seed, ..params(Some(count), None, false) };
            match choose(&params, &labels) {
                Ok(chosen) => {
                    prop_assert_eq!(chosen.len() as u64, count);
                    prop_assert!(chosen.is_sorted_by(|a, b| a < b) && chosen.iter().all(|n| *n < labels.len()));
                }
                Err(_) => prop_assert!(count > labels.len() as u64),
            }
        }
    }

    #[test]
    fn within_classes_a_count_evens_them_out_and_a_fraction_keeps_their_shares() {
        let labels: Vec<i64> = (0..100).map(|n| if n < 80 { 7 } else { -1 }).collect();
        let even = choose(&params(Some(20), None, true), &labels).unwrap();
        assert_eq!([7, -1].map(|class| of(&labels, &even, class)), [20, 20]);
        let shares = choose(&params(None, Some(0.25), true), &labels).unwrap();
        assert_eq!([7, -1].map(|class| of(&labels, &shares, class)), [20, 5]);
        let error = choose(&params(Some(21), None, true), &labels).unwrap_err();
        assert_eq!(
            error,
            "21 records of class -1 are asked for, and there are 20"
        );
        assert!(choose(&params(None, Some(0.001), false), &labels).is_err());
        assert!(choose(&params(None, Some(1.0), false), &[]).is_err());
    }

    #[test]
    fn every_record_is_chosen_equally_often() {
        let mut counts = [0; 10];
        for seed in 0..5000 {
            let params = Sample {
                seed,
                ..params(Some(3), None, false)
            };
            for n in choose(&params, &[0; 10]).unwrap() {
                counts[n] += 1;
            }
        }
        // Five standard deviations.
        assert!(
            counts.iter().all(|n| (1338..1662).contains(n)),
            "{counts:?}"
        );
    }
}
