//! Prototypes: what each class looks like, as means of features (spec/featmatch.md 7).

use rayon::prelude::*;
use rematch_data::rng::Stream;

use super::kmeans::{self, Points};

/// Features, one row after the other, and the class of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// N×D.
    pub values: Vec<f32>,
    /// N classes.
    pub classes: Vec<usize>,
    /// D, at least 1.
    pub width: usize,
}

impl Features {
    /// Those rows of which `wanted` holds, by place and class.
    fn filter(&self, wanted: impl Fn(usize, usize) -> bool) -> Self {
        let rows = self.values.chunks_exact(self.width).zip(&self.classes);
        let mut chosen = Self {
            width: self.width,
            ..Self::default()
        };
        for (n, (row, class)) in rows.enumerate() {
            if wanted(n, *class) {
                chosen.values.extend_from_slice(row);
                chosen.classes.push(*class);
            }
        }
        chosen
    }

    fn of_class(&self, class: usize) -> Vec<f32> {
        self.filter(|_, other| other == class).values
    }
}

/// How many there are to be.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// K.
    pub classes: usize,
    /// Prototypes of a class.
    pub pk: usize,
    /// Those of labeled images where there are unlabeled ones as well.
    pub labeled: usize,
}

/// What was made: at most `pk` of each class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prototypes {
    /// M×D.
    pub values: Vec<f32>,
    /// M: 1 for one of labeled images, 2 for one of unlabeled ones.
    pub kinds: Vec<f32>,
}

/// Where thresholds of the confidence begin, and how often they are halved: 0.5 to 0.03125.
const THRESHOLD: f32 = 0.5;
const TRIES: usize = 5;

/// The candidates above the first threshold that leaves more than `pk` of every class; none where no
/// threshold does, so a single poor class keeps out all others.
pub fn confident(candidates: &Features, confidence: &[f32], sizes: Sizes) -> Option<Features> {
    let mut thresholds = std::iter::successors(Some(THRESHOLD), |t| Some(t / 2.0)).take(TRIES);
    thresholds.find_map(|threshold| {
        let mut counts = vec![0; sizes.classes];
        for (class, _) in candidates
            .classes
            .iter()
            .zip(confidence)
            .filter(|(_, c)| **c > threshold)
        {
            counts[*class] += 1;
        }
        counts
            .iter()
            .all(|count| *count > sizes.pk)
            .then(|| candidates.filter(|n, _| confidence[n] > threshold))
    })
}

/// Prototypes of each class that has labeled images, in ascending order. `draws` gives the random numbers
/// of each clustering by a number of its own.
pub fn extract(
    labeled: &Features,
    unlabeled: Option<&Features>,
    sizes: Sizes,
    draws: &(dyn Fn(u64) -> Stream + Sync),
) -> Prototypes {
    let of_class = |class: usize| -> (Vec<f32>, Vec<f32>) {
        let mut own = labeled.of_class(class);
        if own.is_empty() {
            return (own, Vec::new());
        }
        let width = labeled.width;
        let made = |rows: &[f32], n: usize, part: u64| {
            // Numbers of the starts of this clustering.
            let first = (2 * class as u64 + part) << 8;
            prototypes(rows, width, n, &move |start| draws(first + start))
        };
        match unlabeled {
            None => (made(&own, sizes.pk, 0), Vec::new()),
            Some(unlabeled) if sizes.pk == 1 => {
                own.extend(unlabeled.of_class(class));
                (made(&own, 1, 0), Vec::new())
            }
            Some(unlabeled) => {
                let first = made(&own, sizes.labeled, 0);
                let left = sizes.pk.saturating_sub(first.len() / width).max(1);
                let second = made(&unlabeled.of_class(class), left, 1);
                (first, second)
            }
        }
    };
    let classes: Vec<_> = (0..sizes.classes).into_par_iter().map(of_class).collect();
    let mut all = Prototypes::default();
    for (own, others) in classes {
        for (kind, part) in [(1.0, own), (2.0, others)] {
            all.kinds.extend(vec![kind; part.len() / labeled.width]);
            all.values.extend(part);
        }
    }
    all
}

/// The mean of the rows and, beside it, n − 1 others: the rows themselves where there are not more, else
/// the means of clusters of their directions.
fn prototypes(
    rows: &[f32],
    width: usize,
    n: usize,
    draws: &(dyn Fn(u64) -> Stream + Sync),
) -> Vec<f32> {
    let count = rows.len() / width;
    if count == 0 {
        return Vec::new();
    }
    let mut all = mean(rows.chunks_exact(width), width);
    let others = n.saturating_sub(1);
    if others == 0 {
        return all;
    }
    if others >= count {
        all.extend_from_slice(rows);
        return all;
    }
    let directions: Vec<f32> = rows.chunks_exact(width).flat_map(direction).collect();
    let points = Points {
        values: &directions,
        width,
    };
    let labels = kmeans::clusters(points, others, draws);
    for cluster in 0..others {
        let members = rows.chunks_exact(width).zip(&labels);
        let members: Vec<&[f32]> = members
            .filter_map(|(row, label)| (*label == cluster).then_some(row))
            .collect();
        if !members.is_empty() {
            all.extend(mean(members.into_iter(), width));
        }
    }
    all
}

