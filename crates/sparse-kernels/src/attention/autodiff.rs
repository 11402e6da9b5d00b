//! Attention in the autodiff graph.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops},
};
use burn::backend::{Autodiff, AutodiffBackend, Backend, tensor::FloatTensor};

use super::{Attended, AttentionSettings, PackedAttention};
use crate::RowOffsets;
use crate::autodiff::track;
use crate::plain::OptionalTensor;

/// The backward pass; the arguments are queries, keys, values and, with `N = 4`, the relative bias.
#[derive(Debug)]
struct Step;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    relative_bias: OptionalTensor<B>,
    rows: RowOffsets,
    settings: AttentionSettings,
    saved: FloatTensor<B>,
}

impl<B: PackedAttention, const N: usize> Backward<B, N> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State {
            query,
            key,
            value,
            relative_bias,
            rows,
            settings,
            saved,
        } = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        let found = B::packed_attention_backward(
            query,
            key,
            value,
            relative_bias,
            rows,
            settings,
            saved,
            gradient,
        );
        let bias = found.relative_bias.into_option();
        let found = [Some(found.query), Some(found.key), Some(found.value), bias];
        for (argument, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(argument), Some(gradient)) = (argument, gradient) {
                gradients.register::<B>(argument.id, gradient);
            }
        }
    }
}

impl<B: PackedAttention, C: CheckpointStrategy> PackedAttention for Autodiff<B, C> {
    fn packed_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        relative_bias: OptionalTensor<Self>,
        rows: RowOffsets,
        settings: AttentionSettings,
    ) -> Attended<Self> {
        let (query, of_query) = query.into_parts();
        let (key, of_key) = key.into_parts();
        let (value, of_value) = value.into_parts();
        let (bias, of_bias) = relative_bias
            .into_option()
            .map(|bias| bias.into_parts())
            .unzip();
        let relative_bias = OptionalTensor::from(bias);
        let Attended { output, saved } = B::packed_attention(
            query.clone(),
            key.clone(),
            value.clone(),
            relative_bias.clone(),
            rows.clone(),
            settings,
        );
        let kept = <Self as AutodiffBackend>::from_inner(saved.clone());
        let state = State {
            query,
            key,
            value,
            relative_bias,
            rows,
            settings,
            saved,
        };
        let output = match of_bias {
            Some(of_bias) => {
                let arguments = [of_query, of_key, of_value, of_bias];
                track::<B, C, _, 4>(Step, arguments, state, output)
            }
            None => track::<B, C, _, 3>(Step, [of_query, of_key, of_value], state, output),
        };
        Attended {
            output,
            saved: kept,
        }
    }
}
