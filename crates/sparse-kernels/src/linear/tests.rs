//! The fast body against tensor operations, differentiated by Burn.

use burn::tensor::{Device, Tensor};
use proptest::prelude::{any, proptest};

use super::{activation_linear, linear, linear_activation};
use crate::testing::{
    assert_close, assert_independent_of_threads, cases, half_precisions, matrix, rounded, values,
    vector,
};
use crate::{HiddenActivation, autocast};

type Layer = fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>) -> Tensor<2>;

fn written_out(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// `x · Φ(x)`. Burn's own function has the gradient of another one, an approximation, on every backend but Flex.
fn written_out_gelu(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let x = written_out(x, weight, bias);
    x.clone() * ((x / 2.0_f32.sqrt()).erf() + 1.0) / 2.0
}

fn linear_gelu(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    linear_activation(x, weight, bias, HiddenActivation::Gelu)
}

fn written_out_of_silu(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    written_out(burn::tensor::activation::silu(x), weight, bias)
}

fn linear_of_silu(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    activation_linear(x, HiddenActivation::Silu, weight, bias)
}

/// Output and the gradients of input, weight and bias, of `Σ r ∘ y` with random r.
fn run(
    layer: impl Fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>) -> Tensor<2>,
    [n, d_in, d_out]: [usize; 3],
    with_bias: bool,
    seed: u64,
) -> Vec<Vec<f32>> {
    let device = Device::default().autodiff();
    let x = matrix(seed, [n, d_in], &device).require_grad();
    let weight = matrix(seed ^ 1, [d_out, d_in], &device).require_grad();
    let bias = with_bias.then(|| vector(seed ^ 2, d_out, &device).require_grad());
    let y = layer(x.clone(), weight.clone(), bias.clone());
    let gradients = (y.clone() * matrix(seed ^ 3, [n, d_out], &device))
        .sum()
        .backward();
    let mut results = vec![values(&y)];
    results.extend([&x, &weight].map(|x| values(&x.grad(&gradients).expect("tracked"))));
    results.extend(bias.map(|bias| values(&bias.grad(&gradients).expect("tracked"))));
    results
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn outputs_and_gradients_are_those_of_the_written_out_layer(
        n in 1_usize..90, d_in in 1_usize..90, d_out in 1_usize..90, with_bias in any::<bool>(), seed in any::<u64>(),
    ) {
        let names = ["output", "input gradient", "weight gradient", "bias gradient"];
        let layers: [(Layer, Layer); 3] = [
            (linear, written_out),
            (linear_gelu, written_out_gelu),
            (linear_of_silu, written_out_of_silu),
        ];
        for (fused, plain) in layers {
            let sizes = [n, d_in, d_out];
            let (found, expected) = (run(fused, sizes, with_bias, seed), run(plain, sizes, with_bias, seed));
            for ((found, expected), name) in found.iter().zip(&expected).zip(names) {
                assert_close(found, expected, 1e-5, name);
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    assert_independent_of_threads(|| run(linear_gelu, [333, 130, 517], true, 3));
    assert_independent_of_threads(|| run(linear, [5, 700, 33], true, 4));
    assert_independent_of_threads(|| run(linear_of_silu, [70, 70, 33], true, 6));
    assert_independent_of_threads(|| run(linear, [1, 300, 600], false, 5));
}

#[test]
fn a_row_is_the_same_to_the_last_bit_alone_and_among_others() {
    let device = Device::flex();
    for (d_in, d_out) in [
        (1, 1),
        (130, 1),
        (128, 128),
        (384, 60),
        (700, 200),
        (1536, 384),
    ] {
        let weight = matrix(1, [d_out, d_in], &device);
        let bias = vector(2, d_out, &device);
        let x = matrix(3, [100, d_in], &device);
        let outputs = |x: Tensor<2>| values(&linear(x, weight.clone(), Some(bias.clone())));
        let all = outputs(x.clone());
        for n in [1, 2, 3, 65] {
            let some = outputs(x.clone().slice([7..7 + n, 0..d_in]));
            let same = some
                .iter()
                .zip(&all[7 * d_out..])
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{n} rows of {d_in} to {d_out}");
        }
    }
}

#[test]
fn half_precision_rounds_the_factors() {
    const GRADIENT_TOLERANCE: f32 = 2e-2;
    for (precision, tolerance) in half_precisions() {
        let written_out = |x, weight, bias| {
            let weight = rounded(weight, precision);
            written_out_gelu(rounded(x, precision), weight, bias)
        };
        let sizes = [37, 130, 50];
        // The backward pass runs outside of the scope.
        let linear = |x, weight, bias| autocast(precision, || linear_gelu(x, weight, bias));
        let (found, expected) = (
            run(linear, sizes, true, 8),
            run(written_out, sizes, true, 8),
        );
        assert_close(&found[0], &expected[0], tolerance, "output");
        for (found, expected) in found.iter().zip(&expected).skip(1) {
            assert_close(found, expected, GRADIENT_TOLERANCE, "gradient");
        }
        assert_ne!(found[1], run(linear_gelu, sizes, true, 8)[1]);
    }
}

#[test]
fn the_gradient_of_an_untracked_input_is_not_computed() {
    let device = Device::default().autodiff();
    let weight = matrix(1, [3, 4], &device).require_grad();
    let x = matrix(2, [5, 4], &device);
    let gradients = linear(x.clone(), weight.clone(), None).sum().backward();
    assert!(x.grad(&gradients).is_none());
    // dW = 1ᵀ · x: every row is the column sums of x.
    let sums = values(&x.inner().sum_dim(0));
    let expected = [sums.clone(), sums.clone(), sums].concat();
    assert_close(
        &values(&weight.grad(&gradients).expect("tracked")),
        &expected,
        1e-6,
        "weight gradient",
    );
}

#[test]
#[should_panic(expected = "inputs as wide as the weight's rows")]
fn shapes_that_do_not_fit_are_refused() {
    let device = Device::default();
    linear(matrix(1, [2, 3], &device), matrix(2, [4, 5], &device), None);
}
