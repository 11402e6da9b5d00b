//! The head in the autodiff graph.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops},
};
use burn::backend::{Autodiff, Backend, tensor::FloatTensor};

use super::{HeadOptions, LexicalHead, Pooled};
use crate::RowOffsets;
use crate::autodiff::{Parameter, track};
use crate::plain::OptionalTensor;

/// The backward pass; the arguments are hidden states, weight and, with `N = 3`, bias.
#[derive(Debug)]
struct Step;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    parameter: Parameter<B>,
    bias: OptionalTensor<B>,
    rows: RowOffsets,
    options: HeadOptions,
    pooled: Pooled<B>,
}

impl<B: LexicalHead, const N: usize> Backward<B, N> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State {
            hidden,
            weight,
            parameter,
            bias,
            rows,
            options,
            pooled,
        } = ops.state;
        let so_far = parameter.take_gradient(gradients);
        let gradient = gradients.consume::<B>(&ops.node);
        let found = B::lexical_head_backward(
            hidden, weight, bias, rows, options, pooled, gradient, so_far,
        );
        let found = [found.hidden, found.weight, found.bias];
        for (argument, gradient) in ops.parents.into_iter().zip(found) {
            if let Some(argument) = argument {
                gradients.register::<B>(argument.id, gradient);
            }
        }
    }
}

impl<B: LexicalHead, C: CheckpointStrategy> LexicalHead for Autodiff<B, C> {
    fn lexical_head(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        rows: RowOffsets,
        options: HeadOptions,
    ) -> Pooled<Self> {
        let (hidden, of_hidden) = hidden.into_parts();
        let parameter = Parameter::of(&weight);
        let (weight, of_weight) = weight.into_parts();
        let (bias, of_bias) = bias.into_option().map(|bias| bias.into_parts()).unzip();
        let bias = OptionalTensor::from(bias);
        let (h, w, b) = (hidden.clone(), weight.clone(), bias.clone());
        let pooled = B::lexical_head(h, w, b, rows.clone(), options);
        let (output, positions) = (pooled.scores.clone(), pooled.positions.clone());
        let state = State {
            hidden,
            weight,
            parameter,
            bias,
            rows,
            options,
            pooled,
        };
        let scores = match of_bias {
            Some(of_bias) => {
                track::<B, C, _, 3>(Step, [of_hidden, of_weight, of_bias], state, output)
            }
            None => track::<B, C, _, 2>(Step, [of_hidden, of_weight], state, output),
        };
        Pooled { scores, positions }
    }
}
