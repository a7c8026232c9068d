//! CADR's long-tailed and random labels, and its long-tailed sets of records (spec/cadr.md 2.2 to 2.4).

use super::{Distribution, Error, interleave, pick, shuffled};
use crate::mt19937::Mt19937;

/// How many labels each class gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tail {
    /// λ: p_k = λ^(−k / (K − 1)).
    Long(f64),
    /// Drawn by numpy's generator, seeded anew with the split's seed.
    Random,
}

/// A tail's shares, and positions of the labeled records, sorted.
///
/// `size` is the number of labels of the first class in a long tail, and of all classes in a random one.
pub fn labeled(
    distribution: &Distribution,
    tail: Tail,
    seed: u32,
    size: u64,
) -> Result<(Vec<f64>, Vec<usize>), Error> {
    let classes = distribution.counts.len();
    let (shares, total) = match tail {
        Tail::Long(lambda) => {
            let shares = long_tail(lambda, classes);
            let total = total(&shares, size);
            (shares, total)
        }
        Tail::Random => (random(seed, classes), size),
    };
    let picked = pick(&shuffled(distribution, seed), &shares, total)?;
    Ok((shares, picked))
}

/// Shares and positions of the records that make a long tail, in the order of `create_unlabeled`. λ below 1
/// reverses the tail. After each record at most Σ ceil(size · share) are taken; what is left over at the end
/// is not part of it.
pub fn imbalanced(distribution: &Distribution, lambda: f64, size: u64) -> (Vec<f64>, Vec<usize>) {
    let mut shares = long_tail(lambda, distribution.counts.len());
    if lambda < 1.0 {
        // The largest is 1 again.
        for share in &mut shares {
            *share *= lambda;
        }
    }
    let records = (0..).zip(distribution.classes.iter().copied());
    let (order, _) = interleave(records, &shares, total(&shares, size));
    (shares, order)
}

/// p_k = (1 / λ)^(k / (K − 1)), in this order of operations.
fn long_tail(lambda: f64, classes: usize) -> Vec<f64> {
    let last = classes.saturating_sub(1).max(1) as f64;
    (0..classes)
        .map(|class| (1.0 / lambda).powf(class as f64 / last))
        .collect()
}

fn random(seed: u32, classes: usize) -> Vec<f64> {
    let mut generator = Mt19937::new(seed);
    let drawn: Vec<f64> = (0..classes).map(|_| generator.uniform()).collect();
    let most = drawn.iter().copied().fold(0.0, f64::max);
    drawn.into_iter().map(|share| share / most).collect()
}

