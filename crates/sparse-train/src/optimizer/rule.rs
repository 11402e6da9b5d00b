//! One update of one parameter, by any of the optimizers.

use burn::tensor::Tensor;
use sparse_kernels::optimizer::{AdamWState, AdamWStep, adamw};

use super::adafactor::Adafactor;
use super::adagrad::Adagrad;
use super::kind::{OptimizerType, Options};
use super::lion::Lion;
use super::rmsprop::RmsProp;
use super::sgd::Sgd;
use crate::arguments::TrainingArguments;
use crate::error::Result;

/// What one update of one parameter goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update<'a> {
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    /// Number of this update of the parameter, from 1.
    pub(crate) number: u64,
    /// Factor on the gradient before everything else.
    pub(crate) gradient_scale: f64,
    /// Shape of the parameter, which is handed over flat.
    pub(crate) shape: &'a [usize],
}

impl Update<'_> {
    /// The gradient times its factor.
    fn scaled(&self, gradient: Tensor<1>) -> Tensor<1> {
        if self.gradient_scale == 1.0 {
            gradient
        } else {
            gradient * self.gradient_scale
        }
    }

    /// The gradient with the decay in it: `g + λ·θ`, as the older optimizers have it.
    pub(super) fn coupled(&self, gradient: Tensor<1>, value: &Tensor<1>) -> Tensor<1> {
        if self.weight_decay == 0.0 {
            gradient
        } else {
            gradient + value.clone() * self.weight_decay
        }
    }

    /// The parameter with the decay beside the gradient: `θ − η·λ·θ`.
    pub(super) fn decoupled(&self, value: Tensor<1>) -> Tensor<1> {
        if self.weight_decay == 0.0 {
            value
        } else {
            value * (1.0 - self.learning_rate * self.weight_decay)
        }
    }
}

/// A tensor that is remembered for a parameter: its name and its length. It begins as zeros.
pub(crate) type Slot = (&'static str, usize);

/// An optimizer and its settings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    AdamW {
        beta_1: f64,
        beta_2: f64,
        epsilon: f64,
    },
    Adafactor(Adafactor),
    Sgd(Sgd),
    Adagrad(Adagrad),
    RmsProp(RmsProp),
    Lion(Lion),
}

impl Rule {
    /// The optimizer that the arguments ask for.
    pub(crate) fn new(arguments: &TrainingArguments) -> Result<Self> {
        let options = Options::parse(arguments.optim, arguments.optim_args.as_deref())?;
        Ok(match arguments.optim {
            OptimizerType::AdamwTorch | OptimizerType::AdamwTorchFused => Self::AdamW {
                beta_1: arguments.adam_beta1,
                beta_2: arguments.adam_beta2,
                epsilon: arguments.adam_epsilon,
            },
            OptimizerType::Adafactor => Self::Adafactor(Adafactor),
            OptimizerType::Sgd => Self::Sgd(Sgd::new(&options)?),
            OptimizerType::Adagrad => Self::Adagrad(Adagrad::new(&options)?),
            OptimizerType::Rmsprop => Self::RmsProp(RmsProp::new(&options)?),
            OptimizerType::Lion => Self::Lion(Lion {
                beta_1: arguments.adam_beta1,
                beta_2: arguments.adam_beta2,
            }),
        })
    }

    /// Name by which a checkpoint knows whose state it holds.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::AdamW { .. } => "adamw_torch",
            Self::Adafactor(_) => "adafactor",
            Self::Sgd(_) => "sgd",
            Self::Adagrad(_) => "adagrad",
            Self::RmsProp(_) => "rmsprop",
            Self::Lion(_) => "lion_32bit",
        }
    }

    /// What is remembered for a parameter of this shape.
    pub(crate) fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        let n_elements = shape.iter().product();
        match self {
            Self::AdamW { .. } => vec![("exp_avg", n_elements), ("exp_avg_sq", n_elements)],
            Self::Adafactor(_) => Adafactor::slots(shape),
            Self::Sgd(rule) => rule.slots(n_elements),
            Self::Adagrad(_) => vec![("sum", n_elements)],
            Self::RmsProp(rule) => rule.slots(n_elements),
            Self::Lion(_) => vec![("exp_avg", n_elements)],
        }
    }

    /// The parameter after an update, and what is remembered; all tensors flat, `slots` in the order of [`Self::slots`].
    pub(crate) fn update(
        &self,
        value: Tensor<1>,
        gradient: Tensor<1>,
        slots: Vec<Tensor<1>>,
        update: &Update<'_>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        match self {
            Self::AdamW {
                beta_1,
                beta_2,
                epsilon,
            } => {
                let [first_moment, second_moment] = take(slots);
                let settings = AdamWStep {
                    learning_rate: update.learning_rate,
                    beta_1: *beta_1,
                    beta_2: *beta_2,
                    epsilon: *epsilon,
                    weight_decay: update.weight_decay,
                    step: update.number,
                    gradient_scale: update.gradient_scale,
                };
                let moments = AdamWState {
                    first_moment,
                    second_moment,
                };
                let (value, moments) = adamw(value, gradient, moments, &settings);
                (value, vec![moments.first_moment, moments.second_moment])
            }
            Self::Adafactor(_) => Adafactor::update(value, update.scaled(gradient), slots, update),
            Self::Sgd(rule) => rule.update(value, update.scaled(gradient), slots, update),
            Self::Adagrad(rule) => rule.update(value, update.scaled(gradient), slots, update),
            Self::RmsProp(rule) => rule.update(value, update.scaled(gradient), slots, update),
            Self::Lion(rule) => rule.update(value, update.scaled(gradient), slots, update),
        }
    }
}

/// As many slots as the rule has.
pub(super) fn take<const N: usize>(slots: Vec<Tensor<1>>) -> [Tensor<1>; N] {
    slots
        .try_into()
        .expect("slots are made by the rule that takes them")
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
