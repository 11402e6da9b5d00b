//! The trait that every loss implements, and its result.

use std::fmt::Debug;

use burn::tensor::Tensor;

use crate::{
    DataSummary, Description, EmbeddedBatch, MiniBatches, RegularizerWeights, Result,
    TargetActiveDims,
};

/// Name of the component that a loss with a single term reports.
pub const BASE_LOSS: &str = "base_loss";

/// A function of a batch's embeddings whose value is minimised.
///
/// A loss is pure: same batch, same value. It is object-safe, so `Box<dyn Loss>` and `Arc<dyn Loss>` work.
pub trait Loss: Debug + Send + Sync {
    /// Name in the registry (`type` in a training file).
    fn name(&self) -> &str;

    /// The loss's named terms, each of shape `[1]`.
    ///
    /// # Panics
    ///
    /// If columns or labels differ from what [`check`](Self::check) accepts.
    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput;

    /// The loss of several batches that make one update: terms that belong to a batch are averaged over the batches,
    /// regularizers see all rows together, as if the batches were one.
    ///
    /// What is averaged by default is every term. [`SpladeLoss`](crate::SpladeLoss) keeps its regularizers apart, whose
    /// value over many rows is not the mean of their values over a few.
    ///
    /// # Panics
    ///
    /// If there is no batch, or as [`forward`](Self::forward).
    fn forward_jointly(&self, batches: &[EmbeddedBatch]) -> LossOutput {
        LossOutput::mean(batches.iter().map(|batch| self.forward(batch)))
    }

    /// Checks the data against the loss: number of columns, kind, shape and values of the labels. Called before the
    /// first step with a sample of the data, it costs nothing worth counting.
    ///
    /// # Errors
    ///
    /// If the data does not fit; the message says what was found, what is needed and how to get there.
    fn check(&self, data: &DataSummary) -> Result<()>;

    /// Options and literature, for the model card.
    fn describe(&self) -> Description;

    /// What is allowed but probably not meant, for the log.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The largest weights of the regularizers, which a schedule scales; `None` for losses without regularizers.
    fn regularizer_weights(&self) -> Option<RegularizerWeights> {
        None
    }

    /// Numbers of active dimensions that a controller shall reach by setting the weights of the regularizers.
    fn target_active_dims(&self) -> TargetActiveDims {
        TargetActiveDims::default()
    }

    /// How to cut a batch for gradient caching, if the loss asks for it. It changes the memory that a step takes, and no
    /// value.
    fn mini_batches(&self) -> Option<MiniBatches> {
        None
    }

    /// Whether [`EmbeddedBatch::document_frequencies`] would be used.
    fn needs_document_frequencies(&self) -> bool {
        false
    }

    /// Whether the batch is to hold the rows of all processes, where a run has several; one process is not touched.
    fn gathers_across_devices(&self) -> bool {
        false
    }

    /// Whether [`EmbeddedBatch::autoencoder`] must be filled.
    fn needs_autoencoder(&self) -> bool {
        false
    }
}

/// The named terms of a loss. What is differentiated is their sum.
#[derive(Debug, Clone)]
pub struct LossOutput {
    components: Vec<(String, Tensor<1>)>,
}

impl From<Tensor<1>> for LossOutput {
    /// A loss of one term, called [`BASE_LOSS`].
    fn from(loss: Tensor<1>) -> Self {
        Self {
            components: vec![(BASE_LOSS.to_owned(), loss)],
        }
    }
}

impl LossOutput {
    /// A loss of several terms, each of shape `[1]`, in the order in which they are logged.
    ///
    /// # Panics
    ///
    /// If there is no term.
    pub fn new(components: Vec<(String, Tensor<1>)>) -> Self {
        assert!(!components.is_empty(), "a loss has at least one term");
        Self { components }
    }

    /// The terms in order.
    pub fn components(&self) -> &[(String, Tensor<1>)] {
        &self.components
    }

    /// The term called `name`.
    pub fn component(&self, name: &str) -> Option<&Tensor<1>> {
        self.components
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The sum of all terms, shape `[1]`.
    pub fn total(&self) -> Tensor<1> {
        // `new` refuses an empty list.
        let (_, first) = &self.components[0];
        let rest = self.components[1..].iter();
        rest.fold(first.clone(), |sum, (_, value)| sum + value.clone())
    }

    /// The terms, taken out.
    pub fn into_components(self) -> Vec<(String, Tensor<1>)> {
        self.components
    }

    /// Term by term the mean of outputs of one loss.
    ///
    /// # Panics
    ///
    /// If there is no output, or their terms differ.
    pub(crate) fn mean(outputs: impl IntoIterator<Item = Self>) -> Self {
        let mut outputs = outputs.into_iter();
        let mut sum = outputs.next().expect("a mean of at least one output");
        let mut n = 1;
        for output in outputs {
            for ((name, value), (other, term)) in sum.components.iter_mut().zip(output.components) {
                assert_eq!(*name, other, "outputs of one loss have the same terms");
                *value = value.clone() + term;
            }
            n += 1;
        }
        if n == 1 {
            return sum;
        }
        sum.scaled(1.0 / f64::from(n))
    }

    /// Adds a term behind the others.
    pub(crate) fn push(&mut self, name: impl Into<String>, value: Tensor<1>) {
        self.components.push((name.into(), value));
    }

    /// Every term multiplied by `factor`.
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        for (_, value) in &mut self.components {
            *value = value.clone() * factor;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, scalar};

    #[test]
    fn the_total_is_the_sum_of_the_terms() {
        let device = device();
        let mut output = LossOutput::from(Tensor::<1>::from_floats([2.0], &device));
        output.push(
            "document_regularizer_loss",
            Tensor::from_floats([0.5], &device),
        );
        assert_eq!(scalar(output.total()), 2.5); // 2 + 0.5
        assert_eq!(scalar(output.clone().scaled(2.0).total()), 5.0);
        assert!(output.component("query_regularizer_loss").is_none());
        assert_eq!(scalar(output.component(BASE_LOSS).unwrap().clone()), 2.0);
    }
}
