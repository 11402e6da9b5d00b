//! Evaluation: the loss on evaluation data, then the evaluators.

use std::time::Instant;

use sparse_eval::EvaluationRun;
use sparse_kernels::autocast;
use sparse_model::{ForwardContext, SparseEncoder};

use super::Trainer;
use super::embed::{assemble, embed_texts};
use crate::arguments::CountTokens;
use crate::dataset::DatasetWithLoss;
use crate::error::{Error, Result};
use crate::plan::evaluation_batches;
use crate::state::entry;

impl Trainer {
    /// Computes the loss of every evaluation data set and runs every evaluator.
    ///
    /// Keys are `PREFIX_loss`, the parts of the loss, `PREFIX_runtime` in seconds, `PREFIX_samples_per_second`,
    /// `PREFIX_steps_per_second`, and `PREFIX_` before every metric of an evaluator. With several data sets each has such keys
    /// with `PREFIX_NAME`, and there is no loss over all of them: they may be of different kinds.
    ///
    /// # Errors
    ///
    /// If there is nothing to evaluate, or an evaluator fails.
    pub fn evaluate(&mut self, prefix: &str) -> Result<Vec<(String, f64)>> {
        if self.eval.is_empty() && self.evaluators.is_empty() {
            return Err(Error::Nothing {
                purpose: "evaluate",
                parts: "an `[[eval_dataset]]` or an `[[evaluator]]`",
            });
        }
        let started = Instant::now();
        let encoder = self.encoder();
        let mut metrics = Vec::new();
        let (mut rows, mut batches) = (0, 0);
        let several = self.eval.len() > 1;
        let precision = self.arguments.precision();
        // Callbacks are told of each batch, while the data sets lie aside.
        let datasets = std::mem::take(&mut self.eval);
        let losses = datasets.iter().try_for_each(|dataset| -> Result<()> {
            let prefix = if several {
                format!("{prefix}_{}", dataset.name)
            } else {
                prefix.to_owned()
            };
            let begun = Instant::now();
            let (n_rows, n_batches) = autocast(precision, || {
                self.dataset_loss(&encoder, dataset, &prefix, &mut metrics)
            })?;
            if several {
                metrics.extend(speed(&prefix, begun, n_rows, n_batches));
            }
            rows += n_rows;
            batches += n_batches;
            Ok(())
        });
        self.eval = datasets;
        losses?;
        let run = EvaluationRun {
            output_path: Some(self.arguments.output_dir.join("eval")),
            epoch: Some(self.state.epoch),
            steps: Some(self.state.global_step as u64),
            ..EvaluationRun::default()
        };
        for (index, evaluator) in self.evaluators.iter().enumerate() {
            let precision = self.arguments.evaluation_precision();
            let figures = autocast(precision, || evaluator.evaluate(&encoder, &run));
            let figures = figures.map_err(|source| Error::Evaluator {
                name: match evaluator.name() {
                    "" => evaluator.class_name().to_owned(),
                    name => name.to_owned(),
                },
                step: self.state.global_step,
                source: Box::new(source),
            })?;
            let own: Vec<(String, f64)> = figures.clone().into_iter().collect();
            self.card
                .record(index, evaluator.as_ref(), encoder.similarity_fn(), &own);
            for (name, value) in figures.iter() {
                let key = if name.starts_with(&format!("{prefix}_")) {
                    name.to_owned()
                } else {
                    format!("{prefix}_{name}")
                };
                metrics.push((key, value));
            }
        }
        metrics.extend(speed(prefix, started, rows, batches));
        Ok(metrics)
    }

    pub(super) fn evaluate_and_log(&mut self, prefix: &str) -> Result<Vec<(String, f64)>> {
        self.notify(|callback, context, control| callback.on_evaluation_begin(context, control));
        let metrics = self.evaluate_for_all(prefix)?;
        self.log(metrics.clone());
        self.notify(|callback, context, control| callback.on_evaluate(context, control, &metrics));
        Ok(metrics)
    }

    /// Appends a log to the history and hands it to the callbacks.
    pub(super) fn log(&mut self, mut logs: Vec<(String, f64)>) {
        if self.arguments.include_num_input_tokens_seen != CountTokens::No {
            let seen = self.state.num_input_tokens_seen as f64;
            logs.push(("num_input_tokens_seen".to_owned(), seen));
        }
        let entry = entry(&logs, self.state.epoch, self.state.global_step);
        self.state.log_history.push(entry);
        self.notify(|callback, context, control| callback.on_log(context, control, &logs));
    }

    /// Mean loss over the rows of a data set, with the regularizer weights in force now; batches are always those of epoch 0.
    fn dataset_loss(
        &mut self,
        encoder: &SparseEncoder,
        dataset: &DatasetWithLoss,
        prefix: &str,
        metrics: &mut Vec<(String, f64)>,
    ) -> Result<(usize, usize)> {
        let batches = evaluation_batches(&self.arguments, dataset)?;
        let (step, total_steps) = (self.state.global_step, self.state.max_steps.max(1));
        let weights = self.regulation.weights(dataset, step, total_steps);
        let largest_kept = self.regulation.largest_kept(step, total_steps);
        let frequencies = self
            .regulation
            .document_frequencies(&*dataset.loss, &encoder.device());
        let context = ForwardContext::evaluation();
        let mut collator = self.collator()?;
        let mut sums: Vec<(String, f64)> = Vec::new();
        let (mut n_rows, mut n_batches) = (0, 0);
        for batch in batches {
            let batch = collator.collate(&batch?)?;
            let blocks = embed_texts(encoder, &batch, &context);
            let mut embedded = assemble(encoder, &batch, &blocks, &context, largest_kept);
            embedded.regularizer_weights = weights;
            embedded.document_frequencies.clone_from(&frequencies);
            for (name, value) in dataset.loss.forward(&embedded).components() {
                let weighted = f64::from(value.clone().into_scalar::<f32>()) * batch.n_rows as f64;
                match sums.iter_mut().find(|(other, _)| other == name) {
                    Some((_, sum)) => *sum += weighted,
                    None => sums.push((name.clone(), weighted)),
                }
            }
            n_rows += batch.n_rows;
            n_batches += 1;
            self.notify(|callback, context, control| callback.on_prediction_step(context, control));
        }
        let total: f64 = sums.iter().map(|(_, sum)| sum).sum();
        metrics.push((format!("{prefix}_loss"), total / n_rows.max(1) as f64));
        if sums.len() > 1 {
            metrics.extend(
                sums.into_iter()
                    .map(|(name, sum)| (format!("{prefix}_{name}"), sum / n_rows as f64)),
            );
        }
        Ok((n_rows, n_batches))
    }
}

/// Seconds since `begun`, and what was done in each of them.
fn speed(prefix: &str, begun: Instant, rows: usize, batches: usize) -> [(String, f64); 3] {
    let seconds = begun.elapsed().as_secs_f64().max(1e-9);
    [
        (format!("{prefix}_runtime"), seconds),
        (
            format!("{prefix}_samples_per_second"),
            rows as f64 / seconds,
        ),
        (
            format!("{prefix}_steps_per_second"),
            batches as f64 / seconds,
        ),
    ]
}
