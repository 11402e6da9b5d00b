//! Elementary functions of f32 that a compiler can vectorize: no branches, no calls, no tables.
//!
//! Errors are below 2 units in the last place unless stated, checked against f64 in the tests.

use super::simd::fma;

/// `eˣ`; 0 below −87.3 and capped at e^88.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // x = n·ln 2 + r with |r| ≤ ln 2 / 2; adding 1.5·2²³ rounds to an integer and leaves it in the low mantissa bits.
    const MAGIC: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = fma::<FMA>(clamped, std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    // ln 2 in two parts, the first with trailing zeros, so that n·ln 2 is exact.
    let r = fma::<FMA>(n, -0.693_359_4, clamped);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    // Minimax polynomial of (eʳ − 1 − r) / r² (Cephes, expf).
    let p = fma::<FMA>(1.987_569_1e-4, r, 1.398_199_9e-3);
    let p = fma::<FMA>(p, r, 8.333_452e-3);
    let p = fma::<FMA>(p, r, 4.166_579_6e-2);
    let p = fma::<FMA>(p, r, 1.666_666_5e-1);
    let p = fma::<FMA>(p, r, 5e-1);
    let y = fma::<FMA>(p, r * r, r) + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    // A NaN passes the clamp and ends in y. The comparison is false for it.
    if x < -87.3 { 0.0 } else { y * scale }
}

/// `ln(1 + x)` for `x ≥ 0`.
#[inline(always)]
pub(crate) fn ln_1p<const FMA: bool>(x: f32) -> f32 {
    // Infinity would meet itself in a difference below.
    let x = if x > f32::MAX { f32::MAX } else { x };
    let u = 1.0 + x;
    // What rounding took from 1 + x, as a first-order correction.
    let correction = (x - (u - 1.0)) / u;
    // u = 2ᵉ·m with m in [√½, √2).
    const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
    let offset = u.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let exponent = ((offset as i32) >> 23) as f32;
    let m = f32::from_bits((offset & 0x007f_ffff).wrapping_add(SQRT_HALF_BITS)) - 1.0;
    // Minimax polynomial of (ln(1 + m) − m + m²/2) / m³ (Cephes, logf).
    let p = fma::<FMA>(7.037_683_6e-2, m, -1.151_461e-1);
    let p = fma::<FMA>(p, m, 1.167_699_9e-1);
    let p = fma::<FMA>(p, m, -1.242_014_1e-1);
    let p = fma::<FMA>(p, m, 1.424_932_3e-1);
    let p = fma::<FMA>(p, m, -1.666_805_8e-1);
    let p = fma::<FMA>(p, m, 2.000_071_5e-1);
    let p = fma::<FMA>(p, m, -2.499_999_4e-1);
    let p = fma::<FMA>(p, m, 3.333_333e-1);
    let square = m * m;
    let tail = fma::<FMA>(exponent, -2.121_944_4e-4, p * m * square + correction);
    let y = fma::<FMA>(-0.5, square, tail) + m;
    fma::<FMA>(exponent, 0.693_359_4, y)
}

