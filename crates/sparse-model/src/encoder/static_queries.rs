//! Inference-free encoders: queries by a table of token weights, documents by a transformer.

use std::path::Path;

use super::{Settings, SparseEncoder};
use crate::module::{
    ModuleKind, PipelineModule, Router, SparseStaticEmbedding, check_flow, weights_from_json,
};
use crate::{Error, Result};

impl SparseEncoder {
    /// Reads a table of weights, a JSON object of token string to number, such as `idf.json`: one weight per token id, as
    /// many as the largest id asks for, zero for tokens that the table leaves out.
    ///
    /// # Errors
    ///
    /// If the file is missing, is no such object, or the model has no tokenizer.
    pub fn token_weights_from_json(&self, path: &Path) -> Result<Vec<f32>> {
        weights_from_json(path, self.tokenizer()?)
    }

    /// Makes an inference-free encoder: documents go through this SPLADE model, queries get `weights` for their distinct
    /// tokens ([Geng et al., 2024](https://arxiv.org/abs/2411.04403)). `frozen` weights are not trained.
    ///
    /// # Errors
    ///
    /// If this model is no SPLADE encoder in a row, or `weights` are more than its dimensions.
    pub fn with_static_queries(self, mut weights: Vec<f32>, frozen: bool) -> Result<Self> {
        let kinds = self.module_types();
        if kinds != [ModuleKind::Transformer, ModuleKind::SpladePooling] {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let problem = format!(
                "only a SPLADE encoder can be given static queries; this model is {}",
                kinds.join(", ")
            );
            return Err(Error::Unsupported(problem));
        }
        let width = self.embedding_dimension();
        if weights.len() > width {
            let problem = format!(
                "are {}, but the model has {width} dimensions",
                weights.len()
            );
            return Err(Error::Option {
                name: "weights",
                problem,
            });
        }
        weights.resize(width, 0.0);
        let tokenizer = self.tokenizer()?.clone();
        let device = self.device();
        let query = SparseStaticEmbedding::new(
            weights,
            frozen,
            tokenizer,
            "0.sub_modules.query.0.",
            &device,
        );
        let router = Router::for_query_document(
            vec![PipelineModule::SparseStaticEmbedding(query)],
            self.modules,
        );
        let modules = vec![PipelineModule::Router(router)];
        let flows = check_flow(&modules, Path::new(&self.settings.name))?;
        let settings = Settings {
            flows,
            ..self.settings
        };
        Ok(Self { modules, settings })
    }
}
