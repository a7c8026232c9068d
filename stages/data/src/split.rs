//! Who is labeled, and in which order unlabeled records are written. Here is FixMatch's way, on which
//! others build: a greedy choice of the class that lags furthest behind its share (spec/fixmatch.md 2.3 to
//! 2.5). Everything works on the labels alone; a record is its position in the training files.
//!
//! - [`cadr`]: long tails;
//! - [`realmix`]: labeled and unlabeled records without overlap;
//! - [`featmatch`]: proportional parts in the trainer's order; [`domainnet`] on top of it;
//! - [`first_k`]: the first of each class;
//! - [`listed`]: positions that a file names.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::mt19937::Mt19937;

pub mod cadr;
pub mod domainnet;
pub mod featmatch;
pub mod first_k;
pub mod listed;
pub mod realmix;

/// Labels from which no split can be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// No records.
    #[error("the training files hold no records")]
    Empty,
    /// Classes must be 0 to K − 1, each with at least one record.
    #[error("the classes must be numbered from 0 without gaps: {0}")]
    Classes(String),
    /// A class is asked for more records than it has.
    #[error(
        "class {class} has {records} records and one more is asked for after {taken} of {size} picks"
    )]
    Exhausted {
        /// Which class.
        class: usize,
        /// How many records it has.
        records: usize,
        /// How many of the split were picked by then.
        taken: u64,
        /// How many were asked for.
        size: u64,
    },
    /// All classes together have too few records.
    #[error("{size} records are asked for, and there are only {records} to pick from")]
    Few {
        /// How many there are.
        records: usize,
        /// How many were asked for.
        size: u64,
    },
    /// So few labels that no class gets one.
    #[error("{size} labeled records for {classes} classes leave none for each")]
    NoneEach {
        /// How many were asked for.
        size: u64,
        /// How many classes there are.
        classes: usize,
    },
}

/// How many records each class has, and its share relative to the most frequent one.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The class of every record.
    classes: Vec<u32>,
    /// Records per class.
    pub counts: Vec<usize>,
    /// s_k = count_k / max_j count_j; 1 for all k if `uniform` (which the originals do for STL-10).
    pub shares: Vec<f64>,
}

impl Distribution {
    /// Counts the labels.
    pub fn of(labels: &[i64], uniform: bool) -> Result<Self, Error> {
        let Some(last) = labels.iter().max() else {
            return Err(Error::Empty);
        };
        if let Some(position) = labels.iter().position(|l| *l < 0) {
            return Err(Error::Classes(format!(
                "record {position} has label {}",
                labels[position]
            )));
        }
        // With more classes than records there is a gap, however large the label.
        if *last >= labels.len() as i64 {
            return Err(Error::Classes(format!(
                "there is a label {last} among {} records",
                labels.len()
            )));
        }
        let mut counts = vec![0; *last as usize + 1];
        for label in labels {
            counts[*label as usize] += 1;
        }
        if let Some(class) = counts.iter().position(|n| *n == 0) {
            return Err(Error::Classes(format!(
                "no record has label {class}, but one has {last}"
            )));
        }
        let most = counts.iter().max().copied().unwrap_or(1) as f64;
        let share = |count: &usize| if uniform { 1.0 } else { *count as f64 / most };
        let shares = counts.iter().map(share).collect();
        Ok(Self {
            classes: labels.iter().map(|l| *l as u32).collect(),
            counts,
            shares,
        })
    }
}

/// Takes turns among classes: argmax_k( s_k − n_k / max(max_j n_j, 1) ), the first on ties, where
/// n_k counts the turns of class k so far. In float64 as numpy computes it.
struct Turns<'a> {
    shares: &'a [f64],
    taken: Vec<u64>,
    most: u64,
    /// s_k − n_k / max(most, 1), kept from turn to turn.
    lag: Vec<f64>,
}

impl<'a> Turns<'a> {
    fn new(shares: &'a [f64]) -> Self {
        Self {
            shares,
            taken: vec![0; shares.len()],
            most: 0,
            lag: shares.to_vec(),
        }
    }

