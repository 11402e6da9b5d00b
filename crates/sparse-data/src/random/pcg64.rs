//! NumPy's default generator, so that a shuffle gives the order that Hugging Face Datasets gives.

const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
const POOL: usize = 4;

/// PCG64 (XSL-RR, [O'Neill, 2014](https://www.pcg-random.org)) seeded through NumPy's `SeedSequence`.
#[derive(Debug, Clone)]
pub(crate) struct Pcg64 {
    state: u128,
    increment: u128,
    half: Option<u32>,
}

impl Pcg64 {
    /// The generator that `numpy.random.default_rng(seed)` makes.
    pub(crate) fn new(seed: u64) -> Self {
        let words = seed_sequence(seed);
        let long = |i: usize| u128::from(words[2 * i]) | (u128::from(words[2 * i + 1]) << 32);
        let initial = (long(0) << 64) | long(1);
        let sequence = (long(2) << 64) | long(3);
        let mut generator = Self {
            state: 0,
            increment: (sequence << 1) | 1,
            half: None,
        };
        generator.step();
        generator.state = generator.state.wrapping_add(initial);
        generator.step();
        generator
    }

    fn step(&mut self) {
        self.state = self
            .state
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(self.increment);
    }

    /// The next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// The next 32 bits: the low, then the high half of one 64-bit output.
    fn next_u32(&mut self) -> u32 {
        if let Some(high) = self.half.take() {
            return high;
        }
        let both = self.next_u64();
        self.half = Some((both >> 32) as u32);
        both as u32
    }

    /// A number in `0..=max` by masked rejection.
    fn up_to(&mut self, max: u64) -> u64 {
        let mask = u64::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
        loop {
            let draw = if max <= u64::from(u32::MAX) {
                u64::from(self.next_u32())
            } else {
                self.next_u64()
            };
            if draw & mask <= max {
                return draw & mask;
            }
        }
    }

    /// `numpy.random.default_rng(seed).permutation(n)`.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let j = self.up_to(i as u64) as usize;
            order.swap(i, j);
        }
        order
    }
}

/// The first eight words of `numpy.random.SeedSequence(seed).generate_state`.
fn seed_sequence(seed: u64) -> [u32; 8] {
    let mut constant = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(constant);
        value ^ (value >> 16)
    };
    let mix = |x: u32, y: u32| {
        let value = 0xca01_f9dd_u32
            .wrapping_mul(x)
            .wrapping_sub(0x4973_f715_u32.wrapping_mul(y));
        value ^ (value >> 16)
    };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(&mut hash);
    for i in 0..POOL {
        for j in 0..POOL {
            if i != j {
                pool[j] = mix(pool[j], hash(pool[i]));
            }
        }
    }
    let mut constant = 0x8b51_f9dd_u32;
    std::array::from_fn(|i| {
        let value = pool[i % POOL] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(constant);
        value ^ (value >> 16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // All recorded from numpy 2.4.6.
    #[test]
    fn outputs_are_those_of_numpy() {
        let mut generator = Pcg64::new(42);
        let outputs = [(); 3].map(|()| generator.next_u64());
        assert_eq!(
            outputs,
            [
                0xc621_fbcd_16d9_2688,
                0x705a_5661_a791_ffc1,
                0xdbcd_12c2_6eda_1624
            ]
        );
    }

    #[test]
    fn permutations_are_those_of_numpy() {
        assert_eq!(
            Pcg64::new(42).permutation(10),
            [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]
        );
        assert_eq!(
            Pcg64::new(0).permutation(10),
            [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]
        );
        assert_eq!(
            Pcg64::new(42).permutation(20),
            [
                15, 9, 14, 7, 12, 10, 6, 19, 3, 0, 16, 5, 11, 18, 2, 4, 17, 1, 13, 8
            ]
        );
    }

    #[test]
    fn nothing_and_one_thing_have_one_order() {
        assert!(Pcg64::new(1).permutation(0).is_empty());
        assert_eq!(Pcg64::new(1).permutation(1), [0]);
    }
}
