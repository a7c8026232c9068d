//! FeatMatch's split of DomainNet, whose unlabeled records come from several domains
//! (spec/featmatch.md 3.3).

use std::ops::Range;

use rematch_spec::protocol::Amount;

use super::featmatch::{Parts, split};

/// What to make of the domains.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes {
    /// How many of the target's records to hold out.
    pub valid: Option<Amount>,
    /// How many of the others are labeled.
    pub labeled: Amount,
    /// Share of the target's unlabeled records that other domains' replace.
    pub replaced: f64,
    /// How many of the labeled and of the unlabeled records to keep.
    pub data: Amount,
}

/// Another domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its records.
    pub records: Range<usize>,
    /// Its part of the replacements, relative to the others'.
    pub weight: f64,
}

/// Divides the records of the `target` domain, and of the `sources`, which stand in the order of their names.
pub fn divide(
    labels: &[i64],
    target: Range<usize>,
    sources: &[Source],
    seed: u32,
    sizes: &Sizes,
) -> Parts {
    let seed = Some(seed);
    let mut items = target.collect();
    let mut validation = Vec::new();
    if let Some(valid) = sizes.valid {
        (validation, items) = split(items, labels, seed, valid);
    }
    let (labeled, rest) = split(items, labels, seed, sizes.labeled);
    let kept = Amount::Fraction(1.0 - sizes.replaced);
    let (mut unlabeled, dropped) = split(rest, labels, seed, kept);
    let total: f64 = sources.iter().map(|s| s.weight).sum();
    for source in sources {
        let share = dropped.len() as f64 * (source.weight / total);
        let count = Amount::Count(share.round_ties_even() as u64);
        unlabeled.extend(split(source.records.clone().collect(), labels, seed, count).0);
    }
    let keep = |items| split(items, labels, seed, sizes.data).0;
    Parts {
        labeled: keep(labeled),
        unlabeled: keep(unlabeled),
        validation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target of 1,000 records and three sources of 300, 300 and 20; five classes.
    fn parts(replaced: f64, weights: [f64; 3]) -> Parts {
        let labels: Vec<i64> = (0..1620).map(|p| p % 5).collect();
        let ranges = [1000..1300, 1300..1600, 1600..1620];
        let sources: Vec<Source> = ranges
            .into_iter()
            .zip(weights)
            .map(|(records, weight)| Source { records, weight })
            .collect();
        let sizes = Sizes {
            valid: Some(Amount::Fraction(0.1)),
            labeled: Amount::Fraction(0.05),
            replaced,
            data: Amount::Fraction(1.0),
        };
        divide(&labels, 0..1000, &sources, 1, &sizes)
    }

    fn per_source(parts: &Parts) -> [usize; 4] {
        let count = |range: Range<usize>| {
            let inside = parts.unlabeled.iter().filter(|p| range.contains(p));
            inside.count()
        };
        [
            count(0..1000),
            count(1000..1300),
            count(1300..1600),
            count(1600..1620),
        ]
    }

    #[test]
    fn other_domains_replace_what_is_dropped() {
        // 5 classes of 180 and 5% of each is 9: 45 labeled, 855 left, 171 of each class; half of that is 85.5,
        // which rounds to 86.
        let parts = parts(0.5, [1.0, 1.0, 0.0]);
        assert_eq!((parts.labeled.len(), parts.validation.len()), (45, 100));
        // Half of the 425 dropped is 212.5, which rounds to the even 212.
        assert_eq!(per_source(&parts), [430, 212, 212, 0]);
        assert!(
            parts
                .labeled
                .iter()
                .chain(&parts.validation)
                .all(|p| *p < 1000)
        );
    }

    #[test]
    fn weights_share_out_and_a_small_source_gives_all_it_has() {
        assert_eq!(per_source(&parts(0.5, [3.0, 1.0, 1.0])), [430, 255, 85, 20]);
        assert_eq!(per_source(&parts(0.0, [1.0; 3])), [855, 0, 0, 0]);
        assert_eq!(per_source(&parts(1.0, [1.0; 3])), [0, 285, 285, 20]);
    }

    #[test]
    fn without_sources_nothing_is_added() {
        let labels = [0; 20];
        let sizes = Sizes {
            valid: None,
            labeled: Amount::Count(5),
            replaced: 0.0,
            data: Amount::Fraction(1.0),
        };
        let parts = divide(&labels, 0..20, &[], 1, &sizes);
        assert_eq!((parts.labeled.len(), parts.unlabeled.len()), (5, 15));
    }
}