    /// Whose turn it is.
    fn class(&self) -> usize {
        let mut best = 0;
        for (class, lag) in self.lag.iter().enumerate() {
            if *lag > self.lag[best] {
                best = class;
            }
        }
        best
    }

    fn take(&mut self, class: usize) {
        self.taken[class] += 1;
        if self.taken[class] > self.most {
            self.most = self.taken[class];
            for class in 0..self.lag.len() {
                self.lag[class] = self.lag_of(class);
            }
        } else {
            self.lag[class] = self.lag_of(class);
        }
    }

    fn lag_of(&self, class: usize) -> f64 {
        self.shares[class] - self.taken[class] as f64 / self.most.max(1) as f64
    }
}

/// Sends records past one queue per class and takes them out in turns, as `create_unlabeled` does. After each
/// record at most `turns` are taken. Returns what was taken, and what was left in the queues.
fn interleave(
    records: impl Iterator<Item = (usize, u32)>,
    shares: &[f64],
    turns: u64,
) -> (Vec<usize>, Vec<VecDeque<usize>>) {
    let mut state = Turns::new(shares);
    let mut queues: Vec<VecDeque<usize>> = vec![VecDeque::new(); shares.len()];
    let mut order = Vec::with_capacity(records.size_hint().0);
    let mut next = state.class();
    for (position, class) in records {
        queues[class as usize].push_back(position);
        for _ in 0..turns {
            let Some(position) = queues[next].pop_front() else {
                break;
            };
            order.push(position);
            state.take(next);
            next = state.class();
        }
    }
    (order, queues)
}

/// Positions of all records in the order of `create_unlabeled`: every prefix follows the class
/// distribution as closely as the file order allows.
pub fn unlabeled_order(distribution: &Distribution) -> Vec<usize> {
    let records = (0..).zip(distribution.classes.iter().copied());
    let (mut order, rest) = interleave(records, &distribution.shares, u64::MAX);
    order.extend(rest.into_iter().flatten());
    order
}

/// Positions of the `size` labeled records of `create_split`, sorted.
pub fn labeled(distribution: &Distribution, seed: u32, size: u64) -> Result<Vec<usize>, Error> {
    pick(&shuffled(distribution, seed), &distribution.shares, size)
}

/// The records of each class, shuffled in one continuing stream; in file order if `seed` is 0.
fn shuffled(distribution: &Distribution, seed: u32) -> Vec<Vec<usize>> {
    let mut members: Vec<Vec<usize>> = distribution
        .counts
        .iter()
        .map(|n| Vec::with_capacity(*n))
        .collect();
    for (position, class) in distribution.classes.iter().enumerate() {
        members[*class as usize].push(position);
    }
    if seed != 0 {
        let mut generator = Mt19937::new(seed);
        for members in &mut members {
            generator.shuffle(members);
        }
    }
    members
}

/// Takes `size` records from the fronts of `members` by turns. Sorted.
fn pick(members: &[Vec<usize>], shares: &[f64], size: u64) -> Result<Vec<usize>, Error> {
    let mut turns = Turns::new(shares);
    let mut picked = Vec::new();
    for taken in 0..size {
        let class = turns.class();
        let records = members[class].len();
        let Some(position) = members[class].get(turns.taken[class] as usize) else {
            return Err(Error::Exhausted {
                class,
                records,
                taken,
                size,
            });
        };
        picked.push(*position);
        turns.take(class);
    }
    picked.sort_unstable();
    Ok(picked)
}

/// What the originals write beside a split: `{"distribution": [s_k…], NAME: [positions…]}`.
pub fn document<'a>(
    shares: &'a [f64],
    name: &'a str,
    positions: &'a [usize],
) -> impl Serialize + 'a {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum List<'a> {
        Shares(&'a [f64]),
        Positions(&'a [usize]),
    }
    BTreeMap::from([
        ("distribution", List::Shares(shares)),
        (name, List::Positions(positions)),
    ])
}

#[cfg(test)]
mod tests;
