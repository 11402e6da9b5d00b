//! Distance from a teacher's vectors.

use serde_json::{Map, Value};
use sparse_index::{SparseMatrix, Sparsity};
use sparse_model::SparseEncoder;

use super::common;
use super::information_retrieval::with_progress;
use super::{EvaluationRun, Evaluator};
use crate::error::check_lengths;
use crate::{Error, Metrics, Result, csv};

/// Settings of an [`MseEvaluator`].
#[derive(Debug, Clone, PartialEq)]
pub struct MseConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Largest number of active dimensions per vector, the teacher's too; each model's own limit if absent.
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
}

impl Default for MseConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            batch_size: 32,
            max_active_dims: None,
            write_csv: true,
        }
    }
}

/// Compares the vectors that a student makes of the target texts with those that a teacher made of the source texts.
///
/// ```text
/// negative_mse = −100 · mean over texts and dimensions of (teacher − student)²
/// ```
///
/// Then `active_dims` and `sparsity_ratio` of the student. The teacher encodes once, when the evaluator is built.
#[doc(alias = "SparseMSEEvaluator")]
#[derive(Debug)]
pub struct MseEvaluator {
    teacher: SparseMatrix,
    targets: Vec<String>,
    config: MseConfig,
}

impl MseEvaluator {
    /// Lets `teacher` encode the sources.
    ///
    /// # Errors
    ///
    /// If the columns differ in length or are empty, a setting is wrong or the teacher fails.
    pub fn new(
        teacher: &SparseEncoder,
        sources: &[String],
        targets: Vec<String>,
        config: MseConfig,
    ) -> Result<Self> {
        common::check_settings(config.batch_size, config.max_active_dims, None)?;
        check_lengths(
            &["source_sentences", "target_sentences"],
            &[sources.len(), targets.len()],
        )?;
        if targets.is_empty() {
            return Err(Error::Data(
                "a comparison with a teacher needs at least one text".to_owned(),
            ));
        }
        let teacher = teacher.encode(
            sources,
            &common::options(config.batch_size, config.max_active_dims),
        )?;
        Ok(Self {
            teacher,
            targets,
            config,
        })
    }

    /// Mean squared difference from the teacher's vectors, times 100.
    ///
    /// # Errors
    ///
    /// If the vectors differ from the teacher's in number or dimension.
    pub fn mean_squared_error(&self, student: &SparseMatrix) -> Result<f64> {
        let shape = |matrix: &SparseMatrix| format!("{} × {}", matrix.n_rows(), matrix.n_cols());
        if shape(student) != shape(&self.teacher) {
            let (teacher, student) = (shape(&self.teacher), shape(student));
            return Err(Error::Data(format!(
                "teacher and student must agree in shape: {teacher} and {student}"
            )));
        }
        let mut sum = 0.0;
        for (teacher, student) in self.teacher.rows().zip(student.rows()) {
            let mut difference = teacher.to_dense();
            student
                .iter()
                .for_each(|(index, value)| difference[index as usize] -= value);
            sum += difference
                .iter()
                .map(|&value| f64::from(value).powi(2))
                .sum::<f64>();
        }
        Ok(100.0 * sum / (student.n_rows() * student.n_cols()) as f64)
    }
}

impl Evaluator for MseEvaluator {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn class_name(&self) -> &'static str {
        "SparseMSEEvaluator"
    }

    fn description(&self) -> &'static str {
        "Knowledge Distillation"
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let options = common::options(self.config.batch_size, self.config.max_active_dims);
        let student = encoder.encode(
            &self.targets,
            &with_progress(&options, run, "texts", 0, self.targets.len()),
        )?;
        let mse = self.mean_squared_error(&student)?;
        let sparsity = common::sparsity("", Sparsity::of(&student));

        tracing::info!(
            "MSE evaluation (lower = better){run} on the {} dataset",
            self.config.name
        );
        tracing::info!("MSE (*100): {mse:.6}");
        common::log_sparsity("", Sparsity::of(&student));
        if let Some(folder) = run.output_path.as_ref().filter(|_| self.config.write_csv) {
            let mut columns = vec![("MSE".to_owned(), mse)];
            columns.extend(sparsity.clone());
            // Without a name, two underscores, as in the reference.
            csv::append(
                folder,
                &format!("mse_evaluation_{}_results.csv", self.config.name),
                run,
                &columns,
            )?;
        }
        let mut metrics = Metrics::new().with_primary("negative_mse");
        metrics.insert("negative_mse", 0.0 - mse);
        metrics.extend(sparsity);
        Ok(metrics.prefixed(&self.config.name))
    }

    fn primary_metric(&self) -> Option<String> {
        Some(common::named(&self.config.name, "negative_mse"))
    }

    fn config(&self) -> Map<String, Value> {
        common::limit_config(self.config.max_active_dims)
    }
}
