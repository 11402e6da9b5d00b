//! Counter-based random numbers.

/// A named, counter-based stream of random numbers.
///
/// A stream is nothing but a key: [`value`](Self::value) is a pure function of the key and a counter, so the numbers
/// depend neither on the order in which they are asked for nor on the number of threads, and a run that was resumed
/// goes on with the numbers of one that was not. Streams for different purposes are derived by name.
///
/// ```
/// use sparse_kernels::RandomStream;
///
/// let step = RandomStream::new(42).derive("dropout").derive_index(7);
/// assert_eq!(step, RandomStream::new(42).derive("dropout").derive_index(7));
/// assert_ne!(step.value(0), step.value(1));
/// assert_ne!(step, RandomStream::new(42).derive("shuffle").derive_index(7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomStream(u64);

impl RandomStream {
    /// The root stream of a run.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5370_6172_7365_456e))
    }

    /// The stream `name` below this one.
    #[must_use]
    pub fn derive(self, name: &str) -> Self {
        // FNV-1a spreads the bytes, the mixer their influence.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mix(self.0.rotate_left(32) ^ mix(hash)))
    }

    /// The stream number `index` below this one: a step, a layer, a text.
    #[must_use]
    pub fn derive_index(self, index: u64) -> Self {
        Self(mix(
            self.0.rotate_left(17) ^ mix(index ^ 0xa076_1d64_78bd_642f)
        ))
    }

    /// The key: two streams with equal keys give equal numbers.
    pub fn key(self) -> u64 {
        self.0
    }

    /// 64 random bits at `counter`.
    pub fn value(self, counter: u64) -> u64 {
        mix(self
            .0
            .wrapping_add(counter.wrapping_add(1).wrapping_mul(GOLDEN_RATIO)))
    }

    /// A number uniform in `[0, 1)` at `counter`, in steps of 2⁻⁵³.
    pub fn uniform(self, counter: u64) -> f64 {
        (self.value(counter) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A number of the standard normal distribution at `counter` (Box-Muller).
    pub fn normal(self, counter: u64) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform(2 * counter)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(2 * counter + 1)).cos()
    }
}

const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64, a bijection whose output bits all depend on all input bits
/// ([Steele et al., 2014](https://doi.org/10.1145/2660193.2660195)).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_numbers_have_the_mean_and_spread_of_a_uniform_distribution() {
        let stream = RandomStream::new(1).derive("test");
        let n = 100_000;
        let (sum, squares) = (0..n)
            .map(|i| stream.uniform(i))
            .fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        let mean = sum / n as f64;
        assert!((mean - 0.5).abs() < 5e-3, "mean {mean}");
        assert!((squares / n as f64 - mean * mean - 1.0 / 12.0).abs() < 2e-3);
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let stream = RandomStream::new(2);
        let n = 100_000;
        let (sum, squares) = (0..n)
            .map(|i| stream.normal(i))
            .fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        assert!((sum / n as f64).abs() < 0.015);
        assert!((squares / n as f64 - 1.0).abs() < 0.02);
    }

    #[test]
    fn neighbouring_keys_give_unrelated_numbers() {
        let (a, b) = (
            RandomStream::new(0).derive_index(0),
            RandomStream::new(0).derive_index(1),
        );
        let equal_bits: u32 = (0..1000)
            .map(|i| (!(a.value(i) ^ b.value(i))).count_ones())
            .sum();
        assert!((f64::from(equal_bits) / 64_000.0 - 0.5).abs() < 0.01);
    }
}
