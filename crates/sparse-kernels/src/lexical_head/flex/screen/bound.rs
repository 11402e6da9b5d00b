//! How far an integer product may be from the product in f32, and which columns it leaves open.
//!
//! With `h ≈ ĥ = s·q` and `E ≈ Ê`, and whatever the quantization did,
//!
//! ```text
//! |h·E − ĥ·Ê|  ≤  ‖h − ĥ‖·‖Ê‖ + ‖h‖·‖E − Ê‖                   (Cauchy–Schwarz)
//! |fl(h·E) − h·E|  ≤  γ·Σ|hₖ·Eₖ| + d·2⁻¹⁴⁸  ≤  γ·‖h‖·‖E‖ + d·2⁻¹⁴⁸
//! ```
//!
//! where `fl` is the product in f32, in whatever order it sums, fused or not, and `γ` bounds the relative error of
//! so many roundings. `ĥ·Ê` is an integer product times two scales, computed in f64 from integers that are exact.
//! The norms are computed in f32 and rounded up, with what their own computation may have lost.

use crate::cpu::simd::{LANES, fma, sum_lanes, vectorized};

/// The widest head for which [`gamma`] holds and integer sums stay inside 32 bits.
pub(super) const WIDEST: usize = 1 << 15;

/// Relative error of a sum of `width` products in f32: `n·u / (1 − n·u)` with `u = 2⁻²⁴` and every rounding on the way
/// of a term, which are the products, the sums and those of blocks; `n·u` is below 2⁻⁸.
pub(super) fn gamma(width: usize) -> f64 {
    let roundings = (width + width / 256 + 16) as f64;
    1.01 * roundings / f64::from(1 << 24)
}

/// Not less than the norm of a vector whose squares sum to `squares` in f32. Squares may vanish below 2⁻¹⁴⁹.
fn norm(squares: f32, width: usize) -> f64 {
    let vanished = width as f64 * 2_f64.powi(-148);
    ((f64::from(squares) + vanished) * (1.0 + 2.0 * gamma(width))).sqrt() * (1.0 + 1e-12)
}

/// The next f32 that is not less.
fn round_up(x: f64) -> f32 {
    (x as f32).next_up()
}

/// A vector as small integers times a scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantized {
    /// Sum of the integers.
    pub(super) sum: i32,
    /// Not less than the norm of what the integers stand for.
    pub(super) norm_quantized: f64,
    /// Not less than the norm of the difference.
    pub(super) error: f64,
}

/// The scale at which the largest magnitude of some values takes all levels.
pub(super) fn scale(values: &[f32], levels: f32) -> f32 {
    largest_magnitude(values) / levels
}

/// Writes `values` as integers of up to `levels` at this scale, plus an offset, and says how good they are. Where the
/// values are none to be quantized (infinite, not a number, too small to be divided by) the error says so.
pub(super) fn quantize(values: &[f32], scale: f32, offset: i32, quantized: &mut [u8]) -> Quantized {
    let width = values.len();
    round_to_integers(values, scale.recip(), offset as u8, quantized);
    let (sum, squares) = integer_sums(quantized, offset);
    let error = squared_error(values, scale, offset, quantized);
    let norm_quantized = f64::from(scale) * f64::from(squares).sqrt() * (1.0 + 1e-12);
    // Each difference is rounded once where multiply-add is fused, else twice: relative to itself and to the product.
    let error = norm(error, width) * (1.0 + 2_f64.powi(-20))
        + norm_quantized * 2_f64.powi(-23)
        + width as f64 * 2_f64.powi(-140);
    Quantized {
        sum,
        norm_quantized,
        error,
    }
}

/// Not less than the norm of a vector.
pub(super) fn norm_of(values: &[f32]) -> f64 {
    norm(sum_of_squares(values), values.len())
}

/// Sum of the squares of the differences.
fn squared_error(values: &[f32], scale: f32, offset: i32, quantized: &[u8]) -> f32 {
    const CHUNK: usize = 256;
    let mut memory = [0.0; CHUNK];
    let chunks = values.chunks(CHUNK).zip(quantized.chunks(CHUNK));
    let sums = chunks.map(|(values, quantized)| {
        let memory = &mut memory[..values.len()];
        differences(values, scale, offset, quantized, memory);
        sum_of_squares(memory)
    });
    sums.sum()
}

