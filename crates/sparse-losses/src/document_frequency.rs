//! A running estimate of how many documents use each dimension.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Running document frequencies of a training run: the share of recent documents in which each dimension is active.
///
/// The state that [`DfFlopsRegularizer`](crate::DfFlopsRegularizer) works with. It belongs to whoever runs the
/// training, who puts [`to_tensor`](Self::to_tensor) into each batch, calls [`observe`](Self::observe) after each
/// step, and saves this value with the checkpoint, so that a resumed run goes on with the same numbers.
///
/// ```text
/// counts ← decay · counts + active rows,   total ← decay · total + rows,   decay = max(0, 1 − rows / window)
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentFrequencies {
    window: f64,
    total: f64,
    counts: Vec<f64>,
}

impl DocumentFrequencies {
    /// Documents that weigh in an estimate when nothing else is said; as many as a small validation corpus.
    pub const DEFAULT_WINDOW: usize = 5_000;

    /// An empty estimate for embeddings of `vocab_size` dimensions, which forgets documents older than about
    /// `window`.
    ///
    /// # Panics
    ///
    /// If `window` is 0.
    pub fn new(vocab_size: usize, window: usize) -> Self {
        assert!(window > 0, "a window holds at least one document");
        Self {
            window: window as f64,
            total: 0.0,
            counts: vec![0.0; vocab_size],
        }
    }

    /// Dimensions of the embeddings that are counted.
    pub fn n_dims(&self) -> usize {
        self.counts.len()
    }

    /// Counts the active dimensions of some documents, each matrix `[n, vocab_size]`. Reads back from the device.
    ///
    /// # Panics
    ///
    /// If a matrix is not `vocab_size` wide.
    pub fn observe(&mut self, documents: &[Tensor<2>]) {
        for rows in documents {
            let [n, vocab_size] = rows.dims();
            assert_eq!(
                vocab_size,
                self.counts.len(),
                "documents are as wide as the estimate"
            );
            let active = rows.clone().detach().not_equal_elem(0.0).float().sum_dim(0);
            let active = active.into_data().convert::<f32>();
            let active = active.as_slice::<f32>().expect("just converted to f32");
            let decay = (1.0 - n as f64 / self.window).max(0.0);
            self.total = self.total * decay + n as f64;
            for (count, active) in self.counts.iter_mut().zip(active) {
                *count = *count * decay + f64::from(*active);
            }
        }
    }

    /// The frequencies as a `[vocab_size]` tensor of shares; `None` before the first document.
    pub fn to_tensor(&self, device: &Device) -> Option<Tensor<1>> {
        if self.total == 0.0 {
            return None;
        }
        let shares: Vec<f32> = self
            .counts
            .iter()
            .map(|count| (count / self.total) as f32)
            .collect();
        Some(Tensor::from_data(shares.as_slice(), device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, device, values};

    #[test]
    fn documents_are_counted_and_old_ones_forgotten() {
        let device = device();
        let mut frequencies = DocumentFrequencies::new(3, 4);
        assert!(frequencies.to_tensor(&device).is_none());
        frequencies.observe(&[Tensor::from_floats(
            [[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]],
            &device,
        )]);
        assert_close(
            &values(frequencies.to_tensor(&device).unwrap()),
            &[1.0, 0.0, 0.5],
            1e-7,
        );
        frequencies.observe(&[Tensor::from_floats(
            [[0.0, 5.0, 1.0], [0.0, 0.0, 1.0]],
            &device,
        )]);
        // decay ½: counts (1, 0, ½) + (0, 1, 2), total 1 + 2
        assert_close(
            &values(frequencies.to_tensor(&device).unwrap()),
            &[1.0 / 3.0, 1.0 / 3.0, 2.5 / 3.0],
            1e-6,
        );
    }

    #[test]
    fn the_state_survives_saving() {
        let device = device();
        let mut frequencies = DocumentFrequencies::new(2, DocumentFrequencies::DEFAULT_WINDOW);
        frequencies.observe(&[Tensor::from_floats(
            [[1.0, 0.0], [0.1, 0.0], [0.0, 0.0]],
            &device,
        )]);
        let text = serde_json::to_string(&frequencies).unwrap();
        assert_eq!(
            serde_json::from_str::<DocumentFrequencies>(&text).unwrap(),
            frequencies
        );
    }
}
