//! What processes exchange in a run: vectors, gradients, weights, decisions.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

use burn::module::ParamId;
use burn::tensor::{Device, Tensor, TensorData};
use sparse_model::{PackedTokens, SparseEncoder};

use super::Communicator;
use crate::error::{Error, Result};
use crate::optimizer::GradientSet;

/// Values of gradients that are added up together: large enough for the wire, small enough beside the model.
const BUCKET: usize = 1 << 22;

/// The vectors of all texts of some blocks, of which this process embedded a part: the gathered parts of all.
///
/// `own` are the vectors of the texts that `texts` gives to this process, block by block, `[texts, n_dims]` flat; `texts`
/// says the texts of a process in a block.
pub(crate) fn gather_vectors(
    communicator: &dyn Communicator,
    blocks: &[&PackedTokens],
    texts: impl Fn(usize, usize) -> Range<usize>,
    own: &[f32],
    device: &Device,
) -> Vec<Tensor<2>> {
    let parts = communicator.all_gather_values(own);
    let n_texts: usize = blocks.iter().map(|block| block.n_texts()).sum();
    let n_values: usize = parts.iter().map(Vec::len).sum();
    let n_dims = n_values.checked_div(n_texts).unwrap_or(0);
    let mut read = vec![0; parts.len()];
    blocks
        .iter()
        .enumerate()
        .map(|(index, block)| {
            let mut values = Vec::with_capacity(block.n_texts() * n_dims);
            for (rank, part) in parts.iter().enumerate() {
                let start = read[rank];
                read[rank] += texts(rank, index).len() * n_dims;
                values.extend_from_slice(&part[start..read[rank]]);
            }
            let data = TensorData::new(values, [block.n_texts(), n_dims]);
            Tensor::from_data(data, device)
        })
        .collect()
}

/// Adds up the gradients of all processes. A parameter that only some of them have a gradient of, since the others
/// embedded no text of its route, gets theirs.
pub(crate) fn add_up(
    communicator: &dyn Communicator,
    encoder: &SparseEncoder,
    gradients: &mut GradientSet,
) {
    let gradients = gradients.values_mut();
    let parameters: Vec<(ParamId, usize)> = encoder
        .named_parameters()
        .into_iter()
        .map(|parameter| (parameter.id, parameter.shape.iter().product()))
        .collect();
    let mine: Vec<u8> = parameters
        .iter()
        .map(|(id, _)| u8::from(gradients.contains_key(id)))
        .collect();
    let theirs = communicator.all_gather(&mine);
    let wanted = parameters
        .iter()
        .enumerate()
        .filter(|(place, _)| theirs.iter().any(|has| has[*place] == 1));
    let device = encoder.device().inner();
    let mut wanted = wanted.map(|(_, parameter)| *parameter).peekable();
    while wanted.peek().is_some() {
        let (mut bucket, mut members) = (Vec::new(), Vec::new());
        while bucket.len() < BUCKET
            && let Some((id, length)) = wanted.next()
        {
            match gradients.remove(&id) {
                Some(gradient) => bucket.extend(to_values(gradient)),
                None => bucket.resize(bucket.len() + length, 0.0),
            }
            members.push((id, length));
        }
        communicator.all_reduce_sum(&mut bucket);
        let mut sums = bucket.into_iter();
        for (id, length) in members {
            let sum: Vec<f32> = sums.by_ref().take(length).collect();
            let sum = TensorData::new(sum, [length]);
            gradients.insert(id, Tensor::from_data(sum, &device));
        }
    }
}

/// Gives every process the weights of process 0.
pub(crate) fn share_weights(
    communicator: &dyn Communicator,
    encoder: SparseEncoder,
) -> SparseEncoder {
    encoder.map_parameters(|_, value| {
        let device = value.device();
        let shape = value.shape();
        let mut bytes = to_bytes(value);
        communicator.broadcast(&mut bytes);
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        Tensor::from_data(TensorData::new(values, shape), &device)
    })
}

/// Fails unless the weights of all processes are the same to the bit.
///
/// # Errors
///
/// Naming the first process that differs from process 0.
pub(crate) fn same_weights(
    communicator: &dyn Communicator,
    encoder: &SparseEncoder,
    step: usize,
) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    encoder.visit_parameters(|_, value| hasher.write(&to_bytes(value)));
    check_same(
        communicator,
        &hasher.finish().to_le_bytes(),
        &format!("its weights after step {step}: is its processor or its build another one?"),
    )
}

