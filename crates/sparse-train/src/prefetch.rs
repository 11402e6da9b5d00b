//! Tokenization ahead of the step, on a thread of its own, in bounded memory.

use std::sync::mpsc::{Receiver, sync_channel};

use crate::collator::{CollatedBatch, Collator};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::trainer::DatasetWithLoss;

/// Batches that wait, tokenized, while the step before them runs.
const AHEAD: usize = 4;

/// The batches of a run in order, prepared ahead.
#[derive(Debug)]
pub(crate) struct Prefetch {
    batches: Receiver<Result<(usize, CollatedBatch)>>,
}

impl Prefetch {
    /// Starts to prepare the batches from update `step` on.
    pub(crate) fn start(
        collator: Collator,
        datasets: &[DatasetWithLoss],
        plan: &Plan,
        step: usize,
    ) -> Result<Self> {
        let (sender, batches) = sync_channel(AHEAD);
        let tables: Vec<_> = datasets
            .iter()
            .map(|dataset| (dataset.table.clone(), dataset.roles.clone()))
            .collect();
        let plans = plan.batches_from(step);
        let prepare = move || {
            for plan in plans {
                let batch = plan.and_then(|plan| {
                    let (table, roles) = &tables[plan.dataset];
                    let batch = table.batch(roles, &plan.rows)?;
                    Ok((plan.dataset, collator.collate(&batch)?))
                });
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
        Ok(Self { batches })
    }

    /// The next batch and the data set it comes from.
    pub(crate) fn next(&mut self) -> Result<(usize, CollatedBatch)> {
        self.batches.recv().unwrap_or_else(|_| {
            Err(Error::Incomplete(
                "the data ended before the run".to_owned(),
            ))
        })
    }
}
