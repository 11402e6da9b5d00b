//! One update: forward, loss, backward, clipping, optimizer.

use burn::tensor::Tensor;
use sparse_kernels::RandomStream;
use sparse_losses::{AutoencoderFeatures, EmbeddedBatch, Labels, RegularizerWeights};
use sparse_model::{AutoencoderOutput, ForwardContext, SparseEncoder};

use super::Trainer;
use crate::callback::StepReport;
use crate::collator::{CollatedBatch, Collator};
use crate::error::{Error, Result};
use crate::optimizer::{GradientSet, Optimizer};
use crate::prefetch::Prefetch;
use crate::schedule::LearningRateSchedule;

impl Trainer {
    pub(super) fn collator(&self) -> Result<Collator> {
        Ok(Collator::new(
            self.model().preprocessor()?,
            self.arguments.prompts.clone(),
            self.arguments.router_mapping.clone(),
        ))
    }

    /// Runs update `global_step` (0-based) over the next `n_micro_batches`.
    pub(super) fn update(
        &mut self,
        schedule: &LearningRateSchedule,
        optimizer: &mut Optimizer,
        total_steps: usize,
        n_micro_batches: usize,
        feed: &mut Prefetch,
    ) -> Result<()> {
        let step = self.state.global_step;
        let stream = RandomStream::new(self.arguments.seed)
            .derive("dropout")
            .derive_index(step as u64);
        let mut gradients = GradientSet::default();
        let mut tally = Tally::new(n_micro_batches, schedule.rate(step));
        for micro_batch in 0..n_micro_batches {
            let (dataset, batch) = feed.next()?;
            let loss = self.train[dataset].loss.clone();
            let weights = loss.regularizer_weights().map(|maxima| {
                maxima.scaled(
                    self.regularizer_schedule
                        .factor(step as u64, total_steps as u64),
                )
            });
            let context = ForwardContext::training(stream.derive_index(micro_batch as u64));
            let embedded = embed(self.model(), &batch, &context, weights);
            tally.count(&embedded, &batch);
            let output = loss.forward(&embedded);
            drop(embedded);
            let total = output.total();
            let value = tally.add(&output);
            if !value.is_finite() {
                return Err(self.not_finite("the loss", value, schedule.rate(step)));
            }
            gradients.accumulate(self.model(), (total / n_micro_batches as f64).backward());
            if micro_batch + 1 < n_micro_batches {
                self.notify(|callback, context, control| callback.on_substep_end(context, control));
            }
        }
        self.state.num_input_tokens_seen += tally.tokens;
        self.report = tally.report;
        self.report.grad_norm = gradients.norm();
        if !self.report.grad_norm.is_finite() {
            let names = gradients.not_finite(self.model());
            let what = match names.split_first() {
                Some((first, [])) => format!("the gradient of `{first}`"),
                Some((first, rest)) => format!("the gradient of `{first}` and {} more", rest.len()),
                None => "the norm of the gradient".to_owned(),
            };
            return Err(self.not_finite(&what, self.report.grad_norm, schedule.rate(step)));
        }
        self.notify(|callback, context, control| callback.on_pre_optimizer_step(context, control));
        let scale = clip(self.report.grad_norm, self.arguments.max_grad_norm);
        let encoder = self
            .encoder
            .take()
            .expect("the model is absent only within a step");
        self.encoder = Some(optimizer.step(encoder, gradients, schedule.factor(step), scale));
        self.notify(|callback, context, control| callback.on_optimizer_step(context, control));
        Ok(())
    }

    fn not_finite(&self, what: &str, value: f64, learning_rate: f64) -> Error {
        Error::NonFinite {
            step: self.state.global_step + 1,
            what: what.to_owned(),
            value,
            learning_rate,
        }
    }
}

/// Factor on the gradient that keeps its norm within `max_norm`: `min(1, max_norm / (norm + 1e-6))`.
fn clip(norm: f64, max_norm: f64) -> f64 {
    if max_norm > 0.0 {
        (max_norm / (norm + 1e-6)).min(1.0)
    } else {
        1.0
    }
}

