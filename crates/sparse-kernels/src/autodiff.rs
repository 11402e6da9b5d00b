//! What the hand-written backward passes share.

use burn::backend::autodiff::{
    checkpoint::strategy::CheckpointStrategy,
    ops::{Backward, NodeGuard, OpsKind},
};
use burn::backend::{Autodiff, Backend, tensor::FloatTensor};

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
