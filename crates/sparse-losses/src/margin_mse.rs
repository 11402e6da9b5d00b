//! Margin-MSE distillation.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::batch::describe;
use crate::overview::Role;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, LabelShape, Labels, Loss, LossOutput,
    Result, Similarity, citation,
};

const NAME: &str = "margin_mse";

/// Configuration of [`MarginMseLoss`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarginMseLossConfig {
    /// `dot` or `cosine`.
    pub similarity_fct: Similarity,
}

impl MarginMseLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str =
        "distillation: the student's score margins imitate a teacher's";
    pub(crate) const FORMATS: &'static [DataFormat] = &[
        DataFormat::first_choice(
            "(query, document_one, document_two)",
            "teacher's difference of the two scores",
        ),
        DataFormat::first_choice(
            "(query, positive, negative_1 … negative_n)",
            "list of n differences, positive minus negative",
        ),
        DataFormat::new("(query, positive, negative)", "list of both teacher scores"),
        DataFormat::new(
            "(query, positive, negative_1 … negative_n)",
            "list of n + 1 teacher scores",
        ),
    ];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// Never; the signature is that of every configuration.
    pub fn init(&self) -> Result<MarginMseLoss> {
        Ok(MarginMseLoss {
            similarity_fct: self.similarity_fct,
        })
    }
}

/// Margin-MSE: the student's score margin imitates the teacher's
/// ([Hofstätter et al., 2020](https://arxiv.org/abs/2010.02666)).
///
/// ```text
/// L = 1/(B·n) Σᵢ Σₖ ( s(qᵢ, pᵢ) − s(qᵢ, nₖᵢ) − yᵢₖ )²
/// ```
///
/// # Shapes
///
/// - columns: query, positive, then n ≥ 1 negatives, each `[batch_size, vocab_size]`
/// - labels, told apart by their length: `[batch_size, n + 1]` are the teacher's scores, `y` their differences;
///   `[batch_size, n]` are the differences `y` themselves; `[batch_size]` is one difference per row (n = 1). With
///   one negative, lists of two are always scores.
#[doc(alias = "SparseMarginMSELoss")]
#[derive(Debug, Clone)]
pub struct MarginMseLoss {
    similarity_fct: Similarity,
}

/// Labels in words, for messages.
fn needed(negatives: usize) -> String {
    let differences = match negatives {
        1 => "one difference per row".to_owned(),
        n => format!("lists of {n} differences (positive minus negative)"),
    };
    format!(
        "teacher scores: lists of {} scores, or {differences}",
        negatives + 1
    )
}

impl Loss for MarginMseLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let student = margins(batch.candidate_scores(NAME, self.similarity_fct));
        let [batch_size, n] = student.dims();
        let teacher = match batch.labels.clone() {
            Some(Labels::Scalars(labels)) if n == 1 => labels.detach().unsqueeze_dim(1),
            Some(Labels::Lists(labels)) if labels.dims()[1] == n + 1 => margins(labels.detach()),
            Some(Labels::Lists(labels)) if labels.dims()[1] == n => labels.detach(),
            other => panic!(
                "`{NAME}` needs {}, got {}",
                needed(n),
                describe(other.as_ref())
            ),
        };
        assert_eq!(
            teacher.dims(),
            [batch_size, n],
            "`{NAME}` needs one label per row"
        );
        (student - teacher).square().mean().into()
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        let columns = "at least 3 input columns (query, positive and any number of negatives)";
        data.require_columns(NAME, 3, None, columns)?;
        let negatives = data.columns.len() - 2;
        let needed = needed(negatives);
        let labels = data.require_labels(NAME, &needed)?;
        let fits = match labels.shape {
            LabelShape::Scalar => negatives == 1,
            LabelShape::List(length) => length == negatives || length == negatives + 1,
            LabelShape::Matrix(..) => false,
        };
        if !fits {
            let fix = format!(
                "Give one label for each of the {} documents or each of the {negatives} negatives, or keep other \
                 columns",
                negatives + 1
            );
            return Err(labels.wrong_shape(NAME, &needed, fix));
        }
        labels.require_finite(NAME)
    }

    fn describe(&self) -> Description {
        Description::new("SparseMarginMSELoss")
            .option("similarity_fct", json!(self.similarity_fct.pairwise_name()))
            .citation(citation::MARGIN_MSE)
    }
}

