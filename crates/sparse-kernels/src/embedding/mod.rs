//! Embedding lookup.

use std::sync::Arc;

use burn::backend::{
    Autodiff, Backend, Dispatch, Flex,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::autodiff::track;
use crate::cpu::{self, Floats, simd::add};
use crate::plain::Plain;

/// Rows `ids` of an embedding table: `y[t] = W[ids[t]]`.
///
/// The backward pass touches only the rows that were looked up.
///
/// # Shapes
///
/// - `weight`: `[n_entries, d]`
/// - output: `[ids.len(), d]`
///
/// # Panics
///
/// If an id is negative or not below `n_entries`.
pub fn embedding(weight: Tensor<2>, ids: &[i32]) -> Tensor<2> {
    let [n_entries, _] = weight.dims();
    for &id in ids {
        let inside = usize::try_from(id).is_ok_and(|id| id < n_entries);
        assert!(
            inside,
            "id {id} is outside the table of {n_entries} entries"
        );
    }
    let output = <Dispatch as Embedding>::embedding_rows(weight.into_dispatch(), ids.into());
    Tensor::from_dispatch(output)
}

/// The operation, per backend. The ids are inside the table.
#[backend_extension(
    Flex,
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Autodiff
)]
pub(crate) trait Embedding: Backend {
    /// Forward pass; shapes as in [`embedding`].
    fn embedding_rows(weight: FloatTensor<Self>, ids: Arc<[i32]>) -> FloatTensor<Self> {
        plain_forward::<Self>(weight, &ids)
    }

    /// Gradient of the table.
    fn embedding_rows_backward(
        gradient: FloatTensor<Self>,
        ids: Arc<[i32]>,
        n_entries: usize,
    ) -> FloatTensor<Self> {
        plain_backward::<Self>(gradient, &ids, n_entries)
    }
}

fn plain_forward<B: Backend>(weight: FloatTensor<B>, ids: &[i32]) -> FloatTensor<B> {
    let weight = Plain::<B>(weight);
    let ids = weight.indices(ids.to_vec(), &[ids.len()]);
    weight.select(0, ids).0
}

fn plain_backward<B: Backend>(
    gradient: FloatTensor<B>,
    ids: &[i32],
    n_entries: usize,
) -> FloatTensor<B> {
    let gradient = Plain::<B>(gradient);
    let [_, d] = gradient.dims();
    let ids = gradient.indices(ids.to_vec(), &[ids.len()]);
    gradient
        .zeros(&[n_entries, d])
        .select_add(0, ids, gradient)
        .0
}

impl Embedding for Flex {
    fn embedding_rows(weight: FloatTensor<Self>, ids: Arc<[i32]>) -> FloatTensor<Self> {
        if !cpu::all_f32(&[&weight]) {
            return plain_forward::<Self>(weight, &ids);
        }
        let weight = Floats::of(&weight);
        let [_, d] = weight.dims2();
        let mut output = vec![0.0; ids.len() * d];
        let rows = cpu::TASK_ELEMENTS.div_ceil(d.max(1));
        output
            .par_chunks_mut((rows * d).max(1))
            .zip(ids.par_chunks(rows))
            .for_each(|(output, ids)| {
                for (row, &id) in output.chunks_exact_mut(d).zip(ids) {
                    row.copy_from_slice(&weight[id as usize * d..][..d]);
                }
            });
        cpu::tensor(output, &[ids.len(), d])
    }

    /// Zeros come from the system as they are first touched, so rows that were not looked up cost next to nothing.
    fn embedding_rows_backward(
        gradient: FloatTensor<Self>,
        ids: Arc<[i32]>,
        n_entries: usize,
    ) -> FloatTensor<Self> {
        if !cpu::all_f32(&[&gradient]) {
            return plain_backward::<Self>(gradient, &ids, n_entries);
        }
        let gradient = Floats::of(&gradient);
        let [_, d] = gradient.dims2();
        let mut d_weight = vec![0.0; n_entries * d];
        for (row, &id) in gradient.chunks_exact(d.max(1)).zip(ids.iter()) {
            add(&mut d_weight[id as usize * d..][..d], row);
        }
        cpu::tensor(d_weight, &[n_entries, d])
    }
}

#[cfg(feature = "cube")]
impl Embedding for burn::backend::Cube {}

#[cfg(feature = "tch")]
#[allow(deprecated, reason = "deprecated by Burn, offered for comparison runs")]
impl Embedding for burn::backend::LibTorch {}

/// The backward pass.
#[derive(Debug)]
struct Step;

impl<B: Embedding> Backward<B, 1> for Step {
    /// The ids, and the number of entries of the table.
    type State = (Arc<[i32]>, usize);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (ids, n_entries) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        if let [Some(argument)] = ops.parents {
            let found = B::embedding_rows_backward(gradient, ids, n_entries);
            gradients.register::<B>(argument.id, found);
        }
    }
}

impl<B: Embedding, C: CheckpointStrategy> Embedding for Autodiff<B, C> {
    fn embedding_rows(weight: FloatTensor<Self>, ids: Arc<[i32]>) -> FloatTensor<Self> {
        let (weight, of_weight) = weight.into_parts();
        let [n_entries, _] = Plain::<B>(weight.clone()).dims();
        let output = B::embedding_rows(weight, ids.clone());
        track::<B, C, _, 1>(Step, [of_weight], (ids, n_entries), output)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;
    use crate::testing::random;

    #[test]
    fn rows_come_in_the_order_of_the_ids() {
        let table = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::flex());
        let rows = embedding(table, &[2, 0, 2]);
        assert_eq!(
            rows.to_data(),
            TensorData::from([[5.0_f32, 6.0], [1.0, 2.0], [5.0, 6.0]])
        );
    }

    #[test]
    fn a_table_used_twice_gets_the_sum_of_both_gradients() {
        let device = Device::flex().autodiff();
        let table =
            Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &device).require_grad();
        // Looked up, and multiplied with: as in a model whose head shares the embedding table.
        let rows = embedding(table.clone(), &[1, 1, 0]);
        let other = crate::linear(Tensor::ones([1, 2], &device), table.clone(), None);
        let gradients = (rows.sum() + other.sum()).backward();
        let gradient = table.grad(&gradients).expect("tracked");
        let expected = TensorData::from([[2.0_f32, 2.0], [3.0, 3.0], [1.0, 1.0]]);
        gradient.to_data().assert_eq(&expected, true);
    }

    #[test]
    fn the_fast_body_agrees_with_the_default_body() {
        let ids: Arc<[i32]> = [5, 0, 5, 6, 5, 2].into();
        let gradient = || cpu::tensor(random(1, 6 * 37), &[6, 37]);
        let fast = Tensor::<2>::from_data(
            Flex::embedding_rows_backward(gradient(), ids.clone(), 7).into_data(),
            &Device::flex(),
        );
        let slow = plain_backward::<Flex>(gradient(), &ids, 7).into_data();
        fast.to_data()
            .assert_approx_eq::<f32>(&slow, Tolerance::default());
    }

    #[test]
    #[should_panic(expected = "id 3 is outside the table of 3 entries")]
    fn an_id_outside_the_table_is_named() {
        embedding(Tensor::zeros([3, 2], &Device::flex()), &[0, 3]);
    }
}
