//! Tokenization ahead of the step, on a thread of its own, in bounded memory.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use crate::collator::{CollatedBatch, Collator};
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Batches that wait, tokenized, while the step before them runs.
const AHEAD: usize = 4;

/// The batches of a run in order, prepared ahead.
#[derive(Debug)]
pub(crate) struct Prefetch {
    batches: Receiver<Result<(usize, CollatedBatch)>>,
    waiting: Waiting,
}

/// How often, and how long, a step stood still because its batch was not ready.
#[derive(Debug, Default)]
struct Waiting {
    /// Batches delivered.
    batches: usize,
    /// Time until the first batch, which nothing can hide.
    first: Duration,
    /// Batches after the first that were waited for.
    late: usize,
    /// Time spent waiting for them.
    total: Duration,
}

impl Prefetch {
    /// Starts to prepare the batches from update `step` on.
    pub(crate) fn start(mut collator: Collator, plan: &mut Plan, step: usize) -> Result<Self> {
        let (sender, receiver) = sync_channel(AHEAD);
        let batches = plan.batches_from(step)?;
        let prepare = move || {
            for batch in batches {
                let batch =
                    batch.and_then(|(dataset, batch)| Ok((dataset, collator.collate(&batch)?)));
                let failed = batch.is_err();
                // The receiver is gone when the run ended early.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("tokenizer".to_owned())
            .spawn(prepare)
            .map_err(|source| Error::io("start a thread for", "tokenization", source))?;
        Ok(Self {
            batches: receiver,
            waiting: Waiting::default(),
        })
    }

    /// The next batch and the data set it comes from.
    pub(crate) fn next(&mut self) -> Result<(usize, CollatedBatch)> {
        let ended = || Err(Error::DataEnded);
        let batch = match self.batches.try_recv() {
            Ok(batch) => batch,
            Err(TryRecvError::Disconnected) => ended(),
            Err(TryRecvError::Empty) => {
                let started = Instant::now();
                let batch = self.batches.recv().unwrap_or_else(|_| ended());
                if self.waiting.batches == 0 {
                    self.waiting.first = started.elapsed();
                } else {
                    self.waiting.late += 1;
                    self.waiting.total += started.elapsed();
                }
                batch
            }
        };
        self.waiting.batches += 1;
        batch
    }

    /// Logs what was waited for.
    pub(crate) fn report(&self) {
        let Waiting {
            batches,
            first,
            late,
            total,
        } = &self.waiting;
        tracing::debug!(
            "{late} of {batches} batches were waited for, {:.3} s in all; the first came after {:.3} s",
            total.as_secs_f64(),
            first.as_secs_f64()
        );
    }
}
