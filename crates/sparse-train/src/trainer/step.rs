//! One update: forward, loss, backward, clipping, optimizer.

use burn::module::Module;
use burn::tensor::Tensor;
use sparse_kernels::{RandomStream, autocast};
use sparse_losses::{EmbeddedBatch, Loss, LossOutput, MiniBatches};
use sparse_model::ForwardContext;

use super::Trainer;
use super::cache::{embed_leaves, replay};
use super::embed::{assemble, embed_texts};
use super::tally::Tally;
use crate::collator::{CollatedBatch, Collator};
use crate::dataset::DatasetWithLoss;
use crate::error::{Error, Result};
use crate::guard::Observation;
use crate::optimizer::{GradientSet, Optimizer};
use crate::prefetch::Prefetch;
use crate::regulation::Measured;
use crate::schedule::LearningRateSchedule;

/// A micro-batch and its random numbers.
pub(super) struct MicroBatch {
    pub(super) batch: CollatedBatch,
    pub(super) context: ForwardContext,
}

/// What the micro-batches of an update add to.
#[derive(Clone)]
pub(super) struct Sums {
    pub(super) gradients: GradientSet,
    pub(super) tally: Tally,
    pub(super) n_micro_batches: usize,
    pub(super) learning_rate: f64,
}

impl Trainer {
    pub(super) fn collator(&self) -> Result<Collator> {
        Ok(Collator::new(
            self.model().preprocessor()?,
            self.arguments.prompts.clone(),
            self.arguments.router_mapping.clone(),
        ))
    }

    /// Runs update `global_step` (0-based) over the next `n_micro_batches`. False if a callback ended it between two of them:
    /// the model is as it was.
    pub(super) fn update(
        &mut self,
        schedule: &LearningRateSchedule,
        optimizer: &mut Optimizer,
        n_micro_batches: usize,
        feed: &mut Prefetch,
    ) -> Result<bool> {
        let step = self.scheduler_step();
        let sums = self.sums(schedule.rate(step), n_micro_batches, feed)?;
        let Some(Sums {
            gradients, tally, ..
        }) = sums
        else {
            return Ok(false);
        };
        let loss_scale = self.loss_scale();
        let overflowed = self.report(&tally, &gradients)?;
        self.notify(|callback, context, control| callback.on_pre_optimizer_step(context, control));
        if !overflowed {
            let scale = clip(self.report.grad_norm, self.arguments.max_grad_norm) / loss_scale;
            let encoder = self
                .encoder
                .take()
                .expect("the model is absent only within a step");
            self.encoder = Some(optimizer.step(
                encoder,
                gradients,
                |rate| schedule.rate_of(rate, step),
                scale,
            ));
        }
        self.notify(|callback, context, control| callback.on_optimizer_step(context, control));
        self.check_update(&tally)?;
        self.steer(&tally, schedule.factor(step));
        Ok(true)
    }

    /// Gradients and figures of an update, in the precision and by the processes of the run; `None` if a callback ended it
    /// between two micro-batches.
    pub(super) fn sums(
        &mut self,
        learning_rate: f64,
        n_micro_batches: usize,
        feed: &mut Prefetch,
    ) -> Result<Option<Sums>> {
        autocast(self.arguments.precision(), || {
            if self.communicator.size() > 1 {
                self.accumulate_together(learning_rate, n_micro_batches, feed)
                    .map(Some)
            } else {
                self.accumulate(learning_rate, n_micro_batches, feed)
            }
        })
    }

    /// The same of one process.
    fn accumulate(
        &mut self,
        learning_rate: f64,
        n_micro_batches: usize,
        feed: &mut Prefetch,
    ) -> Result<Option<Sums>> {
        let stream = RandomStream::new(self.arguments.seed)
            .derive("dropout")
            .derive_index(self.state.global_step as u64);
        let mut sums = Sums {
            gradients: GradientSet::default(),
            tally: Tally::new(n_micro_batches, learning_rate, self.looks_closer()),
            n_micro_batches,
            learning_rate,
        };
        // With an exact regularizer the micro-batches of a data set wait for each other.
        let waits = self.arguments.exact_regularizer && n_micro_batches > 1;
        let mut waiting: Vec<(usize, Vec<MicroBatch>)> = Vec::new();
        for index in 0..n_micro_batches {
            let (dataset, batch) = feed.next()?;
            let context = ForwardContext::training(stream.derive_index(index as u64));
            let micro_batch = MicroBatch { batch, context };
            if !waits {
                self.backward_within_memory(dataset, &[micro_batch], &mut sums)?;
            } else if let Some((_, group)) = waiting.iter_mut().find(|(other, _)| *other == dataset)
            {
                group.push(micro_batch);
            } else {
                waiting.push((dataset, vec![micro_batch]));
            }
            if index + 1 < n_micro_batches {
                self.notify(|callback, context, control| callback.on_substep_end(context, control));
                if self.control.should_training_stop || self.control.should_epoch_stop {
                    return Ok(None);
                }
            }
        }
        for (dataset, group) in waiting {
            self.backward_within_memory(dataset, &group, &mut sums)?;
        }
        Ok(Some(sums))
    }

