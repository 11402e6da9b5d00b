//! From tokens to the batch that a loss sees.

use burn::tensor::Tensor;
use sparse_losses::{AutoencoderFeatures, EmbeddedBatch, Labels, keep_largest};
use sparse_model::{AutoencoderOutput, ForwardContext, SparseEncoder};

use crate::collator::CollatedBatch;

/// Vectors of the texts of each block, before what looks at a whole batch (an autoencoder).
pub(super) fn embed_texts(
    encoder: &SparseEncoder,
    batch: &CollatedBatch,
    context: &ForwardContext,
) -> Vec<Tensor<2>> {
    let blocks = batch.blocks.iter();
    blocks
        .map(|(tokens, _)| encoder.forward_texts(tokens, context))
        .collect()
}

/// Columns and labels out of the vectors of [`embed_texts`]. Each vector keeps its `largest_kept` dimensions, if there is
/// such a limit.
///
/// An autoencoder sees one column at a time, in their order, as in the reference: its counters depend on it.
pub(super) fn assemble(
    encoder: &SparseEncoder,
    batch: &CollatedBatch,
    blocks: &[Tensor<2>],
    context: &ForwardContext,
    largest_kept: Option<usize>,
) -> EmbeddedBatch {
    let mut columns = Vec::with_capacity(batch.n_columns);
    let mut features = Vec::new();
    for column in 0..batch.n_columns {
        let Some((texts, task)) = rows_of(batch, blocks, column) else {
            continue;
        };
        let embeddings = encoder.forward_batch(texts, task, context);
        features.extend(embeddings.autoencoder.map(to_features));
        let vectors = embeddings.sentence_embedding;
        columns.push(match largest_kept {
            Some(k) => keep_largest(vectors, k),
            None => vectors,
        });
    }
    let mut embedded = EmbeddedBatch::new(columns).with_autoencoder(features);
    embedded.labels = batch
        .labels
        .as_ref()
        .map(|labels| to_tensor(labels, encoder));
    embedded
}

/// The vectors of one column, and the task of its texts.
fn rows_of<'a>(
    batch: &'a CollatedBatch,
    blocks: &[Tensor<2>],
    column: usize,
) -> Option<(Tensor<2>, Option<&'a str>)> {
    let mut places = batch.blocks.iter().zip(blocks);
    places.find_map(|((tokens, members), vectors)| {
        let place = members.iter().position(|&member| member == column)?;
        let vectors = vectors.clone();
        let rows = if members.len() == 1 {
            vectors
        } else {
            vectors.narrow(0, place * batch.n_rows, batch.n_rows)
        };
        Some((rows, tokens.task.as_deref()))
    })
}

fn to_features(output: AutoencoderOutput) -> AutoencoderFeatures {
    AutoencoderFeatures {
        sentence_embedding_backbone: output.backbone,
        decoded_embedding_k: output.decoded_k,
        decoded_embedding_4k: output.decoded_4k,
        decoded_embedding_k_pre_bias: output.decoded_k_pre_bias,
        decoded_embedding_aux: output.decoded_auxiliary,
    }
}

fn to_tensor(labels: &sparse_data::Labels, encoder: &SparseEncoder) -> Labels {
    let device = encoder.device();
    let values = Tensor::<1>::from_floats(labels.values.as_slice(), &device);
    let n_rows = labels.values.len() / labels.width.max(1);
    if labels.lists > 0 {
        let shape = [n_rows, labels.lists, labels.width / labels.lists];
        return Labels::Matrices(values.reshape(shape));
    }
    if labels.per_row_list {
        return Labels::Lists(values.reshape([n_rows, labels.width]));
    }
    Labels::Scalars(values)
}
