//! How well a sparse autoencoder reproduces its input.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::require_weight;
use crate::overview::Role;
use crate::{
    AutoencoderFeatures, DataFormat, DataSummary, Description, EmbeddedBatch, Loss, LossOutput,
    Result, citation,
};

const NAME: &str = "csr_reconstruction";

/// Configuration of [`CsrReconstructionLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsrReconstructionLossConfig {
    /// Factor on the auxiliary term (at least 0). `csr` uses 0.1 unless told otherwise.
    pub beta: f64,
}

impl Default for CsrReconstructionLossConfig {
    fn default() -> Self {
        Self { beta: 1.0 }
    }
}

impl CsrReconstructionLossConfig {
    pub(crate) const ROLE: Role = Role::Wrapper;
    pub(crate) const SUMMARY: &'static str =
        "a sparse autoencoder's reconstruction alone, for texts without pairs";
    pub(crate) const FORMATS: &'static [DataFormat] =
        &[DataFormat::new("(input_1 … input_n)", "none")];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If `beta` is negative or not finite.
    pub fn init(&self) -> Result<CsrReconstructionLoss> {
        require_weight((NAME, "beta"), self.beta)?;
        Ok(CsrReconstructionLoss { beta: self.beta })
    }
}

/// The reconstruction terms of contrastive sparse representation
/// ([Wen et al., 2025](https://arxiv.org/abs/2503.01776)), means over the columns.
///
/// ```text
/// L_k   = MSE( x̂_k , x )                      reconstruction_loss_k
/// L_4k  = MSE( x̂_4k , x ) / 8                 reconstruction_loss_4k
/// L_aux = β · NMSE( x̂_aux , x − sg(x̂_k without bias) )     reconstruction_loss_aux
///
/// NMSE(r, y) = MSE(r, y) / MSE( mean of y over the batch , y )
/// ```
///
/// `sg` stops the gradient; x itself is not stopped, so a backbone that is trained gets gradients from all terms. The
/// auxiliary term lets dead latents explain what the live ones left over; without an auxiliary reconstruction it is 0.
///
/// A batch of one row, or of equal rows, has no variance, and what is computed for it is rounding noise. The term is 0, and
/// so is its gradient, where
///
/// ```text
/// MSE( mean of y over the batch , y ) ≤ ε · ( mean of x² + mean of y² ),   ε = 2⁻²³
/// ```
///
/// that is, where rows differ by less than 0.03 % of their size. (In the reference before 6.2: infinity or any number; since
/// then plain MSE where the denominator is exactly 0.)
#[doc(alias = "CSRReconstructionLoss")]
#[derive(Debug, Clone)]
pub struct CsrReconstructionLoss {
    beta: f64,
}

impl Loss for CsrReconstructionLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let n_columns = batch.columns.len();
        assert_eq!(
            batch.autoencoder.len(),
            n_columns,
            "`{NAME}` needs the autoencoder's features of every column"
        );
        let mean = |term: fn(&AutoencoderFeatures) -> Tensor<1>, weight: f64| {
            let terms = batch
                .autoencoder
                .iter()
                .map(term)
                .reduce(|sum, term| sum + term);
            terms.expect("a batch has at least one column") * (weight / n_columns as f64)
        };
        LossOutput::new(vec![
            (
                "reconstruction_loss_k".to_owned(),
                mean(small_reconstruction, 1.0),
            ),
            (
                "reconstruction_loss_4k".to_owned(),
                mean(large_reconstruction, 1.0 / 8.0),
            ),
            (
                "reconstruction_loss_aux".to_owned(),
                mean(auxiliary_reconstruction, self.beta),
            ),
        ])
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        data.require_columns(NAME, 1, None, "at least 1 input column")
    }

    fn describe(&self) -> Description {
        Description::new("CSRReconstructionLoss")
            .option("beta", json!(self.beta))
            .citation(citation::CSR)
    }

    fn needs_autoencoder(&self) -> bool {
        true
    }
}

/// Error of the reconstruction from `k` latents.
fn small_reconstruction(features: &AutoencoderFeatures) -> Tensor<1> {
    squared_error(
        features.sentence_embedding_backbone.clone(),
        features.decoded_embedding_k.clone(),
    )
}

/// Error of the reconstruction from `4k` latents.
fn large_reconstruction(features: &AutoencoderFeatures) -> Tensor<1> {
    squared_error(
        features.sentence_embedding_backbone.clone(),
        features.decoded_embedding_4k.clone(),
    )
}

