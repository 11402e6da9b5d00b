//! Sums over the micro-batches of an update.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use sparse_losses::{EmbeddedBatch, LossOutput};

use crate::callback::StepReport;
use crate::collator::CollatedBatch;
use crate::guard::Look;
use crate::regulation::ActiveDims;

/// What an update adds up.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) report: StepReport,
    pub(super) tokens: usize,
    /// By data set.
    pub(super) active: BTreeMap<usize, Sides>,
    /// The same of the same texts without dropout, in the updates that measure it.
    pub(super) without_dropout: BTreeMap<usize, Sides>,
    /// A closer look at the documents, where the step is one that is looked at.
    pub(super) look: Option<Look>,
    n_micro_batches: f64,
}

/// Active entries and rows of queries and documents.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sides {
    query: Side,
    document: Side,
}

#[derive(Debug, Clone, Copy, Default)]
struct Side {
    active: f64,
    rows: f64,
}

impl Side {
    fn add(&mut self, columns: &[Tensor<2>]) {
        for column in columns {
            let active = column.clone().inner().not_equal_elem(0.0).float().sum();
            self.active += f64::from(active.into_scalar::<f32>());
            self.rows += column.dims()[0] as f64;
        }
    }

    fn mean(self) -> Option<f64> {
        (self.rows > 0.0).then(|| self.active / self.rows)
    }
}

impl Sides {
    fn add(&mut self, embedded: &EmbeddedBatch) {
        self.query.add(&embedded.columns[..1]);
        self.document.add(embedded.documents());
    }

    pub(super) fn means(self) -> ActiveDims {
        ActiveDims {
            query: self.query.mean(),
            document: self.document.mean(),
        }
    }
}

impl Tally {
    pub(super) fn new(n_micro_batches: usize, learning_rate: f64, look: bool) -> Self {
        Self {
            report: StepReport {
                learning_rate,
                ..StepReport::default()
            },
            tokens: 0,
            active: BTreeMap::new(),
            without_dropout: BTreeMap::new(),
            look: look.then(Look::default),
            n_micro_batches: n_micro_batches as f64,
        }
    }

    pub(super) fn count(
        &mut self,
        dataset: usize,
        embedded: &EmbeddedBatch,
        batch: &CollatedBatch,
    ) {
        self.active.entry(dataset).or_default().add(embedded);
        if let Some(look) = &mut self.look {
            look.add(embedded);
        }
        self.report.weights = embedded.regularizer_weights;
        self.report.texts += batch.n_rows * batch.n_columns;
        self.tokens += batch.n_tokens;
    }

    pub(super) fn count_without_dropout(&mut self, dataset: usize, embedded: &EmbeddedBatch) {
        self.without_dropout
            .entry(dataset)
            .or_default()
            .add(embedded);
    }

    /// Mean active dimensions over all data sets.
    pub(super) fn active_dims(&self) -> ActiveDims {
        let total = self.active.values().fold(Sides::default(), |sum, sides| {
            let add = |a: Side, b: Side| Side {
                active: a.active + b.active,
                rows: a.rows + b.rows,
            };
            Sides {
                query: add(sum.query, sides.query),
                document: add(sum.document, sides.document),
            }
        });
        total.means()
    }

    /// Adds the parts of the loss of `n_batches` micro-batches and returns its value.
    pub(super) fn add(&mut self, output: &LossOutput, n_batches: usize) -> f64 {
        let share = n_batches as f64 / self.n_micro_batches;
        let mut total = 0.0;
        for (name, value) in output.components() {
            let value = f64::from(value.clone().inner().into_scalar::<f32>());
            total += value;
            let components = &mut self.report.components;
            match components.iter_mut().find(|(other, _)| other == name) {
                Some((_, sum)) => *sum += value * share,
                None => components.push((name.clone(), value * share)),
            }
        }
        self.report.loss += total * share;
        total
    }
}
