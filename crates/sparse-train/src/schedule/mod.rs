//! Values that change with the step: the learning rate, and a regularizer's weight that follows a target.

mod learning_rate;
mod metric;
mod sparsity_target;

pub use learning_rate::{LearningRateSchedule, SchedulerOptions, SchedulerType};
pub(crate) use metric::MetricState;
pub use metric::{MetricMode, ThresholdMode};
pub(crate) use sparsity_target::SparsityController;