/// Normalised error of the dead latents' reconstruction of what is left over.
fn auxiliary_reconstruction(features: &AutoencoderFeatures) -> Tensor<1> {
    let input = features.sentence_embedding_backbone.clone();
    let Some(reconstruction) = features.decoded_embedding_aux.clone() else {
        return Tensor::zeros([1], &input.device());
    };
    let residual = input.clone() - features.decoded_embedding_k_pre_bias.clone().detach();
    let error = squared_error(reconstruction, residual.clone());
    let size = input.detach().square().mean() + residual.clone().detach().square().mean();
    let variance = (residual.clone().mean_dim(0) - residual).square().mean();
    let is_noise = variance
        .clone()
        .detach()
        .lower_equal(size * f64::from(f32::EPSILON));
    // The quotient stays finite where it isn't taken, so that its gradient is masked to 0 and not to NaN.
    let quotient = error / variance.mask_fill(is_noise.clone(), 1.0);
    quotient.mask_fill(is_noise, 0.0)
}

/// Mean squared difference of all entries.
fn squared_error(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    (a - b).square().mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, device, scalar, values};

    fn features(
        input: [[f32; 2]; 2],
        k: [[f32; 2]; 2],
        aux: Option<[[f32; 2]; 2]>,
    ) -> AutoencoderFeatures {
        let device = device();
        let tensor = |rows| Tensor::<2>::from_floats(rows, &device);
        AutoencoderFeatures {
            sentence_embedding_backbone: tensor(input).require_grad(),
            decoded_embedding_k: tensor(k),
            decoded_embedding_4k: tensor(input) * 0.0,
            decoded_embedding_k_pre_bias: tensor(k),
            decoded_embedding_aux: aux.map(tensor),
        }
    }

    fn terms(features: AutoencoderFeatures, beta: f64) -> [f32; 3] {
        let batch = batch(&[[[0.0, 0.0], [0.0, 0.0]]]).with_autoencoder(vec![features]);
        let output = CsrReconstructionLossConfig { beta }
            .init()
            .unwrap()
            .forward(&batch);
        ["k", "4k", "aux"].map(|part| {
            scalar(
                output
                    .component(&format!("reconstruction_loss_{part}"))
                    .unwrap()
                    .clone(),
            )
        })
    }

    #[test]
    fn terms_by_hand() {
        let features = features(
            [[1.0, 0.0], [0.0, 3.0]],
            [[1.0, 0.0], [0.0, 1.0]],
            Some([[0.0, 0.0], [0.0, 1.0]]),
        );
        // k: 2² / 4 = 1; 4k: (1 + 9) / 4 / 8; the residual is [[0, 0], [0, 2]], its error 1 / 4, its mean (0, 1),
        // its variance (1 + 1) / 4, so NMSE = ½, times β
        assert_eq!(terms(features, 0.1), [1.0, 0.3125, 0.05]);
    }

    /// The auxiliary term and its gradient for the input.
    fn auxiliary(input: [[f32; 2]; 2], k: [[f32; 2]; 2]) -> (f32, Vec<f32>) {
        let features = features(input, k, Some([[0.0, 0.0]; 2]));
        let input = features.sentence_embedding_backbone.clone();
        let loss = auxiliary_reconstruction(&features);
        let gradients = loss.clone().backward();
        (scalar(loss), values(input.grad(&gradients).unwrap()))
    }

    #[test]
    fn equal_rows_have_no_auxiliary_term() {
        let zero = (0.0, vec![0.0; 4]);
        assert_eq!(auxiliary([[1.0, 2.0]; 2], [[0.0, 0.0]; 2]), zero);
        // Rows that differ in their last bit: a variance of 6e-14, by which 5e6 would be divided.
        let next = f32::from_bits(1000.1_f32.to_bits() + 1);
        let rows = [[1000.1, 2000.2], [next, 2000.2]];
        assert_eq!(auxiliary(rows, [[0.0, 0.0]; 2]), zero);
        // What is left over is small and equal, its noise is that of the input.
        assert_eq!(auxiliary(rows, [[1000.0, 2000.0]; 2]), zero);
        assert_eq!(auxiliary([[0.0, 0.0]; 2], [[0.0, 0.0]; 2]), zero);
    }

    #[test]
    fn rows_that_differ_by_more_than_rounding_have_one() {
        let (value, gradient) = auxiliary([[1.0, 0.0], [1.25, 0.0]], [[0.0, 0.0]; 2]);
        // error (1 + 1.5625) / 4, mean 1.125, variance 2 · 0.125² / 4
        assert_eq!(value, 0.640_625 / 0.007_812_5);
        assert!(gradient.iter().all(|value| value.is_finite()));
        assert!(gradient[0] != 0.0 && gradient[1] == 0.0, "{gradient:?}");
    }

    #[test]
    fn without_auxiliary_reconstruction_its_term_is_zero() {
        assert_eq!(
            terms(features([[1.0, 0.0]; 2], [[1.0, 0.0]; 2], None), 1.0)[2],
            0.0
        );
    }

    #[test]
    fn a_negative_beta_is_refused() {
        let error = CsrReconstructionLossConfig { beta: -0.1 }
            .init()
            .unwrap_err();
        assert!(
            error.to_string().contains("`beta` of `csr_reconstruction`"),
            "{error}"
        );
    }
}