/// Embeds every column of a batch, columns of one block in one pass.
pub(super) fn embed(
    encoder: &SparseEncoder,
    batch: &CollatedBatch,
    context: &ForwardContext,
    weights: Option<RegularizerWeights>,
) -> EmbeddedBatch {
    let mut columns: Vec<Option<Tensor<2>>> = vec![None; batch.n_columns];
    let mut features: Vec<Option<AutoencoderFeatures>> = vec![None; batch.n_columns];
    for (tokens, members) in &batch.blocks {
        let embeddings = encoder.forward(tokens, context);
        for (place, &column) in members.iter().enumerate() {
            let rows = |tensor: &Tensor<2>| rows_of(tensor, place, members.len(), batch.n_rows);
            columns[column] = Some(rows(&embeddings.sentence_embedding));
            features[column] = embeddings
                .autoencoder
                .as_ref()
                .map(|output| select(output, &rows));
        }
    }
    let mut embedded = EmbeddedBatch::new(columns.into_iter().flatten().collect())
        .with_autoencoder(features.into_iter().flatten().collect());
    embedded.regularizer_weights = weights;
    embedded.labels = batch
        .labels
        .as_ref()
        .map(|labels| to_tensor(labels, encoder));
    embedded
}

/// Rows of the `place`-th of `n_columns` columns that lie below each other.
fn rows_of(tensor: &Tensor<2>, place: usize, n_columns: usize, n_rows: usize) -> Tensor<2> {
    if n_columns == 1 {
        return tensor.clone();
    }
    tensor.clone().narrow(0, place * n_rows, n_rows)
}

fn select(
    output: &AutoencoderOutput,
    rows: &dyn Fn(&Tensor<2>) -> Tensor<2>,
) -> AutoencoderFeatures {
    AutoencoderFeatures {
        sentence_embedding_backbone: rows(&output.backbone),
        decoded_embedding_k: rows(&output.decoded_k),
        decoded_embedding_4k: rows(&output.decoded_4k),
        decoded_embedding_k_pre_bias: rows(&output.decoded_k_pre_bias),
        decoded_embedding_aux: output.decoded_auxiliary.as_ref().map(rows),
    }
}

fn to_tensor(labels: &sparse_data::Labels, encoder: &SparseEncoder) -> Labels {
    let device = encoder.device();
    let values = Tensor::<1>::from_floats(labels.values.as_slice(), &device);
    if labels.per_row_list {
        let n_rows = labels.values.len() / labels.width.max(1);
        return Labels::Lists(values.reshape([n_rows, labels.width]));
    }
    Labels::Scalars(values)
}

/// Sums over the micro-batches of an update.
struct Tally {
    report: StepReport,
    n_micro_batches: f64,
    tokens: usize,
}

impl Tally {
    fn new(n_micro_batches: usize, learning_rate: f64) -> Self {
        Self {
            report: StepReport {
                learning_rate,
                ..StepReport::default()
            },
            n_micro_batches: n_micro_batches as f64,
            tokens: 0,
        }
    }

    fn count(&mut self, embedded: &EmbeddedBatch, batch: &CollatedBatch) {
        let active = |tensor: &Tensor<2>| -> f64 {
            let active = tensor.clone().inner().not_equal_elem(0.0).float().sum();
            active.into_scalar::<f32>() as f64
        };
        let rows = batch.n_rows.max(1) as f64 * self.n_micro_batches;
        self.report.query_active_dims += active(embedded.query()) / rows;
        let documents: f64 = embedded.documents().iter().map(active).sum();
        self.report.document_active_dims +=
            documents / (rows * embedded.documents().len().max(1) as f64);
        self.report.weights = embedded.regularizer_weights;
        self.report.texts += batch.n_rows * batch.n_columns;
        self.tokens += batch.n_tokens;
    }

    /// Adds the parts of a loss and returns its value.
    fn add(&mut self, output: &sparse_losses::LossOutput) -> f64 {
        let mut total = 0.0;
        for (name, value) in output.components() {
            let value = f64::from(value.clone().inner().into_scalar::<f32>());
            total += value;
            let share = value / self.n_micro_batches;
            match self
                .report
                .components
                .iter_mut()
                .find(|(other, _)| other == name)
            {
                Some((_, sum)) => *sum += share,
                None => self.report.components.push((name.clone(), share)),
            }
        }
        self.report.loss += total / self.n_micro_batches;
        total
    }
}

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