    /// Adds the gradient of micro-batches whose loss is computed together, weighted by their share of the update.
    pub(super) fn backward(
        &mut self,
        dataset: usize,
        micro_batches: &[MicroBatch],
        sums: &mut Sums,
    ) -> Result<()> {
        let loss = self.train[dataset].loss.clone();
        let cut = self.mini_batches(&*loss);
        #[cfg(test)]
        self.fail_without_memory(micro_batches, cut);
        let divisor = sums.n_micro_batches as f64 / micro_batches.len() as f64;
        let embedded;
        if let ([MicroBatch { batch, context }], None) = (micro_batches, cut) {
            let blocks = embed_texts(self.model(), batch, context);
            embedded = vec![self.assemble(dataset, batch, &blocks, context)];
            drop(blocks);
            let output = loss.forward(&embedded[0]);
            self.add_loss(dataset, micro_batches, &embedded, &output, sums)?;
            let gradients = self.scaled(output.total(), divisor).backward();
            sums.gradients.accumulate(self.model(), gradients);
        } else {
            let plain = self.model().clone().valid();
            let leaves: Vec<_> = micro_batches
                .iter()
                .map(|MicroBatch { batch, context }| embed_leaves(&plain, batch, context, cut))
                .collect();
            drop(plain);
            embedded = micro_batches
                .iter()
                .zip(&leaves)
                .map(|(MicroBatch { batch, context }, leaves)| {
                    self.assemble(dataset, batch, leaves, context)
                })
                .collect();
            let output = match &embedded[..] {
                [one] => loss.forward(one),
                several => loss.forward_jointly(several),
            };
            self.add_loss(dataset, micro_batches, &embedded, &output, sums)?;
            let mut at_leaves = self.scaled(output.total(), divisor).backward();
            for (MicroBatch { batch, context }, leaves) in micro_batches.iter().zip(&leaves) {
                replay(
                    self.model(),
                    batch,
                    context,
                    cut,
                    leaves,
                    &mut at_leaves,
                    &mut sums.gradients,
                );
            }
            // What lies between leaves and loss: an autoencoder.
            sums.gradients.accumulate(self.model(), at_leaves);
        }
        for batch in &embedded {
            self.regulation.count_documents(&*loss, batch.documents());
        }
        if self
            .regulation
            .measures_without_dropout(self.state.global_step)
        {
            self.measure_without_dropout(dataset, micro_batches, cut, sums);
        }
        Ok(())
    }

    /// Counts the active dimensions of the same texts as encoding will see them.
    fn measure_without_dropout(
        &self,
        dataset: usize,
        micro_batches: &[MicroBatch],
        cut: Option<MiniBatches>,
        sums: &mut Sums,
    ) {
        let plain = self.model().clone().valid();
        let context = ForwardContext::inference();
        for MicroBatch { batch, .. } in micro_batches {
            let leaves = embed_leaves(&plain, batch, &context, cut);
            let embedded = self.assemble(dataset, batch, &leaves, &context);
            sums.tally.count_without_dropout(dataset, &embedded);
        }
    }

    /// How to cut a batch: as fits into memory, or else as the arguments say, or else the loss.
    pub(super) fn mini_batches(&self, loss: &dyn Loss) -> Option<MiniBatches> {
        let arguments = &self.arguments;
        let tokens = arguments.mini_batch_num_tokens.map(MiniBatches::Tokens);
        self.found_mini_batches
            .or(tokens)
            .or(arguments.cached_rows().map(MiniBatches::Rows))
            .or(loss.mini_batches())
    }