/// What the bound asks of one column, in the units of [`Text`].
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Of the quantized weights.
    scales: Vec<f32>,
    /// What the hidden states' offset adds to every sum.
    offsets: Vec<i32>,
    /// `‖Ê‖`, rounded up.
    norms: Vec<f32>,
    /// `‖E − Ê‖ + γ·‖E‖`, rounded up.
    errors: Vec<f32>,
}

impl Columns {
    pub(super) fn push(&mut self, scale: f32, offset: i32, width: usize, weight: &Quantized) {
        let rounding = gamma(width) * (weight.norm_quantized + weight.error);
        self.scales.push(scale);
        self.offsets.push(weight.sum * offset);
        self.norms.push(round_up(weight.norm_quantized));
        self.errors.push(round_up(weight.error + rounding));
    }

    pub(super) fn len(&self) -> usize {
        self.scales.len()
    }
}

/// What the bound asks of one text: all its tokens share a scale, and the worst of them counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) scale: f32,
    /// The largest `‖h‖`, rounded up.
    pub(super) norm: f64,
    /// The largest `‖h − ĥ‖`, rounded up.
    pub(super) error: f64,
}

impl Text {
    /// Whether the bound says anything about this text.
    pub(super) fn is_finite(&self) -> bool {
        self.norm.is_finite() && self.error.is_finite()
    }

    /// Sets a flag at each column that may have a logit that isn't negative, and clears it where all of them are
    /// negative in f32, whatever the order of summation. `maxima` are the largest integer sums of the columns, of which
    /// `width` products were added each.
    pub(super) fn flag_open(
        &self,
        columns: &Columns,
        width: usize,
        maxima: &[i32],
        bias: &[f32],
        flags: &mut [u8],
    ) {
        let (tiny, too_large) = (
            width as f64 * 2_f64.powi(-148),
            gamma(width) * 2_f64.powi(126),
        );
        let Columns {
            scales,
            offsets,
            norms,
            errors,
        } = columns;
        flag_open(
            (f64::from(self.scale), self.norm, self.error),
            (tiny, too_large),
            (scales, offsets, norms, errors),
            maxima,
            bias,
            flags,
        );
    }
}

/// The largest logit that f32 may give where integers give this one, with an error of up to `error + tiny`.
#[inline(always)]
fn highest(logit: f64, error: f64, tiny: f64) -> f64 {
    let error = error + tiny;
    // The eight roundings of this in f64 are of 2⁻⁵³ each.
    logit + error + (logit.abs() + error) * 1e-14
}

type ColumnSlices<'a> = (&'a [f32], &'a [i32], &'a [f32], &'a [f32]);

vectorized! {
    fn flag_open<FMA>(
        text: (f64, f64, f64),
        limits: (f64, f64),
        columns: ColumnSlices<'_>,
        maxima: &[i32],
        bias: &[f32],
        flags: &mut [u8],
    ) {
        let (scale, norm, error) = text;
        let (tiny, too_large) = limits;
        let (scales, offsets, norms, errors) = columns;
        let n = flags.len();
        let (scales, offsets, norms, errors) = (&scales[..n], &offsets[..n], &norms[..n], &errors[..n]);
        let (maxima, bias) = (&maxima[..n], &bias[..n]);
        for i in 0..n {
            let logit = f64::from(maxima[i] - offsets[i]) * (scale * f64::from(scales[i]));
            let of_weight = norm * f64::from(errors[i]);
            let highest = highest(logit, error * f64::from(norms[i]) + of_weight, tiny);
            // A rounded sum has the sign of the sum, so the logit with its bias is negative. Below `too_large` no
            // partial sum overflows. Comparisons with what is not a number are false.
            let negative = (highest < f64::from(-bias[i])) & (of_weight < too_large);
            flags[i] = u8::from(!negative);
        }
    }
}

vectorized! {
    fn largest_magnitude<FMA>(values: &[f32]) -> f32 {
        let mut largest = [0.0_f32; LANES];
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            for (largest, value) in largest.iter_mut().zip(chunk) {
                *largest = if value.abs() > *largest { value.abs() } else { *largest };
            }
        }
        for (largest, value) in largest.iter_mut().zip(rest) {
            *largest = if value.abs() > *largest { value.abs() } else { *largest };
        }
        largest.into_iter().fold(0.0, f32::max)
    }
}

