//! What the hand-written backward passes share.

use burn::backend::autodiff::{
    checkpoint::strategy::CheckpointStrategy,
    grads::Gradients,
    ops::{Backward, NodeGuard, OpsKind},
};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Autodiff, Backend, tensor::FloatTensor};

use crate::plain::OptionalTensor;

/// Puts an operation into the graph if one of its arguments is tracked: the output as a tensor of the graph.
pub(crate) fn track<B, C, S, const N: usize>(
    step: S,
    arguments: [NodeGuard; N],
    state: S::State,
    output: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Backward<B, N>,
{
    match step.prepare::<C>(arguments).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(state, output),
        OpsKind::UnTracked(step) => step.finish(output),
    }
}

/// A large parameter, by which a backward pass finds the gradient that others have given it so far.
///
/// Burn adds a second gradient of a parameter to the first in a pass of its own. An embedding table is looked up and
/// multiplied with, for every column of the batch: with the table's gradient as large as the table, adding in place
/// to what is there saves both the passes and the memory.
///
/// Only parameters are kept: they live as long as their model. To keep another tensor of the graph would keep its
/// graph.
#[derive(Debug, Clone)]
pub(crate) struct Parameter<B: Backend>(Option<FloatTensor<Autodiff<B>>>);

impl<B: Backend> Parameter<B> {
    pub(crate) fn of(tensor: &FloatTensor<Autodiff<B>>) -> Self {
        let is_parameter =
            <Autodiff<B> as FloatTensorOps<Autodiff<B>>>::float_is_require_grad(tensor);
        Self(is_parameter.then(|| tensor.clone()))
    }

    /// Takes the gradient so far out of the graph's, to be added to and registered again.
    pub(crate) fn take_gradient(&self, gradients: &mut Gradients) -> OptionalTensor<B> {
        self.0
            .as_ref()
            .and_then(|parameter| gradients.remove::<B>(parameter))
            .into()
    }
}
