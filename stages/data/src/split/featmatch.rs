//! FeatMatch's split by proportion, and the trainer's order of each part (spec/featmatch.md 3.1, 3.2).

use rematch_spec::protocol::Amount;

use crate::mt19937::Mt19937;

/// The parts of a training set, as positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// Who is labeled.
    pub labeled: Vec<usize>,
    /// Who is not; without the labeled ones.
    pub unlabeled: Vec<usize>,
    /// Who was held out.
    pub validation: Vec<usize>,
}

/// Sizes of the parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// How many to keep after a first shuffle.
    pub keep: Option<u64>,
    /// How many to hold out.
    pub valid: Option<Amount>,
    /// How many of the others are labeled.
    pub labeled: Amount,
    /// How many of the rest to keep.
    pub unlabeled: Amount,
}

/// Divides records by their labels. The same seed serves every step, as in the original.
pub fn divide(labels: &[i64], seed: u32, sizes: &Sizes) -> Parts {
    let mut items: Vec<usize> = (0..labels.len()).collect();
    if let Some(keep) = sizes.keep {
        shuffle(&mut items, seed);
        items.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }
    let mut validation = Vec::new();
    if let Some(valid) = sizes.valid {
        (validation, items) = split(items, labels, Some(seed), valid);
    }
    let (labeled, rest) = split(items, labels, Some(seed), sizes.labeled);
    let (unlabeled, _) = split(rest, labels, Some(seed), sizes.unlabeled);
    Parts {
        labeled,
        unlabeled,
        validation,
    }
}

impl Parts {
    /// Puts each part into the order in which the trainer gets it.
    pub fn shuffle(&mut self, seed: u32) {
        shuffle(&mut self.labeled, seed.wrapping_add(1));
        shuffle(&mut self.validation, seed.wrapping_add(2));
        shuffle(&mut self.unlabeled, seed.wrapping_add(4));
    }
}

/// Test records in the order in which the trainer gets them.
pub fn test_order(records: usize, seed: u32) -> Vec<usize> {
    order(records, seed.wrapping_add(3))
}

/// Test records in the order in which the trainer gets them as its validation set.
pub fn omniscient_order(records: usize, seed: u32) -> Vec<usize> {
    order(records, seed.wrapping_add(2))
}

fn order(records: usize, seed: u32) -> Vec<usize> {
    let mut items: Vec<usize> = (0..records).collect();
    shuffle(&mut items, seed);
    items
}

/// Shuffles `items` (unless `seed` is `None`), then takes the same share of every class, in ascending order of
/// classes; the rest is the second part. A count that rounding misses is made up from the ends. More than there
/// are means all.
pub fn split(
    mut items: Vec<usize>,
    labels: &[i64],
    seed: Option<u32>,
    amount: Amount,
) -> (Vec<usize>, Vec<usize>) {
    if let Some(seed) = seed {
        shuffle(&mut items, seed);
    }
    let records = items.len();
    let count = |n: u64| usize::try_from(n).map_or(records, |n| n.min(records));
    let share = match amount {
        Amount::Count(n) => count(n) as f64 / records as f64,
        Amount::Fraction(share) => share,
    };
    // Stable: within a class the shuffled order stays.
    items.sort_by_key(|position| labels[*position]);
    let (mut first, mut second) = (Vec::new(), Vec::with_capacity(records));
    for class in items.chunk_by(|a, b| labels[*a] == labels[*b]) {
        // As Python rounds.
        let taken = (class.len() as f64 * share).round_ties_even() as usize;
        let (taken, left) = class.split_at(taken.min(class.len()));
        first.extend_from_slice(taken);
        second.extend_from_slice(left);
    }
    if let Amount::Count(n) = amount {
        let count = count(n);
        if first.len() > count {
            second.extend(first.drain(count..));
        } else {
            let missing = count - first.len();
            first.extend(second.drain(second.len() - missing..));
        }
    }
    (first, second)
}

/// `items[permutation(n)]` of numpy's generator.
fn shuffle(items: &mut [usize], seed: u32) {
    Mt19937::new(seed).shuffle(items);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::tests::histogram;

    #[test]
    fn what_rounding_misses_comes_from_the_last_classes() {
        // SVHN's training set: spec/featmatch.md 3.2.
        let counts = [13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659, 4948];
        let labels: Vec<i64> = counts
            .iter()
            .zip(0..)
            .flat_map(|(n, class)| std::iter::repeat_n(class, *n))
            .collect();
        for (size, expected) in [
            (250, [47, 36, 29, 25, 23, 20, 19, 17, 16, 18]),
            (1000, [189, 144, 116, 102, 94, 78, 76, 69, 64, 68]),
            (4000, [757, 578, 464, 407, 376, 313, 305, 275, 254, 271]),
        ] {
            let all = (0..labels.len()).collect();
            let (first, second) = split(all, &labels, Some(1), Amount::Count(size));
            assert_eq!(first.len() as u64, size);
            assert_eq!(first.len() + second.len(), labels.len());
            let found = histogram(first.iter().map(|p| labels[*p] as usize), 10);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn one_is_a_record_and_one_point_zero_is_all() {
        let labels = [0, 1, 0, 1];
        let part = |amount| split((0..4).collect(), &labels, None, amount);
        assert_eq!(part(Amount::Count(1)), (vec![3], vec![0, 2, 1]));
        assert_eq!(part(Amount::Fraction(1.0)), (vec![0, 2, 1, 3], vec![]));
        assert_eq!(part(Amount::Fraction(0.0)), (vec![], vec![0, 2, 1, 3]));
        assert_eq!(part(Amount::Count(9)).0.len(), 4);
        assert_eq!(
            split(vec![], &labels, Some(1), Amount::Count(3)),
            (vec![], vec![])
        );
    }

    #[test]
    fn a_first_shuffle_keeps_the_head() {
        let labels = vec![0; 100];
        let sizes = Sizes {
            keep: Some(60),
            valid: Some(Amount::Count(10)),
            labeled: Amount::Fraction(0.5),
            unlabeled: Amount::Fraction(1.0),
        };
        let parts = divide(&labels, 1, &sizes);
        assert_eq!(
            (
                parts.labeled.len(),
                parts.unlabeled.len(),
                parts.validation.len()
            ),
            (25, 25, 10)
        );
        let kept = order(100, 1)[..60].to_vec();
        for position in parts
            .labeled
            .iter()
            .chain(&parts.unlabeled)
            .chain(&parts.validation)
        {
            assert!(kept.contains(position), "{position}");
        }
    }
}
