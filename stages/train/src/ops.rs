//! The papers' vocabulary: what several methods say, as functions on tensors.
//!
//! N images, K classes; z are logits, p probabilities, both N×K; y are classes, N.

use rematch_data::rng::{Purpose, Stream};
use tch::{Kind, Reduction, Tensor};

use crate::batch_norm::Bn;
use crate::network::Network;
use crate::shim;

/// Cross-entropy of each row of logits against its class, N.
pub fn cross_entropy(z: &Tensor, y: &Tensor) -> Tensor {
    z.cross_entropy_loss::<Tensor>(y, None, Reduction::None, -100, 0.0)
}

/// Cross-entropy of each row of logits against a distribution: −Σ p log softmax(z), N.
pub fn soft_cross_entropy(z: &Tensor, p: &Tensor) -> Tensor {
    -sum(&(p * log_softmax(z)))
}

/// KL(p ‖ softmax(z)) of each row, N; p log p is 0 where p is.
pub fn kl(p: &Tensor, z: &Tensor) -> Tensor {
    sum(&(p * (p.clamp_min(1e-30).log() - log_softmax(z))))
}

/// KL(softmax(a) ‖ softmax(b)) of each row, N; both may learn from it.
pub fn kl_of_logits(a: &Tensor, b: &Tensor) -> Tensor {
    let log = log_softmax(a);
    sum(&(log.exp() * (&log - log_softmax(b))))
}

/// Entropy of softmax(z) of each row, N.
pub fn entropy(z: &Tensor) -> Tensor {
    let log = log_softmax(z);
    -sum(&(log.exp() * log))
}

/// Probabilities, N×K.
pub fn softmax(z: &Tensor) -> Tensor {
    z.softmax(-1, Kind::Float)
}

/// Their logarithms, N×K.
pub fn log_softmax(z: &Tensor) -> Tensor {
    z.log_softmax(-1, Kind::Float)
}

/// p^{1/T}, rescaled to sum 1.
pub fn sharpen(p: &Tensor, temperature: f64) -> Tensor {
    normalize(&p.pow_tensor_scalar(1.0 / temperature))
}

/// Rows rescaled to sum 1.
pub fn normalize(p: &Tensor) -> Tensor {
    p / p.sum_dim_intlist([-1_i64].as_slice(), true, Kind::Float)
}

/// Classes as rows of 0 and 1, N×K.
pub fn one_hot(y: &Tensor, classes: i64) -> Tensor {
    y.one_hot(classes).to_kind(Kind::Float)
}

/// Mean over everything.
pub fn mean(values: &Tensor) -> Tensor {
    values.mean(Kind::Float)
}

/// Mean over everything of (a − b)².
pub fn mean_square(a: &Tensor, b: &Tensor) -> Tensor {
    mean(&(a - b).square())
}

/// Sum over the last axis.
pub fn sum(values: &Tensor) -> Tensor {
    values.sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float)
}

/// Mean over the batch, N×K to K.
pub fn batch_mean(p: &Tensor) -> Tensor {
    p.mean_dim([0_i64].as_slice(), false, Kind::Float)
}

/// Mean of several tensors of one shape.
pub fn average(several: &[Tensor]) -> Tensor {
    Tensor::stack(several, 0).mean_dim([0_i64].as_slice(), false, Kind::Float)
}

/// The highest probability of each row and its class.
pub fn confidence(p: &Tensor) -> (Tensor, Tensor) {
    p.max_dim(-1, false)
}

/// 1 where the condition holds, 0 elsewhere.
pub fn indicator(condition: &Tensor) -> Tensor {
    condition.to_kind(Kind::Float)
}

/// Mean of the values where the mask is 1; 0 where it is nowhere.
pub fn masked_mean(values: &Tensor, mask: &Tensor) -> Tensor {
    (values * mask).sum(Kind::Float) / mask.sum(Kind::Float).clamp_min(1.0)
}

/// How much of each image comes from itself in a mix: λ ~ Beta(β, β), at least ½. One per row,
/// shaped to multiply `like`.
pub fn mix_shares(stream: &mut Stream, beta: f64, like: &Tensor) -> Tensor {
    let shares: Vec<f32> = (0..like.size()[0])
        .map(|_| {
            let share = stream.beta(beta, beta);
            share.max(1.0 - share) as f32
        })
        .collect();
    column(&upload(&Tensor::from_slice(&shares), like), like)
}

/// The same share for every row.
pub fn mix_share(stream: &mut Stream, beta: f64, like: &Tensor) -> Tensor {
    mix_shares(stream, beta, &like.narrow(0, 0, 1))
}

/// Numbers that were drawn here, on the device of `like`, without waiting for what it is doing.
fn upload(drawn: &Tensor, like: &Tensor) -> Tensor {
    // Like tch's own operations: an error here is a defect of ours.
    shim::upload(drawn, like).unwrap_or_else(|e| panic!("{e}"))
}