/// The normal distribution `Φ(x) = erfc(−x/√2) / 2`, absolute error below 2e-7; small values keep their relative
/// accuracy. By a Chebyshev fit of the complementary error function (Numerical Recipes, `erfcc`).
#[inline(always)]
pub(crate) fn normal_distribution<const FMA: bool>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / fma::<FMA>(0.5, z, 1.0);
    let p = fma::<FMA>(0.170_872_77, t, -0.822_152_2);
    let p = fma::<FMA>(p, t, 1.488_515_9);
    let p = fma::<FMA>(p, t, -1.135_204);
    let p = fma::<FMA>(p, t, 0.278_868_08);
    let p = fma::<FMA>(p, t, -0.186_288_06);
    let p = fma::<FMA>(p, t, 0.096_784_18);
    let p = fma::<FMA>(p, t, 0.374_091_96);
    let p = fma::<FMA>(p, t, 1.000_023_7);
    let p = fma::<FMA>(p, t, -1.265_512_2);
    let tail = 0.5 * t * exp::<FMA>(fma::<FMA>(-z, z, p));
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// The logistic function `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::vectorized;

    vectorized! {
        fn map_exp<FMA>(x: &[f32], y: &mut [f32]) { for (x, y) in x.iter().zip(y) { *y = exp::<FMA>(*x); } }
    }
    vectorized! {
        fn map_ln_1p<FMA>(x: &[f32], y: &mut [f32]) { for (x, y) in x.iter().zip(y) { *y = ln_1p::<FMA>(*x); } }
    }
    vectorized! {
        fn map_normal<FMA>(x: &[f32], y: &mut [f32]) { for (x, y) in x.iter().zip(y) { *y = normal_distribution::<FMA>(*x); } }
    }

    /// Largest error in units of the last place of the correctly rounded value.
    fn worst_ulp(x: &[f32], y: &[f32], exact: impl Fn(f64) -> f64) -> f64 {
        x.iter()
            .zip(y)
            .map(|(&x, &y)| {
                let exact = exact(f64::from(x));
                let ulp = f64::from(f32::from_bits((exact as f32).to_bits() + 1))
                    - f64::from(exact as f32);
                ((f64::from(y) - exact) / ulp).abs()
            })
            .fold(0.0, f64::max)
    }

    fn points(low: f32, high: f32, n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| low + (high - low) * i as f32 / (n - 1) as f32)
            .collect()
    }

    #[test]
    fn exp_is_within_two_units_of_the_last_place() {
        let x = points(-87.0, 88.0, 1_000_003);
        let mut y = vec![0.0; x.len()];
        map_exp(&x, &mut y);
        let worst = worst_ulp(&x, &y, f64::exp);
        assert!(worst < 2.0, "{worst} ulp");
        let scalar: Vec<f32> = x.iter().map(|&x| exp::<false>(x)).collect();
        let worst = worst_ulp(&x, &scalar, f64::exp);
        assert!(worst < 2.0, "{worst} ulp without fused multiply-add");
        assert_eq!(exp::<true>(-200.0), 0.0);
        assert_eq!(exp::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<true>(0.0), 1.0);
        assert!(exp::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn ln_1p_is_within_two_units_of_the_last_place() {
        for (low, high) in [
            (1e-30, 1e-6),
            (1e-6, 0.1),
            (0.1, 3.0),
            (3.0, 1e4),
            (1e4, 1e30),
        ] {
            let x = points(low, high, 300_007);
            let mut y = vec![0.0; x.len()];
            map_ln_1p(&x, &mut y);
            let worst = worst_ulp(&x, &y, f64::ln_1p);
            assert!(worst < 2.0, "{worst} ulp in {low}..{high}");
            let scalar: Vec<f32> = x.iter().map(|&x| ln_1p::<false>(x)).collect();
            let worst = worst_ulp(&x, &scalar, f64::ln_1p);
            assert!(
                worst < 2.0,
                "{worst} ulp in {low}..{high} without fused multiply-add"
            );
        }
        assert_eq!(ln_1p::<true>(0.0), 0.0);
        assert!(ln_1p::<true>(f32::NAN).is_nan());
        assert!((ln_1p::<true>(f32::INFINITY) - f32::MAX.ln()).abs() < 1e-4);
    }

    #[test]
    fn the_normal_distribution_is_within_2e_7_and_its_tail_keeps_its_relative_accuracy() {
        let x = points(-8.0, 8.0, 100_003);
        let mut y = vec![0.0; x.len()];
        map_normal(&x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let exact = exact_normal(f64::from(x));
            let error = (f64::from(y) - exact).abs();
            // The fit errs by 1.2e-7, the exponential by up to 2.4e-7 and four products by 6e-8 each. x/√2 and −x²/2
            // are rounded to 2⁻²⁴ of themselves, which is up to 1.5·x²·2⁻²⁴ of the result.
            let relative = (6.0 + f64::from(x * x)) * 1e-7;
            assert!(
                error < 2e-7 && error < relative * exact,
                "Φ({x}) = {y}, not {exact}"
            );
        }
        assert!(normal_distribution::<true>(f32::NAN).is_nan());
    }

    /// The Maclaurin series of the error function, and where its terms grow large, the continued fraction of its
    /// complement.
    fn exact_normal(x: f64) -> f64 {
        let z = x.abs() * std::f64::consts::FRAC_1_SQRT_2;
        let tail = if z > 2.0 {
            let rest = (1..100)
                .rev()
                .fold(z, |rest, n| z + f64::from(n) / 2.0 / rest);
            (-z * z).exp() / (rest * std::f64::consts::PI.sqrt()) / 2.0
        } else {
            let (mut term, mut sum) = (z, z);
            for n in 1..60 {
                let n = f64::from(n);
                term *= -z * z / n;
                sum += term / (2.0 * n + 1.0);
            }
            0.5 - sum / std::f64::consts::PI.sqrt()
        };
        if x < 0.0 { tail } else { 1.0 - tail }
    }
}
