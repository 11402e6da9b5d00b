//! Dropout from a counter-based stream.

use burn::tensor::{Tensor, TensorData};

use crate::RandomStream;

/// Dropout of one place in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability of an element to become zero, in `[0, 1)`.
    pub rate: f32,
    /// Which elements: the stream of this place and step.
    pub stream: RandomStream,
}

/// Sets each element to zero with probability `rate` and divides the others by `1 − rate`; `None` does nothing.
///
/// The mask depends on the stream and the element's index alone: it is the same on every backend.
pub fn dropout(x: Tensor<2>, dropout: Option<&Dropout>) -> Tensor<2> {
    let Some(dropout) = dropout.filter(|dropout| dropout.rate > 0.0) else {
        return x;
    };
    let [n, d] = x.dims();
    let factors: Vec<f32> = (0..n * d).map(|i| dropout.factor(i)).collect();
    let mask = Tensor::<2>::from_data(TensorData::new(factors, [n, d]), &x.device());
    x * mask
}

impl Dropout {
    /// What element `index` is multiplied by: 0 or `1 / (1 − rate)`.
    fn factor(&self, index: usize) -> f32 {
        if self.stream.uniform(index as u64) < f64::from(self.rate) {
            0.0
        } else {
            1.0 / (1.0 - self.rate)
        }
    }
}
