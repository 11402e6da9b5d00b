//! `auto_find_batch_size`: smaller mini-batches when the device is out of memory.
//!
//! The reference restarts the run with a smaller batch, which changes what is learned. Here the batch stays: after an
//! out-of-memory error the micro-batch is done again with gradient caching in mini-batches of half as many texts, until it fits.
//! The size that was found holds for the rest of the run and is part of its checkpoints.
//!
//! What can be caught is an error that the backend raises as a panic, as those of GPUs do. A CPU that runs out of memory ends
//! the process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde_json::json;
use sparse_losses::MiniBatches;

use super::Trainer;
use super::step::{MicroBatch, Sums};
use crate::error::{Error, Result};

/// Entry of `stateful_callbacks` that holds the size that was found.
const STATE: &str = "AutoFindBatchSize";

impl Trainer {
    /// The gradient of micro-batches, in smaller mini-batches as long as the device is out of memory.
    pub(super) fn backward_within_memory(
        &mut self,
        dataset: usize,
        micro_batches: &[MicroBatch],
        sums: &mut Sums,
    ) -> Result<()> {
        if !self.arguments.auto_find_batch_size {
            return self.backward(dataset, micro_batches, sums);
        }
        loop {
            let before = sums.clone();
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                self.backward(dataset, micro_batches, sums)
            }));
            let payload = match attempt {
                Ok(done) => return done,
                Err(payload) => payload,
            };
            let Some(message) = out_of_memory(&*payload) else {
                resume_unwind(payload);
            };
            *sums = before;
            let loss = self.train[dataset].loss.clone();
            let texts = micro_batches
                .iter()
                .flat_map(|micro_batch| &micro_batch.batch.blocks)
                .map(|(tokens, _)| tokens.n_texts());
            let smaller = match self.mini_batches(&*loss) {
                Some(MiniBatches::Tokens(tokens)) if tokens > 1 => {
                    MiniBatches::Tokens(tokens.div_ceil(2))
                }
                Some(MiniBatches::Rows(rows)) if rows > 1 => MiniBatches::Rows(rows.div_ceil(2)),
                None => MiniBatches::Rows(texts.max().unwrap_or(1).div_ceil(2)),
                Some(_) => return Err(Error::OutOfMemory { message }),
            };
            self.found_mini_batches = Some(smaller);
            let (name, size) = described(smaller);
            self.warn(&format!(
                "step {}: the device is out of memory ({message}); going on with `{name}` = {size}, the batch stays as it is",
                self.state.global_step + 1
            ));
        }
    }

    /// Notes the size that was found in the state of the run.
    pub(super) fn note_mini_batches(&mut self) {
        if let Some((name, size)) = self.found_mini_batches.map(described) {
            self.state.stateful_callbacks.insert(
                STATE.to_owned(),
                json!({ "args": {}, "attributes": { name: size } }),
            );
        }
    }

    /// Takes the size that was found out of the state of the run.
    pub(super) fn restore_mini_batches(&mut self) {
        let Some(attributes) = self
            .state
            .stateful_callbacks
            .get(STATE)
            .map(|state| &state["attributes"])
        else {
            return;
        };
        let size = |name: &str| attributes[name].as_u64().map(|size| size as usize);
        self.found_mini_batches = size("mini_batch_size")
            .map(MiniBatches::Rows)
            .or(size("mini_batch_num_tokens").map(MiniBatches::Tokens));
    }
}

fn described(mini_batches: MiniBatches) -> (&'static str, usize) {
    match mini_batches {
        MiniBatches::Rows(rows) => ("mini_batch_size", rows),
        MiniBatches::Tokens(tokens) => ("mini_batch_num_tokens", tokens),
    }
}

/// The message of a panic, if it says that memory ran out.
fn out_of_memory(payload: &(dyn Any + Send)) -> Option<String> {
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(payload.downcast_ref::<&str>().copied())?;
    let lower = message.to_lowercase();
    let says = [
        "out of memory",
        "out_of_memory",
        "outofmemory",
        "not enough memory",
        "memory allocation of",
        "failed to allocate",
        "can't allocate",
        "buffertoobig",
    ];
    says.iter()
        .any(|words| lower.contains(words))
        .then(|| message.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
