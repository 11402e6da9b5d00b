//! An update of several processes: each embeds its share of the texts, all compute the same loss, and each leads the
//! gradient at its own vectors back through the model.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use sparse_kernels::RandomStream;
use sparse_losses::MiniBatches;
use sparse_model::{ForwardContext, PackedTokens, SparseEncoder};

use super::Trainer;
use super::cache::{cut, embed_part};
use super::step::{MicroBatch, Sums};
use super::tally::Tally;
use crate::distributed::{Share, add_up, gather_vectors, to_values};
use crate::error::Result;
use crate::optimizer::GradientSet;
use crate::prefetch::Prefetch;

/// A micro-batch that processes share.
struct Shared {
    dataset: usize,
    micro_batch: MicroBatch,
    mini_batches: Option<MiniBatches>,
    /// The texts of each block that each process embeds: `texts[rank][block]`.
    texts: Vec<Vec<Range<usize>>>,
}

/// What a process embedded of a block.
struct Own {
    texts: Range<usize>,
    /// With their graph, where it is kept.
    vectors: Option<Tensor<2>>,
}

impl Trainer {
    /// How the processes divide the micro-batches of an update.
    pub(super) fn share(&self) -> Share {
        let size = self.communicator.size();
        if self.gathers_across_devices() {
            Share::Texts { size }
        } else {
            Share::Batches { size }
        }
    }

    /// Gradients and figures of an update, the same in every process.
    ///
    /// Losses are computed for a round of micro-batches at a time, one for each process, or the one that all share; with
    /// `exact_regularizer` for all micro-batches of the update.
    pub(super) fn accumulate_together(
        &mut self,
        learning_rate: f64,
        n_micro_batches: usize,
        feed: &mut Prefetch,
    ) -> Result<Sums> {
        let stream = RandomStream::new(self.arguments.seed)
            .derive("dropout")
            .derive_index(self.state.global_step as u64);
        let share = self.share();
        let round = match share {
            _ if self.arguments.exact_regularizer => n_micro_batches,
            Share::Batches { size } => size,
            Share::Texts { .. } => 1,
        };
        let mut sums = Sums {
            gradients: GradientSet::default(),
            tally: Tally::new(n_micro_batches, learning_rate, self.looks_closer()),
            n_micro_batches,
            learning_rate,
        };
        for start in (0..n_micro_batches).step_by(round) {
            if start > 0 {
                self.notify(|callback, context, control| callback.on_substep_end(context, control));
            }
            let mut shared = Vec::new();
            for index in start..(start + round).min(n_micro_batches) {
                let (dataset, batch) = feed.next()?;
                let context = ForwardContext::training(stream.derive_index(index as u64));
                let texts = (0..self.communicator.size()).map(|rank| {
                    let blocks = batch.blocks.iter();
                    blocks
                        .map(|(tokens, _)| share.texts(rank, index, tokens))
                        .collect()
                });
                shared.push(Shared {
                    dataset,
                    texts: texts.collect(),
                    mini_batches: self.mini_batches(&*self.train[dataset].loss),
                    micro_batch: MicroBatch { batch, context },
                });
            }
            // In the order in which the data sets come first.
            while let Some(first) = shared.first() {
                let dataset = first.dataset;
                let (group, others): (Vec<_>, Vec<_>) =
                    shared.into_iter().partition(|one| one.dataset == dataset);
                self.backward_together(dataset, &group, &mut sums)?;
                shared = others;
            }
        }
        add_up(&*self.communicator, self.model(), &mut sums.gradients);
        Ok(sums)
    }

    /// Adds this process's part of the gradient of micro-batches whose loss is computed together.
    fn backward_together(
        &mut self,
        dataset: usize,
        group: &[Shared],
        sums: &mut Sums,
    ) -> Result<()> {
        let loss = self.train[dataset].loss.clone();
        let divisor = sums.n_micro_batches as f64 / group.len() as f64;
        let rank = self.communicator.rank();
        // The graph of one micro-batch is what a step of one process holds as well; more are embedded a second time.
        let owned = group
            .iter()
            .filter(|one| one.texts[rank].iter().any(|texts| !texts.is_empty()));
        let keeps_graph = owned.count() <= 1;
        let (own, leaves) = self.embed_together(group, keeps_graph, None);
        let leaves: Vec<Vec<Tensor<2>>> = leaves
            .into_iter()
            .map(|blocks| {
                let blocks = blocks.into_iter();
                blocks
                    .map(|vectors| Tensor::from_inner(vectors).require_grad())
                    .collect()
            })
            .collect();
        let embedded: Vec<_> = group
            .iter()
            .zip(&leaves)
            .map(|(one, leaves)| {
                let MicroBatch { batch, context } = &one.micro_batch;
                self.assemble(dataset, batch, leaves, context)
            })
            .collect();
        let output = match &embedded[..] {
            [one] => loss.forward(one),
            several => loss.forward_jointly(several),
        };
        let micro_batches = group.iter().map(|one| &one.micro_batch);
        self.add_loss(dataset, micro_batches, &embedded, &output, sums)?;
        let mut at_leaves = self.scaled(output.total(), divisor).backward();
        let model = self.model();
        for ((one, own), leaves) in group.iter().zip(own).zip(&leaves) {
            lead_on(model, one, own, leaves, &mut at_leaves, &mut sums.gradients);
        }
        // What lies between leaves and loss, an autoencoder, is the same everywhere and counts once.
        if rank == 0 {
            sums.gradients.accumulate(model, at_leaves);
        }
        for batch in &embedded {
            self.regulation.count_documents(&*loss, batch.documents());
        }
        if self
            .regulation
            .measures_without_dropout(self.state.global_step)
        {
            let context = ForwardContext::inference();
            let (_, blocks) = self.embed_together(group, false, Some(&context));
            for (one, blocks) in group.iter().zip(&blocks) {
                let batch = &one.micro_batch.batch;
                let embedded = self.assemble(dataset, batch, blocks, &context);
                sums.tally.count_without_dropout(dataset, &embedded);
            }
        }
        Ok(())
    }