    /// Fails as a device does whose memory holds no more than [`Trainer::texts_that_fit`].
    #[cfg(test)]
    fn fail_without_memory(&self, micro_batches: &[MicroBatch], cut: Option<MiniBatches>) {
        let Some(fits) = self.texts_that_fit else {
            return;
        };
        let blocks = micro_batches.iter().flat_map(|one| &one.batch.blocks);
        let largest = blocks.map(|(tokens, _)| match cut {
            Some(MiniBatches::Rows(rows)) => rows.min(tokens.n_texts()),
            _ => tokens.n_texts(),
        });
        let largest = largest.max().unwrap_or(0);
        assert!(largest <= fits, "out of memory: {largest} texts");
    }

    /// What the loss of a data set sees of a micro-batch.
    pub(super) fn assemble(
        &self,
        dataset: usize,
        batch: &CollatedBatch,
        blocks: &[Tensor<2>],
        context: &ForwardContext,
    ) -> EmbeddedBatch {
        let dataset = &self.train[dataset];
        let (step, total_steps) = (self.state.global_step, self.state.max_steps);
        let largest_kept = self.regulation.largest_kept(step, total_steps);
        let mut embedded = assemble(self.model(), batch, blocks, context, largest_kept);
        embedded.regularizer_weights = self.regulation.weights(dataset, step, total_steps);
        embedded.document_frequencies = self
            .regulation
            .document_frequencies(&*dataset.loss, &self.model().device());
        embedded
    }

