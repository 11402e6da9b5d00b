//! RoBERTa ([Liu et al., 2019](https://arxiv.org/abs/1907.11692)), XLM-RoBERTa and CamemBERT.

use burn::module::Module;
use burn::tensor::Tensor;
use sparse_kernels::HiddenActivation;

use super::bert::{BertConfig, BertEmbeddings};
use super::layers::{EncoderLayer, LayerKeys};
use super::{
    Architecture, Family, HeadKeys, HeadSpec, layers, positions_after_padding,
    positions_beside_padding,
};
use crate::pretrained::ParameterReader;
use crate::{ForwardContext, PackedTokens, Result};

/// The id of the padding token unless the configuration names one.
pub(super) const PADDING: i32 = 1;

/// The encoder of RoBERTa: BERT's, with positions that start after the padding token's id.
#[derive(Module, Debug)]
pub(crate) struct Roberta {
    embeddings: BertEmbeddings,
    layers: Vec<EncoderLayer>,
    #[module(skip)]
    padding: i32,
}

impl Architecture for Roberta {
    type Config = BertConfig;

    fn family(config: &BertConfig) -> Result<Family, (&'static str, String)> {
        config.check()?;
        Ok(Family {
            prefix: "roberta.",
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            max_positions: positions_beside_padding(
                config.max_position_embeddings,
                config.pad_token_id.unwrap_or(PADDING),
            )?,
            tied: config.tie_word_embeddings,
            head: HeadSpec::new(
                HeadKeys::ROBERTA,
                HiddenActivation::Gelu,
                config.layer_norm_eps,
                config.hidden_size,
            ),
        })
    }

    fn load(config: &BertConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let settings = config.layer_settings();
        let config = BertConfig {
            embedding_size: None,
            ..config.clone()
        };
        Ok(Self {
            embeddings: BertEmbeddings::load(&config, reader)?,
            layers: layers(
                "encoder.layer",
                config.num_hidden_layers,
                reader,
                |reader| EncoderLayer::load(&LayerKeys::BERT, &settings, reader),
            )?,
            padding: config.pad_token_id.unwrap_or(PADDING),
        })
    }

    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let embedded = self.embeddings.forward(
            tokens,
            &positions_after_padding(tokens, self.padding),
            context,
        );
        self.layers
            .iter()
            .enumerate()
            .fold(embedded, |x, (index, layer)| {
                layer.forward(x, &tokens.rows, None, &context.part("layer", index))
            })
    }

    fn word_embeddings(&self) -> Tensor<2> {
        self.embeddings.word()
    }
}