/// Fails unless `bytes` is the same everywhere.
///
/// # Errors
///
/// Naming the first process that differs from process 0, and `what` differs.
pub(crate) fn check_same(communicator: &dyn Communicator, bytes: &[u8], what: &str) -> Result<()> {
    let all = communicator.all_gather(bytes);
    match all.iter().position(|other| *other != all[0]) {
        None => Ok(()),
        Some(rank) => Err(Error::Processes {
            rank,
            size: all.len(),
            what: what.to_owned(),
        }),
    }
}

/// Named figures that process 0 works out while the others wait.
///
/// # Errors
///
/// Those of `work`, in process 0.
pub(crate) fn first_decides(
    communicator: &dyn Communicator,
    work: impl FnOnce() -> Result<Vec<(String, f64)>>,
) -> Result<Vec<(String, f64)>> {
    let mut bytes = Vec::new();
    if communicator.rank() == 0 {
        for (name, value) in work()? {
            bytes.extend(value.to_bits().to_le_bytes());
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name.into_bytes());
        }
    }
    communicator.wait_for_all();
    communicator.broadcast(&mut bytes);
    let mut figures = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((value, behind)) = rest.split_first_chunk::<8>()
        && let Some((length, behind)) = behind.split_first_chunk::<8>()
        && let Some((name, behind)) = behind.split_at_checked(u64::from_le_bytes(*length) as usize)
    {
        let name = String::from_utf8_lossy(name).into_owned();
        figures.push((name, f64::from_bits(u64::from_le_bytes(*value))));
        rest = behind;
    }
    Ok(figures)
}

/// The values of a tensor on the host.
pub(crate) fn to_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.iter::<f32>().collect()
}

fn to_bytes(values: Tensor<1>) -> Vec<u8> {
    let values = to_values(values).into_iter();
    values.flat_map(f32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::super::threads::Threads;
    use super::*;

    /// What each of `size` threads makes of its communicator.
    fn each<T: Send>(size: usize, work: impl Fn(&Threads) -> T + Sync) -> Vec<T> {
        let threads = Threads::of(size);
        std::thread::scope(|scope| {
            let running: Vec<_> = threads
                .iter()
                .map(|thread| scope.spawn(|| work(thread)))
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        })
    }

    #[test]
    fn figures_of_process_0_reach_all() {
        let figures = each(3, |thread| {
            let own = thread.rank() as f64;
            first_decides(thread, || {
                Ok(vec![
                    ("eval_loss".to_owned(), f64::NAN),
                    ("rang".to_owned(), own),
                ])
            })
            .unwrap()
        });
        for figures in figures {
            assert!(figures[0].0 == "eval_loss" && figures[0].1.is_nan());
            assert_eq!(figures[1], ("rang".to_owned(), 0.0));
        }
    }

    #[test]
    fn a_process_that_differs_is_named() {
        let results = each(3, |thread| {
            let bytes = [u8::from(thread.rank() == 2)];
            check_same(thread, &bytes, "its data")
        });
        for result in results {
            let message = result.unwrap_err().to_string();
            assert!(
                message.contains("process 2 of 3 differs from process 0 in its data"),
                "{message}"
            );
        }
    }

    #[test]
    fn vectors_come_back_in_the_order_of_the_texts() {
        let rows: Vec<_> = (0..5).map(|_| (vec![1; 2], vec![0; 2])).collect();
        let block = PackedTokens::from_rows(&rows, None, 0);
        let share = super::super::Share::Texts { size: 3 };
        let gathered = each(3, |thread| {
            let own = share.texts(thread.rank(), 0, &block);
            // Text t has the vector (t, 10 t).
            let own: Vec<f32> = own.flat_map(|t| [t as f32, 10.0 * t as f32]).collect();
            let texts = |rank: usize, _: usize| share.texts(rank, 0, &block);
            let vectors = gather_vectors(thread, &[&block], texts, &own, &Device::flex());
            vectors.into_iter().map(to_values).collect::<Vec<_>>()
        });
        for vectors in gathered {
            assert_eq!(
                vectors,
                [[0.0, 0.0, 1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0]]
            );
        }
    }
}
