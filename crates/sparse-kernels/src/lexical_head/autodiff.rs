//! The head in the autodiff graph.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, tensor::FloatTensor};

use super::{HeadOptions, LexicalHead, Pooled};
use crate::RowOffsets;
use crate::plain::OptionalTensor;

/// Registers the gradients; `WITH_BIAS` says whether a third parent is the bias.
#[derive(Debug)]
struct Step;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: OptionalTensor<B>,
    rows: RowOffsets,
    options: HeadOptions,
    pooled: Pooled<B>,
}

impl Step {
    fn gradients<B: LexicalHead, const N: usize>(ops: Ops<State<B>, N>, gradients: &mut Gradients) {
        let State {
            hidden,
            weight,
            bias,
            rows,
            options,
            pooled,
        } = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        let found = B::lexical_head_backward(hidden, weight, bias, rows, options, pooled, gradient);
        for (parent, gradient) in
            ops.parents
                .into_iter()
                .zip([found.hidden, found.weight, found.bias])
        {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: LexicalHead> Backward<B, 2> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        Self::gradients(ops, gradients);
    }
}

impl<B: LexicalHead> Backward<B, 3> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        Self::gradients(ops, gradients);
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
        let (hidden, hidden_node) = hidden.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_option().map(|bias| bias.into_parts()).unzip();
        let bias = OptionalTensor::from(bias);
        let pooled = B::lexical_head(
            hidden.clone(),
            weight.clone(),
            bias.clone(),
            rows.clone(),
            options,
        );
        let positions = pooled.positions.clone();
        let output = pooled.scores.clone();
        let state = State {
            hidden,
            weight,
            bias,
            rows,
            options,
            pooled,
        };
        let scores = match bias_node {
            Some(bias_node) => {
                let nodes = [hidden_node, weight_node, bias_node];
                match Backward::<B, 3>::prepare::<C>(Step, nodes)
                    .compute_bound()
                    .stateful()
                {
                    OpsKind::Tracked(step) => step.finish(state, output),
                    OpsKind::UnTracked(step) => step.finish(output),
                }
            }
            None => {
                let nodes = [hidden_node, weight_node];
                match Backward::<B, 2>::prepare::<C>(Step, nodes)
                    .compute_bound()
                    .stateful()
                {
                    OpsKind::Tracked(step) => step.finish(state, output),
                    OpsKind::UnTracked(step) => step.finish(output),
                }
            }
        };
        Pooled { scores, positions }
    }
}
