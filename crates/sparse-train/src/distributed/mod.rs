//! Training in several processes, one for each device.
//!
//! What a run computes from texts to the loss is the same in every process but for one thing: a process embeds only its
//! share of the texts. The vectors are gathered, so that loss, regularizers, counters and guards see the same numbers
//! everywhere, and the same as in a single process; the gradient at its own vectors is what a process leads back through
//! the model. The gradients of the parameters are added up in the order of the ranks, and every process takes the same step.
//! Nothing depends on timing.

mod exchange;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod share;
mod solo;
#[cfg(test)]
pub(crate) mod threads;

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::Result;

pub(crate) use exchange::{
    add_up, check_same, first_decides, gather_vectors, same_weights, share_weights, to_values,
};
pub use launch::Launch;
pub(crate) use share::Share;
pub(crate) use solo::Solo;

/// What the processes of a run say to each other. Every method but [`rank`](Self::rank), [`size`](Self::size),
/// [`fail`](Self::fail) and [`abort`](Self::abort) is called by all of them, in the same order, and returns when all did.
///
/// There are no errors to handle: where a process is lost, the run is, and an implementation ends every other process too.
pub trait Communicator: Debug + Send + Sync {
    /// Number of this process, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// The bytes of every process, by rank; their lengths may differ.
    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>>;

    /// The values of every process, by rank; their lengths may differ.
    fn all_gather_values(&self, values: &[f32]) -> Vec<Vec<f32>>;

    /// Replaces `values`, of one length everywhere, by their sum over the processes: added up in f64 in the order of the
    /// ranks, and rounded once, so that the sum is the same everywhere and in every run.
    fn all_reduce_sum(&self, values: &mut [f32]);

    /// Replaces `bytes` by those of process 0.
    fn broadcast(&self, bytes: &mut Vec<u8>);

    /// Returns when every process is here. Waiting takes no processor time: process 0 may be at work for long.
    fn wait_for_all(&self);

    /// Remembers that this process failed: it must not end as if nothing happened, or the others wait for it.
    fn fail(&self);

    /// Ends all processes at once, with this exit code.
    fn abort(&self, code: i32) -> !;
}

/// Joins the other processes of a run, if this one was started as one of several, by `mpirun` or a scheduler; else there is
/// one process, which needs nobody.
///
/// A process joins once: a second call returns the same communicator as long as the first is alive.
///
/// # Errors
///
/// If the process is one of several, but this build lacks the feature `mpi`, or MPI can't be used.
pub fn start() -> Result<Arc<dyn Communicator>> {
    match Launch::detect() {
        Some(launch) if launch.size > 1 => join(launch),
        _ => Ok(Arc::new(Solo)),
    }
}

#[cfg(feature = "mpi")]
fn join(launch: Launch) -> Result<Arc<dyn Communicator>> {
    mpi::Mpi::start(launch)
}

#[cfg(not(feature = "mpi"))]
fn join(launch: Launch) -> Result<Arc<dyn Communicator>> {
    Err(launch::without_mpi(launch))
}
