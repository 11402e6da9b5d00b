//! Gradient caching: a large batch in the memory of a small one
//! ([Gao et al., 2021](https://arxiv.org/abs/2101.06983)).
//!
//! 1. Embed the batch in mini-batches, without a graph.
//! 2. Compute the loss of the whole batch at these embeddings, and its gradient there.
//! 3. Embed each mini-batch again, now with a graph, and lead the stored gradient through it.
//!
//! Dropout is a function of seed, step and place in the batch, so that both passes see the same masks, and the same as a
//! pass without mini-batches. What looks at the whole batch, an autoencoder, runs once, between the two passes.

use std::ops::Range;

use burn::tensor::{Gradients, Tensor};
use sparse_losses::MiniBatches;
use sparse_model::{ForwardContext, PackedTokens, SparseEncoder};

use crate::collator::CollatedBatch;
use crate::optimizer::GradientSet;

/// First pass: the vectors of each block as leaves of a new graph. `plain` is the encoder without one.
pub(super) fn embed_leaves(
    plain: &SparseEncoder,
    batch: &CollatedBatch,
    context: &ForwardContext,
    mini_batches: Option<MiniBatches>,
) -> Vec<Tensor<2>> {
    let blocks = batch.blocks.iter();
    blocks
        .map(|(tokens, _)| {
            let parts = cut(tokens, mini_batches)
                .into_iter()
                .map(|texts| embed_part(plain, tokens, &texts, context));
            Tensor::from_inner(Tensor::cat(parts.collect(), 0)).require_grad()
        })
        .collect()
}

/// Second pass: adds to `gradients` what the gradient at the leaves means for the parameters.
pub(super) fn replay(
    encoder: &SparseEncoder,
    batch: &CollatedBatch,
    context: &ForwardContext,
    mini_batches: Option<MiniBatches>,
    leaves: &[Tensor<2>],
    at_leaves: &mut Gradients,
    gradients: &mut GradientSet,
) {
    for ((tokens, _), leaf) in batch.blocks.iter().zip(leaves) {
        // A loss may not depend on a block.
        let Some(at_leaf) = leaf.grad_remove(at_leaves) else {
            continue;
        };
        for texts in cut(tokens, mini_batches) {
            let vectors = embed_part(encoder, tokens, &texts, context);
            if !vectors.is_tracked() {
                // Nothing on this route is trained.
                break;
            }
            let stored = at_leaf.clone().narrow(0, texts.start, texts.len());
            let product = (vectors * Tensor::from_inner(stored)).sum();
            gradients.accumulate(encoder, product.backward());
        }
    }
}

/// The vectors of some texts of a block, as if the whole block were embedded.
pub(super) fn embed_part(
    encoder: &SparseEncoder,
    tokens: &PackedTokens,
    texts: &Range<usize>,
    context: &ForwardContext,
) -> Tensor<2> {
    if texts.len() == tokens.n_texts() {
        return encoder.forward_texts(tokens, context);
    }
    let tokens_before = tokens.rows.as_slice()[texts.start];
    let part: Vec<usize> = texts.clone().collect();
    encoder.forward_texts(
        &tokens.select(&part),
        &context.clone().with_offset(texts.start, tokens_before),
    )
}

/// Ranges of texts that are embedded at a time; one range without a limit.
pub(super) fn cut(tokens: &PackedTokens, mini_batches: Option<MiniBatches>) -> Vec<Range<usize>> {
    let n_texts = tokens.n_texts();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut n_tokens = 0;
    for (text, length) in tokens.rows.lengths().enumerate() {
        let fits = |range: &Range<usize>| match mini_batches {
            None => true,
            Some(MiniBatches::Rows(rows)) => range.len() < rows,
            Some(MiniBatches::Tokens(budget)) => n_tokens + length <= budget,
        };
        match ranges.last_mut().filter(|range| fits(range)) {
            Some(range) => {
                range.end += 1;
                n_tokens += length;
            }
            None => {
                ranges.push(text..text + 1);
                n_tokens = length;
            }
        }
    }
    debug_assert_eq!(ranges.last().map_or(0, |range| range.end), n_texts);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(lengths: &[usize]) -> PackedTokens {
        let rows: Vec<_> = lengths.iter().map(|&n| (vec![1; n], vec![0; n])).collect();
        PackedTokens::from_rows(&rows, None, 0)
    }

    #[test]
    fn mini_batches_cover_all_texts_in_order() {
        let five = tokens(&[3, 4, 9, 1, 1]);
        assert_eq!(cut(&five, None), [Range { start: 0, end: 5 }]);
        assert_eq!(cut(&five, Some(MiniBatches::Rows(2))), [0..2, 2..4, 4..5]);
        // 3 + 4 fit into 8, 9 is too long and stands alone, 1 + 1 fit
        assert_eq!(cut(&five, Some(MiniBatches::Tokens(8))), [0..2, 2..3, 3..5]);
        assert!(cut(&tokens(&[]), Some(MiniBatches::Rows(2))).is_empty());
    }
}
