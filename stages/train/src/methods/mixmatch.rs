//! MixMatch: Berthelot et al. 2019, arXiv 1905.02249, algorithm 1; google-research/fixmatch
//! (spec/fixmatch.md 7.3).

use rematch_spec::method::Mixmatch;
use rematch_spec::method::mixmatch::Share;
use tch::Tensor;

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{
    MIXUP, average, interleaved, mean, mean_square, mix_share, mix_shares, mixup_by, one_hot,
    sharpen, soft_cross_entropy, softmax,
};

/// Guesses one label for all views of an image, and mixes all images with one another.
#[derive(Debug)]
pub struct MixMatch(pub Mixmatch);

impl Method for MixMatch {
    fn views(&self) -> Views {
        Views::of_unlabeled(self.0.nu)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let (x, u) = (&batch.x[0], &batch.u);
        let target = tch::no_grad(|| {
            let guess = |view| softmax(&step.student.logits(view, Bn::Observe));
            let guesses: Vec<Tensor> = u.iter().map(guess).collect();
            sharpen(&average(&guesses), self.0.temperature)
        });
        let mut labels = vec![one_hot(&batch.y, target.size()[1])];
        labels.extend(u.iter().map(|_| target.shallow_clone()));
        let images: Vec<&Tensor> = [x].into_iter().chain(u).collect();
        let (images, labels) = (Tensor::cat(&images, 0), Tensor::cat(&labels, 0));

        let mut stream = step.stream(MIXUP);
        let share = match self.0.share {
            Share::Row => mix_shares(&mut stream, self.0.beta, &images),
            Share::Batch => mix_share(&mut stream, self.0.beta, &images),
        };
        let (images, labels) = mixup_by(&mut stream, &share, &images, &labels);
        let rows = x.size()[0];
        // The guesses and the parts behind the first leave the running statistics alone.
        let z = interleaved(step.student, &images.split(rows, 0), 0);
        let unlabeled = Tensor::cat(&z[1..], 0);
        let (label_x, label_u) = (
            labels.narrow(0, 0, rows),
            labels.narrow(0, rows, unlabeled.size()[0]),
        );

        let warm = step.ramp_over_images(self.0.warmup_kimg as f64 * 1024.0);
        let squared = mean_square(&softmax(&unlabeled), &label_u);
        Loss::new()
            .term("xe", 1.0, mean(&soft_cross_entropy(&z[0], &label_x)))
            .term("l2u", self.0.w_match * warm, squared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::{
        assert_close, assert_slope, batch_of, doubled, identity, step, values,
    };

    // Made by tests/reference/mixmatch.py: plain Python in double precision.
    const ROW_XE: f64 = 0.9189794;
    const ROW_L2U: f64 = 0.0734711775;
    const GRADIENT: [f64; 9] = [
        -0.0153703, -0.0369975, -0.0424286, 0.0445333, 0.0517853, 0.0346080, -0.0291630,
        -0.0147879, 0.0078206,
    ];
    const BATCH_XE: f64 = 1.23121955;
    const BATCH_L2U: f64 = 0.0538627975;

    fn loss(settings: Mixmatch, number: u64) -> (crate::network::Network, Loss) {
        let network = identity(3);
        let teacher = doubled(&network);
        let step = Step {
            number,
            ..step(&network, &teacher)
        };
        let loss = MixMatch(settings).loss(&step, &batch_of(4, 3, &[1.3, 0.4]));
        (network, loss)
    }

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        let (network, found) = loss(Mixmatch::default(), 0);
        assert_close(&values(&found), &[ROW_XE, ROW_L2U]);
        // The labels are fixed in the reference: nothing flows into the guesses.
        assert_slope(&network, &found.terms[1].2, &GRADIENT);
    }

    #[test]
    fn one_share_may_stand_for_the_whole_batch() {
        let share = Share::Batch;
        let (_, found) = loss(
            Mixmatch {
                share,
                ..Mixmatch::default()
            },
            0,
        );
        assert_close(&values(&found), &[BATCH_XE, BATCH_L2U]);
    }

    #[test]
    fn the_unlabeled_term_warms_up() {
        // Four images of 1024, 400 steps on 1600 of them.
        let weight = |kimg, number| {
            let settings = Mixmatch {
                warmup_kimg: kimg,
                ..Mixmatch::default()
            };
            loss(settings, number).1.terms[1].1
        };
        assert_eq!(weight(1, 0), 0.0);
        assert_eq!(weight(1, 64), 25.0);
        assert_eq!(weight(1, 400), 100.0);
        assert_eq!(weight(0, 0), 100.0);
    }
}