/// One number per row, shaped to multiply `like`.
pub fn column(numbers: &Tensor, like: &Tensor) -> Tensor {
    let mut shape = vec![1; like.dim()];
    shape[0] = -1;
    numbers.view(shape.as_slice())
}

/// λ·a + (1 − λ)·b, λ one per row.
pub fn mix(a: &Tensor, b: &Tensor, share: &Tensor) -> Tensor {
    let share = column(share, a);
    b + (a - b) * share
}

/// Rows in a random order.
pub fn permutation(stream: &mut Stream, like: &Tensor) -> Tensor {
    let mut order: Vec<i64> = (0..like.size()[0]).collect();
    stream.shuffle(&mut order);
    upload(&Tensor::from_slice(&order), like)
}

/// Standard normal numbers in the shape of `like`. Uniform ones are drawn here and turned on the
/// device (Box and Muller), for there are many.
pub fn normals(stream: &mut Stream, like: &Tensor) -> Tensor {
    let count = like.numel();
    let half = count.div_ceil(2);
    // The middles of 2²⁴ parts of (0, 1), so that the logarithm is finite.
    let draws: Vec<f32> = (0..2 * half)
        .map(|_| ((stream.bits() >> 40) as f32 + 0.5) / 16_777_216.0)
        .collect();
    let uniform = upload(&Tensor::from_slice(&draws), like).view([2, half as i64]);
    let radius = (uniform.get(0).log() * -2.0).sqrt();
    let angle = uniform.get(1) * std::f64::consts::TAU;
    Tensor::cat(&[&radius * angle.cos(), &radius * angle.sin()], 0)
        .narrow(0, 0, count as i64)
        .view(like.size().as_slice())
}

/// MixUp of rows with rows in a random order (`xxy.yxy` of the originals): the mixed images and the
/// equally mixed labels.
pub fn mixup(stream: &mut Stream, beta: f64, x: &Tensor, labels: &Tensor) -> (Tensor, Tensor) {
    let share = mix_shares(stream, beta, x);
    mixup_by(stream, &share, x, labels)
}

/// The same with shares that are given.
pub fn mixup_by(
    stream: &mut Stream,
    share: &Tensor,
    x: &Tensor,
    labels: &Tensor,
) -> (Tensor, Tensor) {
    let order = permutation(stream, x);
    (
        mix(x, &x.index_select(0, &order), share),
        mix(labels, &labels.index_select(0, &order), share),
    )
}

/// MixUp of rows with the rows of the reversed batch: the mixed images and the equally mixed labels.
pub fn mixup_reversed(
    stream: &mut Stream,
    beta: f64,
    x: &Tensor,
    labels: &Tensor,
) -> (Tensor, Tensor) {
    let share = mix_shares(stream, beta, x);
    let both = |rows: &Tensor| mix(rows, &rows.flip([0]), &share);
    (both(x), both(labels))
}

/// What random draws of MixUp are for.
pub const MIXUP: Purpose = Purpose::named("mixup");

/// Logits of equally long batches, each passed on its own after the originals' interleave, which gives
/// every pass a share of each batch (spec/fixmatch.md 6). Only the pass number `updating` moves the
/// running statistics. The k-th tensor holds the logits of the k-th batch.
pub fn interleaved(network: &Network, batches: &[Tensor], updating: usize) -> Vec<Tensor> {
    let mixed = interleave(batches);
    let logits: Vec<Tensor> = mixed
        .iter()
        .enumerate()
        .map(|(n, x)| {
            let bn = if n == updating {
                Bn::Update
            } else {
                Bn::Observe
            };
            network.logits(x, bn)
        })
        .collect();
    interleave(&logits)
}

