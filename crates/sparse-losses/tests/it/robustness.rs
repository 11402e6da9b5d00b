//! No loss is NaN or infinite for finite embeddings, however degenerate.

use burn::tensor::Tensor;

use crate::catalogue::{WIDTH, batch, every_loss, matrix, sparse_rows};
use crate::reader::{device, values};

/// Columns of every degenerate kind, by name.
fn degenerate() -> Vec<(&'static str, [Vec<f32>; 3])> {
    let rows = |seed| sparse_rows(4, seed);
    let zeros = |n: usize| vec![0.0; n * WIDTH];
    let mut some_zero_rows = [rows(1), rows(2), rows(3)];
    some_zero_rows[0][..WIDTH].fill(0.0);
    some_zero_rows[1][WIDTH..2 * WIDTH].fill(0.0);
    some_zero_rows[2][..2 * WIDTH].fill(0.0);
    let one = sparse_rows(1, 5);
    let huge: Vec<f32> = rows(6).iter().map(|value| value * 1e4).collect();
    let tiny: Vec<f32> = rows(7).iter().map(|value| value * 1e-20).collect();
    vec![
        ("all vectors are zero", [zeros(4), zeros(4), zeros(4)]),
        ("some vectors are zero", some_zero_rows),
        ("all columns are equal", [rows(4), rows(4), rows(4)]),
        (
            "all rows are equal",
            [one.repeat(4), one.repeat(4), one.repeat(4)],
        ),
        (
            "one row",
            [sparse_rows(1, 1), sparse_rows(1, 2), sparse_rows(1, 3)],
        ),
        ("one row of zeros", [zeros(1), zeros(1), zeros(1)]),
        ("huge entries", [huge.clone(), huge.clone(), huge]),
        ("tiny entries", [tiny.clone(), tiny.clone(), tiny]),
        (
            "every entry active",
            [
                vec![1.0; 4 * WIDTH],
                vec![0.5; 4 * WIDTH],
                vec![2.0; 4 * WIDTH],
            ],
        ),
    ]
}

#[test]
fn finite_embeddings_give_finite_losses_and_gradients() {
    for (name, loss) in every_loss() {
        for (case, columns) in degenerate() {
            let tensors: Vec<Tensor<2>> = columns
                .iter()
                .map(|values| matrix(values, &device()).require_grad())
                .collect();
            let output = loss.forward(&batch(&*loss, &tensors));
            for (component, value) in output.components() {
                let value = values(value.clone())[0];
                assert!(
                    value.is_finite(),
                    "{name}: {component} is {value} when {case}"
                );
            }
            let gradients = output.total().backward();
            for tensor in &tensors {
                let Some(gradient) = tensor.grad(&gradients) else {
                    continue;
                };
                assert!(
                    values(gradient).iter().all(|value| value.is_finite()),
                    "{name}: gradient when {case}"
                );
            }
        }
    }
}

#[test]
fn terms_sum_to_the_total() {
    for (name, loss) in every_loss() {
        let columns: Vec<_> = [1, 2, 3]
            .map(|seed| matrix(&sparse_rows(4, seed), &device()))
            .into();
        let output = loss.forward(&batch(&*loss, &columns));
        let sum: f32 = output
            .components()
            .iter()
            .map(|(_, value)| values(value.clone())[0])
            .sum();
        let total = values(output.total())[0];
        assert!(
            (sum - total).abs() <= 1e-5 * total.abs(),
            "{name}: {sum} against {total}"
        );
    }
}

#[test]
fn a_loss_is_a_pure_function() {
    for (name, loss) in every_loss() {
        let columns: Vec<_> = [1, 2, 3]
            .map(|seed| matrix(&sparse_rows(4, seed), &device()))
            .into();
        let twice =
            [(); 2].map(|()| values(loss.forward(&batch(&*loss, &columns)).total())[0].to_bits());
        assert_eq!(twice[0], twice[1], "{name}");
    }
}
