//! The fast body against tensor operations, differentiated by Burn, and the default body.

use burn::backend::Flex;
use burn::tensor::{Device, Tensor};
use proptest::prelude::{any, proptest};

use super::{LayerNorm, layer_norm, plain_backward};
use crate::cpu::{self, Floats};
use crate::testing::{
    assert_close, assert_independent_of_threads, cases, matrix, random, values, vector,
};

fn written_out(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<2> {
    let sum = match residual {
        Some(residual) => x + residual,
        None => x,
    };
    let centered = sum.clone() - sum.mean_dim(1);
    let variance = centered.clone().square().mean_dim(1);
    let y = centered / (variance + epsilon).sqrt() * weight.unsqueeze();
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

type Norm = fn(Tensor<2>, Option<Tensor<2>>, Tensor<1>, Option<Tensor<1>>, f64) -> Tensor<2>;

/// Output and the gradients of input, residual, weight and bias, of `Σ r ∘ y` with random r.
fn run(norm: Norm, shape: [usize; 2], residual: bool, bias: bool, seed: u64) -> Vec<Vec<f32>> {
    let device = Device::default().autodiff();
    let x = matrix(seed, shape, &device).require_grad();
    let residual = residual.then(|| matrix(seed ^ 1, shape, &device).require_grad());
    let weight = vector(seed ^ 2, shape[1], &device).require_grad();
    let bias = bias.then(|| vector(seed ^ 3, shape[1], &device).require_grad());
    let y = norm(
        x.clone(),
        residual.clone(),
        weight.clone(),
        bias.clone(),
        1e-5,
    );
    let gradients = (y.clone() * matrix(seed ^ 4, shape, &device))
        .sum()
        .backward();
    let mut results = vec![values(&y), values(&x.grad(&gradients).expect("tracked"))];
    results.extend(residual.map(|x| values(&x.grad(&gradients).expect("tracked"))));
    results.push(values(&weight.grad(&gradients).expect("tracked")));
    results.extend(bias.map(|x| values(&x.grad(&gradients).expect("tracked"))));
    results
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn outputs_and_gradients_are_those_of_the_written_out_norm(
        n in 1_usize..150, d in 2_usize..200, residual in any::<bool>(), bias in any::<bool>(), seed in any::<u64>(),
    ) {
        // Two equal numbers in a row of two make its deviation the root of ε; the gradient is then a large number
        // times a difference, which f32 cannot compare.
        let d = d + 6;
        let found = run(layer_norm, [n, d], residual, bias, seed);
        let expected = run(written_out, [n, d], residual, bias, seed);
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_close(found, expected, 2e-5, &format!("result {i}"));
        }
    }

    #[test]
    fn the_default_body_agrees_with_the_fast_body(n in 1_usize..150, d in 1_usize..80, seed in any::<u64>()) {
        let tensor = |i: u64, n: usize, d: usize| cpu::tensor(random(seed ^ i, n * d), &[n, d]);
        let weight = || cpu::tensor(random(seed ^ 9, d), &[d]);
        let fast = Flex::residual_norm_backward(tensor(1, n, d), tensor(2, n, 1), weight(), tensor(3, n, d));
        let slow = plain_backward::<Flex>(tensor(1, n, d), tensor(2, n, 1), weight(), tensor(3, n, d));
        assert_close(&Floats::of(&fast.sum), &Floats::of(&slow.sum), 2e-5, "sum");
        assert_close(&Floats::of(&fast.weight), &Floats::of(&slow.weight), 2e-5, "weight");
        assert_close(&Floats::of(&fast.bias), &Floats::of(&slow.bias), 2e-5, "bias");
    }
}

#[test]
fn a_row_becomes_its_deviations_in_units_of_their_root_mean_square() {
    let device = Device::default();
    // s = (1, 3, 5, 7): mean 4, variance (9 + 1 + 1 + 9) / 4 = 5.
    let x = Tensor::<2>::from_data([[1.0, 2.0, 3.0, 4.0]], &device);
    let residual = Tensor::<2>::from_data([[0.0, 1.0, 2.0, 3.0]], &device);
    let weight = Tensor::<1>::from_data([1.0, 1.0, 2.0, 1.0], &device);
    let bias = Tensor::<1>::from_data([0.0, 0.0, 10.0, 0.0], &device);
    let y = layer_norm(x, Some(residual), weight, Some(bias), 0.0);
    let unit = 5f32.sqrt().recip();
    assert_close(
        &values(&y),
        &[-3.0 * unit, -unit, 10.0 + 2.0 * unit, 3.0 * unit],
        1e-6,
        "output",
    );
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    assert_independent_of_threads(|| run(layer_norm, [1000, 96], true, true, 1));
}
