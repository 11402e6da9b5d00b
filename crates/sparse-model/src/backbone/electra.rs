//! ELECTRA, the generator ([Clark et al., 2020](https://arxiv.org/abs/2003.10555)).

use burn::module::Module;
use burn::tensor::Tensor;
use sparse_kernels::HiddenActivation;

use super::bert::{BertConfig, BertEmbeddings};
use super::layers::{EncoderLayer, LayerKeys, Linear};
use super::{Architecture, Family, HeadKeys, HeadSpec, layers, positions};
use crate::pretrained::ParameterReader;
use crate::{ForwardContext, PackedTokens, Result};

const HEAD_KEYS: HeadKeys = HeadKeys {
    dense: "generator_predictions.dense",
    norm: "generator_predictions.LayerNorm",
    bias: "generator_lm_head.bias",
    decoder: "generator_lm_head.weight",
    decoder_bias: None,
};

/// The encoder of ELECTRA: BERT's, its embeddings of another width projected to the hidden size.
#[derive(Module, Debug)]
pub(crate) struct Electra {
    embeddings: BertEmbeddings,
    project: Option<Linear>,
    layers: Vec<EncoderLayer>,
}

impl Architecture for Electra {
    type Config = BertConfig;

    fn family(config: &BertConfig) -> Result<Family, (&'static str, String)> {
        config.check()?;
        Ok(Family {
            prefix: "electra.",
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            max_positions: Some(config.max_position_embeddings),
            tied: config.tie_word_embeddings,
            head: HeadSpec::new(
                HEAD_KEYS,
                HiddenActivation::Gelu,
                config.layer_norm_eps,
                config.embedding_size(),
            ),
        })
    }

    fn load(config: &BertConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let settings = config.layer_settings();
        let (narrow, wide) = (config.embedding_size(), config.hidden_size);
        Ok(Self {
            embeddings: BertEmbeddings::load(config, reader)?,
            project: if narrow == wide {
                None
            } else {
                Some(Linear::load("embeddings_project", narrow, wide, reader)?)
            },
            layers: layers(
                "encoder.layer",
                config.num_hidden_layers,
                reader,
                |reader| EncoderLayer::load(&LayerKeys::BERT, &settings, reader),
            )?,
        })
    }

    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let embedded = self.embeddings.forward(tokens, &positions(tokens), context);
        let embedded = match &self.project {
            Some(project) => project.forward(embedded),
            None => embedded,
        };
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
