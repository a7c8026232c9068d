//! Who is labeled, and in which order unlabeled records are written: the originals' greedy choice of
//! the class that lags furthest behind its share (spec/fixmatch.md 2.3 to 2.5).

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::mt19937::Mt19937;

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

/// Positions of all records in the order of `create_unlabeled`: every prefix follows the class
/// distribution as closely as the file order allows.
pub fn unlabeled_order(distribution: &Distribution) -> Vec<usize> {
    let mut turns = Turns::new(&distribution.shares);
    let mut queues: Vec<VecDeque<usize>> = vec![VecDeque::new(); distribution.shares.len()];
    let mut order = Vec::with_capacity(distribution.classes.len());
    let mut next = turns.class();
    for (position, class) in distribution.classes.iter().enumerate() {
        queues[*class as usize].push_back(position);
        while let Some(position) = queues[next].pop_front() {
            order.push(position);
            turns.take(next);
            next = turns.class();
        }
    }
    order.extend(queues.into_iter().flatten());
    order
}

/// Positions of the `size` labeled records of `create_split`, sorted.
pub fn labeled(distribution: &Distribution, seed: u32, size: u64) -> Result<Vec<usize>, Error> {
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
    let mut turns = Turns::new(&distribution.shares);
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
