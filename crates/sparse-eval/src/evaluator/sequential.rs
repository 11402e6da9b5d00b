//! Several evaluators in a row.

use sparse_model::SparseEncoder;

use super::{EvaluationRun, Evaluator};
use crate::{Metrics, Result};

/// How the scores of several evaluators become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
}
