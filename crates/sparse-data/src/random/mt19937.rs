//! The generator behind `torch.randperm` on a CPU.

const N: usize = 624;
const M: usize = 397;

/// MT19937 ([Matsumoto and Nishimura, 1998](https://doi.org/10.1145/272991.272995)), seeded by one 32-bit integer.
#[derive(Debug, Clone)]
pub(crate) struct Mt19937 {
    state: Box<[u32; N]>,
    next: usize,
}

impl Mt19937 {
    /// The generator that `torch.Generator().manual_seed(seed)` makes: PyTorch uses the low 32 bits.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = Box::new([0_u32; N]);
        state[0] = seed as u32;
        for i in 1..N {
            let previous = state[i - 1];
            state[i] = 1_812_433_253_u32
                .wrapping_mul(previous ^ (previous >> 30))
                .wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    /// The next 32 bits.
    pub(crate) fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// `torch.randperm(n, generator=self)`, exact for `n` below 2³²/20.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            let j = i + self.next_u32() as usize % (n - i);
            order.swap(i, j);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Recorded from torch 2.15.0.
    #[test]
    fn permutations_are_those_of_torch() {
        let cases: [(u64, [usize; 10]); 4] = [
            (42, [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]),
            (43, [8, 4, 9, 0, 5, 1, 6, 7, 2, 3]),
            (0, [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]),
            (1, [5, 6, 1, 2, 0, 8, 9, 3, 7, 4]),
        ];
        for (seed, expected) in cases {
            assert_eq!(Mt19937::new(seed).permutation(10), expected, "seed {seed}");
        }
    }

    #[test]
    fn the_ten_thousandth_number_is_that_of_the_standard_library_of_cpp() {
        // The C++ standard, [rand.predef]: the 10,000th output of a default `mt19937` (seed 5489) is 4123659995.
        let mut generator = Mt19937::new(5489);
        let last = (0..10_000).map(|_| generator.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
