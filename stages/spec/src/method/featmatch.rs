//! FeatMatch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, check};
use crate::kind::Invalid;
use crate::network::{Network, Start, Wrn};
use crate::optimizer::{Cycle, Decayed, Optimizer, Schedule, Sgd};
use crate::recipe::{Length, Recipe};

/// Features refined by attention over prototypes of all classes make pseudo-labels, and every view, mixed with
/// others, must agree with them (spec/featmatch.md 5 to 7).
///
/// The defaults are those of CIFAR-10 and SVHN. Published otherwise: `network: {cnn13: {filters: 128, norm_first:
/// true}}` for CIFAR-100, `network: resnet18` for mini-ImageNet and DomainNet, and for DomainNet `{featmatch: {k: 4,
/// uratio: 4, of: 244000, pretrain: 4000, sample: 1000, rampup: 100000}}` with `batch: 32`. CIFAR is whitened (`zca`
/// of `train`), the others normalised:
///
/// | | mean | std |
/// |---|---|---|
/// | SVHN | 0.4376821, 0.4437697, 0.47280442 | 0.19803012, 0.20101562, 0.19703614 |
/// | mini-ImageNet | 0.47745190, 0.44910542, 0.40136664 | 0.27563721, 0.26619400, 0.28040630 |
/// | DomainNet | 0.60409881, 0.58311918, 0.54817234 | 0.32740812, 0.32171162, 0.34273202 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Featmatch {
    /// K: strong views of each image, beside the weak one.
    pub k: usize,
    /// Unlabeled images per labeled image in a batch.
    pub uratio: usize,
    /// T: pseudo-labels are p^{1/T}, rescaled.
    pub temperature: f64,
    /// β: of a step's share of MixUp, Beta(β, β).
    pub beta: f64,
    /// λ_con: weight of the refined logits of unlabeled images.
    pub mix: f64,
    /// λ_graph: weight of their plain logits.
    pub graph: f64,
    /// Steps of the run that the next three count in; a shorter or longer run has them in proportion.
    pub of: u64,
    /// Steps without prototypes at the start.
    pub pretrain: u64,
    /// Prototypes are extracted after the pre-training and then at each multiple of so many steps.
    pub sample: u64,
    /// Steps over which the weights of unlabeled images rise from 0, counted from the start of the run.
    pub rampup: u64,
    /// p_k: prototypes of a class.
    pub pk: usize,
    /// Share of them that is made of labeled images where there are unlabeled ones as well.
    pub l_ratio: f64,
}

impl Default for Featmatch {
    fn default() -> Self {
        Self {
            k: 8,
            uratio: 2,
            temperature: 0.75,
            beta: 0.75,
            mix: 0.5,
            graph: 2.0,
            of: 183_000,
            pretrain: 3000,
            sample: 500,
            rampup: 75_000,
            pk: 20,
            l_ratio: 0.5,
        }
    }
}

impl Featmatch {
    /// Prototypes of a class that are made of labeled images where there are unlabeled ones as well.
    pub fn of_labeled(&self) -> usize {
        // Halves go to the even number, as in Python.
        ((self.pk as f64 * self.l_ratio).round_ties_even() as usize).max(1)
    }

    /// A number of steps out of [`of`](Self::of) in a run of `steps`: at least 1, unless it is 0.
    pub fn in_run(&self, part: u64, steps: u64) -> u64 {
        match part {
            0 => 0,
            part => ((part as f64 * steps as f64 / self.of as f64).round() as u64).max(1),
        }
    }
}

impl Settings for Featmatch {
    fn check(&self) -> Result<(), Invalid> {
        check::wanted(
            "k",
            (1..=100).contains(&self.k),
            "expected 1 to 100 strong views",
        )?;
        check::ratio("uratio", self.uratio)?;
        check::positive("temperature", self.temperature)?;
        check::positive("beta", self.beta)?;
        check::weight("mix", self.mix)?;
        check::weight("graph", self.graph)?;
        check::wanted("of", self.of > 0, "expected at least 1 step")?;
        let within = |steps: u64| (1..=self.of).contains(&steps);
        check::wanted(
            "pretrain",
            self.pretrain <= self.of,
            "expected at most `of` steps",
        )?;
        check::wanted("sample", within(self.sample), "expected 1 to `of` steps")?;
        check::wanted("rampup", within(self.rampup), "expected 1 to `of` steps")?;
        check::wanted(
            "pk",
            (1..=1000).contains(&self.pk),
            "expected 1 to 1000 prototypes",
        )?;
        check::share("l_ratio", self.l_ratio)?;
        let some = self.pk == 1 || self.of_labeled() < self.pk;
        check::wanted(
            "l_ratio",
            some,
            "expected a share that leaves unlabeled images a prototype",
        )
    }

    /// SGD with momentum 0.95 and weight decay on everything, no moving average (spec/featmatch.md 6). The
    /// published code also computes a cycle of the momentum, which does not reach its optimizer.
    fn recipe(&self) -> Recipe {
        Recipe {
            network: Network::Wrn(Wrn {
                slope: 0.0,
                classifier: Start::Pytorch,
                ..Wrn::default()
            }),
            optimizer: Optimizer::Sgd(Sgd {
                lr: 0.04,
                momentum: 0.95,
                nesterov: true,
                weight_decay: 0.0002,
                decayed: Decayed::All,
            }),
            schedule: Schedule::Cycle(Cycle::default()),
            ema: 0.0,
            length: Length::Steps(183_000),
            ..Recipe::momentum("mz.mz.featmatch")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_run_is_a_copy_in_small() {
        let published = Featmatch::default();
        assert_eq!(published.in_run(published.pretrain, 183_000), 3000);
        assert_eq!(published.in_run(published.sample, 183_000), 500);
        assert_eq!(published.in_run(published.sample, 18_300), 50);
        assert_eq!(published.in_run(published.sample, 60), 1);
        assert_eq!(published.in_run(0, 60), 0);
        let domainnet = Featmatch {
            of: 244_000,
            pretrain: 4000,
            ..Featmatch::default()
        };
        assert_eq!(domainnet.in_run(domainnet.pretrain, 244_000), 4000);
        assert_eq!(domainnet.in_run(domainnet.pretrain, 183_000), 3000);
    }

    #[test]
    fn prototypes_of_labeled_images_leave_room_for_others() {
        let with = |pk, l_ratio| Featmatch {
            pk,
            l_ratio,
            ..Featmatch::default()
        };
        assert_eq!(with(20, 0.5).of_labeled(), 10);
        assert_eq!(with(5, 0.5).of_labeled(), 2);
        assert_eq!(with(20, 0.0).of_labeled(), 1);
        assert!(with(20, 0.5).check().is_ok() && with(1, 1.0).check().is_ok());
        assert_eq!(with(20, 1.0).check().unwrap_err().path, "l_ratio");
    }
}
