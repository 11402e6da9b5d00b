//! Several evaluators in a row.

use serde::{Deserialize, Serialize};
use sparse_index::SimilarityFunction;
use sparse_model::SparseEncoder;

use super::{EvaluationRun, Evaluator, InformationRetrievalEvaluator};
use crate::{Error, EvaluatorConfig, Metrics, Result};

/// Settings of a [`SequentialEvaluator`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SequentialConfig {
    /// The evaluators, in order.
    pub evaluators: Vec<EvaluatorConfig>,
    /// How their scores become one.
    pub main_score_function: SequentialScore,
}

impl SequentialConfig {
    /// Checks the settings of all evaluators, without reading a file.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        if self.evaluators.is_empty() {
            return Err(Error::option(
                "evaluators",
                "is missing: a list of evaluators, each with its `type`",
            ));
        }
        self.evaluators
            .iter()
            .try_for_each(EvaluatorConfig::validate)
    }

    /// Reads the files and builds the evaluators.
    ///
    /// # Errors
    ///
    /// If a setting or a file is wrong.
    pub fn init(&self) -> Result<SequentialEvaluator> {
        self.validate()?;
        let evaluators = self.evaluators.iter().map(EvaluatorConfig::init);
        let evaluators = evaluators.collect::<Result<Vec<_>>>()?;
        Ok(SequentialEvaluator::new(
            evaluators,
            self.main_score_function,
        ))
    }
}

/// How the scores of several evaluators become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequentialScore {
    /// That of the first.
    First,
    /// That of the last.
    #[default]
    Last,
    /// Their mean.
    Mean,
}

/// Runs evaluators one after the other.
///
/// The result holds all their figures, later ones overwriting earlier ones of the same name (so give them names), and
/// `sequential_score`, made of their primary figures.
#[derive(Debug)]
pub struct SequentialEvaluator {
    evaluators: Vec<Box<dyn Evaluator>>,
    main_score: SequentialScore,
}

impl SequentialEvaluator {
    /// Puts evaluators in a row.
    pub fn new(evaluators: Vec<Box<dyn Evaluator>>, main_score: SequentialScore) -> Self {
        Self {
            evaluators,
            main_score,
        }
    }
}

impl Evaluator for SequentialEvaluator {
    fn name(&self) -> &'static str {
        ""
    }

    fn class_name(&self) -> &'static str {
        "SequentialEvaluator"
    }

    fn description(&self) -> &'static str {
        "Sequential"
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let mut metrics = Metrics::new().with_primary("sequential_score");
        let mut scores = Vec::new();
        for evaluator in &self.evaluators {
            let figures = evaluator.evaluate(encoder, run)?;
            let primary = figures.primary().and_then(|primary| figures.get(primary));
            scores.extend(primary.or_else(|| figures.iter().next().map(|(_, value)| value)));
            metrics.extend(figures);
        }
        let score = match self.main_score {
            SequentialScore::First => scores.first().copied(),
            SequentialScore::Last => scores.last().copied(),
            SequentialScore::Mean if scores.is_empty() => None,
            SequentialScore::Mean => Some(scores.iter().sum::<f64>() / scores.len() as f64),
        };
        metrics.insert("sequential_score", score.unwrap_or(0.0));
        Ok(metrics)
    }

    fn metric_names(&self, own: SimilarityFunction) -> Option<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for evaluator in &self.evaluators {
            let inner = evaluator.metric_names(own)?.into_iter();
            names.extend(
                inner
                    .filter(|name| !names.contains(name))
                    .collect::<Vec<_>>(),
            );
        }
        names.push("sequential_score".to_owned());
        Some(names)
    }

    fn primary_metric(&self) -> Option<String> {
        Some("sequential_score".to_owned())
    }

    fn is_retrieval(&self) -> bool {
        self.evaluators
            .iter()
            .any(|evaluator| evaluator.is_retrieval())
    }

    fn children(&self) -> Vec<&dyn Evaluator> {
        self.evaluators.iter().map(AsRef::as_ref).collect()
    }

    fn retrievals(&self) -> Vec<&InformationRetrievalEvaluator> {
        let inner = self.evaluators.iter();
        inner.flat_map(|evaluator| evaluator.retrievals()).collect()
    }
}
