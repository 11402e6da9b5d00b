//! Whether and how the head leaves out logits that cannot matter.

use std::cell::Cell;

/// An instruction set that multiplies small integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstructionSet {
    /// Whatever the compiler makes of plain loops: for comparison, it is slower than f32.
    Portable,
    /// `sdot` of ARM.
    Neon,
    /// `vpmaddubsw` on 256 bits, whose sums of 16 bits saturate: 7 bits times 7 leave room for four products.
    Avx2,
    /// `vpdpbusd` on 256 bits.
    AvxVnni,
    /// As AVX2, on 512 bits.
    Avx512,
    /// `vpdpbusd` on 512 bits.
    Avx512Vnni,
}

impl InstructionSet {
    /// All of them, the fastest last.
    const ALL: [Self; 6] = [
        Self::Portable,
        Self::Neon,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512,
        Self::Avx512Vnni,
    ];

    /// Those of this processor, the fastest last.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|set| set.is_available())
    }

    /// Whether the processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("avxvnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[allow(unreachable_patterns, reason = "those of other processors")]
            _ => false,
        }
    }
}

impl std::fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Neon => "NEON",
            Self::Avx2 => "AVX2",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx512 => "AVX-512",
            Self::Avx512Vnni => "AVX-512 VNNI",
        })
    }
}

/// Whether [`lexical_head`](super::lexical_head) leaves out logits on the CPU that a product of small integers proves to
/// be negative. The vectors are the same bytes either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Screening {
    /// With the fastest instruction set, where it pays.
    #[default]
    Fastest,
    /// With this one. Where the processor lacks it, screening is off.
    With(InstructionSet),
    /// Not at all.
    Off,
}

thread_local! {
    static SCREENING: Cell<Screening> = const { Cell::new(Screening::Fastest) };
}

/// Runs `body` with this screening. Concerns the calling thread only.
///
/// For measurements and tests: results don't depend on it.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sparse_kernels::{Activation, PoolingStrategy, RowOffsets, Screening, lexical_head, screening};
///
/// let device = Device::flex();
/// let hidden = Tensor::<2>::ones([3, 8], &device);
/// let weight = Tensor::<2>::ones([2000, 8], &device) * -1.0;
/// let rows = RowOffsets::from_lengths(&[3]);
/// let head = || {
///     let (hidden, weight) = (hidden.clone(), weight.clone());
///     lexical_head(hidden, weight, None, &rows, PoolingStrategy::Max, Activation::Relu)
/// };
/// screening(Screening::Off, head).to_data().assert_eq(&head().to_data(), true);
/// ```
pub fn screening<T>(screening: Screening, body: impl FnOnce() -> T) -> T {
    /// Puts the old one back, also where `body` panics.
    struct Restore(Screening);

    impl Drop for Restore {
        fn drop(&mut self) {
            SCREENING.set(self.0);
        }
    }

    let _restore = Restore(SCREENING.replace(screening));
    body()
}

impl Screening {
    /// That of the calling thread.
    pub(crate) fn current() -> Self {
        SCREENING.get()
    }

    /// The instruction set to screen with, if any.
    pub(crate) fn instruction_set(self) -> Option<InstructionSet> {
        match self {
            Self::Fastest => InstructionSet::available()
                .last()
                .filter(|&set| set != InstructionSet::Portable),
            Self::With(set) => Some(set).filter(|set| set.is_available()),
            Self::Off => None,
        }
    }
}
