//! The parts that architectures share.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use sparse_kernels::{
    AttentionOptions, HiddenActivation, RowOffsets, activation_linear, dropout, layer_norm, linear,
    linear_activation, packed_attention,
};

use crate::pretrained::ParameterReader;
use crate::{ForwardContext, Result};

/// `x·Wᵀ + b`, with the weight as files hold it, `[d_out, d_in]`.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Param<Tensor<2>>,
    pub(crate) bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Reads `{name}.weight` and `{name}.bias`.
    pub(crate) fn load(
        name: &str,
        d_in: usize,
        d_out: usize,
        reader: &mut ParameterReader<'_>,
    ) -> Result<Self> {
        Self::load_with(name, d_in, d_out, true, reader)
    }

    /// Reads `{name}.weight`, and `{name}.bias` if there is one.
    pub(crate) fn load_with(
        name: &str,
        d_in: usize,
        d_out: usize,
        bias: bool,
        reader: &mut ParameterReader<'_>,
    ) -> Result<Self> {
        Ok(Self {
            weight: reader.matrix(&format!("{name}.weight"), [d_out, d_in])?,
            bias: if bias {
                Some(reader.vector(&format!("{name}.bias"), d_out)?)
            } else {
                None
            },
        })
    }

    /// `[n, d_in]` to `[n, d_out]`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// The same of an activation function's values, which are computed again in the backward pass.
    pub(crate) fn forward_of_activation(
        &self,
        x: Tensor<2>,
        activation: HiddenActivation,
    ) -> Tensor<2> {
        activation_linear(
            x,
            activation,
            self.weight.val(),
            self.bias.as_ref().map(Param::val),
        )
    }

    /// The same, followed by an activation function.
    pub(crate) fn forward_activation(
        &self,
        x: Tensor<2>,
        activation: HiddenActivation,
    ) -> Tensor<2> {
        linear_activation(
            x,
            self.weight.val(),
            self.bias.as_ref().map(Param::val),
            activation,
        )
    }
}

/// Layer normalization over the last axis.
#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// Reads `{name}.weight` and `{name}.bias`.
    pub(crate) fn load(
        name: &str,
        width: usize,
        epsilon: f64,
        reader: &mut ParameterReader<'_>,
    ) -> Result<Self> {
        Self::load_with(name, width, epsilon, true, reader)
    }

    /// Reads `{name}.weight`, and `{name}.bias` if there is one.
    pub(crate) fn load_with(
        name: &str,
        width: usize,
        epsilon: f64,
        bias: bool,
        reader: &mut ParameterReader<'_>,
    ) -> Result<Self> {
        Ok(Self {
            weight: reader.norm(&format!("{name}.weight"), width)?,
            bias: if bias {
                Some(reader.norm(&format!("{name}.bias"), width)?)
            } else {
                None
            },
            epsilon,
        })
    }

    /// Normalizes the rows of `x`, to which `residual` is added first.
    pub(crate) fn forward(&self, x: Tensor<2>, residual: Option<Tensor<2>>) -> Tensor<2> {
        layer_norm(
            x,
            residual,
            self.weight.val(),
            self.bias.as_ref().map(Param::val),
            self.epsilon,
        )
    }
}

/// What the parts of a post-norm layer are called in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerKeys {
    pub(crate) query: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    pub(crate) attention_output: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) intermediate: &'static str,
    pub(crate) output: &'static str,
    pub(crate) output_norm: &'static str,
}

impl LayerKeys {
    /// As BERT has them, and whatever descends from it.
    pub(crate) const BERT: Self = Self {
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        attention_output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        intermediate: "intermediate.dense",
        output: "output.dense",
        output_norm: "output.LayerNorm",
    };
}

/// Sizes and rates of a post-norm layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerSettings {
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) n_heads: usize,
    pub(crate) activation: HiddenActivation,
    pub(crate) epsilon: f64,
    /// Dropout on the attention probabilities.
    pub(crate) attention_dropout: f64,
    /// Dropout on what attention gives.
    pub(crate) attention_output_dropout: f64,
    /// Dropout on what the feed-forward part gives.
    pub(crate) output_dropout: f64,
}

/// A transformer layer with its norms after the residual sums, as BERT has it.
///
/// ```text
/// a = norm(x + dropout(attention(x)·Wᵀ + b))
/// y = norm(a + dropout(act(a·W₁ᵀ + b₁)·W₂ᵀ + b₂))
/// ```
#[derive(Module, Debug)]
pub(crate) struct EncoderLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    #[module(skip)]
    settings: LayerSettings,
}

impl EncoderLayer {
    pub(crate) fn load(
        keys: &LayerKeys,
        settings: &LayerSettings,
        reader: &mut ParameterReader<'_>,
    ) -> Result<Self> {
        let (hidden, wide) = (settings.hidden_size, settings.intermediate_size);
        Ok(Self {
            query: Linear::load(keys.query, hidden, hidden, reader)?,
            key: Linear::load(keys.key, hidden, hidden, reader)?,
            value: Linear::load(keys.value, hidden, hidden, reader)?,
            attention_output: Linear::load(keys.attention_output, hidden, hidden, reader)?,
            attention_norm: LayerNorm::load(keys.attention_norm, hidden, settings.epsilon, reader)?,
            intermediate: Linear::load(keys.intermediate, hidden, wide, reader)?,
            output: Linear::load(keys.output, wide, hidden, reader)?,
            output_norm: LayerNorm::load(keys.output_norm, hidden, settings.epsilon, reader)?,
            settings: *settings,
        })
    }

    /// `[n_tokens, hidden_size]` to the same. `relative_bias` as in [`AttentionOptions`].
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        rows: &RowOffsets,
        relative_bias: Option<Tensor<2>>,
        context: &ForwardContext,
    ) -> Tensor<2> {
        self.forward_with(x, context, |query, key, value| {
            let settings = &self.settings;
            let d_head = settings.hidden_size / settings.n_heads;
            let options = AttentionOptions {
                dropout: context
                    .dropout_of_texts("attention_probabilities", settings.attention_dropout),
                relative_bias,
                ..AttentionOptions::new(1.0 / (d_head as f32).sqrt())
            };
            packed_attention(query, key, value, settings.n_heads, rows, &options)
        })
    }

    /// The same with attention of another kind, from the layer's query, key and value.
    pub(crate) fn forward_with(
        &self,
        x: Tensor<2>,
        context: &ForwardContext,
        attention: impl FnOnce(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let attended = attention(
            self.query.forward(x.clone()),
            self.key.forward(x.clone()),
            self.value.forward(x.clone()),
        );
        let attended = dropout(
            self.attention_output.forward(attended),
            context
                .dropout("attention_output", self.settings.attention_output_dropout)
                .as_ref(),
        );
        let attended = self.attention_norm.forward(attended, Some(x));
        let wide = self.intermediate.forward(attended.clone());
        let narrow = dropout(
            self.output
                .forward_of_activation(wide, self.settings.activation),
            context
                .dropout("output", self.settings.output_dropout)
                .as_ref(),
        );
        self.output_norm.forward(narrow, Some(attended))
    }

    /// The query and key projections, for attention that needs them for more than its tokens.
    pub(crate) fn query_and_key(&self) -> (&Linear, &Linear) {
        (&self.query, &self.key)
    }
}
