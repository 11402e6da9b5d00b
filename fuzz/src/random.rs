//! Random numbers that are a function of a seed.

/// SplitMix64: small, fast, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of `number` under `name`; streams of neighbours have nothing in common.
    pub fn new(name: &str, number: u64) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut random = Self(hash ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        random.bits();
        random
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        (self.bits() % n as u64) as usize
    }

    /// Whether one of `n` throws hits.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `items`.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// A span within `length`, mostly short.
    pub fn span(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        let longest = match self.below(4) {
            0 => length,
            1 => 64,
            _ => 8,
        };
        let end = (start + 1 + self.below(longest)).min(length);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_name_and_number() {
        let first = |name, number| Random::new(name, number).bits();
        assert_eq!(first("csv", 7), first("csv", 7));
        assert_ne!(first("csv", 7), first("csv", 8));
        assert_ne!(first("csv", 7), first("tsv", 7));
    }

    #[test]
    fn spans_lie_within() {
        let mut random = Random::new("spans", 0);
        for length in [1, 2, 9, 1000] {
            for _ in 0..200 {
                let span = random.span(length);
                assert!(span.start < span.end && span.end <= length, "{span:?}");
            }
        }
        assert_eq!(random.below(0), 0);
    }
}
