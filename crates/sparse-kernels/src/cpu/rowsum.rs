//! Weighted sums of rows of a table, the inner loop of sparse gradients.

use super::simd::{LANES, fma, vectorized};

/// A term of a weighted sum: `weight · table[row]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term {
    pub(crate) row: u32,
    pub(crate) weight: f32,
}

/// Columns that are summed at once: eight of the widest registers, enough to hide the latency of the additions.
pub(crate) const COLUMNS: usize = 8 * LANES;

vectorized! {
    /// `out += Σ weight · table[row, start..]` over the terms, in their order; `table` has rows of `width` floats.
    pub(crate) fn add_rows<FMA>(out: &mut [f32], terms: &[Term], table: &[f32], width: usize, start: usize) {
        let mut offset = 0;
        while offset + COLUMNS <= out.len() {
            block::<FMA, COLUMNS>(&mut out[offset..offset + COLUMNS], terms, table, width, start + offset);
            offset += COLUMNS;
        }
        while offset + LANES <= out.len() {
            block::<FMA, LANES>(&mut out[offset..offset + LANES], terms, table, width, start + offset);
            offset += LANES;
        }
        while offset < out.len() {
            block::<FMA, 1>(&mut out[offset..offset + 1], terms, table, width, start + offset);
            offset += 1;
        }
    }
}

#[inline(always)]
fn block<const FMA: bool, const N: usize>(
    out: &mut [f32],
    terms: &[Term],
    table: &[f32],
    width: usize,
    start: usize,
) {
    let mut sums = [0.0; N];
    sums.copy_from_slice(out);
    for term in terms {
        let offset = term.row as usize * width + start;
        let row = &table[offset..offset + N];
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum = fma::<FMA>(term.weight, *value, *sum);
        }
    }
    out.copy_from_slice(&sums);
}
