//! Distance from a teacher's vectors.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sparse_index::{SimilarityFunction, SparseMatrix};
use sparse_model::SparseEncoder;

use super::common;
use super::measure::{Encoding, Figure, Measure, Shared, Side, shared};
use crate::error::check_lengths;
use crate::table::{self, Table};
use crate::vector_store::VectorStore;
use crate::{Error, Metrics, Result};

/// Settings of an [`MseEvaluator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MseConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// A `.tsv`, `.csv` or `.jsonl` file with the texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Its columns: what the teacher reads, what the student reads.
    pub columns: [String; 2],
    /// Name or directory of the teacher, loaded at the first evaluation onto the student's device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_model: Option<String>,
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Largest number of active dimensions per vector, the teacher's too; each model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
}

impl Default for MseConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: None,
            columns: ["source", "target"].map(str::to_owned),
            teacher_model: None,
            batch_size: 32,
            max_active_dims: None,
            write_csv: true,
        }
    }
}

impl MseConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        common::check_settings(self.batch_size, self.max_active_dims, None)
    }

    /// Reads the file and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or the file is wrong.
    pub fn init(&self) -> Result<MseEvaluator> {
        self.validate()?;
        let Some(name) = self.teacher_model.clone() else {
            return Err(Error::option(
                "teacher_model",
                "is missing: the model to compare with",
            ));
        };
        let mut table = Table::read(table::required(&self.path)?, &self.columns)?;
        let teacher = Teacher::Named {
            name,
            sources: table.take(0),
            vectors: OnceLock::new(),
        };
        Ok(MseEvaluator {
            teacher,
            targets: table.take(1),
            shared: shared!(self, Some(PRIMARY.to_owned())),
            config: self.clone(),
        })
    }
}

/// Compares the vectors that a student makes of the target texts with those that a teacher made of the source texts.
///
/// ```text
/// negative_mse = −100 · mean over texts and dimensions of (teacher − student)²
/// ```
///
/// Then `active_dims` and `sparsity_ratio` of the student. The teacher encodes once.
#[doc(alias = "SparseMSEEvaluator")]
#[derive(Debug)]
pub struct MseEvaluator {
    teacher: Teacher,
    targets: Vec<String>,
    config: MseConfig,
    shared: Shared,
}

/// The figure that stands for all.
const PRIMARY: &str = "negative_mse";

/// The teacher's vectors, or what it takes to make them.
#[derive(Debug)]
enum Teacher {
    Vectors(VectorStore),
    Named {
        name: String,
        sources: Vec<String>,
        vectors: OnceLock<VectorStore>,
    },
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
        config.validate()?;
        check_lengths(
            &["source_sentences", "target_sentences"],
            &[sources.len(), targets.len()],
        )?;
        if targets.is_empty() {
            return Err(Error::Data(
                "a comparison with a teacher needs at least one text".to_owned(),
            ));
        }
        let teacher = Teacher::Vectors(encode_all(teacher, sources, &config)?);
        Ok(Self {
            teacher,
            targets,
            shared: shared!(config, Some(PRIMARY.to_owned())),
            config,
        })
    }

    /// The teacher's vectors; a teacher known by name is loaded onto the student's device.
    fn teacher(&self, student: &SparseEncoder) -> Result<&VectorStore> {
        match &self.teacher {
            Teacher::Vectors(vectors) => Ok(vectors),
            Teacher::Named {
                name,
                sources,
                vectors,
            } => {
                if let Some(vectors) = vectors.get() {
                    return Ok(vectors);
                }
                let teacher = SparseEncoder::from_pretrained(name, &student.device())?;
                let encoded = encode_all(&teacher, sources, &self.config)?;
                Ok(vectors.get_or_init(|| encoded))
            }
        }
    }
}

