//! What mining found and dropped.

use std::fmt;

use serde::Serialize;

use super::Selection;

/// Distribution of scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScoreSummary {
    /// Number of scores.
    pub count: usize,
    /// Their mean; NaN without scores, as all that follows.
    pub mean: f64,
    /// Sample standard deviation.
    pub std: f64,
    /// Minimum, the three quartiles (interpolated) and maximum.
    pub quartiles: [f64; 5],
}

impl ScoreSummary {
    /// Summarizes `scores`.
    pub fn of(scores: &[f32]) -> Self {
        let mut sorted = scores
            .iter()
            .map(|&score| f64::from(score))
            .collect::<Vec<_>>();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let squares = sorted
            .iter()
            .map(|score| (score - mean).powi(2))
            .sum::<f64>();
        let quantile = |share: f64| {
            let at = share * n.saturating_sub(1) as f64;
            let (low, high) = (at.floor() as usize, at.ceil() as usize);
            match (sorted.get(low), sorted.get(high)) {
                (Some(&a), Some(&b)) => a + (b - a) * at.fract(),
                _ => f64::NAN,
            }
        };
        Self {
            count: n,
            mean,
            std: (squares / (n as f64 - 1.0)).sqrt(),
            quartiles: [0.0, 0.25, 0.5, 0.75, 1.0].map(quantile),
        }
    }
}

/// Scores of relevant documents and negatives, and what the rules dropped. Its display is a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MiningReport {
    /// Number of queries.
    pub n_queries: usize,
    /// Scores of the relevant documents.
    pub positives: ScoreSummary,
    /// Scores of the negatives, once for every relevant document of their query.
    pub negatives: ScoreSummary,
    /// Relevant document minus negative, of the same pairs.
    pub differences: ScoreSummary,
    /// Candidates looked at.
    pub n_candidates: usize,
    /// Candidates dropped because they are relevant to their query.
    pub dropped_positives: usize,
    /// Candidates dropped by each rule that is set.
    pub dropped: Vec<(&'static str, usize)>,
    /// Negatives that were asked for and not found, counted for every relevant document.
    pub missing: usize,
    /// Negatives that were asked for.
    pub wanted: usize,
}

impl MiningReport {
    pub(crate) fn new(
        positive_scores: &[Vec<f32>],
        selection: &Selection,
        num_negatives: usize,
    ) -> Self {
        let (mut negatives, mut differences) = (Vec::new(), Vec::new());
        for (positives, hits) in positive_scores.iter().zip(&selection.negatives) {
            for positive in positives {
                negatives.extend(hits.iter().map(|hit| hit.score));
                differences.extend(hits.iter().map(|hit| positive - hit.score));
            }
        }
        let positives = positive_scores.concat();
        let wanted = num_negatives * positives.len();
        Self {
            n_queries: positive_scores.len(),
            positives: ScoreSummary::of(&positives),
            negatives: ScoreSummary::of(&negatives),
            differences: ScoreSummary::of(&differences),
            n_candidates: selection.n_candidates,
            dropped_positives: selection.dropped_positives,
            dropped: selection.dropped.clone(),
            missing: wanted - negatives.len(),
            wanted,
        }
    }
}

impl fmt::Display for MiningReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [&self.positives, &self.negatives, &self.differences];
        writeln!(
            formatter,
            "{:<8}{:>12}{:>15}{:>15}",
            "Metric", "Positive", "Negative", "Difference"
        )?;
        writeln!(
            formatter,
            "{:<8}{:>12}{:>15}",
            "Count", self.positives.count, self.negatives.count
        )?;
        let mut line = |name: &str, value: &dyn Fn(&ScoreSummary) -> f64| {
            let [a, b, c] = columns.map(value);
            writeln!(formatter, "{name:<8}{a:>12.4}{b:>15.4}{c:>15.4}")
        };
        line("Mean", &|summary| summary.mean)?;
        line("Std", &|summary| summary.std)?;
        for (position, name) in ["Min", "25%", "50%", "75%", "Max"].into_iter().enumerate() {
            line(name, &|summary| summary.quartiles[position])?;
        }
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64 * 100.0;
        for (rule, count) in &self.dropped {
            let percent = share(*count, self.n_candidates);
            writeln!(
                formatter,
                "{rule} dropped {count} of {} candidates ({percent:.2}%)",
                self.n_candidates
            )?;
        }
        if self.missing > 0 {
            let percent = share(self.missing, self.wanted);
            writeln!(
                formatter,
                "{} of {} negatives were not found ({percent:.2}%)",
                self.missing, self.wanted
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_by_hand() {
        let summary = ScoreSummary::of(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!((summary.count, summary.mean), (4, 2.5));
        assert_eq!(summary.quartiles, [1.0, 1.75, 2.5, 3.25, 4.0]);
        assert!((summary.std - (5.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(ScoreSummary::of(&[]).mean.is_nan());
    }
}