/// Σ ceil(size · p_k).
fn total(shares: &[f64], size: u64) -> u64 {
    shares
        .iter()
        .map(|share| (size as f64 * share).ceil() as u64)
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::tests::{cyclic, histogram};

    #[test]
    fn long_tails_are_the_published_ones() {
        // spec/cadr.md 11: classes, size, λ, first ten sorted positions, how many, their sum.
        let cases = [
            (
                (10, 20, 20.0),
                [631, 2781, 3378, 4306, 4484, 4731, 5052, 5803, 6744, 7590],
                72,
                1824152,
            ),
            (
                (10, 50, 50.0),
                [471, 631, 712, 1652, 1683, 2741, 2781, 3378, 3480, 4016],
                143,
                3512043,
            ),
            (
                (10, 100, 100.0),
                [471, 631, 712, 790, 1092, 1241, 1652, 1683, 2000, 2741],
                250,
                6406516,
            ),
            (
                (100, 50, 50.0),
                [11, 106, 203, 212, 308, 400, 404, 449, 505, 508],
                1317,
                33546728,
            ),
        ];
        for ((classes, size, lambda), first, count, sum) in cases {
            let set = cyclic(50_000, classes);
            let (_, picked) = labeled(&set, Tail::Long(lambda), 1, size).unwrap();
            assert_eq!(picked[..10], first, "{classes} {size} {lambda}");
            assert_eq!(picked.len(), count);
            assert_eq!(picked.iter().sum::<usize>(), sum);
        }
        let shares = long_tail(20.0, 10);
        let expected = [
            1.0, 0.716871, 0.513904, 0.368403, 0.264098, 0.189324, 0.135721, 0.097294, 0.069748,
            0.05,
        ];
        for (ours, published) in shares.iter().zip(expected) {
            assert!((ours - published).abs() < 5e-7, "{ours} {published}");
        }
    }

    #[test]
    fn every_class_of_a_long_tail_has_its_ceiling() {
        // spec/cadr.md 2.2.
        let counts = |classes, lambda, size| {
            let (_, picked) =
                labeled(&cyclic(50_000, classes), Tail::Long(lambda), 1, size).unwrap();
            histogram(picked.iter().map(|p| p % classes), classes)
        };
        assert_eq!(counts(10, 20.0, 20), [20, 15, 11, 8, 6, 4, 3, 2, 2, 1]);
        assert_eq!(counts(10, 50.0, 50), [50, 33, 21, 14, 9, 6, 4, 3, 2, 1]);
        assert_eq!(counts(10, 100.0, 100), [100, 60, 36, 22, 13, 8, 5, 3, 2, 1]);
        let cases = [
            (
                (50.0, 100),
                [100, 97, 93, 89, 86, 83, 79, 76, 73, 71, 68, 65],
                2584,
            ),
            (
                (50.0, 200),
                [200, 193, 185, 178, 171, 165, 158, 152, 146, 141, 135, 130],
                5113,
            ),
            (
                (100.0, 100),
                [100, 96, 92, 87, 84, 80, 76, 73, 69, 66, 63, 60],
                2229,
            ),
        ];
        for ((lambda, size), first, sum) in cases {
            let found = counts(100, lambda, size);
            assert_eq!(found[..12], first);
            assert_eq!(found.iter().sum::<usize>(), sum);
        }
        assert_eq!(counts(100, 200.0, 200).iter().sum::<usize>(), 3875);
    }

    #[test]
    fn random_frequencies_are_numpys() {
        // spec/cadr.md 2.2.
        let set = cyclic(50_000, 10);
        let (shares, picked) = labeled(&set, Tail::Random, 1, 250).unwrap();
        let expected = [
            0.578936, 1.0, 0.000159, 0.419717, 0.203736, 0.12819, 0.258578, 0.479729, 0.550818,
            0.748019,
        ];
        for (ours, published) in shares.iter().zip(expected) {
            assert!((ours - published).abs() < 5e-7, "{ours} {published}");
        }
        assert_eq!(
            histogram(picked.iter().map(|p| p % 10), 10),
            [33, 57, 1, 24, 12, 8, 15, 27, 31, 42]
        );
    }

    #[test]
    fn long_tailed_sets_have_the_published_sizes() {
        // spec/cadr.md 2.3, from 5,000 records per class.
        let set = cyclic(50_000, 10);
        let cases = [
            (
                20.0,
                [5000, 3585, 2570, 1843, 1321, 947, 679, 487, 349, 250],
            ),
            (50.0, [5000, 3238, 2097, 1358, 879, 569, 369, 239, 155, 100]),
            (100.0, [5000, 2998, 1797, 1078, 646, 388, 233, 140, 84, 50]),
            (0.02, [101, 155, 239, 369, 569, 879, 1358, 2097, 3238, 5000]),
        ];
        for (lambda, counts) in cases {
            for size in [1, 5000] {
                let (shares, order) = imbalanced(&set, lambda, size);
                assert_eq!(histogram(order.iter().map(|p| p % 10), 10), counts);
                let largest = shares.iter().copied().fold(0.0, f64::max);
                assert!((largest - 1.0).abs() < 4e-16, "{largest}");
            }
        }
    }

    #[test]
    fn a_single_class_is_a_tail_of_its_own() {
        let set = Distribution::of(&[0; 5], false).unwrap();
        let (shares, picked) = labeled(&set, Tail::Long(50.0), 0, 2).unwrap();
        assert_eq!((shares, picked), (vec![1.0], vec![0, 1]));
    }
}
