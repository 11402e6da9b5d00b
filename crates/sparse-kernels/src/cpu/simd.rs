//! Loops compiled once per instruction set and chosen at run time.

/// Defines a function whose loops the compiler vectorizes three times: for AVX-512, for AVX2 with fused multiply-add
/// and for the instruction set of the build. The first that the processor has is taken.
///
/// `FMA` is a constant inside the body: whether [`fma`] fuses. The body may call `#[inline(always)]` functions only.
macro_rules! vectorized {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident<$fma:ident>($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? $body:block
    ) => {
        $(#[$attribute])*
        #[allow(unsafe_code, reason = "calls a function for an instruction set after asking whether it is there")]
        $visibility fn $name($($argument: $type),*) $(-> $output)? {
            #[inline(always)]
            #[allow(clippy::extra_unused_type_parameters, reason = "not every body multiplies and adds")]
            fn body<const $fma: bool>($($argument: $type),*) $(-> $output)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
                fn avx512($($argument: $type),*) $(-> $output)? {
                    body::<true>($($argument),*)
                }

                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) $(-> $output)? {
                    body::<true>($($argument),*)
                }

                if std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the processor has these instructions.
                    return unsafe { avx512($($argument),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has these instructions.
                    return unsafe { avx2($($argument),*) };
                }
            }
            body::<{ cfg!(any(target_feature = "fma", target_arch = "aarch64")) }>($($argument),*)
        }
    };
}

pub(crate) use vectorized;

/// Floats in the widest register: loops that sum keep as many partial sums, so that the order of additions does not
/// depend on the instruction set.
pub(crate) const LANES: usize = 16;

/// `a · b + c`, fused where the instruction set has it (the library call would be slow).
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Sum of partial sums.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum over `i` of `term(i)` for `i < n`.
#[inline(always)]
pub(crate) fn sum(n: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = n / LANES * LANES;
    for i in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(i + lane);
        }
    }
    for i in whole..n {
        lanes[i - whole] += term(i);
    }
    sum_lanes(lanes)
}

vectorized! {
    /// `sums += values`
    pub(crate) fn add<FMA>(sums: &mut [f32], values: &[f32]) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
}

vectorized! {
    /// `values *= factor`
    pub(crate) fn scale<FMA>(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}
