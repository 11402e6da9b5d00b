//! Distillation of a teacher's embeddings.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::batch::describe;
use crate::overview::Role;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, LabelShape, Labels, Loss, LossOutput,
    Result, citation,
};

const NAME: &str = "mse";

/// Configuration of [`MseLoss`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MseLossConfig {}

impl MseLossConfig {
    pub(crate) const ROLE: Role = Role::Standalone;
    pub(crate) const SUMMARY: &'static str =
        "distillation: embeddings imitate a teacher's, entry by entry";
    pub(crate) const FORMATS: &'static [DataFormat] = &[
        DataFormat::first_choice("one input", "teacher embedding"),
        DataFormat::first_choice("(input_1 … input_n)", "teacher embedding, or one per input"),
    ];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// Never; the signature is that of every configuration.
    pub fn init(&self) -> Result<MseLoss> {
        Ok(MseLoss {})
    }
}

/// Embeddings imitate a teacher's of the same width
/// ([Reimers and Gurevych, 2020](https://arxiv.org/abs/2004.09813)).
///
/// ```text
/// L = mean over columns c of 1/(B·D) Σᵢ Σⱼ ( E_cij − teacher_cij )²
/// ```
///
/// Stands alone, since a sparse teacher makes a sparse student; inside `splade` it means the same (where the
/// reference compares column c with *row* c of the labels and trains on nonsense without an error).
///
/// # Shapes
///
/// - columns: any number, each `[batch_size, vocab_size]`
/// - labels: `[batch_size, vocab_size]`, the same target for every column, or `[batch_size, n_columns, vocab_size]`
#[doc(alias = "SparseMSELoss")]
#[derive(Debug, Clone)]
pub struct MseLoss {}

impl Loss for MseLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let n_columns = batch.columns.len();
        let target = |column: usize| -> Tensor<2> {
            match &batch.labels {
                Some(Labels::Lists(labels)) => labels.clone().detach(),
                Some(Labels::Matrices(labels)) if labels.dims()[1] == n_columns => {
                    labels.clone().detach().narrow(1, column, 1).squeeze_dim(1)
                }
                other => panic!(
                    "`{NAME}` needs teacher embeddings, got {}",
                    describe(other.as_ref())
                ),
            }
        };
        let terms = batch
            .columns
            .iter()
            .enumerate()
            .map(|(column, embeddings)| {
                let target = target(column);
                assert_eq!(
                    target.dims(),
                    embeddings.dims(),
                    "`{NAME}` needs teacher embeddings of the student's width"
                );
                (embeddings.clone() - target).square().mean()
            });
        let sum = terms
            .reduce(|sum, term| sum + term)
            .expect("a batch has at least one column");
        (sum / n_columns as f64).into()
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        data.require_columns(NAME, 1, None, "at least 1 input column")?;
        let n_columns = data.columns.len();
        let needed =
            "teacher embeddings: one list of numbers per row, or one list per row and input column";
        let labels = data.require_labels(NAME, needed)?;
        let wide = |width: usize| data.embedding_dimension.is_none_or(|model| model == width);
        let fits = match labels.shape {
            LabelShape::Scalar => false,
            LabelShape::List(width) => wide(width),
            LabelShape::Matrix(lists, width) => lists == n_columns && wide(width),
        };
        if !fits {
            let model = data
                .embedding_dimension
                .map_or_else(String::new, |width| format!(" ({width})"));
            let fix = format!(
                "Give an embedding as wide as the model's{model}, or {n_columns} of them per row"
            );
            return Err(labels.wrong_shape(NAME, needed, fix));
        }
        labels.require_finite(NAME)
    }

    fn describe(&self) -> Description {
        Description::new("SparseMSELoss")
            .option("projection_dim", json!(null))
            .citation(citation::MSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{N1, P, Q, batch, device, scalar};

    #[test]
    fn a_shared_target_by_hand() {
        let target = Tensor::<2>::from_floats(N1, &device());
        let loss = MseLossConfig::default()
            .init()
            .unwrap()
            .forward(&batch(&[Q, P]).with_labels(target));
        // squared differences Q: 2, 4, 10 and P: 3, 7, 6, over 12 entries each: (16/12 + 16/12) / 2
        assert!((scalar(loss.total()) - 16.0 / 12.0).abs() < 1e-6);
    }

    #[test]
    fn a_target_per_column_is_read_by_column() {
        let device = device();
        let labels = Tensor::<3>::from_floats([[[0.0, 0.0], [1.0, 1.0]]], &device);
        let batch = batch(&[[[2.0, 0.0]], [[1.0, 3.0]]]).with_labels(labels);
        // column 0: (2² + 0) / 2 = 2; column 1: (0 + 2²) / 2 = 2
        assert_eq!(
            scalar(
                MseLossConfig::default()
                    .init()
                    .unwrap()
                    .forward(&batch)
                    .total()
            ),
            2.0
        );
    }

    #[test]
    fn labels_of_other_shapes_are_refused() {
        let loss = MseLossConfig::default().init().unwrap();
        let data = DataSummary::new(["a", "b"]);
        let message = |shape| {
            let data = data.clone().with_labels("label", shape, vec![0.0; 12]);
            loss.check(&data).unwrap_err().to_string()
        };
        assert!(message(LabelShape::Scalar).contains("found one number per row"));
        assert!(message(LabelShape::Matrix(3, 4)).contains("found 3 lists of 4 numbers"));
        let narrow = data.clone().with_embedding_dimension(30_522).with_labels(
            "label",
            LabelShape::List(384),
            vec![0.0; 384],
        );
        let narrow = loss.check(&narrow).unwrap_err().to_string();
        assert!(
            narrow.contains("as wide as the model's (30522)"),
            "{narrow}"
        );
        assert!(
            loss.check(&DataSummary::new(["a"]))
                .unwrap_err()
                .to_string()
                .contains("`mse` needs labels")
        );
    }
}