/// `[batch_size, 1 + n]` scores to `[batch_size, n]` margins, positive minus negative.
fn margins(scores: Tensor<2>) -> Tensor<2> {
    let [_, n_documents] = scores.dims();
    scores.clone().narrow(1, 0, 1) - scores.narrow(1, 1, n_documents - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{N1, P, Q, batch, device, scalar};

    fn value(labels: impl Into<Labels>) -> f32 {
        let loss = MarginMseLossConfig::default().init().unwrap();
        scalar(
            loss.forward(&batch(&[Q, P, N1]).with_labels(labels))
                .total(),
        )
    }

    #[test]
    fn differences_and_scores_by_hand() {
        let device = device();
        // scores with P: 1, 3, 3; with N1: 2, 0, 2; margins −1, 3, 1
        // against 1, ½, −1: ((−2)² + 2.5² + 2²) / 3
        let expected = (4.0 + 6.25 + 4.0) / 3.0;
        assert!(
            (value(Tensor::<1>::from_floats([1.0, 0.5, -1.0], &device)) - expected).abs() < 1e-6
        );
        assert!(
            (value(Tensor::<2>::from_floats([[1.0], [0.5], [-1.0]], &device)) - expected).abs()
                < 1e-6
        );
        let scores = Tensor::<2>::from_floats([[3.0, 2.0], [1.0, 0.5], [0.0, 1.0]], &device);
        assert!((value(scores) - expected).abs() < 1e-6);
    }

    #[test]
    fn labels_get_no_gradient() {
        let labels = Tensor::<1>::from_floats([1.0, 0.5, -1.0], &device()).require_grad();
        let loss = MarginMseLossConfig::default().init().unwrap();
        let batch = batch(&[Q, P, N1]).with_labels(labels.clone());
        let batch = EmbeddedBatch {
            columns: batch
                .columns
                .into_iter()
                .map(Tensor::require_grad)
                .collect(),
            ..batch
        };
        let gradients = loss.forward(&batch).total().backward();
        assert!(labels.grad(&gradients).is_none());
        assert!(batch.columns[0].grad(&gradients).is_some());
    }

    #[test]
    fn data_that_does_not_fit_is_refused() {
        let loss = MarginMseLossConfig::default().init().unwrap();
        let data = DataSummary::new(["query", "positive", "negative_1", "negative_2"]);
        let message = |data: &DataSummary| loss.check(data).unwrap_err().to_string();
        assert!(message(&data).contains("no column named label, labels, score or scores"));
        let scalar = data
            .clone()
            .with_labels("score", LabelShape::Scalar, vec![1.0]);
        assert!(message(&scalar).contains("lists of 3 scores, or lists of 2 differences"));
        let wide = data
            .clone()
            .with_labels("score", LabelShape::List(5), vec![0.0; 5]);
        assert!(message(&wide).contains("found a list of 5 numbers per row"));
        let nan =
            data.clone()
                .with_labels("score", LabelShape::List(3), vec![1.0, f32::INFINITY, 0.0]);
        assert!(message(&nan).contains("row 0 holds inf"));
        for length in [2, 3] {
            loss.check(&data.clone().with_labels(
                "score",
                LabelShape::List(length),
                vec![0.5; length],
            ))
            .unwrap();
        }
        assert!(
            message(&DataSummary::new(["query", "positive"])).contains("at least 3 input columns")
        );
    }

    #[test]
    #[should_panic(expected = "needs teacher scores")]
    fn labels_of_another_shape_are_a_bug() {
        let _ = value(Tensor::<2>::zeros([3, 5], &device()));
    }
}
