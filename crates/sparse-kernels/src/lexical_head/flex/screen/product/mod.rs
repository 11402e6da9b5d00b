//! The product of small integers, and of it only what screening needs: the largest sum of each column.
//!
//! One loop over tiles serves every instruction set: a few tokens times a few registers of columns, whose sums stay in
//! registers while the inner index runs. An instruction set says how four products are added to a sum ([`Dot`]).

#![allow(
    unsafe_code,
    reason = "instructions behind a check, and pointers into panels whose lengths are checked at the entry"
)]

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::lexical_head::InstructionSet;

/// Columns of a block of weights, which lies as `[width / 4][BLOCK][4]`.
pub(super) const BLOCK: usize = 16;

/// The width of both factors is filled up to a multiple of this: two times four products.
pub(super) const STEP: usize = 8;

/// Blocks that are multiplied at a time: the number of blocks is filled up to a multiple of this.
pub(super) const BLOCKS: usize = 4;

impl InstructionSet {
    /// The largest magnitude of a quantized weight.
    pub(super) fn weight_levels(self) -> f32 {
        match self {
            Self::Avx2 | Self::Avx512 => 63.0,
            _ => 127.0,
        }
    }

    /// The largest magnitude of a quantized hidden state.
    pub(super) fn hidden_levels(self) -> f32 {
        match self {
            Self::Avx2 | Self::Avx512 => 63.0,
            _ => 127.0,
        }
    }

    /// What is added to quantized hidden states, for instructions that want them unsigned.
    pub(super) fn offset(self) -> i32 {
        match self {
            Self::Avx2 | Self::Avx512 => 64,
            Self::Neon | Self::Portable => 0,
            _ => 128,
        }
    }

    /// The largest of each column of `hidden · weightsᵀ`.
    ///
    /// `hidden` is `[n_tokens, width]`, the instruction set's offset added; `weights` are blocks, as many as `maxima` has.
    pub(super) fn column_maxima(
        self,
        hidden: &[u8],
        width: usize,
        weights: &[i8],
        maxima: &mut [i32],
    ) {
        assert!(self.is_available(), "an instruction set of this processor");
        assert!(
            width > 0 && width.is_multiple_of(STEP) && hidden.len().is_multiple_of(width),
            "hidden states filled up"
        );
        assert!(
            maxima.len().is_multiple_of(BLOCK * BLOCKS) && weights.len() == maxima.len() * width,
            "whole groups of blocks"
        );
        let panels = Panels {
            hidden: hidden.as_ptr(),
            n_tokens: hidden.len() / width,
            width,
            weights: weights.as_ptr(),
        };
        // SAFETY: the processor has the instructions, and the lengths were checked above.
        unsafe {
            match self {
                Self::Portable => portable::column_maxima(panels, maxima),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => x86::column_maxima_avx2(panels, maxima),
                #[cfg(target_arch = "x86_64")]
                Self::AvxVnni => x86::column_maxima_avx_vnni(panels, maxima),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => x86::column_maxima_avx512(panels, maxima),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512Vnni => x86::column_maxima_avx512_vnni(panels, maxima),
                #[cfg(target_arch = "aarch64")]
                Self::Neon => neon::column_maxima(panels, maxima),
                #[allow(unreachable_patterns, reason = "those of other processors")]
                _ => unreachable!("not available"),
            }
        }
    }
}

/// Both factors, of checked lengths.
#[derive(Debug, Clone, Copy)]
struct Panels {
    /// `[n_tokens, width]`
    hidden: *const u8,
    n_tokens: usize,
    width: usize,
    /// `[blocks][width / 4][BLOCK][4]`
    weights: *const i8,
}

/// How an instruction set multiplies and adds. A register holds the sums of [`Self::LANES`] columns.
///
/// The functions are `#[inline(always)]` and unsafe: they belong inside a function compiled for the instruction set.
trait Dot {
    /// Sums of 32 bits.
    type Sums: Copy;
    /// What products are added to for one step, before it goes to the sums.
    type Partial: Copy;
    type Weights: Copy;
    type Hidden: Copy;
    /// A divisor of [`BLOCK`].
    const LANES: usize;

