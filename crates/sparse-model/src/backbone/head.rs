//! The masked-language-model head.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use sparse_kernels::HiddenActivation;

use super::Family;
use super::layers::{LayerNorm, Linear};
use crate::Result;
use crate::pretrained::ParameterReader;

/// What the parts of a head are called in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadKeys {
    pub(crate) dense: &'static str,
    pub(crate) norm: &'static str,
    /// The output bias.
    pub(crate) bias: &'static str,
    /// The output matrix, if it is not the embedding table.
    pub(crate) decoder: &'static str,
    /// The output bias of a head that has its own output matrix, where that is another one.
    pub(crate) decoder_bias: Option<&'static str>,
}

impl HeadKeys {
    /// As BERT has them.
    pub(crate) const BERT: Self = Self {
        dense: "cls.predictions.transform.dense",
        norm: "cls.predictions.transform.LayerNorm",
        bias: "cls.predictions.bias",
        decoder: "cls.predictions.decoder.weight",
        decoder_bias: Some("cls.predictions.decoder.bias"),
    };

    /// As RoBERTa and MPNet have them.
    pub(crate) const ROBERTA: Self = Self {
        dense: "lm_head.dense",
        norm: "lm_head.layer_norm",
        bias: "lm_head.bias",
        decoder: "lm_head.decoder.weight",
        decoder_bias: Some("lm_head.decoder.bias"),
    };

    /// Whether a key belongs to this head.
    pub(crate) fn owns(&self, key: &str) -> bool {
        [self.dense, self.norm].iter().any(|part| {
            key.strip_prefix(part)
                .is_some_and(|rest| rest.starts_with('.'))
        }) || key == self.bias
            || self.repeats(key)
    }

    /// Whether a key repeats what a tied head takes from elsewhere.
    pub(crate) fn repeats(&self, key: &str) -> bool {
        key == self.decoder || Some(key) == self.decoder_bias
    }
}

/// Shape and function of a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadSpec {
    pub(crate) keys: HeadKeys,
    pub(crate) activation: HiddenActivation,
    pub(crate) epsilon: f64,
    /// Width of the output matrix: the embedding size, mostly the hidden size.
    pub(crate) width: usize,
    pub(crate) dense_bias: bool,
    pub(crate) norm_bias: bool,
    pub(crate) output_bias: bool,
}

impl HeadSpec {
    /// A head of the usual form.
    pub(crate) fn new(
        keys: HeadKeys,
        activation: HiddenActivation,
        epsilon: f64,
        width: usize,
    ) -> Self {
        Self {
            keys,
            activation,
            epsilon,
            width,
            dense_bias: true,
            norm_bias: true,
            output_bias: true,
        }
    }
}

/// Hidden states to logits over the vocabulary, all but the product with the output matrix.
///
/// ```text
/// logits = norm(act(h·Wᵀ + b))·Eᵀ + c,   E the embedding table or a matrix of its own
/// ```
#[derive(Module, Debug)]
pub(crate) struct MlmHead {
    dense: Linear,
    norm: LayerNorm,
    decoder: Option<Param<Tensor<2>>>,
    bias: Option<Param<Tensor<1>>>,
    /// A bias that files of an untied head hold and no computation reads.
    unused_bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    activation: HiddenActivation,
}

impl MlmHead {
    pub(crate) fn load(family: &Family, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let HeadSpec {
            keys,
            activation,
            epsilon,
            width,
            dense_bias,
            norm_bias,
            output_bias,
        } = family.head;
        let own_bias = keys
            .decoder_bias
            .filter(|key| !family.tied && reader.has(key));
        let shared_bias = output_bias && (own_bias.is_none() || reader.has(keys.bias));
        let first_bias = if shared_bias {
            Some(reader.vector(keys.bias, family.vocab_size)?)
        } else {
            None
        };
        let dense = Linear::load_with(keys.dense, family.hidden_size, width, dense_bias, reader)?;
        let norm = LayerNorm::load_with(keys.norm, width, epsilon, norm_bias, reader)?;
        let decoder = if family.tied {
            None
        } else {
            Some(reader.matrix(keys.decoder, [family.vocab_size, width])?)
        };
        let (bias, unused_bias) = match own_bias {
            Some(key) => (Some(reader.vector(key, family.vocab_size)?), first_bias),
            None => (first_bias, None),
        };
        Ok(Self {
            dense,
            norm,
            decoder,
            bias,
            unused_bias,
            activation,
        })
    }

    /// `[n_tokens, hidden_size]` to `[n_tokens, width]`, to be multiplied with the output matrix.
    pub(crate) fn transform(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.norm
            .forward(self.dense.forward_activation(hidden, self.activation), None)
    }

    /// The output matrix, if it is not the embedding table.
    pub(crate) fn decoder(&self) -> Option<Tensor<2>> {
        self.decoder.as_ref().map(Param::val)
    }

    /// The output bias.
    pub(crate) fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }
}

/// The pooler of a base model: files have it, sparse encoders do not use it.
#[derive(Module, Debug)]
pub(crate) struct PoolerWeights {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl PoolerWeights {
    /// Reads `pooler.dense.*` or `pooler.*`, if the file has them.
    pub(crate) fn load(reader: &mut ParameterReader<'_>) -> Result<Option<Self>> {
        for name in ["pooler.dense", "pooler"] {
            let weight = format!("{name}.weight");
            if let Some(&[d_out, d_in]) = reader.shape(&weight) {
                let Linear { weight, bias } = Linear::load(name, d_in, d_out, reader)?;
                return Ok(bias.map(|bias| Self { weight, bias }));
            }
        }
        Ok(None)
    }
}
