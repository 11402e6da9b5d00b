//! The circumstances of an evaluation.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{InformationRetrievalEvaluator, RetrievalReport};

/// Where in a training run an evaluation happens, and where its files go.
#[derive(Clone, Default)]
pub struct EvaluationRun {
    /// Folder of result files; nothing is written without it.
    pub output_path: Option<PathBuf>,
    /// Epochs trained so far.
    pub epoch: Option<f64>,
    /// Update steps so far.
    pub steps: Option<u64>,
    /// Called while texts are encoded.
    pub progress: Option<Arc<dyn Fn(EvaluationProgress) + Send + Sync>>,
    /// Called with every retrieval evaluation and all that it found out.
    pub on_report: Option<OnReport>,
}

/// What is called with a retrieval evaluation and its report.
pub type OnReport = Arc<dyn Fn(&InformationRetrievalEvaluator, &RetrievalReport) + Send + Sync>;

/// How far an evaluation has come with one side of its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationProgress {
    /// What is being encoded, such as `queries` or `corpus`.
    pub stage: &'static str,
    /// Texts encoded so far.
    pub done: usize,
    /// Texts in all.
    pub total: usize,
}

impl EvaluationRun {
    /// Sets the folder of result files.
    pub fn with_output_path(mut self, folder: impl Into<PathBuf>) -> Self {
        self.output_path = Some(folder.into());
        self
    }

    /// Sets the position in a training run.
    pub fn with_position(mut self, epoch: f64, steps: u64) -> Self {
        (self.epoch, self.steps) = (Some(epoch), Some(steps));
        self
    }

    /// Calls `progress` while texts are encoded.
    pub fn with_progress(
        mut self,
        progress: impl Fn(EvaluationProgress) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Calls `on_report` with every retrieval evaluation and all that it found out.
    pub fn with_on_report(
        mut self,
        on_report: impl Fn(&InformationRetrievalEvaluator, &RetrievalReport) + Send + Sync + 'static,
    ) -> Self {
        self.on_report = Some(Arc::new(on_report));
        self
    }
}

impl fmt::Debug for EvaluationRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EvaluationRun")
            .field("output_path", &self.output_path)
            .field("epoch", &self.epoch)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for EvaluationRun {
    /// For the log: nothing, `after epoch E`, or `in epoch E after S steps`, with a space in front.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.epoch, self.steps) {
            (None, _) => Ok(()),
            (Some(epoch), None) => write!(formatter, " after epoch {epoch}"),
            (Some(epoch), Some(steps)) => {
                write!(formatter, " in epoch {epoch} after {steps} steps")
            }
        }
    }
}
