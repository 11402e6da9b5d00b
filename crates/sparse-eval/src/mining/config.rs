//! Settings of mining.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How negatives are picked from the candidates that passed all rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingStrategy {
    /// Those of highest score.
    #[default]
    Top,
    /// At random, none twice.
    Random,
}

/// What a mined row looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// `anchor`, `positive`, `negative`: a row per negative.
    #[default]
    Triplet,
    /// `anchor`, `positive`, `negative_1` …: a row per relevant document of a query that has all its negatives.
    NTuple,
    /// `anchor`, `positive`, `label`: a row per document, the relevant ones (1) of a query first.
    LabeledPair,
    /// `anchor`, `positive` (a list), `labels`: a row per relevant document with the negatives of its query.
    LabeledList,
}

/// Settings of [`mine_hard_negatives`](super::mine_hard_negatives); names and defaults are the reference's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MiningConfig {
    /// How many of the best candidates to skip.
    pub range_min: usize,
    /// How many of the best candidates to consider; enough for the other settings if absent.
    pub range_max: Option<usize>,
    /// Candidates that score above this are dropped.
    pub max_score: Option<f32>,
    /// Candidates that score below this are dropped.
    pub min_score: Option<f32>,
    /// Candidates are dropped whose score plus this exceeds that of the query's weakest relevant document.
    pub absolute_margin: Option<f32>,
    /// Candidates are dropped that score more than `p − |p| · margin`, `p` the score of the weakest relevant document.
    pub relative_margin: Option<f32>,
    /// Negatives per query.
    pub num_negatives: usize,
    /// How negatives are picked.
    pub sampling_strategy: SamplingStrategy,
    /// Where random picks come from.
    pub seed: u64,
    /// Whether relevant documents stay among the candidates; the format is then `n-tuple`.
    pub include_positives: bool,
    /// What a row looks like.
    pub output_format: OutputFormat,
    /// Whether rows carry scores, in place of labels where the format has those.
    pub output_scores: bool,
    /// Text in front of every query, instead of the model's prompt.
    pub query_prompt: Option<String>,
    /// Name of the model's prompt for queries.
    pub query_prompt_name: Option<String>,
    /// Text in front of every document, instead of the model's prompt.
    pub corpus_prompt: Option<String>,
    /// Name of the model's prompt for documents.
    pub corpus_prompt_name: Option<String>,
    /// Texts per forward pass.
    pub batch_size: usize,
}

impl Default for MiningConfig {
    fn default() -> Self {
        Self {
            range_min: 0,
            range_max: None,
            max_score: None,
            min_score: None,
            absolute_margin: None,
            relative_margin: None,
            num_negatives: 3,
            sampling_strategy: SamplingStrategy::Top,
            seed: 42,
            include_positives: false,
            output_format: OutputFormat::Triplet,
            output_scores: false,
            query_prompt: None,
            query_prompt_name: None,
            corpus_prompt: None,
            corpus_prompt_name: None,
            batch_size: 32,
        }
    }
}

impl MiningConfig {
    /// The ranks among which negatives are picked, given the largest number of relevant documents of a query.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn range(&self, max_positives: usize) -> Result<Range<usize>> {
        if self.num_negatives == 0 {
            return Err(Error::option("num_negatives", "must be at least 1; got 0"));
        }
        if self.batch_size == 0 {
            return Err(Error::option("batch_size", "must be at least 1; got 0"));
        }
        let limits = [
            ("max_score", self.max_score),
            ("min_score", self.min_score),
            ("absolute_margin", self.absolute_margin),
            ("relative_margin", self.relative_margin),
        ];
        // Nothing is above, below or equal to it, so that the rule would drop all or nothing.
        if let Some((name, _)) = limits
            .into_iter()
            .find(|(_, limit)| limit.is_some_and(f32::is_nan))
        {
            return Err(Error::option(name, "must be a number; got NaN"));
        }
        // Rules drop candidates, so that more are needed.
        let rules = [self.absolute_margin, self.relative_margin, self.max_score];
        let wanted = if rules.iter().any(Option::is_some) {
            self.num_negatives.saturating_mul(10)
        } else {
            self.num_negatives
        };
        let enough = self.range_min.saturating_add(wanted);
        let range_max = self
            .range_max
            .unwrap_or(enough.saturating_add(max_positives));
        if self.range_min >= range_max {
            let problem = format!(
                "must be smaller than `range_max`; got {} and {range_max}",
                self.range_min
            );
            return Err(Error::option("range_min", problem));
        }
        if self.num_negatives > range_max - self.range_min {
            let problem = format!(
                "is {}, but only {} candidates remain between `range_min` and `range_max`",
                self.num_negatives,
                range_max - self.range_min
            );
            return Err(Error::option("num_negatives", problem));
        }
        Ok(self.range_min..range_max)
    }

    /// The format that rows really get.
    pub fn format(&self) -> OutputFormat {
        if self.include_positives {
            OutputFormat::NTuple
        } else {
            self.output_format
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_wide_enough_and_checked() {
        let range = |config: MiningConfig| config.range(2).map_err(|error| error.to_string());
        assert_eq!(range(MiningConfig::default()), Ok(0..5));
        let margin = MiningConfig {
            relative_margin: Some(0.0),
            range_min: 4,
            ..MiningConfig::default()
        };
        assert_eq!(range(margin), Ok(4..36));
        let message = |config| range(config).unwrap_err();
        assert_eq!(
            message(MiningConfig {
                range_min: 5,
                range_max: Some(5),
                ..MiningConfig::default()
            }),
            "`range_min` must be smaller than `range_max`; got 5 and 5"
        );
        assert_eq!(
            message(MiningConfig {
                range_max: Some(2),
                ..MiningConfig::default()
            }),
            "`num_negatives` is 3, but only 2 candidates remain between `range_min` and `range_max`"
        );
        assert!(
            message(MiningConfig {
                num_negatives: 0,
                ..MiningConfig::default()
            })
            .contains("at least 1")
        );
    }

    #[test]
    fn huge_and_undefined_settings_are_no_trap() {
        let config = MiningConfig {
            num_negatives: usize::MAX,
            max_score: Some(1.0),
            range_min: 7,
            ..MiningConfig::default()
        };
        let message = config.range(3).unwrap_err().to_string();
        assert!(message.starts_with("`num_negatives` is"), "{message}");
        let config = MiningConfig {
            relative_margin: Some(f32::NAN),
            ..MiningConfig::default()
        };
        let message = config.range(3).unwrap_err().to_string();
        assert_eq!(message, "`relative_margin` must be a number; got NaN");
    }
}
