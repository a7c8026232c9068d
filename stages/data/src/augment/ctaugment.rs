//! CTAugment (Berthelot et al. 2019, arXiv 1911.09785): strengths of operations are drawn more often
//! while the network still recognises images that they were applied to (spec/fixmatch.md 4.8).

mod op;
mod state;

pub use op::CtOp;

use serde::{Deserialize, Serialize};

use crate::image::Canvas;
use crate::rng::{Purpose, Stream};

use state::State;

/// One operation of a policy, and how strong it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The operation.
    pub op: CtOp,
    /// A level in [0, 1) for each argument of the operation; those beyond its arguments are 0.
    pub levels: [f64; 2],
}

/// Operations to be applied one after the other to one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy(pub Vec<Choice>);

impl Policy {
    /// Applies the policy; places of cutouts are drawn from `stream`.
    pub fn apply(&self, canvas: &mut Canvas, stream: &mut Stream) {
        for choice in &self.0 {
            choice.op.apply(choice.levels, canvas, stream);
        }
    }
}

/// What CTAugment has learned.
///
/// Serialized, it is its settings and the rates of each operation by name: what a checkpoint keeps.
/// (The original forgets the rates at a restart.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "State", into = "State")]
pub struct CtAugment {
    depth: usize,
    decay: f64,
    threshold: f64,
    /// For each operation, in the order of [`CtOp::ALL`], and each argument, a rate per bin.
    rates: Vec<Vec<Vec<f32>>>,
}

impl Default for CtAugment {
    /// FixMatch's settings: depth 2, decay 0.99, threshold 0.8.
    fn default() -> Self {
        Self::new(2, 0.99, 0.8)
    }
}

impl CtAugment {
    /// All rates 1. `depth`: operations per policy; `decay`: what remains of a rate at an update;
    /// `threshold`: bins whose weight falls below this share of the best are not drawn.
    pub fn new(depth: usize, decay: f64, threshold: f64) -> Self {
        let rates = CtOp::ALL
            .iter()
            .map(|op| op.bins().iter().map(|bins| vec![1.0; *bins]).collect())
            .collect();
        Self {
            depth,
            decay,
            threshold,
            rates,
        }
    }

    /// A policy for training: each level from a bin drawn by its weight.
    pub fn policy(&self, stream: &mut Stream) -> Policy {
        self.draw(stream, |stream, rates| {
            let weights = self.weights(rates);
            let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            let mut rest = stream.uniform() * total;
            let last = weights.iter().rposition(|w| *w > 0.0).unwrap_or_default();
            let chosen = weights.iter().position(|w| {
                rest -= f64::from(*w);
                rest < 0.0
            });
            let bin = chosen.unwrap_or(last);
            (bin as f64 + stream.uniform()) / rates.len() as f64
        })
    }

    /// A policy to learn from: every level uniform.
    pub fn probe(&self, stream: &mut Stream) -> Policy {
        self.draw(stream, |stream, _| stream.uniform())
    }

    /// Training policies for the images `first..first + count` of the batch of a step.
    pub fn policies(&self, seed: u64, step: u64, first: u64, count: usize) -> Vec<Policy> {
        let purpose = const { Purpose::named("ctaugment policy") };
        (first..)
            .take(count)
            .map(|i| self.policy(&mut Stream::new(seed, purpose, step, i)))
            .collect()
    }

    /// Probe policies for the images `first..first + count` of the batch of a step.
    pub fn probes(&self, seed: u64, step: u64, first: u64, count: usize) -> Vec<Policy> {
        let purpose = const { Purpose::named("ctaugment probe") };
        (first..)
            .take(count)
            .map(|i| self.probe(&mut Stream::new(seed, purpose, step, i)))
            .collect()
    }

    /// Learns from a probe: `proximity` is the probability that the network gave the true class of
    /// an image augmented with `policy`, 1 − ½·Σ|p − onehot|.
    pub fn update(&mut self, policy: &Policy, proximity: f32) {
        for Choice { op, levels } in &policy.0 {
            for (level, rates) in levels.iter().zip(&mut self.rates[*op as usize]) {
                let bin = (level * rates.len() as f64 * 0.999) as usize;
                if let Some(rate) = rates.get_mut(bin) {
                    // Summed in double and rounded once, as numpy 1 does.
                    let sum =
                        f64::from(*rate) * self.decay + f64::from(proximity) * (1.0 - self.decay);
                    *rate = sum as f32;
                }
            }
        }
    }

