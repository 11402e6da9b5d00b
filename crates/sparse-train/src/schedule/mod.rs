//! Values that change with the step: the learning rate.

mod learning_rate;

pub use learning_rate::{LearningRateSchedule, SchedulerOptions, SchedulerType};
