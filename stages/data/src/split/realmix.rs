//! RealMix's split: labeled records, and all others in class-proportional order (spec/realmix.md 3).

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Distribution, Error, interleave, pick, shuffled};

/// The records that can become labeled: the first `label_size`, or all.
pub fn candidates(
    labels: &[i64],
    label_size: Option<u64>,
    uniform: bool,
) -> Result<Distribution, Error> {
    let count = label_size.map_or(labels.len(), |n| usize::try_from(n).unwrap_or(usize::MAX));
    let distribution = Distribution::of(&labels[..count.min(labels.len())], uniform)?;
    let classes = distribution.counts.len();
    let strange = |label: &i64| !(0..classes as i64).contains(label);
    match labels.iter().position(strange) {
        Some(position) => Err(Error::Classes(format!(
            "record {position} has label {}, and those that can become labeled have 0 to {}",
            labels[position],
            classes - 1
        ))),
        None => Ok(distribution),
    }
}

/// Positions of the labeled records, sorted.
pub fn labeled(
    candidates: &Distribution,
    seed: u32,
    size: u64,
    class_balance: bool,
) -> Result<Vec<usize>, Error> {
    let members = shuffled(candidates, seed);
    if class_balance {
        round_robin(&members, size)
    } else {
        pick(&members, &candidates.shares, size)
    }
}

/// One of each class in turn; classes without more records are passed over.
fn round_robin(members: &[Vec<usize>], size: u64) -> Result<Vec<usize>, Error> {
    let records = members.iter().map(Vec::len).sum();
    let count = usize::try_from(size).ok().filter(|count| *count <= records);
    let Some(count) = count else {
        return Err(Error::Few { records, size });
    };
    let longest = members.iter().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..longest).flat_map(|n| members.iter().filter_map(move |m| m.get(n)));
    let mut picked: Vec<usize> = rounds.take(count).copied().collect();
    picked.sort_unstable();
    Ok(picked)
}

/// Positions of all records but the `labeled` ones, which are sorted, in the order in which they are
/// written: its head is the validation set.
pub fn unlabeled(labels: &[i64], candidates: &Distribution, labeled: &[usize]) -> Vec<usize> {
    let mut skip = labeled.iter().copied().peekable();
    let rest = (0..labels.len()).filter(|position| skip.next_if_eq(position).is_none());
    let records = rest.map(|position| (position, labels[position] as u32));
    let (mut order, queues) = interleave(records, &candidates.shares, u64::MAX);
    order.extend(queues.into_iter().flatten());
    order
}

/// What the original writes beside a split: `{"label": [sorted…], "unlabel": [in the file's order…]}`.
pub fn document<'a>(labeled: &'a [usize], unlabeled: &'a [usize]) -> impl Serialize + 'a {
    BTreeMap::from([("label", labeled), ("unlabel", unlabeled)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_take_turns_as_published() {
        // spec/realmix.md 3.3: class sizes 100, 60, 30, 10.
        let labels: Vec<i64> = [100, 60, 30, 10]
            .into_iter()
            .zip(0..)
            .flat_map(|(n, class)| std::iter::repeat_n(class, n))
            .collect();
        let set = candidates(&labels, None, false).unwrap();
        let pick = |size| labeled(&set, 0, size, false).unwrap();
        // The class of each pick: what the next larger split adds.
        let order: Vec<i64> = (1..=20)
            .map(|size| {
                let before = pick(size - 1);
                let new = pick(size).into_iter().find(|p| !before.contains(p));
                labels[new.unwrap()]
            })
            .collect();
        assert_eq!(
            order,
            [0, 1, 2, 3, 0, 1, 0, 0, 1, 2, 0, 0, 1, 0, 1, 2, 0, 0, 1, 0]
        );
    }

    #[test]
    fn labels_behind_label_size_never_count() {
        let labels = [0, 1, 0, 1, 0, 0, 0, 0];
        let set = candidates(&labels, Some(4), false).unwrap();
        let picked = labeled(&set, 1, 4, false).unwrap();
        assert_eq!(picked, [0, 1, 2, 3]);
        assert_eq!(unlabeled(&labels, &set, &picked), [4, 5, 6, 7]);
        assert!(labeled(&set, 1, 5, false).is_err());
        // More than there are records means all of them.
        assert_eq!(
            candidates(&labels, Some(u64::MAX), false).unwrap().counts,
            [6, 2]
        );
    }

    #[test]
    fn an_unlabeled_record_of_a_class_that_no_candidate_has_is_refused() {
        let error = candidates(&[0, 1, 2], Some(2), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("record 2 has label 2, and those"), "{error}");
        assert!(candidates(&[0, 1, -1], Some(2), false).is_err());
    }

    #[test]
    fn balanced_picks_pass_over_classes_that_have_no_more() {
        let labels = [0, 0, 0, 0, 1, 2, 2];
        let set = candidates(&labels, None, false).unwrap();
        assert_eq!(labeled(&set, 0, 3, true).unwrap(), [0, 4, 5]);
        assert_eq!(labeled(&set, 0, 6, true).unwrap(), [0, 1, 2, 4, 5, 6]);
        assert_eq!(
            labeled(&set, 0, 8, true).unwrap_err(),
            Error::Few {
                records: 7,
                size: 8
            }
        );
    }
}
