//! Distillation of a teacher's score distribution.

use burn::tensor::activation::{log_softmax, softmax};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::batch::describe;
use crate::error::require;
use crate::overview::Role;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, Error, LabelShape, Labels, Loss,
    LossOutput, Result, Similarity, citation,
};

const NAME: &str = "distill_kl_div";

/// Configuration of [`DistillKlDivLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillKlDivLossConfig {
    /// `dot` or `cosine`.
    pub similarity_fct: Similarity,
    /// Divides scores before the softmax, on both sides (positive).
    pub temperature: f64,
    /// Temperature of the student's scores, if different.
    pub student_temperature: Option<f64>,
    /// Temperature of the teacher's scores, if different.
    pub teacher_temperature: Option<f64>,
}

impl Default for DistillKlDivLossConfig {
    fn default() -> Self {
        Self {
            similarity_fct: Similarity::Dot,
            temperature: 2.0,
            student_temperature: None,
            teacher_temperature: None,
        }
    }
}

impl DistillKlDivLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str =
        "distillation: the student's distribution over a query's documents imitates a teacher's";
    pub(crate) const FORMATS: &'static [DataFormat] = &[
        DataFormat::first_choice("(query, positive, negative)", "list of both teacher scores"),
        DataFormat::first_choice(
            "(query, positive, negative_1 … negative_n)",
            "list of n + 1 teacher scores",
        ),
    ];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If a temperature is not positive and finite.
    pub fn init(&self) -> Result<DistillKlDivLoss> {
        let temperatures = [
            ("temperature", Some(self.temperature)),
            ("student_temperature", self.student_temperature),
            ("teacher_temperature", self.teacher_temperature),
        ];
        for (option, temperature) in temperatures {
            if let Some(value) = temperature {
                let holds = value > 0.0 && value.is_finite();
                require(holds, (NAME, option), "a positive finite number", value)?;
            }
        }
        Ok(DistillKlDivLoss {
            config: self.clone(),
        })
    }
}

/// Kullback–Leibler divergence from the student's to the teacher's distribution over a query's documents
/// ([Lin et al., 2020](https://arxiv.org/abs/2010.11386)).
///
/// ```text
/// Pᵢ = softmax( labelsᵢ / T_t )      Qᵢ = softmax( [s(qᵢ, pᵢ), s(qᵢ, n₁ᵢ), …] / T_s )
/// L  = T_s² · 1/B Σᵢ Σ_c P_ic · ( ln P_ic − ln Q_ic ),     0 · ln 0 = 0
/// ```
///
/// A label of −∞ leaves its candidate out of the teacher's distribution.
///
/// # Shapes
///
/// - columns: query, positive, then n ≥ 1 negatives, each `[batch_size, vocab_size]`
/// - labels (teacher scores): `[batch_size, n + 1]`
#[doc(alias = "SparseDistillKLDivLoss")]
#[derive(Debug, Clone)]
pub struct DistillKlDivLoss {
    config: DistillKlDivLossConfig,
}

impl DistillKlDivLoss {
    fn student_temperature(&self) -> f64 {
        self.config
            .student_temperature
            .unwrap_or(self.config.temperature)
    }

    fn teacher_temperature(&self) -> f64 {
        self.config
            .teacher_temperature
            .unwrap_or(self.config.temperature)
    }
}

