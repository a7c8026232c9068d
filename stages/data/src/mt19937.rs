//! The generator behind numpy's `np.random.seed` and `np.random.shuffle`, bit for bit
//! (spec/fixmatch.md 2.5): the published splits are drawn from it. Python's `random.seed` and
//! `random.shuffle`, which order RealMix's copies, stand on the same generator (spec/realmix.md 4.2).

const N: usize = 624;
const M: usize = 397;

/// A Mersenne Twister in the state that `np.random.seed(seed)` leaves.
#[derive(Clone)]
pub struct Mt19937 {
    words: [u32; N],
    next: usize,
}

impl Mt19937 {
    /// Seeds as numpy's legacy generator does with an integer.
    pub fn new(seed: u32) -> Self {
        let mut words = [seed; N];
        for i in 1..N {
            let last = words[i - 1];
            words[i] = 1812433253u32
                .wrapping_mul(last ^ last >> 30)
                .wrapping_add(i as u32);
        }
        Self { words, next: N }
    }

    /// Seeds as Python's `random.seed` does with an integer: the reference implementation's
    /// `init_by_array` with a key of one word.
    pub fn python(seed: u32) -> Self {
        let mut generator = Self::new(19650218);
        let words = &mut generator.words;
        let mut i = 1;
        for step in 0..2 * N - 1 {
            let last = words[i - 1] ^ words[i - 1] >> 30;
            words[i] = if step < N {
                (words[i] ^ last.wrapping_mul(1664525)).wrapping_add(seed)
            } else {
                (words[i] ^ last.wrapping_mul(1566083941)).wrapping_sub(i as u32)
            };
            i += 1;
            if i == N {
                words[0] = words[N - 1];
                i = 1;
            }
        }
        words[0] = 0x8000_0000;
        generator
    }

    /// The next 32 bits.
    pub fn word(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.words[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = self.words[i] & 0x8000_0000 | self.words[(i + 1) % N] & 0x7fff_ffff;
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.words[i] = self.words[(i + M) % N] ^ y >> 1 ^ odd;
        }
        self.next = 0;
    }

    /// Uniform in 0..1 with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        let (a, b) = (self.word() >> 5, self.word() >> 6);
        (f64::from(a) * 67108864.0 + f64::from(b)) / 9007199254740992.0
    }

    /// Uniform in 0..=max by rejection; `max` 0 draws nothing.
    pub fn bounded(&mut self, max: u32) -> u32 {
        if max == 0 {
            return 0;
        }
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.word() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// Shuffles in place as Python's `random.shuffle` does, for up to 2^32 − 1 items: each bound has
    /// as many bits drawn as it is long, the upper ones of a word.
    pub fn python_shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let bound = i as u32 + 1;
            let j = loop {
                let value = self.word() >> bound.leading_zeros();
                if value < bound {
                    break value;
                }
            };
            items.swap(i, j as usize);
        }
    }

    /// Shuffles in place, from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.bounded(i as u32) as usize;
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Test vectors of spec/fixmatch.md 14, made with numpy.

    #[test]
    fn the_stream_is_numpys() {
        assert_eq!(Mt19937::new(1).word(), 1791095845);
        let mut generator = Mt19937::new(1);
        let uniforms: [f64; 3] = std::array::from_fn(|_| generator.uniform());
        let expected = [0.417022004702574, 0.720324493442158, 0.000114374817344887];
        for (ours, numpys) in uniforms.iter().zip(expected) {
            assert!((ours - numpys).abs() < 1e-15, "{ours} {numpys}");
        }
    }

    #[test]
    fn a_shuffle_is_numpys() {
        for (seed, expected) in [
            (1, [2, 9, 6, 4, 0, 3, 1, 7, 8, 5]),
            (3, [5, 4, 1, 2, 9, 6, 7, 0, 3, 8]),
        ] {
            let mut items: Vec<usize> = (0..10).collect();
            Mt19937::new(seed).shuffle(&mut items);
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn a_shuffle_is_pythons() {
        // spec/realmix.md 4.2 and CPython 3.11: random.seed(s); random.shuffle(list(range(10))).
        for (seed, expected) in [
            (0, [7, 8, 1, 5, 3, 4, 2, 0, 9, 6]),
            (1, [6, 8, 9, 7, 5, 3, 0, 4, 1, 2]),
            (4294967295, [0, 7, 1, 5, 2, 6, 4, 8, 3, 9]),
        ] {
            let mut items: Vec<usize> = (0..10).collect();
            Mt19937::python(seed).python_shuffle(&mut items);
            assert_eq!(items, expected, "seed {seed}");
        }
    }
}