    /// Counts what a loss saw and said.
    pub(super) fn add_loss<'a>(
        &self,
        dataset: usize,
        micro_batches: impl IntoIterator<Item = &'a MicroBatch>,
        embedded: &[EmbeddedBatch],
        output: &LossOutput,
        sums: &mut Sums,
    ) -> Result<()> {
        for (embedded, micro_batch) in embedded.iter().zip(micro_batches) {
            sums.tally.count(dataset, embedded, &micro_batch.batch);
        }
        let value = sums.tally.add(output, embedded.len());
        if value.is_finite() || !self.guards.config.non_finite {
            return Ok(());
        }
        let what = self.not_finite_in(&self.train[dataset], embedded, output);
        Err(self.not_finite(&what, value, sums.learning_rate))
    }

    /// Factor on the loss.
    fn loss_scale(&self) -> f64 {
        self.scaler.map_or(1.0, |scaler| scaler.scale)
    }

    /// The part of a loss in the gradient of the update.
    pub(super) fn scaled(&self, loss: Tensor<1>, divisor: f64) -> Tensor<1> {
        let loss = loss / divisor;
        match self.scaler {
            Some(scaler) => loss * scaler.scale,
            None => loss,
        }
    }

    /// Fills in the report of the update. True if the gradient overflowed, as it may with `fp16`: the update is to be left out.
    fn report(&mut self, tally: &Tally, gradients: &GradientSet) -> Result<bool> {
        self.state.num_input_tokens_seen = self
            .state
            .num_input_tokens_seen
            .saturating_add(tally.tokens);
        self.report = tally.report.clone();
        let active = tally.active_dims();
        self.report.query_active_dims = active.query.unwrap_or(0.0);
        self.report.document_active_dims = active.document.unwrap_or(0.0);
        self.report.grad_norm = gradients.norm() / self.loss_scale();
        let finite = self.report.grad_norm.is_finite();
        if let Some(scaler) = &mut self.scaler {
            let scale = scaler.scale;
            let helps = scaler.count(finite);
            self.report.loss_scale = Some((scaler.scale, scaler.skipped));
            if !finite && (helps || !self.guards.config.non_finite) {
                tracing::info!(
                    "update {} left out: its gradient overflowed with the loss scaled by {scale}; now by {}",
                    self.state.global_step + 1,
                    scaler.scale
                );
                return Ok(true);
            }
        }
        if finite || !self.guards.config.non_finite {
            return Ok(false);
        }
        let names = gradients.not_finite(self.model());
        let what = match names.split_first() {
            Some((first, [])) => format!("the gradient of `{first}`"),
            Some((first, rest)) => format!("the gradient of `{first}` and {} more", rest.len()),
            None => "the norm of the gradient".to_owned(),
        };
        Err(self.not_finite(&what, self.report.grad_norm, tally.report.learning_rate))
    }

    /// Lets the guards see the update, and says what they warn of.
    fn check_update(&mut self, tally: &Tally) -> Result<()> {
        let n_dims = self.model().embedding_dimension();
        let mut look = tally.look.clone();
        if let Some(look) = &mut look
            && self.model().is_splade()
        {
            let largest = look.largest();
            look.token =
                largest.and_then(|(dimension, _)| self.model().id_to_token(dimension as u32));
        }
        let total_steps = self.state.max_steps as u64;
        let weights = self.report.weights.map_or_else(
            || "none".to_owned(),
            |weights| match weights.query {
                Some(query) => format!("documents {:.1e}, queries {query:.1e}", weights.document),
                None => format!("documents {:.1e}", weights.document),
            },
        );
        let observation = Observation {
            step: self.state.global_step + 1,
            active: tally.active_dims(),
            n_dims,
            ramp: self.regulation.schedule.full_from(total_steps) as usize,
            weights: &weights,
            look: look.as_ref(),
        };
        for warning in self.guards.check(&observation)? {
            self.warn(&warning);
        }
        Ok(())
    }

    /// Lets the controllers of sparsity targets see the update.
    fn steer(&mut self, tally: &Tally, learning_rate: f64) {
        if !self.regulation.has_targets() {
            return;
        }
        let (step, total_steps) = (self.state.global_step, self.state.max_steps);
        for (&dataset, sides) in &tally.active {
            let name = &self.train[dataset].name;
            let without_dropout = tally
                .without_dropout
                .get(&dataset)
                .map(|sides| sides.means());
            let measured = Measured {
                active: sides.means(),
                without_dropout: without_dropout.unwrap_or_default(),
            };
            self.regulation
                .observe(name, measured, step, total_steps, learning_rate);
        }
    }

    /// Whether the guards look closer at the update that comes: one that is logged, or the last.
    pub(super) fn looks_closer(&self) -> bool {
        let step = self.state.global_step + 1;
        let config = &self.guards.config;
        (config.dense_model || config.collapse)
            && (step.is_multiple_of(self.state.logging_steps.max(1))
                || step == self.state.max_steps)
    }

    /// The first tensor on the way to a loss that isn't finite.
    fn not_finite_in(
        &self,
        dataset: &DatasetWithLoss,
        embedded: &[EmbeddedBatch],
        output: &LossOutput,
    ) -> String {
        let mut weight = None;
        self.model().visit_parameters(|id, value| {
            if weight.is_none() && !all_finite(value) {
                weight = Some(id);
            }
        });
        if let Some(id) = weight {
            let parameters = self.model().named_parameters().into_iter();
            let name = parameters
                .filter(|parameter| parameter.id == id)
                .map(|parameter| parameter.name)
                .next();
            return format!("the weight `{}`", name.unwrap_or_default());
        }
        for batch in embedded {
            for (name, column) in dataset.roles.inputs.iter().zip(&batch.columns) {
                let [n_rows, n_dims] = column.dims();
                let values = column.clone().inner().reshape([n_rows * n_dims]);
                if !all_finite(values) {
                    return format!("an embedding of column `{name}`");
                }
            }
        }
        let components = output.components().iter();
        let broken = components
            .filter(|(_, value)| !value.clone().inner().into_scalar::<f32>().is_finite())
            .map(|(name, _)| format!("the term `{name}` of the loss"))
            .next();
        broken.unwrap_or_else(|| "the loss".to_owned())
    }

    fn not_finite(&self, what: &str, value: f64, learning_rate: f64) -> Error {
        Error::NonFinite {
            step: self.state.global_step + 1,
            what: what.to_owned(),
            value,
            learning_rate,
            batch: None,
        }
    }
}

/// Whether no value is infinite or NaN: either times 0 is NaN.
fn all_finite(values: Tensor<1>) -> bool {
    (values * 0.0).sum().into_scalar::<f32>() == 0.0
}

/// Factor on the gradient that keeps its norm within `max_norm`: `min(1, max_norm / (norm + 1e-6))`.
fn clip(norm: f64, max_norm: f64) -> f64 {
    if max_norm > 0.0 {
        (max_norm / (norm + 1e-6)).min(1.0)
    } else {
        1.0
    }
}

#[cfg(test)]
#[path = "gradient_tests.rs"]
mod gradient_tests;

#[cfg(test)]
#[path = "together_tests.rs"]
mod together_tests;

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn the_norm_is_clipped_only_above_its_limit() {
        assert_eq!(clip(0.5, 1.0), 1.0);
        assert!((clip(4.0, 1.0) - 0.25).abs() < 1e-6); // 1 / (4 + 1e-6)
        assert_eq!(clip(4.0, 0.0), 1.0);
    }
}