/// A row of length 1; zeros stay zeros.
fn direction(row: &[f32]) -> impl Iterator<Item = f32> {
    let length = row
        .iter()
        .map(|v| f64::from(*v).powi(2))
        .sum::<f64>()
        .sqrt();
    let length = length.max(1e-20);
    row.iter().map(move |v| (f64::from(*v) / length) as f32)
}

fn mean<'a>(rows: impl Iterator<Item = &'a [f32]>, width: usize) -> Vec<f32> {
    let (mut sums, mut count) = (vec![0.0_f64; width], 0_u32);
    for row in rows {
        count += 1;
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    let all = f64::from(count.max(1));
    sums.into_iter().map(|sum| (sum / all) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rematch_data::rng::Purpose;

    fn draws(n: u64) -> Stream {
        Stream::new(1, Purpose::named("test"), 0, n)
    }

    /// Rows of two numbers of 3·sin(a·(i+1)), of classes 0 and 1 in turn.
    fn features(rows: usize, a: f64) -> Features {
        Features {
            values: (0..2 * rows)
                .map(|i| (3.0 * (a * (i + 1) as f64).sin()) as f32)
                .collect(),
            classes: (0..rows).map(|n| n % 2).collect(),
            width: 2,
        }
    }

    const SIZES: Sizes = Sizes {
        classes: 2,
        pk: 4,
        labeled: 2,
    };

    /// Rows in an order of their own: that of clusters is drawn.
    fn sorted(made: &Prototypes) -> Vec<[f32; 2]> {
        let mut rows = made.values.as_chunks::<2>().0.to_vec();
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        rows
    }

    fn assert_close(made: &Prototypes, expected: &[[f64; 2]]) {
        let found = sorted(made);
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((f64::from(*a) - b).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    // Made by tests/reference/featmatch.py, which tries all partitions.
    const LABELED: [[f64; 2]; 8] = [
        [-2.24422, -2.498011],
        [-1.944546, -1.442786],
        [-0.05085838, 0.05841],
        [0.1402073, 0.1560628],
        [0.1512681, 2.045891],
        [0.9572951, -1.099437],
        [1.506778, 1.945555],
        [2.520947, 2.180194],
    ];
    const BOTH: [[f64; 2]; 12] = [
        [-2.24422, -2.498011],
        [-2.058264, -1.491705],
        [-1.304297, -2.85067],
        [-1.219086, -1.356949],
        [-0.1646416, 0.216792],
        [-0.05085838, 0.05841],
        [0.1402073, 0.1560628],
        [0.3613136, 0.110989],
        [1.194119, 1.591818],
        [1.506778, 1.945555],
        [1.72898, 1.925288],
        [1.928528, 2.146619],
    ];

    #[test]
    fn prototypes_are_those_of_an_independent_implementation() {
        let made = extract(&features(14, 0.7), None, SIZES, &draws);
        assert_close(&made, &LABELED);
        assert_eq!(made.kinds, [1.0; 8]);
        let sizes = Sizes {
            pk: 6,
            labeled: 3,
            ..SIZES
        };
        let made = extract(&features(14, 0.7), Some(&features(12, 1.1)), sizes, &draws);
        assert_close(&made, &BOTH);
        assert_eq!(
            made.kinds,
            [[1.0; 3], [2.0; 3], [1.0; 3], [2.0; 3]].concat()
        );
    }

    #[test]
    fn few_rows_are_their_own_prototypes() {
        let few = features(4, 0.7);
        let made = extract(&few, None, Sizes { pk: 20, ..SIZES }, &draws);
        // Of each class the mean and both rows.
        assert_eq!(made.values.len(), 2 * 3 * 2);
        assert_eq!(made.values[2..4], few.values[..2]);
        assert_eq!(made.values[4..6], few.values[4..6]);
        assert_eq!(
            made.values[0],
            ((f64::from(few.values[0]) + f64::from(few.values[4])) / 2.0) as f32
        );
    }

    #[test]
    fn with_one_prototype_a_class_is_the_mean_of_all() {
        let sizes = Sizes {
            pk: 1,
            labeled: 1,
            ..SIZES
        };
        let made = extract(&features(4, 0.7), Some(&features(4, 1.1)), sizes, &draws);
        let of = |n: usize| {
            f64::from(features(4, 0.7).values[n]) + f64::from(features(4, 1.1).values[n])
        };
        let expected = [0, 1, 2, 3].map(|n| ((of(n) + of(n + 4)) / 4.0) as f32);
        assert_eq!(made.values, expected);
        assert_eq!(made.kinds, [1.0, 1.0]);
    }

    #[test]
    fn the_threshold_falls_until_every_class_has_enough() {
        let candidates = features(12, 0.7);
        let sizes = Sizes { pk: 2, ..SIZES };
        let chosen = |confidence: &[f32]| confident(&candidates, confidence, sizes);
        // Six of each class, all sure.
        assert_eq!(chosen(&[0.9; 12]), Some(candidates.clone()));
        // At 0.5 the second class has two, not more than two; at 0.25 it has three.
        let confidence = [0.9, 0.6, 0.9, 0.6, 0.9, 0.3, 0.2, 0.2, 0.2, 0.2, 0.5, 0.25];
        let found = chosen(&confidence).unwrap();
        assert_eq!(found.classes, [0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(found.values[12..], candidates.values[20..22]);
        // One class below the last threshold keeps out the other.
        let confidence: [f32; 12] = std::array::from_fn(|n| if n % 2 == 0 { 0.9 } else { 0.03 });
        assert_eq!(chosen(&confidence), None);
    }
}
