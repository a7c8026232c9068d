//! k-means as scikit-learn runs it by default (up to its random numbers): k-means++ (Arthur and
//! Vassilvitskii 2007) with a choice among several candidates, Lloyd's iterations, the best of ten starts.

use rayon::prelude::*;
use rematch_data::rng::Stream;

/// Starts.
const STARTS: u64 = 10;
/// Iterations of a start at most.
const ITERATIONS: usize = 300;
/// A start ends when its centres move by less than this share of the rows' variance.
const TOLERANCE: f64 = 1e-4;

/// Rows of numbers, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a> {
    /// All numbers.
    pub values: &'a [f32],
    /// Numbers in a row, at least 1.
    pub width: usize,
}

impl<'a> Points<'a> {
    fn len(self) -> usize {
        self.values.len() / self.width
    }

    fn rows(self) -> impl Iterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.width)
    }

    fn row(self, n: usize) -> &'a [f32] {
        &self.values[n * self.width..(n + 1) * self.width]
    }
}

/// One start's end.
struct Clustering {
    labels: Vec<usize>,
    /// Sum of squared distances to the centres.
    inertia: f64,
}

/// The cluster of each row, below `k`; there must be at least `k` rows. A cluster may be empty where rows
/// are equal. `draws` gives the random numbers of each start. The result does not depend on the number
/// of threads.
pub fn clusters(points: Points, k: usize, draws: &(dyn Fn(u64) -> Stream + Sync)) -> Vec<usize> {
    let starts: Vec<Clustering> = (0..STARTS)
        .into_par_iter()
        .map(|start| cluster(points, k, &mut draws(start)))
        .collect();
    // The first of the best.
    let better = |best: Clustering, next: Clustering| {
        if next.inertia < best.inertia {
            next
        } else {
            best
        }
    };
    let best = starts.into_iter().reduce(better);
    best.map(|best| best.labels).unwrap_or_default()
}

fn cluster(points: Points, k: usize, stream: &mut Stream) -> Clustering {
    let mut centres = first_centres(points, k, stream);
    let enough = TOLERANCE * variance(points);
    let (mut labels, mut distances) = (Vec::new(), Vec::new());
    for _ in 0..ITERATIONS {
        let before = std::mem::take(&mut labels);
        assign(points, &centres, &mut labels, &mut distances);
        fill_empty(k, &mut labels, &mut distances);
        if labels == before {
            break;
        }
        if update(points, &labels, &mut centres) <= enough {
            assign(points, &centres, &mut labels, &mut distances);
            break;
        }
    }
    let inertia = distances.iter().map(|d| f64::from(*d)).sum();
    Clustering { labels, inertia }
}

/// Rows far from each other: each next one is the best of 2 + ln k candidates, drawn in proportion to the
/// squared distance from the nearest so far.
fn first_centres(points: Points, k: usize, stream: &mut Stream) -> Vec<f32> {
    let trials = 2 + (k as f64).ln() as usize;
    let first = points.row(stream.below(points.len() as u64) as usize);
    let mut centres = first.to_vec();
    let mut nearest: Vec<f32> = points.rows().map(|row| distance(row, first)).collect();
    for _ in 1..k {
        let total: f64 = nearest.iter().map(|d| f64::from(*d)).sum();
        let mut best: Option<(f64, usize, Vec<f32>)> = None;
        for _ in 0..trials {
            let candidate = drawn(&nearest, total * stream.uniform());
            let row = points.row(candidate);
            let closer: Vec<f32> = points
                .rows()
                .zip(&nearest)
                .map(|(other, d)| distance(other, row).min(*d))
                .collect();
            let left: f64 = closer.iter().map(|d| f64::from(*d)).sum();
            if best.as_ref().is_none_or(|(least, ..)| left < *least) {
                best = Some((left, candidate, closer));
            }
        }
        if let Some((_, candidate, closer)) = best {
            centres.extend_from_slice(points.row(candidate));
            nearest = closer;
        }
    }
    centres
}

/// The first place where the sum of weights reaches `at`.
fn drawn(weights: &[f32], at: f64) -> usize {
    let mut sum = 0.0;
    let place = weights.iter().position(|weight| {
        sum += f64::from(*weight);
        sum >= at
    });
    place.unwrap_or(weights.len() - 1)
}

/// Mean over the columns of their variances.
fn variance(points: Points) -> f64 {
    let n = points.len() as f64;
    let (mut sums, mut squares) = (vec![0.0; points.width], 0.0);
    for row in points.rows() {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
            squares += f64::from(*value).powi(2);
        }
    }
    let means: f64 = sums.iter().map(|sum| (sum / n).powi(2)).sum();
    (squares / n - means) / points.width as f64
}