/// The teacher's vectors of the sources.
fn encode_all(
    teacher: &SparseEncoder,
    sources: &[String],
    config: &MseConfig,
) -> Result<VectorStore> {
    let options = common::options(config.batch_size, config.max_active_dims);
    VectorStore::of_texts(teacher.embedding_dimension(), sources, |texts| {
        teacher.encode(texts, &options)
    })
}

/// Refuses vectors that cannot be compared.
fn check_shapes(teacher: [usize; 2], student: [usize; 2]) -> Result<()> {
    if teacher == student {
        return Ok(());
    }
    let [teacher, student] =
        [teacher, student].map(|[rows, columns]| format!("{rows} × {columns}"));
    Err(Error::Data(format!(
        "teacher and student must agree in shape: {teacher} and {student}"
    )))
}

/// Adds the squared differences of all rows and dimensions to `sum`, row by row.
fn add_squared_errors(sum: &mut f64, teacher: &SparseMatrix, student: &SparseMatrix) {
    for (teacher, student) in teacher.rows().zip(student.rows()) {
        let mut difference = teacher.to_dense();
        student
            .iter()
            .for_each(|(index, value)| difference[index as usize] -= value);
        *sum += difference
            .iter()
            .map(|&value| f64::from(value).powi(2))
            .sum::<f64>();
    }
}

impl Measure for MseEvaluator {
    const CLASS_NAME: &'static str = "SparseMSEEvaluator";
    const DESCRIPTION: &'static str = "Knowledge Distillation";
    const TITLE: &'static str = "MSE evaluation (lower = better)";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn texts(&self) -> (usize, &'static str) {
        (self.targets.len(), "texts")
    }

    fn figures_for(&self, _: SimilarityFunction) -> Vec<Figure> {
        let figures = std::iter::once(Figure::new(PRIMARY));
        figures.chain(Figure::sparsity(&[""])).collect()
    }

    fn measure(&self, texts: &mut Encoding<'_>) -> Result<Metrics> {
        let teacher = self.teacher(texts.encoder)?;
        let shape = [self.targets.len(), texts.encoder.embedding_dimension()];
        check_shapes([teacher.n_rows(), teacher.n_cols()], shape)?;
        let mut sum = 0.0;
        let [sparsity] = texts.encode(
            [(Side::Neither, self.targets.as_slice())],
            |start, [student]| {
                let rows = (start..start + student.n_rows()).collect::<Vec<_>>();
                add_squared_errors(&mut sum, &teacher.select(&rows)?, &student);
                Ok(())
            },
        )?;
        let mse = 100.0 * sum / shape.iter().product::<usize>() as f64;
        let mut metrics = Metrics::new().with_primary(PRIMARY);
        metrics.insert(PRIMARY, 0.0 - mse);
        metrics.extend(common::sparsity("", sparsity));
        Ok(metrics)
    }

    /// Without a name, two underscores, as in the reference.
    fn file_name(&self) -> String {
        format!("mse_evaluation_{}_results.csv", self.config.name)
    }

    fn columns(&self, _: SimilarityFunction, metrics: &Metrics) -> Vec<(String, f64)> {
        let mut columns: Vec<(String, f64)> = metrics.clone().into_iter().collect();
        columns[0] = ("MSE".to_owned(), 0.0 - columns[0].1);
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_by_hand() {
        let matrix = |values: &[f32]| SparseMatrix::from_dense(values, 2, 2).unwrap();
        let mut sum = 1.0;
        add_squared_errors(
            &mut sum,
            &matrix(&[1.0, 0.0, 0.0, 3.0]),
            &matrix(&[0.0, 0.0, 2.0, 3.0]),
        );
        // 1 + 0 + 4 + 0, on top of what was there
        assert_eq!(sum, 6.0);
        assert!(check_shapes([2, 2], [2, 2]).is_ok());
        let error = check_shapes([2, 2], [0, 2]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "teacher and student must agree in shape: 2 × 2 and 0 × 2"
        );
    }
}
