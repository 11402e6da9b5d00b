//! Keeping only the largest dimensions, fewer and fewer of them.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::require;

const NAME: &str = "top_k_schedule";

/// How many dimensions of each vector stay active during training: many at first, few in the end.
///
/// The alternative to a regularizer's weight when the number of active dimensions is what counts. It shrinks
/// geometrically, by the same factor each step, since going from 20,000 to 10,000 dimensions is as large a change as
/// going from 200 to 100:
///
/// ```text
/// k(g) = round( initial · (final / initial)^(g / ramp) )   while g < ramp, then final
/// ```
///
/// `g` counts completed optimizer steps. Apply it with [`keep_largest`] to every embedding before the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopKScheduleConfig {
    /// Active dimensions in the first step, at least `final_k`; typically the size of the vocabulary.
    pub initial_k: usize,
    /// Active dimensions from the end of the ramp on, at least 1.
    pub final_k: usize,
    /// Length of the ramp as a share of all optimizer steps, in (0, 1].
    #[serde(default = "two_thirds")]
    pub ramp_ratio: f64,
}

fn two_thirds() -> f64 {
    2.0 / 3.0
}

impl TopKScheduleConfig {
    /// A ramp over two thirds of the run.
    pub fn new(initial_k: usize, final_k: usize) -> Self {
        Self {
            initial_k,
            final_k,
            ramp_ratio: two_thirds(),
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// If the ramp goes upwards or to 0, or its length is outside (0, 1].
    pub fn validate(&self) -> Result<()> {
        let Self {
            initial_k,
            final_k,
            ramp_ratio,
        } = *self;
        require(final_k > 0, (NAME, "final_k"), "at least 1", final_k)?;
        let expected = format!("at least `final_k`, which is {final_k}");
        require(
            initial_k >= final_k,
            (NAME, "initial_k"),
            expected,
            initial_k,
        )?;
        let holds = ramp_ratio > 0.0 && ramp_ratio <= 1.0;
        let expected = "greater than 0 and at most 1";
        require(holds, (NAME, "ramp_ratio"), expected, ramp_ratio)
    }

    /// Active dimensions allowed during `step` of a run of `total_steps`.
    pub fn k(&self, step: u64, total_steps: u64) -> usize {
        let ramp = ((total_steps as f64 * self.ramp_ratio) as u64).max(1);
        if step >= ramp {
            return self.final_k;
        }
        let share = step as f64 / ramp as f64;
        let initial = self.initial_k as f64;
        (initial * (self.final_k as f64 / initial).powf(share)).round() as usize
    }
}

/// Sets all but the `k` largest entries of each row (by absolute value) to zero; those get no gradient.
///
/// Entries equal to the k-th largest stay, so a tie can leave a few more. Costs a partial sort of each row, so call it
/// only while `k` is below the width that is active anyway.
///
/// # Shapes
///
/// - `embeddings`, output: `[batch_size, vocab_size]`
///
/// # Panics
///
/// If `k` is 0.
pub fn keep_largest(embeddings: Tensor<2>, k: usize) -> Tensor<2> {
    assert!(k > 0, "at least one dimension stays");
    let [batch_size, vocab_size] = embeddings.dims();
    if k >= vocab_size {
        return embeddings;
    }
    let sizes = embeddings.clone().detach().abs();
    let smallest = sizes.clone().topk(k, 1).narrow(1, k - 1, 1);
    let dropped = sizes.lower(smallest.expand([batch_size, vocab_size]));
    embeddings.mask_fill(dropped, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, values};

    #[test]
    fn the_number_of_dimensions_shrinks_geometrically() {
        let schedule = TopKScheduleConfig {
            ramp_ratio: 0.5,
            ..TopKScheduleConfig::new(1600, 100)
        };
        schedule.validate().unwrap();
        let k: Vec<_> = (0..8).map(|step| schedule.k(step, 8)).collect();
        // a ramp of 4 steps over a factor of 16: half as many each step
        assert_eq!(k, [1600, 800, 400, 200, 100, 100, 100, 100]);
    }

    #[test]
    fn only_the_largest_stay_and_get_a_gradient() {
        let rows = [[1.0, -3.0, 2.0, 0.0], [0.0, 0.0, 0.0, 5.0]];
        let rows = Tensor::<2>::from_floats(rows, &device()).require_grad();
        let kept = keep_largest(rows.clone(), 2);
        assert_eq!(
            values(kept.clone()),
            [0.0, -3.0, 2.0, 0.0, 0.0, 0.0, 0.0, 5.0]
        );
        let gradients = kept.sum().backward();
        let first = &values(rows.grad(&gradients).unwrap())[..4];
        assert_eq!(first, [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn a_k_beyond_the_width_changes_nothing() {
        let rows = Tensor::<2>::from_floats([[1.0, 2.0]], &device());
        assert_eq!(values(keep_largest(rows, 9)), [1.0, 2.0]);
    }

    #[test]
    fn ramps_that_make_no_sense_are_refused() {
        let message = |config: TopKScheduleConfig| config.validate().unwrap_err().to_string();
        assert!(message(TopKScheduleConfig::new(10, 0)).contains("`final_k`"));
        assert!(
            message(TopKScheduleConfig::new(10, 20)).contains("at least `final_k`, which is 20")
        );
        let endless = TopKScheduleConfig {
            ramp_ratio: 1.5,
            ..TopKScheduleConfig::new(20, 10)
        };
        assert!(message(endless).contains("`ramp_ratio`"));
    }
}