/// The nearest centre of each row, and how far it is, squared.
fn assign(points: Points, centres: &[f32], labels: &mut Vec<usize>, distances: &mut Vec<f32>) {
    labels.clear();
    distances.clear();
    for row in points.rows() {
        let (mut label, mut least) = (0, f32::INFINITY);
        for (n, centre) in centres.chunks_exact(points.width).enumerate() {
            let there = distance(row, centre);
            if there < least {
                (label, least) = (n, there);
            }
        }
        labels.push(label);
        distances.push(least);
    }
}

/// Gives each cluster without rows the row that is farthest from its centre, if that is any way off.
fn fill_empty(k: usize, labels: &mut [usize], distances: &mut [f32]) {
    let mut counts = vec![0; k];
    for label in labels.iter() {
        counts[*label] += 1;
    }
    for empty in 0..k {
        if counts[empty] > 0 {
            continue;
        }
        let farthest =
            (0..labels.len()).reduce(|a, b| if distances[b] > distances[a] { b } else { a });
        if let Some(n) = farthest.filter(|n| distances[*n] > 0.0 && counts[labels[*n]] > 1) {
            counts[labels[n]] -= 1;
            counts[empty] = 1;
            labels[n] = empty;
            distances[n] = 0.0;
        }
    }
}

/// Moves each centre to the mean of its rows; says how far they all moved, squared.
fn update(points: Points, labels: &[usize], centres: &mut [f32]) -> f64 {
    let width = points.width;
    let mut sums = vec![0.0_f64; centres.len()];
    let mut counts = vec![0_u32; centres.len() / width];
    for (row, label) in points.rows().zip(labels) {
        counts[*label] += 1;
        for (sum, value) in sums[label * width..].iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    let mut moved = 0.0;
    let old = centres.chunks_exact_mut(width);
    for ((centre, sums), count) in old.zip(sums.chunks_exact(width)).zip(counts) {
        if count == 0 {
            continue;
        }
        for (value, sum) in centre.iter_mut().zip(sums) {
            let mean = (sum / f64::from(count)) as f32;
            moved += f64::from(mean - *value).powi(2);
            *value = mean;
        }
    }
    moved
}

/// Squared distance.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums side by side, for the compiler to take them at once.
    let mut sums = [0.0_f32; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b));
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rematch_data::rng::Purpose;

    fn draws(start: u64) -> Stream {
        Stream::new(1, Purpose::named("test"), 0, start)
    }

    fn inertia(points: Points, labels: &[usize], k: usize) -> f64 {
        let mut centres = vec![0.0; k * points.width];
        update(points, labels, &mut centres);
        points
            .rows()
            .zip(labels)
            .map(|(row, label)| {
                f64::from(distance(
                    row,
                    &centres[label * points.width..][..points.width],
                ))
            })
            .sum()
    }

    #[test]
    fn hardly_any_partition_of_few_rows_is_better() {
        let (mut stream, mut missed) = (draws(99), 0);
        for k in 1..4 {
            for _ in 0..20 {
                let values: Vec<f32> = (0..14).map(|_| stream.uniform() as f32).collect();
                let points = Points {
                    values: &values,
                    width: 2,
                };
                let found = inertia(points, &clusters(points, k, &draws), k);
                let least = (0..k.pow(7))
                    .map(|code| {
                        let labels: Vec<usize> = (0..7).map(|n| code / k.pow(n) % k).collect();
                        inertia(points, &labels, k)
                    })
                    .fold(f64::INFINITY, f64::min);
                missed += u32::from(found > least + 1e-5);
                assert!(found <= 1.2 * least + 1e-5, "{found} for {least}");
            }
        }
        // scikit-learn 1.9 with ten starts misses the best one of such rows in 11 of 200 sets, by up to 14 %.
        assert!(missed <= 3, "{missed}");
    }

    #[test]
    fn equal_rows_leave_clusters_empty() {
        let values = [1.0, 2.0, 1.0, 2.0, 5.0, 5.0, 1.0, 2.0];
        let points = Points {
            values: &values,
            width: 2,
        };
        let labels = clusters(points, 4, &draws);
        assert_eq!((labels[0], labels[0]), (labels[1], labels[3]));
        assert_ne!(labels[0], labels[2]);
    }

    #[test]
    fn groups_apart_are_found_in_any_width() {
        for width in [1, 7, 8, 19] {
            let values: Vec<f32> = (0..30 * width)
                .map(|i| (i / width % 5 * 10) as f32 + (i * 31 % 17) as f32 / 17.0)
                .collect();
            let points = Points {
                values: &values,
                width,
            };
            let labels = clusters(points, 5, &draws);
            for (n, label) in labels.iter().enumerate() {
                assert_eq!(*label, labels[n % 5]);
                assert!(n >= 5 || !labels[..n].contains(label));
            }
        }
    }
}
