//! Named streams of random numbers: a pure function of seed, name and epoch.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// ChaCha8 keyed by the hash of `(seed, name, epoch)`: no state outlives it, nothing else draws from it.
#[derive(Debug)]
pub(crate) struct RandomStream(ChaCha8Rng);

impl RandomStream {
    /// The stream `name` of `epoch` under `seed`.
    pub(crate) fn new(seed: u64, name: &str, epoch: u64) -> Self {
        let mut message = Vec::with_capacity(name.len() + 16);
        message.extend_from_slice(&seed.to_le_bytes());
        message.extend_from_slice(&epoch.to_le_bytes());
        message.extend_from_slice(name.as_bytes());
        let mut key = [0; 32];
        key[..16].copy_from_slice(&xxh3_128_with_seed(&message, 0).to_le_bytes());
        key[16..].copy_from_slice(&xxh3_128_with_seed(&message, 1).to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number in `0..bound`, every one equally likely (Lemire 2019, with rejection).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.0.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.0.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// Puts `items` in random order (Fisher-Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }

    /// A random order of `0..n`.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_name_and_epoch_and_repeat() {
        let draw = |seed, name, epoch| RandomStream::new(seed, name, epoch).permutation(100);
        let first = draw(1, "rows", 0);
        assert_eq!(first, draw(1, "rows", 0));
        assert_ne!(first, draw(2, "rows", 0));
        assert_ne!(first, draw(1, "labels", 0));
        assert_ne!(first, draw(1, "rows", 1));
    }

    #[test]
    fn every_number_below_the_bound_is_equally_likely() {
        let mut stream = RandomStream::new(7, "test", 0);
        let mut counts = [0_u32; 5];
        for _ in 0..50_000 {
            counts[stream.below(5) as usize] += 1;
        }
        // Standard deviation of a count: sqrt(50,000 · 0.2 · 0.8) = 89.
        assert!(
            counts.iter().all(|&count| count.abs_diff(10_000) < 500),
            "{counts:?}"
        );
    }
}