    /// Embeds this process's share and gathers the vectors of all texts: for each micro-batch those of its blocks, without
    /// a graph. `context` stands in for that of the micro-batches.
    fn embed_together(
        &self,
        group: &[Shared],
        keeps_graph: bool,
        context: Option<&ForwardContext>,
    ) -> (Vec<Vec<Own>>, Vec<Vec<Tensor<2>>>) {
        let rank = self.communicator.rank();
        let plain = self.model().clone().valid();
        let mut values = Vec::new();
        let mut own = Vec::new();
        for one in group {
            let MicroBatch {
                batch,
                context: own_context,
            } = &one.micro_batch;
            let context = context.unwrap_or(own_context);
            let mut blocks = Vec::new();
            for ((tokens, _), texts) in batch.blocks.iter().zip(&one.texts[rank]) {
                let texts = texts.clone();
                let keeps_graph = keeps_graph && one.mini_batches.is_none();
                let mut vectors = None;
                if keeps_graph && !texts.is_empty() {
                    let tracked = embed_part(self.model(), tokens, &texts, context);
                    values.extend(to_values(tracked.clone().inner()));
                    vectors = Some(tracked);
                } else {
                    for part in pieces(tokens, one.mini_batches, &texts) {
                        values.extend(to_values(embed_part(&plain, tokens, &part, context)));
                    }
                }
                blocks.push(Own { texts, vectors });
            }
            own.push(blocks);
        }
        let blocks: Vec<(usize, usize, &PackedTokens)> = group
            .iter()
            .enumerate()
            .flat_map(|(place, one)| {
                let blocks = one.micro_batch.batch.blocks.iter().enumerate();
                blocks.map(move |(block, (tokens, _))| (place, block, tokens))
            })
            .collect();
        let tokens: Vec<&PackedTokens> = blocks.iter().map(|(_, _, tokens)| *tokens).collect();
        let texts = |rank: usize, index: usize| {
            let (place, block, _) = blocks[index];
            group[place].texts[rank][block].clone()
        };
        let device = self.model().device().inner();
        let mut gathered =
            gather_vectors(&*self.communicator, &tokens, texts, &values, &device).into_iter();
        let leaves = group.iter().map(|one| {
            let n_blocks = one.micro_batch.batch.blocks.len();
            gathered.by_ref().take(n_blocks).collect()
        });
        (own, leaves.collect())
    }
}

/// Adds to `gradients` what the gradient at this process's own vectors of a micro-batch means for the parameters.
fn lead_on(
    encoder: &SparseEncoder,
    one: &Shared,
    own: Vec<Own>,
    leaves: &[Tensor<2>],
    at_leaves: &mut Gradients,
    gradients: &mut GradientSet,
) {
    let MicroBatch { batch, context } = &one.micro_batch;
    for (((tokens, _), own), leaf) in batch.blocks.iter().zip(own).zip(leaves) {
        // A loss may not depend on a block.
        let Some(at_leaf) = leaf.grad_remove(at_leaves) else {
            continue;
        };
        let mut add = |vectors: Tensor<2>, texts: &Range<usize>| {
            // Otherwise nothing on this route is trained.
            if vectors.is_tracked() {
                let stored = at_leaf.clone().narrow(0, texts.start, texts.len());
                let product = (vectors * Tensor::from_inner(stored)).sum();
                gradients.accumulate(encoder, product.backward());
            }
        };
        if let Some(vectors) = own.vectors {
            add(vectors, &own.texts);
            continue;
        }
        for texts in pieces(tokens, one.mini_batches, &own.texts) {
            add(embed_part(encoder, tokens, &texts, context), &texts);
        }
    }
}

/// The mini-batches of a block as far as they lie in `own`.
fn pieces(
    tokens: &PackedTokens,
    mini_batches: Option<MiniBatches>,
    own: &Range<usize>,
) -> Vec<Range<usize>> {
    cut(tokens, mini_batches)
        .into_iter()
        .map(|part| part.start.max(own.start)..part.end.min(own.end))
        .filter(|part| !part.is_empty())
        .collect()
}
