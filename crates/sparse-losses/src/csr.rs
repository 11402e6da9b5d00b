//! The wrapper for models with a sparse autoencoder.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::require_weight;
use crate::overview::Role;
use crate::{
    CsrReconstructionLoss, CsrReconstructionLossConfig, DataFormat, DataSummary, Description,
    EmbeddedBatch, Loss, LossConfig, LossOutput, MultipleNegativesRankingLossConfig, Result,
    citation,
};

const NAME: &str = "csr";

/// Configuration of [`CsrLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsrLossConfig {
    /// The base loss on the sparse embeddings.
    pub loss: Box<LossConfig>,
    /// Factor on the auxiliary reconstruction (at least 0).
    pub beta: f64,
    /// Factor on the base loss (at least 0); 0.1 in the reference's examples.
    pub gamma: f64,
}

impl Default for CsrLossConfig {
    fn default() -> Self {
        Self {
            loss: Box::new(MultipleNegativesRankingLossConfig::default().into()),
            beta: 0.1,
            gamma: 1.0,
        }
    }
}

impl CsrLossConfig {
    pub(crate) const ROLE: Role = Role::Wrapper;
    pub(crate) const SUMMARY: &'static str =
        "a base loss on a sparse autoencoder's embeddings plus its reconstruction terms";
    pub(crate) const FORMATS: &'static [DataFormat] = &[];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If a factor is negative or the inner loss is a wrapper or invalid.
    pub fn init(&self) -> Result<CsrLoss> {
        require_weight((NAME, "beta"), self.beta)?;
        require_weight((NAME, "gamma"), self.gamma)?;
        Ok(CsrLoss {
            loss: self.loss.init_inside(NAME)?,
            reconstruction: CsrReconstructionLossConfig { beta: self.beta }.init()?,
            beta: self.beta,
            gamma: self.gamma,
        })
    }
}

/// Contrastive sparse representation: a sparse autoencoder on a dense model
/// ([Wen et al., 2025](https://arxiv.org/abs/2503.01776)).
///
/// ```text
/// L = L_k + L_4k / 8 + β · L_aux + γ · base( embeddings with k active latents )
/// ```
///
/// The reconstruction terms are those of [`CsrReconstructionLoss`]. There is no FLOPS term: `k` fixes the number of
/// active dimensions.
///
/// # Components
///
/// `reconstruction_loss_k`, `reconstruction_loss_4k`, `reconstruction_loss_aux`, then those of the base loss
/// (`base_loss`), all already weighted.
#[doc(alias = "CSRLoss")]
#[derive(Debug)]
pub struct CsrLoss {
    loss: Box<dyn Loss>,
    reconstruction: CsrReconstructionLoss,
    beta: f64,
    gamma: f64,
}

impl Loss for CsrLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let mut output = self.reconstruction.forward(batch);
        for (name, value) in self
            .loss
            .forward(batch)
            .scaled(self.gamma)
            .into_components()
        {
            output.push(name, value);
        }
        output
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        self.loss.check(data)
    }

    fn describe(&self) -> Description {
        let base = self.loss.describe();
        Description::new("CSRLoss")
            .option("beta", json!(self.beta))
            .option("gamma", json!(self.gamma))
            .option("loss", json!(base.class_name))
            .citation(citation::CSR)
            .part(base)
    }

    fn warnings(&self) -> Vec<String> {
        self.loss.warnings()
    }

    fn needs_autoencoder(&self) -> bool {
        true
    }

    fn gathers_across_devices(&self) -> bool {
        self.loss.gathers_across_devices()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::AutoencoderFeatures;
    use crate::testing::{device, scalar};

    #[test]
    fn the_base_loss_is_weighted_by_gamma_and_reconstructions_are_averaged() {
        let device = device();
        let features = |input: f32| {
            let tensor =
                |value: f32| Tensor::<2>::from_floats([[value, 0.0], [0.0, value]], &device);
            AutoencoderFeatures {
                sentence_embedding_backbone: tensor(input),
                decoded_embedding_k: tensor(0.0),
                decoded_embedding_4k: tensor(input),
                decoded_embedding_k_pre_bias: tensor(0.0),
                decoded_embedding_aux: None,
            }
        };
        let rows = |a, b| Tensor::<2>::from_floats([[a, 0.0], [0.0, b]], &device);
        let batch = EmbeddedBatch::new(vec![rows(1.0, 1.0), rows(2.0, 1.0)])
            .with_autoencoder(vec![features(2.0), features(4.0)]);
        let output = CsrLossConfig {
            gamma: 0.5,
            ..Default::default()
        }
        .init()
        .unwrap()
        .forward(&batch);
        let term = |name| scalar(output.component(name).unwrap().clone());
        assert_eq!(term("reconstruction_loss_k"), 5.0); // (2·4/4 + 2·16/4) / 2
        assert_eq!(term("reconstruction_loss_4k"), 0.0);
        // half of the value derived in multiple_negatives_ranking.rs
        assert!((term("base_loss") - 0.110_047).abs() < 1e-5);
        assert!((scalar(output.total()) - 5.110_047).abs() < 1e-5);
    }

    #[test]
    fn it_needs_an_autoencoder_and_no_wrapper_inside() {
        assert!(CsrLossConfig::default().init().unwrap().needs_autoencoder());
        let nested = CsrLossConfig {
            loss: Box::default(),
            ..Default::default()
        };
        assert!(
            nested
                .init()
                .unwrap_err()
                .to_string()
                .contains("`csr` cannot contain `splade`")
        );
        let error = CsrLossConfig {
            gamma: f64::NAN,
            ..Default::default()
        }
        .init()
        .unwrap_err();
        assert!(error.to_string().contains("`gamma` of `csr`"), "{error}");
    }
}
