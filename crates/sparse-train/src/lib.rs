//! Everything between a configuration and a finished model.
//!
//! [`Trainer`] is the loop; [`TrainingArguments`] say how it runs, under the names of the reference; a [`TrainingFile`] holds
//! both, the data sets, the loss and the evaluators in one TOML file. [`Callback`]s see every turn of a run.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use sparse_train::{Resume, TrainingFile};
//!
//! # fn main() -> Result<(), sparse_train::Error> {
//! let file = TrainingFile::load("train.toml".as_ref(), &[])?;
//! let mut trainer = file.trainer(&Device::default())?.build()?;
//! trainer.train_from(&Resume::No)?;
//! trainer.encoder().save_pretrained(&file.final_dir())?;
//! # Ok(())
//! # }
//! ```
//!
//! This crate names no backend: it runs on the device of the model it is given.

mod arguments;
mod callback;
mod checkpoint;
mod collator;
mod config;
mod curve;
mod dataset;
pub mod distributed;
mod error;
mod guard;
mod hub;
mod loss_scaler;
mod names;
mod optimizer;
mod plan;
mod prefetch;
mod regulation;
mod run;
mod schedule;
mod secret;
mod state;
mod token_cache;
mod trainer;

pub use arguments::{
    ColumnPrompts, CountTokens, IntervalStrategy, Routes, SaveStrategy, Tracker, TrainingArguments,
};
pub use callback::{
    Callback, CallbackContext, EarlyStopping, EnergyMeter, JsonLines, StepReport, TensorBoard,
    TrainerControl,
};
pub use config::{ModelCardConfig, ModelConfig, TrainingFile};
pub use error::{Error, Result};
pub use guard::GuardConfig;
pub use hub::{HubStrategy, HubToken};
pub use optimizer::OptimizerType;
pub use schedule::{
    LearningRateSchedule, MetricMode, SchedulerOptions, SchedulerType, ThresholdMode,
};
pub use secret::mask_secrets;
pub use state::TrainerState;
pub use trainer::{Interrupt, Resume, TrainOutput, Trainer, TrainerBuilder};