    unsafe fn zero() -> Self::Sums;
    /// Where a step of [`STEP`] inner indices begins.
    unsafe fn begin(sums: Self::Sums) -> Self::Partial;
    /// Adds four products to each column.
    unsafe fn add(
        partial: Self::Partial,
        hidden: Self::Hidden,
        weights: Self::Weights,
    ) -> Self::Partial;
    /// Where it ends: what `sums` are after it.
    unsafe fn end(sums: Self::Sums, partial: Self::Partial) -> Self::Sums;
    /// Four weights of each column.
    unsafe fn weights(from: *const i8) -> Self::Weights;
    /// Four elements of a hidden state, for all columns.
    unsafe fn hidden(from: *const u8) -> Self::Hidden;
    unsafe fn max(a: Self::Sums, b: Self::Sums) -> Self::Sums;
    unsafe fn load(from: *const i32) -> Self::Sums;
    unsafe fn store(to: *mut i32, sums: Self::Sums);
}

/// [`InstructionSet::column_maxima`] in tiles of up to `TOKENS` tokens and `REGISTERS` registers.
///
/// # Safety
///
/// The panels are as long as they say, `maxima` has whole groups of blocks, and the caller is compiled for `D`.
#[inline(always)]
unsafe fn column_maxima<D: Dot, const REGISTERS: usize, const TOKENS: usize>(
    panels: Panels,
    maxima: &mut [i32],
) {
    let Panels {
        n_tokens, width, ..
    } = panels;
    // As even as can be: a last tile of one token would load all weights for little.
    let n_groups = n_tokens.div_ceil(TOKENS);
    maxima.fill(i32::MIN);
    for first in (0..maxima.len()).step_by(REGISTERS * D::LANES) {
        let mut weights = [panels.weights; REGISTERS];
        for (register, weights) in weights.iter_mut().enumerate() {
            let column = first + register * D::LANES;
            // SAFETY: a column of the panels.
            *weights = unsafe { weights.add(column / BLOCK * BLOCK * width + column % BLOCK * 4) };
        }
        for group in 0..n_groups {
            let start = group * n_tokens / n_groups;
            let end = (group + 1) * n_tokens / n_groups;
            // SAFETY: `end - start` tokens from here, and registers of columns inside `maxima`.
            unsafe {
                let hidden = panels.hidden.add(start * width);
                let maxima = maxima.as_mut_ptr().add(first);
                match end - start {
                    1 => tile::<D, REGISTERS, 1>(hidden, width, weights, maxima),
                    2 => tile::<D, REGISTERS, 2>(hidden, width, weights, maxima),
                    3 => tile::<D, REGISTERS, 3>(hidden, width, weights, maxima),
                    4 if TOKENS >= 4 => tile::<D, REGISTERS, 4>(hidden, width, weights, maxima),
                    5 if TOKENS >= 5 => tile::<D, REGISTERS, 5>(hidden, width, weights, maxima),
                    6 if TOKENS >= 6 => tile::<D, REGISTERS, 6>(hidden, width, weights, maxima),
                    _ => unreachable!("at most so many tokens"),
                }
            }
        }
    }
}

