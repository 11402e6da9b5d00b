//! Doubt: is one run really better than another?

use serde::Serialize;

use crate::mining::mix;
use crate::{Error, Result};

/// Settings of a paired bootstrap ([Efron and Tibshirani, 1993](https://doi.org/10.1201/9780429246593)).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Number of resampled sets of queries.
    pub n_samples: usize,
    /// Share of the resampled means that the interval holds (0 to 1, both excluded).
    pub confidence: f64,
    /// Where the samples come from.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            n_samples: 10_000,
            confidence: 0.95,
            seed: 42,
        }
    }
}

/// How one run differs from another on the same queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// Mean of the first run.
    pub first: f64,
    /// Mean of the second run.
    pub second: f64,
    /// Second less first.
    pub difference: f64,
    /// Interval of the difference under resampling of queries.
    pub interval: [f64; 2],
    /// Two-sided share of resampled differences on the other side of 0 (0 to 1): small if the difference is no accident.
    pub p_value: f64,
    /// Queries on which the second run is better, equal and worse.
    pub better_equal_worse: [usize; 3],
}

impl Bootstrap {
    /// Compares two runs by one figure, query by query: `first[i]` and `second[i]` belong to the same query.
    ///
    /// # Errors
    ///
    /// If the runs differ in length or hold no query, or a setting is outside its domain.
    pub fn compare(&self, first: &[f64], second: &[f64]) -> Result<Comparison> {
        crate::error::check_lengths(&["first", "second"], &[first.len(), second.len()])?;
        if first.is_empty() {
            return Err(Error::Data(
                "a comparison needs at least one query".to_owned(),
            ));
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return Err(Error::option(
                "confidence",
                format!("must lie between 0 and 1; got {}", self.confidence),
            ));
        }
        if self.n_samples == 0 {
            return Err(Error::option("n_samples", "must be at least 1; got 0"));
        }
        let differences = first
            .iter()
            .zip(second)
            .map(|(first, second)| second - first)
            .collect::<Vec<_>>();
        let n = differences.len();
        let mut state = mix(self.seed);
        let mut means = Vec::with_capacity(self.n_samples);
        for _ in 0..self.n_samples {
            let mut sum = 0.0;
            for _ in 0..n {
                state = mix(state);
                // The high half of the product is uniform over 0..n.
                sum += differences[((u128::from(state) * n as u128) >> 64) as usize];
            }
            means.push(sum / n as f64);
        }
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means[((share * means.len() as f64) as usize).min(means.len() - 1)];
        let tail = (1.0 - self.confidence) / 2.0;
        let share = |count: usize| count as f64 / means.len() as f64;
        let below = share(means.iter().filter(|&&mean| mean <= 0.0).count());
        let above = share(means.iter().filter(|&&mean| mean >= 0.0).count());
        let count = |holds: fn(f64) -> bool| {
            differences
                .iter()
                .filter(|&&difference| holds(difference))
                .count()
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
        Ok(Comparison {
            first: mean(first),
            second: mean(second),
            difference: mean(&differences),
            interval: [at(tail), at(1.0 - tail)],
            p_value: (2.0 * below.min(above)).min(1.0),
            better_equal_worse: [count(|d| d > 0.0), count(|d| d == 0.0), count(|d| d < 0.0)],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_runs_do_not_differ() {
        let run = [0.2, 0.9, 0.0];
        let comparison = Bootstrap::default().compare(&run, &run).unwrap();
        assert_eq!(
            (
                comparison.difference,
                comparison.interval,
                comparison.p_value
            ),
            (0.0, [0.0, 0.0], 1.0)
        );
        assert_eq!(comparison.better_equal_worse, [0, 3, 0]);
    }

    #[test]
    fn a_constant_gain_is_certain() {
        let comparison = Bootstrap::default()
            .compare(&[0.0, 0.25, 0.5], &[0.5, 0.75, 1.0])
            .unwrap();
        assert_eq!(
            (
                comparison.difference,
                comparison.interval,
                comparison.p_value
            ),
            (0.5, [0.5, 0.5], 0.0)
        );
    }

    #[test]
    fn the_interval_is_about_two_standard_errors_wide() {
        // Half of the differences +1, half −1: the mean's standard error is 1 / √400.
        let first = vec![0.0; 400];
        let second = (0..400)
            .map(|query| if query % 2 == 0 { 1.0 } else { -1.0 })
            .collect::<Vec<_>>();
        let comparison = Bootstrap::default().compare(&first, &second).unwrap();
        let [low, high] = comparison.interval;
        assert!(
            (low + 0.098).abs() < 0.006 && (high - 0.098).abs() < 0.006,
            "{comparison:?}"
        );
        assert!(comparison.p_value > 0.9);
        assert_eq!(
            comparison,
            Bootstrap::default().compare(&first, &second).unwrap()
        );
        assert_ne!(
            comparison,
            Bootstrap {
                seed: 1,
                ..Bootstrap::default()
            }
            .compare(&first, &second)
            .unwrap()
        );
    }

    #[test]
    fn unpaired_runs_are_refused() {
        let error = Bootstrap::default()
            .compare(&[1.0], &[1.0, 0.0])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "first, second must have the same length; got 1, 2"
        );
        assert!(
            Bootstrap {
                confidence: 1.0,
                ..Bootstrap::default()
            }
            .compare(&[1.0], &[1.0])
            .is_err()
        );
    }
}
