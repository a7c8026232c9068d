//! The four-method comparison's split: the first records of each class are labeled, the last ones are for
//! validation (spec/four_methods.md 1).

use super::featmatch::Parts;
use super::{Distribution, Error, shuffled};
use crate::mt19937::Mt19937;

/// Divides records; each part is in file order, or, where `seed` is not 0, shuffled by numpy's generator in one
/// stream: labeled, unlabeled, validation.
///
/// `size / K` records of each of the K classes are labeled.
pub fn divide(
    distribution: &Distribution,
    size: u64,
    valid: u64,
    seed: u32,
) -> Result<Parts, Error> {
    let classes = distribution.counts.len();
    let each = size / classes as u64;
    if each == 0 {
        return Err(Error::NoneEach { size, classes });
    }
    let mut parts = Parts::default();
    for (class, members) in shuffled(distribution, 0).into_iter().enumerate() {
        let records = members.len();
        let needed = each.saturating_add(valid);
        if needed > records as u64 {
            return Err(Error::Exhausted {
                class,
                records,
                taken: records as u64,
                size: needed,
            });
        }
        let (labeled, rest) = members.split_at(each as usize);
        let (unlabeled, validation) = rest.split_at(rest.len() - valid as usize);
        parts.labeled.extend_from_slice(labeled);
        parts.unlabeled.extend_from_slice(unlabeled);
        parts.validation.extend_from_slice(validation);
    }
    let mut generator = Mt19937::new(seed);
    for part in [
        &mut parts.labeled,
        &mut parts.unlabeled,
        &mut parts.validation,
    ] {
        part.sort_unstable();
        if seed != 0 {
            generator.shuffle(part);
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::tests::cyclic;

    #[test]
    fn the_first_of_each_class_are_labeled_and_the_last_validate() {
        let set = cyclic(50_000, 10);
        // spec/four_methods.md 1: what is asked for and what there is.
        for (size, labeled) in [
            (64, 60),
            (128, 120),
            (256, 250),
            (512, 510),
            (1024, 1020),
            (4000, 4000),
        ] {
            let parts = divide(&set, size, 500, 0).unwrap();
            assert_eq!(parts.labeled, (0..labeled).collect::<Vec<_>>());
            assert_eq!(parts.unlabeled, (labeled..45_000).collect::<Vec<_>>());
            assert_eq!(parts.validation, (45_000..50_000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_seed_shuffles_and_changes_no_part() {
        let set = cyclic(200, 10);
        let sorted = divide(&set, 30, 5, 0).unwrap();
        let mut shuffled = divide(&set, 30, 5, 7).unwrap();
        assert_ne!(shuffled, sorted);
        for part in [
            &mut shuffled.labeled,
            &mut shuffled.unlabeled,
            &mut shuffled.validation,
        ] {
            part.sort_unstable();
        }
        assert_eq!(shuffled, sorted);
    }

    #[test]
    fn too_few_records_and_too_few_labels_are_refused() {
        let set = cyclic(200, 10);
        assert_eq!(
            divide(&set, 9, 5, 0),
            Err(Error::NoneEach {
                size: 9,
                classes: 10
            })
        );
        assert!(matches!(
            divide(&set, 160, 5, 0),
            Err(Error::Exhausted {
                class: 0,
                records: 20,
                ..
            })
        ));
        assert!(divide(&set, u64::MAX, u64::MAX, 0).is_err());
    }
}