    /// The rates of an operation: for each argument one per bin.
    pub fn rates(&self, op: CtOp) -> &[Vec<f32>] {
        &self.rates[op as usize]
    }

    /// How often the bins of an argument are drawn, relative to the best one.
    pub fn weights(&self, rates: &[f32]) -> Vec<f32> {
        let raised = rates.iter().map(|r| r + (1.0 - self.decay) as f32);
        let best = raised.clone().fold(f32::MIN, f32::max);
        let relative = raised.map(|r| r / best);
        relative
            .map(|r| if r < self.threshold as f32 { 0.0 } else { r })
            .collect()
    }

    fn draw(&self, stream: &mut Stream, level: impl Fn(&mut Stream, &[f32]) -> f64) -> Policy {
        let choice = |_| {
            let index = stream.below(CtOp::ALL.len() as u64) as usize;
            let mut levels = [0.0; 2];
            for (to, rates) in levels.iter_mut().zip(&self.rates[index]) {
                *to = level(stream, rates);
            }
            Choice {
                op: CtOp::ALL[index],
                levels,
            }
        };
        Policy((0..self.depth).map(choice).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solarize(level: f64) -> Policy {
        Policy(vec![Choice {
            op: CtOp::Solarize,
            levels: [level, 0.0],
        }])
    }

    #[test]
    fn a_bin_that_fails_is_dropped_after_23_updates() {
        let mut cta = CtAugment::default();
        for updates in 1..=23 {
            cta.update(&solarize(0.0), 0.0);
            let weight = cta.weights(&cta.rates(CtOp::Solarize)[0])[0];
            assert_eq!(weight == 0.0, updates == 23, "after {updates} updates");
        }
    }

    #[test]
    fn training_policies_avoid_dropped_bins_and_probes_do_not() {
        let mut cta = CtAugment::default();
        for bin in 0..17 {
            if bin != 5 {
                for _ in 0..30 {
                    cta.update(&solarize((f64::from(bin) + 0.5) / 17.0), 0.0);
                }
            }
        }
        let levels = |policies: Vec<Policy>| -> Vec<f64> {
            let all = policies.into_iter().flat_map(|p| p.0);
            all.filter(|c| c.op == CtOp::Solarize)
                .map(|c| c.levels[0])
                .collect()
        };
        let training = levels(cta.policies(1, 0, 0, 2000));
        assert!(training.len() > 100);
        assert!(
            training
                .iter()
                .all(|l| (5.0 / 17.0..6.0 / 17.0).contains(l))
        );
        assert!(levels(cta.probes(1, 0, 0, 2000)).iter().any(|l| *l > 0.9));
    }

    #[test]
    fn a_level_of_one_counts_for_the_last_bin() {
        let mut cta = CtAugment::default();
        cta.update(&solarize(1.0), 0.0);
        assert_eq!(cta.rates(CtOp::Solarize)[0][16], 0.99);
    }

    #[test]
    fn what_was_learned_survives_a_checkpoint() {
        let mut cta = CtAugment::new(3, 0.9, 0.5);
        for (i, policy) in cta.probes(4, 0, 0, 200).iter().enumerate() {
            cta.update(policy, i as f32 / 200.0);
        }
        let text = serde_json::to_string(&cta).unwrap();
        let back: CtAugment = serde_json::from_str(&text).unwrap();
        assert_eq!(back, cta);
        assert_ne!(back, CtAugment::new(3, 0.9, 0.5));
    }

    #[test]
    fn a_damaged_checkpoint_is_refused() {
        let text = serde_json::to_string(&CtAugment::default()).unwrap();
        for (from, to, message) in [
            (
                "\"depth\":2",
                "\"depth\":4000000000",
                "depth 4000000000, decay 0.99, threshold 0.8",
            ),
            (
                "\"blur\"",
                "\"blurr\"",
                "rates of an unknown operation `blurr`",
            ),
            (
                "\"posterize\":[[1.0,",
                "\"posterize\":[[",
                "rates of `posterize` should be 8 numbers",
            ),
            ("\"identity\":[],", "", "no rates of `identity`"),
            (
                "\"posterize\":[[1.0,",
                "\"posterize\":[[-2.0,",
                "-2 in the rates of `posterize`",
            ),
        ] {
            let damaged = text.replace(from, to);
            assert_ne!(damaged, text);
            let error = serde_json::from_str::<CtAugment>(&damaged)
                .unwrap_err()
                .to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