vectorized! {
    /// Rounds `values · inverse` to integers of 8 bits. Adding 1.5·2²³ leaves them in the lowest bits of the mantissa,
    /// and leaves 0 there where the product is infinite or not a number.
    fn round_to_integers<FMA>(values: &[f32], inverse: f32, offset: u8, quantized: &mut [u8]) {
        const MAGIC: f32 = 12_582_912.0;
        for (quantized, value) in quantized.iter_mut().zip(values) {
            *quantized = ((value * inverse + MAGIC).to_bits() as u8).wrapping_add(offset);
        }
    }
}

vectorized! {
    /// Sum and sum of squares of the integers.
    fn integer_sums<FMA>(quantized: &[u8], offset: i32) -> (i32, i32) {
        let (mut sum, mut squares) = (0, 0);
        for &quantized in quantized {
            let integer = i32::from(quantized.wrapping_sub(offset as u8) as i8);
            sum += integer;
            squares += integer * integer;
        }
        (sum, squares)
    }
}

vectorized! {
    fn sum_of_squares<FMA>(values: &[f32]) -> f32 {
        let mut sums = [0.0; LANES];
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum += value * value;
            }
        }
        for (sum, value) in sums.iter_mut().zip(rest) {
            *sum += value * value;
        }
        sum_lanes(sums)
    }
}