/// One tile: `TOKENS` hidden states times `REGISTERS` registers of columns, taken into the maxima.
#[inline(always)]
unsafe fn tile<D: Dot, const REGISTERS: usize, const TOKENS: usize>(
    hidden: *const u8,
    width: usize,
    weights: [*const i8; REGISTERS],
    maxima: *mut i32,
) {
    // SAFETY: the caller vouches for the lengths; every offset below is inside a row of `width` elements or its panel.
    unsafe {
        let mut sums = [[D::zero(); REGISTERS]; TOKENS];
        for step in 0..width / STEP {
            let mut partial = [[D::begin(D::zero()); REGISTERS]; TOKENS];
            for token in 0..TOKENS {
                for register in 0..REGISTERS {
                    partial[token][register] = D::begin(sums[token][register]);
                }
            }
            for four in step * (STEP / 4)..(step + 1) * (STEP / 4) {
                let mut columns = [D::weights(weights[0].add(four * 4 * BLOCK)); REGISTERS];
                for register in 1..REGISTERS {
                    columns[register] = D::weights(weights[register].add(four * 4 * BLOCK));
                }
                for (token, partial) in partial.iter_mut().enumerate() {
                    let state = D::hidden(hidden.add(token * width + four * 4));
                    for (partial, &columns) in partial.iter_mut().zip(&columns) {
                        *partial = D::add(*partial, state, columns);
                    }
                }
            }
            for token in 0..TOKENS {
                for register in 0..REGISTERS {
                    sums[token][register] = D::end(sums[token][register], partial[token][register]);
                }
            }
        }
        for register in 0..REGISTERS {
            let maxima = maxima.add(register * D::LANES);
            let mut largest = D::load(maxima);
            for sums in &sums {
                largest = D::max(largest, sums[register]);
            }
            D::store(maxima, largest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random bytes.
    fn bytes(seed: u64, n: usize) -> Vec<u8> {
        let mut state = seed | 1;
        (0..n)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect()
    }

    /// Maxima one by one.
    fn expected(
        hidden: &[u8],
        signed: bool,
        width: usize,
        weights: &[i8],
        n_columns: usize,
    ) -> Vec<i32> {
        (0..n_columns)
            .map(|column| {
                let rows = hidden.chunks_exact(width);
                let sums = rows.map(|row| {
                    let terms = row.iter().enumerate().map(|(k, &h)| {
                        let h = if signed {
                            i32::from(h as i8)
                        } else {
                            i32::from(h)
                        };
                        let block = &weights[column / BLOCK * BLOCK * width..];
                        h * i32::from(block[k / 4 * 4 * BLOCK + column % BLOCK * 4 + k % 4])
                    });
                    terms.sum::<i32>()
                });
                sums.max().unwrap_or(i32::MIN)
            })
            .collect()
    }

    #[test]
    fn every_instruction_set_multiplies_exactly() {
        for set in InstructionSet::available() {
            let (weight, hidden) = (set.weight_levels() as i32, set.hidden_levels() as i32);
            for (n_tokens, width, n_groups) in [
                (1, 16, 1),
                (5, 48, 2),
                (6, 128, 1),
                (13, 384, 3),
                (64, 32, 2),
                (0, 16, 1),
            ] {
                let n_columns = n_groups * BLOCK * BLOCKS;
                let weights: Vec<i8> = bytes(1, n_columns * width)
                    .into_iter()
                    .map(|x| (i32::from(x) % (2 * weight + 1) - weight) as i8)
                    .collect();
                let states: Vec<u8> = bytes(2, n_tokens * width)
                    .into_iter()
                    .map(|x| (i32::from(x) % (2 * hidden + 1) - hidden + set.offset()) as u8)
                    .collect();
                let mut maxima = vec![0; n_columns];
                set.column_maxima(&states, width, &weights, &mut maxima);
                let expected = expected(&states, set.offset() == 0, width, &weights, n_columns);
                assert_eq!(maxima, expected, "{set:?}, {n_tokens} tokens of {width}");
            }
        }
    }

    #[test]
    fn sums_of_the_largest_products_do_not_saturate() {
        for set in InstructionSet::available() {
            let (width, n_columns) = (3072, BLOCK * BLOCKS);
            for sign in [-1, 1] {
                let weights = vec![(sign * set.weight_levels() as i32) as i8; n_columns * width];
                let state = set.hidden_levels() as i32 + set.offset();
                let states = vec![state as u8; width];
                let mut maxima = vec![0; n_columns];
                set.column_maxima(&states, width, &weights, &mut maxima);
                let sum = width as i32 * state * sign * set.weight_levels() as i32;
                assert_eq!(maxima, vec![sum; n_columns], "{set:?}");
            }
        }
    }
}
