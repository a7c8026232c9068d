//! Random numbers as a pure function of (seed, purpose, step, index): there is no generator state to
//! save, and neither order nor thread count nor a restart changes a draw.
//!
//! The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011), the one behind numpy's `Philox`. Seed and purpose are its key; step, index and the
//! number of the block within the stream are its counter, so no two streams of a run overlap.
//!
//! Every published number rests on these values: a change here is a change of the stage versions.

/// What a stream is for, so that two uses at the same step and index stay independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose(u64);

impl Purpose {
    /// A purpose by name. Different names give different streams.
    pub const fn named(name: &str) -> Self {
        // FNV-1a, 64 bits: short, and computed by the compiler where the name is a constant.
        let bytes = name.as_bytes();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
            i += 1;
        }
        Self(hash)
    }

    /// The n-th purpose of a family, such as the n-th view of an image. `nth(0)` is not the family
    /// itself.
    #[must_use]
    pub const fn nth(self, n: u64) -> Self {
        // SplitMix64's finalizer: a bijection for each n, so members of a family never meet.
        let mut z = self
            .0
            .wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(z ^ (z >> 31))
    }
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u64; 2],
    counter: [u64; 4],
    block: [u64; 4],
    used: usize,
}

impl Stream {
    /// The stream of a seed and a purpose at one step and index; use 0 for what does not apply.
    pub fn new(seed: u64, purpose: Purpose, step: u64, index: u64) -> Self {
        Self {
            key: [seed, purpose.0],
            counter: [0, 0, step, index],
            block: [0; 4],
            used: 4,
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform over 0..n, without bias; 0 where n is 0. (Lemire, arXiv 1805.10941.)
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            let low = product as u64;
            if low >= n || low >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    /// True with probability one half.
    pub fn bool(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    /// Standard normal (Marsaglia's polar method, the second value discarded). The last bit follows
    /// the platform's logarithm.
    pub fn normal(&mut self) -> f64 {
        loop {
            let x = 2.0 * self.uniform() - 1.0;
            let y = 2.0 * self.uniform() - 1.0;
            let s = x * x + y * y;
            if s > 0.0 && s < 1.0 {
                return x * (-2.0 * s.ln() / s).sqrt();
            }
        }
    }

    /// From the gamma distribution of that shape and scale 1. (Marsaglia and Tsang, "A simple method for
    /// generating gamma variables", 2000; below shape 1 with their remedy, a power of a uniform number.)
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            // From (0, 1], whose power is not 0 unless it underflows.
            let power = (1.0 - self.uniform()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        let c = (9.0 * d).sqrt().recip();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.uniform();
            if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// From the beta distribution: a share.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        // Tiny shapes can underflow on both sides; then either end is as likely.
        if x + y > 0.0 {
            x / (x + y)
        } else {
            f64::from(u8::from(self.bool()))
        }
    }

    /// Puts `items` in a uniformly random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }
}

/// One block of Philox4x64-10.
fn philox(counter: [u64; 4], key: [u64; 2]) -> [u64; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let a = u128::from(c0) * 0xd2e7_470e_e14c_6c93;
        let b = u128::from(c2) * 0xca5a_8263_9512_1157;
        c0 = (b >> 64) as u64 ^ c1 ^ k0;
        c1 = b as u64;
        c2 = (a >> 64) as u64 ^ c3 ^ k1;
        c3 = a as u64;
        k0 = k0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        k1 = k1.wrapping_add(0xbb67_ae85_84ca_a73b);
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers() {
        // The first is from the generator's publication (Random123's kat_vectors); the second is
        // numpy 2.4.6: np.random.Philox(counter=[6, 5, 4, 3], key=[1, 2]).random_raw(4), whose first
        // block has the counter raised by one.
        assert_eq!(
            philox([0; 4], [0; 2]),
            [
                0x16554d9eca36314c,
                0xdb20fe9d672d0fdc,
                0xd7e772cee186176b,
                0x7e68b68aec7ba23b
            ]
        );
        assert_eq!(
            philox([7, 5, 4, 3], [1, 2]),
            [
                0x95d921fe777ecb16,
                0x9b7d52b957f52ec4,
                0x92ebb3f18eeb7b20,
                0xd8f44ac9c0d0b290
            ]
        );
    }

    #[test]
    fn draws_never_change() {
        // Computed with numpy 2.4.6's Philox and this file's rules written again in Python.
        let mut stream = Stream::new(1, Purpose::named("weak"), 2, 3);
        assert_eq!(stream.bits(), 5407755672293970550);
        assert_eq!(stream.uniform(), 0.1668466887691218);
        let below: Vec<u64> = (0..8).map(|_| stream.below(10)).collect();
        assert_eq!(below, [3, 3, 9, 8, 1, 2, 1, 2]);
        let bools: Vec<bool> = (0..6).map(|_| stream.bool()).collect();
        assert_eq!(bools, [true, false, false, true, true, true]);
        let mut order: Vec<u32> = (0..8).collect();
        stream.shuffle(&mut order);
        assert_eq!(order, [7, 4, 3, 2, 1, 6, 0, 5]);
        assert!((stream.normal() - 1.6777746233044775).abs() < 1e-12);
        assert_eq!(
            Stream::new(1, Purpose::named("weak").nth(1), 2, 3).bits(),
            16894869702819793080
        );
    }

    #[test]
    fn every_part_of_the_name_gives_another_stream() {
        let weak = Purpose::named("weak");
        let mut first: Vec<u64> = [
            Stream::new(1, weak, 2, 3),
            Stream::new(2, weak, 2, 3),
            Stream::new(1, Purpose::named("strong"), 2, 3),
            Stream::new(1, weak, 3, 2),
            Stream::new(1, weak, 2, 4),
            Stream::new(1, weak.nth(0), 2, 3),
            Stream::new(1, weak.nth(1), 2, 3),
        ]
        .into_iter()
        .map(|mut stream| stream.bits())
        .collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 7);
    }

    #[test]
    fn draws_are_spread_as_they_should_be() {
        let mut stream = Stream::new(0, Purpose::named("test"), 0, 0);
        let n = 20_000;
        let mut counts = [0; 7];
        let (mut sum, mut squares, mut uniform) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            counts[stream.below(7) as usize] += 1;
            let x = stream.normal();
            sum += x;
            squares += x * x;
            uniform += stream.uniform();
        }
        let n = f64::from(n);
        // Five standard deviations of each mean.
        assert!(
            counts
                .iter()
                .all(|c| (f64::from(*c) - n / 7.0).abs() < 250.0),
            "{counts:?}"
        );
        assert!((sum / n).abs() < 0.036);
        assert!((squares / n - 1.0).abs() < 0.05);
        assert!((uniform / n - 0.5).abs() < 0.0103);
    }

    #[test]
    fn an_empty_range_and_an_empty_slice_are_harmless() {
        let mut stream = Stream::new(0, Purpose::named("test"), 0, 0);
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.below(1), 0);
        stream.shuffle::<u8>(&mut []);
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        for (a, b) in [(0.5, 0.5), (0.75, 0.75), (2.0, 5.0)] {
            let mut stream = Stream::new(5, Purpose::named("beta"), 0, 0);
            let draws: Vec<f64> = (0..20_000).map(|_| stream.beta(a, b)).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance =
                draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            let whole: f64 = a + b;
            assert!((mean - a / whole).abs() < 0.015, "{a} {b}: {mean}");
            let expected = a * b / (whole * whole * (whole + 1.0));
            assert!(
                (variance - expected).abs() < 0.05 * expected,
                "{a} {b}: {variance}"
            );
            assert!(draws.iter().all(|x| (0.0..=1.0).contains(x)));
        }
    }
}