/// Cuts k batches of B rows into k groups each and swaps the i-th group of the first with the i-th of
/// the i-th: its own inverse. The last B mod k groups are one longer.
pub fn interleave(batches: &[Tensor]) -> Vec<Tensor> {
    let Some(first) = batches.first() else {
        return Vec::new();
    };
    let (rows, groups) = (first.size()[0], batches.len() as i64);
    let sizes: Vec<i64> = (0..groups)
        .map(|g| rows / groups + i64::from(g >= groups - rows % groups))
        .collect();
    let mut cut: Vec<Vec<Tensor>> = batches
        .iter()
        .map(|batch| batch.split_with_sizes(sizes.as_slice(), 0))
        .collect();
    for i in 1..cut.len() {
        let (head, tail) = cut.split_at_mut(i);
        std::mem::swap(&mut head[0][i], &mut tail[0][i]);
    }
    cut.iter().map(|groups| Tensor::cat(groups, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn stream() -> Stream {
        Stream::new(1, MIXUP, 0, 0)
    }

    #[test]
    fn interleave_swaps_groups_as_the_originals() {
        // spec/fixmatch.md 14: offsets 0 21 42 64 for B = 64 and three batches.
        let batches: Vec<Tensor> = (0..3)
            .map(|n| Tensor::arange(64, (Kind::Float, Device::Cpu)) + 100.0 * f64::from(n))
            .collect();
        let mixed = interleave(&batches);
        let rows = Vec::<f32>::try_from(&mixed[0]).unwrap();
        assert_eq!(
            (rows[20], rows[21], rows[41], rows[42], rows[63]),
            (20., 121., 141., 242., 263.)
        );
        assert_eq!(mixed[1].double_value(&[21]), 21.0);
        for (found, expected) in interleave(&mixed).iter().zip(&batches) {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn mixed_rows_keep_at_least_half_of_themselves() {
        let x = Tensor::arange(50, (Kind::Float, Device::Cpu)).view([50, 1, 1, 1]);
        let share = mix_shares(&mut stream(), 0.75, &x);
        assert_eq!(share.size(), [50, 1, 1, 1]);
        assert!(share.min().double_value(&[]) >= 0.5 && share.max().double_value(&[]) <= 1.0);
        let labels = one_hot(&Tensor::arange(50, (Kind::Int64, Device::Cpu)), 50);
        let (mixed, labels) = mixup(&mut stream(), 0.75, &x, &labels);
        let own = labels.diagonal(0, 0, 1);
        assert!(own.min().double_value(&[]) >= 0.5);
        let sums = sum(&labels);
        assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-6);
        // The image is the labels' mix of 0, 1, 2, ...
        let expected = labels.matmul(&x.view([50, 1])).view([50]);
        assert!((mixed.view([50]) - expected).abs().max().double_value(&[]) < 1e-4);
    }

    #[test]
    fn a_batch_may_be_mixed_with_one_share() {
        let x = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([6, 1, 1, 1]);
        let share = mix_share(&mut stream(), 0.75, &x);
        assert_eq!(share.size(), [1, 1, 1, 1]);
        let (mixed, _) = mixup_by(&mut stream(), &share, &x, &x);
        let order = permutation(&mut stream(), &x);
        let expected = mix(
            &x,
            &x.index_select(0, &order),
            &share.get(0).expand([6, 1, 1, 1], true),
        );
        assert_eq!(mixed, expected);
    }

    #[test]
    fn rows_meet_those_of_the_reversed_batch() {
        let labels = Tensor::eye(3, (Kind::Float, Device::Cpu));
        let (_, mixed) = mixup_reversed(&mut stream(), 0.75, &labels, &labels);
        assert_eq!(mixed.double_value(&[1, 1]), 1.0);
        assert!(mixed.double_value(&[0, 2]) > 0.0 && mixed.double_value(&[0, 1]) == 0.0);
        assert!((sum(&mixed) - 1.0).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn normal_numbers_are_normal() {
        let like = Tensor::zeros([5, 3, 31, 43], (Kind::Float, Device::Cpu));
        let found = normals(&mut stream(), &like);
        assert_eq!(found.size(), like.size());
        // 19,995 numbers: the bounds are about five standard errors.
        for (power, expected, bound) in [(1, 0.0, 0.035), (2, 1.0, 0.05), (4, 3.0, 0.35)] {
            let moment = mean(&found.pow_tensor_scalar(power)).double_value(&[]);
            assert!((moment - expected).abs() < bound, "{power}: {moment}");
        }
    }

    #[test]
    fn divergence_of_logits_is_that_of_their_probabilities() {
        let a = Tensor::from_slice(&[1.0_f32, -2.0, 0.5]).view([1, 3]);
        let b = Tensor::from_slice(&[0.0_f32, 1.0, 3.0]).view([1, 3]);
        assert!(
            (kl_of_logits(&a, &b) - kl(&softmax(&a), &b))
                .abs()
                .double_value(&[0])
                < 1e-6
        );
    }

    #[test]
    fn sharpening_keeps_order_and_sum() {
        let p = Tensor::from_slice(&[0.5_f32, 0.3, 0.2]).view([1, 3]);
        let sharp = Vec::<f32>::try_from(sharpen(&p, 0.5).view([3])).unwrap();
        let squares = [0.25_f32, 0.09, 0.04].map(|v| v / 0.38);
        assert!(
            sharp.iter().zip(squares).all(|(a, b)| (a - b).abs() < 1e-6),
            "{sharp:?}"
        );
    }

    #[test]
    fn divergence_of_a_distribution_from_itself_is_zero() {
        let z = Tensor::from_slice(&[1.0_f32, -2.0, 0.5]).view([1, 3]);
        assert!(kl(&softmax(&z), &z).abs().double_value(&[0]) < 1e-6);
        let certain = Tensor::from_slice(&[0.0_f32, 1.0, 0.0]).view([1, 3]);
        let against = cross_entropy(&z, &Tensor::from_slice(&[1_i64]));
        assert!((kl(&certain, &z) - against).abs().double_value(&[0]) < 1e-6);
    }
}
