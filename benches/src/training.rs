//! Steps of the real trainer.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use sparse_encoder::losses::{LossConfig, SpladeLossConfig};
use sparse_encoder::prelude::*;
use sparse_encoder::train::{CallbackContext, SaveStrategy, TrainerControl};

use crate::Result;
use crate::job::{Measurement, TrainJob, peak_bytes};

/// Trains with the SPLADE loss over in-batch negatives and times from the end of one step to the end of the next.
pub(crate) fn measure(job: &TrainJob) -> Result<Measurement> {
    let encoder = SparseEncoder::from_pretrained_with(
        &job.model,
        &sparse_encoder::model::LoadOptions {
            max_seq_length: Some(job.max_seq_length),
            ..Default::default()
        },
        &device("cpu")?,
    )?;
    let pairs = Table::load(&DatasetConfig::from_path(&job.data))?;
    let arguments = TrainingArguments {
        max_steps: i64::try_from(job.warm_up + job.steps)?,
        per_device_train_batch_size: job.batch_size,
        order: sparse_encoder::data::SampleOrder::Reference,
        save_strategy: SaveStrategy::No,
        logging_steps: 1e6,
        learning_rate: 2e-5,
        bf16: job.bf16,
        ..TrainingArguments::new(&job.output)
    };
    let clock = Clock::default();
    let mut trainer = Trainer::builder(encoder, arguments)
        .train_dataset(pairs)
        .loss(LossConfig::Splade(SpladeLossConfig {
            document_regularizer_weight: Some(3e-5),
            query_regularizer_weight: Some(5e-5),
            ..Default::default()
        }))
        .callback(clock.clone())
        .build()?;
    trainer.train()?;
    let ticks = clock.0.lock().map_err(|_| "the clock's lock is broken")?;
    let times: Vec<f64> = ticks
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0).as_secs_f64())
        .collect();
    Ok(Measurement {
        seconds: times[job.warm_up.saturating_sub(1)..].to_vec(),
        peak_bytes: peak_bytes()?,
        check: ticks.first().map_or(f64::NAN, |(_, loss)| *loss),
    })
}

/// When each step ended, and its loss.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<Mutex<Vec<(Instant, f64)>>>);

impl Callback for Clock {
    fn on_step_end(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        if let Ok(mut ticks) = self.0.lock() {
            ticks.push((Instant::now(), context.step.loss));
        }
    }
}
