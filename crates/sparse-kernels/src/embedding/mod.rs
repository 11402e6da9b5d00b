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

use crate::autodiff::{Parameter, track};
use crate::cpu::{self, Floats, simd::add};
use crate::plain::{OptionalTensor, Plain};

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

    /// Gradient of the table, added to what it has `so_far`.
    fn embedding_rows_backward(
        gradient: FloatTensor<Self>,
        ids: Arc<[i32]>,
        n_entries: usize,
        #[extension_type] so_far: OptionalTensor<Self>,
    ) -> FloatTensor<Self> {
        plain_backward::<Self>(gradient, &ids, n_entries, so_far)
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
    so_far: OptionalTensor<B>,
) -> FloatTensor<B> {
    let gradient = Plain::<B>(gradient);
    let [_, d] = gradient.dims();
    let ids = gradient.indices(ids.to_vec(), &[ids.len()]);
    let so_far = so_far
        .into_option()
        .map_or_else(|| gradient.zeros(&[n_entries, d]), Plain);
    so_far.select_add(0, ids, gradient).0
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

    fn embedding_rows_backward(
        gradient: FloatTensor<Self>,
        ids: Arc<[i32]>,
        n_entries: usize,
        so_far: OptionalTensor<Self>,
    ) -> FloatTensor<Self> {
        if !cpu::all_f32(&[&gradient]) {
            return plain_backward::<Self>(gradient, &ids, n_entries, so_far);
        }
        let gradient = Floats::of(&gradient);
        let [_, d] = gradient.dims2();
        let mut d_weight = cpu::accumulator(so_far, &[n_entries, d]);
        let rows = d_weight.storage_mut::<f32>();
        for (row, &id) in gradient.chunks_exact(d.max(1)).zip(ids.iter()) {
            add(&mut rows[id as usize * d..][..d], row);
        }
        d_weight
    }
}

#[cfg(feature = "cube")]
impl Embedding for burn::backend::Cube {}

#[cfg(feature = "tch")]
impl Embedding for burn::backend::LibTorch {}

/// The backward pass.
#[derive(Debug)]
struct Step;

impl<B: Embedding> Backward<B, 1> for Step {
    /// The ids, the number of entries of the table, and the table.
    type State = (Arc<[i32]>, usize, Parameter<B>);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (ids, n_entries, parameter) = ops.state;
        let so_far = parameter.take_gradient(gradients);
        let gradient = gradients.consume::<B>(&ops.node);
        if let [Some(argument)] = ops.parents {
            let found = B::embedding_rows_backward(gradient, ids, n_entries, so_far);
            gradients.register::<B>(argument.id, found);
        }
    }
}

impl<B: Embedding, C: CheckpointStrategy> Embedding for Autodiff<B, C> {
    fn embedding_rows(weight: FloatTensor<Self>, ids: Arc<[i32]>) -> FloatTensor<Self> {
        let parameter = Parameter::of(&weight);
        let (weight, of_weight) = weight.into_parts();
        let [n_entries, _] = Plain::<B>(weight.clone()).dims();
        let output = B::embedding_rows(weight, ids.clone());
        track::<B, C, _, 1>(Step, [of_weight], (ids, n_entries, parameter), output)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;
    use crate::testing::{assert_close, matrix, random, values};
    use crate::{Activation, PoolingStrategy, RowOffsets, lexical_head};

    #[test]
    fn rows_come_in_the_order_of_the_ids() {
        let table =
            Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::default());
        let rows = embedding(table, &[2, 0, 2]);
        assert_eq!(
            rows.to_data(),
            TensorData::from([[5.0_f32, 6.0], [1.0, 2.0], [5.0, 6.0]])
        );
    }

    #[test]
    fn a_table_used_twice_gets_the_sum_of_both_gradients() {
        let device = Device::default().autodiff();
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
    fn a_table_shared_by_lookups_and_heads_of_two_columns_gets_the_sum_of_all_gradients() {
        let device = Device::default().autodiff();
        let rows = RowOffsets::from_lengths(&[2, 1]);
        let ids = [[4, 0, 4], [2, 4, 1]];
        let gradient = |columns: &[[i32; 3]]| {
            let table = matrix(1, [5, 8], &device).require_grad();
            let losses = columns.iter().map(|ids| {
                let hidden = embedding(table.clone(), ids);
                let (max, relu) = (PoolingStrategy::Max, Activation::Relu);
                lexical_head(hidden, table.clone(), None, &rows, max, relu).sum()
            });
            let loss = losses.reduce(|sum, loss| sum + loss).expect("a column");
            values(&table.grad(&loss.backward()).expect("tracked"))
        };
        let [first, second] = [gradient(&ids[..1]), gradient(&ids[1..])];
        let sum: Vec<f32> = first.iter().zip(&second).map(|(a, b)| a + b).collect();
        assert_close(&gradient(&ids), &sum, 1e-5, "gradient");
    }

    #[test]
    fn a_computed_table_gets_its_gradient_too() {
        let device = Device::default().autodiff();
        let table = Tensor::<2>::ones([2, 2], &device).require_grad();
        let doubled = table.clone() * 2.0;
        let loss = embedding(doubled.clone(), &[1]).sum() + embedding(doubled, &[1, 0]).sum();
        let gradient = table.grad(&loss.backward()).expect("tracked");
        assert_eq!(values(&gradient), [2.0, 2.0, 4.0, 4.0]);
    }

    #[test]
    fn the_fast_body_agrees_with_the_default_body() {
        let ids: Arc<[i32]> = [5, 0, 5, 6, 5, 2].into();
        let gradient = || cpu::tensor(random(1, 6 * 37), &[6, 37]);
        let so_far = || OptionalTensor::Present(cpu::tensor(random(2, 7 * 37), &[7, 37]));
        let fast = Tensor::<2>::from_data(
            Flex::embedding_rows_backward(gradient(), ids.clone(), 7, so_far()).into_data(),
            &Device::default(),
        );
        let slow = plain_backward::<Flex>(gradient(), &ids, 7, so_far()).into_data();
        fast.to_data()
            .assert_approx_eq::<f32>(&slow, Tolerance::default());
    }

    #[test]
    #[should_panic(expected = "id 3 is outside the table of 3 entries")]
    fn an_id_outside_the_table_is_named() {
        embedding(Tensor::zeros([3, 2], &Device::default()), &[0, 3]);
    }
}