impl Loss for DistillKlDivLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let scores = batch.candidate_scores(NAME, self.config.similarity_fct);
        let [batch_size, n_documents] = scores.dims();
        let labels = match batch.labels.clone() {
            Some(Labels::Lists(labels)) => labels.detach(),
            other => panic!(
                "`{NAME}` needs one teacher score per document, got {}",
                describe(other.as_ref())
            ),
        };
        assert_eq!(
            labels.dims(),
            [batch_size, n_documents],
            "`{NAME}` needs one teacher score per document"
        );

        let labels = labels / self.teacher_temperature();
        let teacher = softmax(labels.clone(), 1);
        // Where the teacher's share is 0 its logarithm is −∞, and 0 · −∞ is NaN.
        let log_teacher = log_softmax(labels, 1).mask_fill(teacher.clone().equal_elem(0.0), 0.0);
        let log_student = log_softmax(scores / self.student_temperature(), 1);
        let divergence = (teacher * (log_teacher - log_student)).sum() / batch_size as f64;
        (divergence * self.student_temperature().powi(2)).into()
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        let columns = "at least 3 input columns (query, positive, negatives), since a distribution over one document \
                       is constant";
        data.require_columns(NAME, 3, None, columns)?;
        let documents = data.columns.len() - 1;
        let needed = format!("lists of {documents} teacher scores, one per document");
        let labels = data.require_labels(NAME, &needed)?;
        if labels.shape != LabelShape::List(documents) {
            let fix = "Give the teacher's score of every document, positive first; for differences use `margin_mse`";
            return Err(labels.wrong_shape(NAME, &needed, fix.to_owned()));
        }
        let fix = "Remove or repair the rows with missing scores; −inf leaves a document out";
        let finite = "teacher scores that are finite or −inf";
        labels.require_values(NAME, finite, fix, |score| {
            score.is_finite() || score == f32::NEG_INFINITY
        })?;
        match labels
            .rows()
            .position(|row| row.iter().all(|score| *score == f32::NEG_INFINITY))
        {
            Some(row) => Err(Error::LabelValue {
                loss: NAME,
                column: labels.column.clone(),
                row,
                needed: "at least one finite teacher score per row".to_owned(),
                found: "only −inf".to_owned(),
                fix: "Remove the row, or keep one of its documents",
            }),
            None => Ok(()),
        }
    }

    fn describe(&self) -> Description {
        let differing = |temperature: Option<f64>| {
            temperature
                .filter(|value| *value != self.config.temperature)
                .map(|value| json!(value))
        };
        Description::new("SparseDistillKLDivLoss")
            .option(
                "similarity_fct",
                json!(self.config.similarity_fct.pairwise_name()),
            )
            .option("temperature", json!(self.config.temperature))
            .optional(
                "student_temperature",
                differing(self.config.student_temperature),
            )
            .optional(
                "teacher_temperature",
                differing(self.config.teacher_temperature),
            )
            .citation(citation::DISTILL_KL_DIV)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::testing::{N1, N2, P, Q, batch, device, scalar};

    fn value(config: &DistillKlDivLossConfig, labels: [[f32; 3]; 3]) -> f32 {
        let labels = Tensor::<2>::from_floats(labels, &device());
        scalar(
            config
                .init()
                .unwrap()
                .forward(&batch(&[Q, P, N1, N2]).with_labels(labels))
                .total(),
        )
    }

    #[test]
    fn two_candidates_by_hand() {
        // scores 1 and 0, teacher 0 and 0, both temperatures 1:
        // P = (½, ½), ln Q = (−0.313262, −1.313262): ln ½ + (0.313262 + 1.313262) / 2 = 0.120115
        let columns = [[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]];
        let config = DistillKlDivLossConfig {
            temperature: 1.0,
            ..Default::default()
        };
        let labels = Tensor::<2>::from_floats([[0.0, 0.0]], &device());
        let value = scalar(
            config
                .init()
                .unwrap()
                .forward(&batch(&columns).with_labels(labels))
                .total(),
        );
        assert!((value - 0.120_115).abs() < 1e-5, "{value}");
    }

    #[test]
    fn the_reference_s_check_values() {
        let labels = [[3.0, 2.0, 1.0], [1.0, 0.5, 1.0], [0.0, 1.0, -1.0]];
        let base = DistillKlDivLossConfig::default();
        assert!((value(&base, labels) - 0.763_130).abs() < 1e-5);
        let cold = DistillKlDivLossConfig {
            temperature: 1.0,
            ..base.clone()
        };
        assert!((value(&cold, labels) - 0.710_601).abs() < 1e-5);
        let sharp = DistillKlDivLossConfig {
            student_temperature: Some(0.5),
            ..base
        };
        assert!((value(&sharp, labels) - 0.391_134).abs() < 1e-5);
    }

    #[test]
    fn an_excluded_candidate_leaves_a_finite_loss_and_gradient() {
        let infinite = f32::NEG_INFINITY;
        let labels = [[3.0, infinite, 1.0], [1.0, 0.5, infinite], [0.0, 1.0, -1.0]];
        assert!(value(&DistillKlDivLossConfig::default(), labels).is_finite());
    }

    #[test]
    fn data_that_does_not_fit_is_refused() {
        let loss = DistillKlDivLossConfig::default().init().unwrap();
        let message = |data: &DataSummary| loss.check(data).unwrap_err().to_string();
        assert!(message(&DataSummary::new(["query", "positive"])).contains("is constant"));
        let data = DataSummary::new(["query", "positive", "negative"]);
        let list = |values: [f32; 4]| {
            data.clone()
                .with_labels("scores", LabelShape::List(2), values.to_vec())
        };
        assert!(message(&list([1.0, 2.0, f32::NAN, 0.0])).contains("row 1 holds NaN"));
        assert!(
            message(&list([1.0, 2.0, f32::NEG_INFINITY, f32::NEG_INFINITY]))
                .contains("row 1 holds only −inf")
        );
        assert!(message(&list([1.0, f32::INFINITY, 0.0, 0.0])).contains("row 0 holds inf"));
        loss.check(&list([1.0, f32::NEG_INFINITY, 0.0, 0.0]))
            .unwrap();
        let scalar = data.with_labels("score", LabelShape::Scalar, vec![1.0]);
        assert!(message(&scalar).contains("use `margin_mse`"));
    }

    #[test]
    fn temperatures_must_be_positive() {
        let config = DistillKlDivLossConfig {
            temperature: 0.0,
            ..Default::default()
        };
        let message = config.init().unwrap_err().to_string();
        assert_eq!(
            message,
            "`temperature` of `distill_kl_div` must be a positive finite number; got 0"
        );
    }
}
