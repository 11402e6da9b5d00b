//! Embedding lookup.

use burn::tensor::{Int, Tensor};

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
    let device = weight.device();
    let [n_entries, _] = weight.dims();
    for &id in ids {
        assert!(
            usize::try_from(id).is_ok_and(|id| id < n_entries),
            "id {id} is outside the table of {n_entries} entries"
        );
    }
    weight.select(0, Tensor::<1, Int>::from_data(ids, &device))
}