vectorized! {
    /// What the integers stand for, less the values.
    fn differences<FMA>(values: &[f32], scale: f32, offset: i32, quantized: &[u8], differences: &mut [f32]) {
        for ((difference, value), quantized) in differences.iter_mut().zip(values).zip(quantized) {
            let integer = f32::from(quantized.wrapping_sub(offset as u8) as i8);
            *difference = fma::<FMA>(integer, scale, -value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};

    use super::*;
    use crate::testing::{cases, random};

    /// The integers 0, …, 127 and their negatives, as AVX-512 VNNI wants them.
    const LEVELS: f32 = 127.0;
    const OFFSET: i32 = 128;

    /// Sums of products in f32: one after the other, fused and not, in lanes, and in halves.
    fn products(a: &[f32], b: &[f32]) -> [f32; 4] {
        let pairs = || a.iter().zip(b);
        let fused = pairs().fold(0.0, |sum: f32, (a, b)| a.mul_add(*b, sum));
        let plain = pairs().fold(0.0, |sum: f32, (a, b)| sum + a * b);
        let lanes = crate::cpu::simd::sum(a.len(), |i| a[i] * b[i]);
        let (left, right) = a.split_at(a.len() / 2);
        let half = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        [
            fused,
            plain,
            lanes,
            half(left, b) + half(right, &b[left.len()..]),
        ]
    }

    /// The error that was made and the one that was allowed, at worst of the orders of summation.
    fn error_and_bound(hidden: &[f32], weight: &[f32], levels: [f32; 2]) -> (f64, f64) {
        let width = hidden.len();
        let (mut h, mut e) = (vec![0; width], vec![0; width]);
        let (hidden_scale, weight_scale) = (scale(hidden, levels[0]), scale(weight, levels[1]));
        let state = quantize(hidden, hidden_scale, OFFSET, &mut h);
        let column = quantize(weight, weight_scale, 0, &mut e);
        let mut columns = Columns::default();
        columns.push(weight_scale, OFFSET, width, &column);
        let sum: i32 = h
            .iter()
            .zip(&e)
            .map(|(&h, &e)| i32::from(h) * i32::from(e as i8))
            .sum();
        let logit = f64::from(sum - columns.offsets[0])
            * (f64::from(hidden_scale) * f64::from(weight_scale));
        let allowed = state.error * f64::from(columns.norms[0])
            + norm_of(hidden) * f64::from(columns.errors[0]);
        let highest = highest(logit, allowed, width as f64 * 2_f64.powi(-148));
        let found = products(hidden, weight).map(|x| (f64::from(x) - logit).abs());
        (found.into_iter().fold(0.0, f64::max), highest - logit)
    }

    /// A row of a width, with values of a magnitude, some of them zero and some of them far out.
    fn row(seed: u64, width: usize, magnitude: i32, zeros: u64, outliers: u64) -> Vec<f32> {
        let pick = |i: usize, one_in: u64| {
            one_in > 0
                && (i as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
                    <= u64::from(u32::MAX) / one_in
        };
        let values = random(seed, width).into_iter().enumerate();
        values
            .map(|(i, x)| {
                let x = x * 2_f32.powi(magnitude);
                if pick(i, zeros) {
                    0.0
                } else if pick(i + width, outliers) {
                    x * 50.0
                } else {
                    x
                }
            })
            .collect()
    }

    /// Checks `n` pairs of rows of all kinds.
    fn check_random_rows(n: u64) {
        let magnitudes = [0, -5, 10, -60, 50, -100, -130, 62];
        let mut closest = 0.0_f64;
        for seed in 0..n {
            let width = [1, 3, 8, 64, 128, 130, 384, 768][(seed % 8) as usize];
            let magnitude = magnitudes[(seed / 8 % 8) as usize];
            let hidden = row(2 * seed, width, magnitude, seed % 3, seed % 7 * 10);
            let weight = row(
                2 * seed + 1,
                width,
                -magnitude.max(-60) / 2 - 4,
                seed % 5,
                seed % 2 * 30,
            );
            for levels in [[LEVELS, LEVELS], [63.0, 63.0], [LEVELS, 7.0]] {
                let (error, bound) = error_and_bound(&hidden, &weight, levels);
                assert!(
                    error <= bound,
                    "pair {seed} at {levels:?}: {error:e} above {bound:e}"
                );
                closest = closest.max(error / bound);
            }
        }
        // A bound that is never approached would be a bound of something else.
        assert!(closest > 0.1, "{closest}");
    }

    #[test]
    fn no_error_exceeds_its_bound() {
        check_random_rows(10_000);
    }

    #[test]
    #[ignore = "takes a minute"]
    fn no_error_of_a_million_rows_exceeds_its_bound() {
        check_random_rows(1_000_000);
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn no_error_exceeds_its_bound_at_any_magnitude(
            width in 1_usize..300,
            seed in any::<u64>(),
            (hidden, weight) in (-149_i32..60, -149_i32..60),
            (zeros, outliers) in (0_u64..5, prop_oneof![0_u64..1, 1_u64..100].boxed()),
        ) {
            let h = row(seed, width, hidden, zeros, outliers);
            let e = row(seed ^ 1, width, weight, outliers, zeros);
            let (error, bound) = error_and_bound(&h, &e, [LEVELS, LEVELS]);
            assert!(error <= bound, "{error:e} above {bound:e}");
        }
    }

    #[test]
    fn what_is_no_number_is_never_proven_negative() {
        let weight = [1.0, -2.0, 3.0, 0.5];
        for (hidden, weight, bias) in [
            ([1.0, f32::NAN, 0.0, 2.0], weight, -1e30),
            ([1.0, f32::INFINITY, 0.0, 2.0], weight, -1e30),
            ([1.0, 0.5, 0.0, 2.0], [1.0, f32::NAN, 0.0, 0.0], -1e30),
            (
                [1.0, 0.5, 0.0, 2.0],
                [1.0, f32::NEG_INFINITY, 0.0, 0.0],
                -1e30,
            ),
            ([1.0, 0.5, 0.0, 2.0], weight, f32::NAN),
            // Partial sums overflow, and their difference is not a number.
            (
                [3e38, 3e38, 1.0, 1.0],
                [1e30, -1e30, 0.0, 0.0],
                f32::NEG_INFINITY,
            ),
        ] {
            let (mut h, mut e) = ([0; 4], [0; 4]);
            let scales = [scale(&hidden, LEVELS), scale(&weight, LEVELS)];
            let state = quantize(&hidden, scales[0], OFFSET, &mut h);
            let mut columns = Columns::default();
            columns.push(
                scales[1],
                OFFSET,
                4,
                &quantize(&weight, scales[1], 0, &mut e),
            );
            let text = Text {
                scale: scales[0],
                norm: norm_of(&hidden),
                error: state.error,
            };
            let sum: i32 = h
                .iter()
                .zip(&e)
                .map(|(&h, &e)| i32::from(h) * i32::from(e as i8))
                .sum();
            let mut flags = [0];
            text.flag_open(&columns, 4, &[sum], &[bias], &mut flags);
            assert!(
                flags == [1] || !text.is_finite(),
                "{hidden:?} {weight:?} {bias}"
            );
        }
    }
}
