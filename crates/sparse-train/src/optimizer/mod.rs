//! Gradients by parameter, and the update of all parameters by one of the optimizers.

mod adafactor;
mod adagrad;
mod groups;
pub(crate) mod kind;
mod lion;
mod rmsprop;
mod rule;
mod sgd;

use std::collections::BTreeMap;

use burn::module::ParamId;
use burn::tensor::{Device, Gradients, Tensor};
use sparse_kernels::optimizer::squared_norm;
use sparse_model::SparseEncoder;

pub(crate) use groups::{ParameterOptions, group};
pub(crate) use kind::ELSEWHERE;
pub use kind::OptimizerType;
pub(crate) use rule::{Rule, Slot};

use crate::arguments::TrainingArguments;
use crate::error::Result;
use rule::Update;

/// Gradients of an update, flat, without a graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct GradientSet {
    gradients: BTreeMap<ParamId, Tensor<1>>,
}

impl GradientSet {
    /// Takes the gradients of one backward pass and adds them to those already here.
    pub(crate) fn accumulate(&mut self, encoder: &SparseEncoder, mut gradients: Gradients) {
        for (id, gradient) in encoder.take_gradients(&mut gradients) {
            let sum = match self.gradients.remove(&id) {
                Some(sum) => sum + gradient,
                None => gradient,
            };
            self.gradients.insert(id, sum);
        }
    }

    /// The gradients, to be added up over processes.
    pub(crate) fn values_mut(&mut self) -> &mut BTreeMap<ParamId, Tensor<1>> {
        &mut self.gradients
    }

    /// Every gradient by the name of its parameter.
    #[cfg(test)]
    pub(crate) fn by_name(&self, encoder: &SparseEncoder) -> BTreeMap<String, Vec<f32>> {
        let parameters = encoder.named_parameters().into_iter();
        parameters
            .filter_map(|parameter| {
                let gradient = self.gradients.get(&parameter.id)?.clone();
                Some((
                    parameter.name,
                    gradient.into_data().try_to_vec::<f32>().unwrap(),
                ))
            })
            .collect()
    }

    /// Global L2 norm.
    pub(crate) fn norm(&self) -> f64 {
        self.gradients
            .values()
            .cloned()
            .map(squared_norm)
            .sum::<f64>()
            .sqrt()
    }

    /// Names of parameters whose gradient holds a value that is no number.
    pub(crate) fn not_finite(&self, encoder: &SparseEncoder) -> Vec<String> {
        let broken = |id: &ParamId| {
            self.gradients
                .get(id)
                .is_some_and(|gradient| !squared_norm(gradient.clone()).is_finite())
        };
        encoder
            .named_parameters()
            .into_iter()
            .filter(|parameter| broken(&parameter.id))
            .map(|parameter| parameter.name)
            .collect()
    }
}

/// An optimizer over the parameters of an encoder.
#[derive(Debug)]
pub(crate) struct Optimizer {
    pub(crate) rule: Rule,
    pub(crate) parameters: Vec<ParameterOptions>,
    places: BTreeMap<ParamId, usize>,
    pub(crate) states: Vec<Option<ParameterState>>,
    /// What is remembered before a parameter's first update. It is made before the first forward pass: allocated after it, it
    /// would settle in the gaps that its activations left, and the next pass would need as much again elsewhere.
    fresh: Vec<Option<Vec<Tensor<1>>>>,
}

/// What is remembered of a parameter, flat, in the order of [`Rule::slots`], and how many updates made it.
#[derive(Debug, Clone)]
pub(crate) struct ParameterState {
    pub(crate) step: u64,
    pub(crate) slots: Vec<Tensor<1>>,
}

impl Optimizer {
    /// The optimizer that the arguments ask for, over the parameters in the groups of [`group`].
    pub(crate) fn new(encoder: &SparseEncoder, arguments: &TrainingArguments) -> Result<Self> {
        let rule = Rule::new(arguments)?;
        let parameters = group(encoder, arguments)?;
        let device = encoder.device().inner();
        Ok(Self {
            places: parameters
                .iter()
                .enumerate()
                .map(|(place, parameter)| (parameter.id, place))
                .collect(),
            states: parameters.iter().map(|_| None).collect(),
            fresh: parameters
                .iter()
                .map(|parameter| Some(zeros(&rule.slots(&parameter.shape), &device)))
                .collect(),
            rule,
            parameters,
        })
    }

    /// The own peak rate of each parameter.
    pub(crate) fn rates(&self) -> impl Iterator<Item = f64> {
        self.parameters
            .iter()
            .map(|parameter| parameter.learning_rate)
    }

    /// Which parameters have a rate of their own, in words.
    pub(crate) fn describe_rates(&self, arguments: &TrainingArguments) -> Option<String> {
        groups::describe(&self.parameters, arguments)
    }

    /// Updates every parameter that has a gradient.
    ///
    /// `rate` makes the learning rate of this step of each parameter's own, `gradient_scale` multiplies its gradient (clipping).
    pub(crate) fn step(
        &mut self,
        encoder: SparseEncoder,
        mut gradients: GradientSet,
        rate: impl Fn(f64) -> f64,
        gradient_scale: f64,
    ) -> SparseEncoder {
        encoder.map_parameters(|id, value| {
            let (Some(gradient), Some(&place)) =
                (gradients.gradients.remove(&id), self.places.get(&id))
            else {
                return value;
            };
            let options = &self.parameters[place];
            let fresh = self.fresh[place].take();
            let ParameterState { step, slots } =
                self.states[place].take().unwrap_or_else(|| ParameterState {
                    step: 0,
                    slots: fresh.unwrap_or_else(|| {
                        zeros(&self.rule.slots(&options.shape), &value.device())
                    }),
                });
            let update = Update {
                learning_rate: rate(options.learning_rate),
                weight_decay: options.weight_decay,
                number: step + 1,
                gradient_scale,
                shape: &options.shape,
            };
            let (value, slots) = self.rule.update(value, gradient, slots, &update);
            self.states[place] = Some(ParameterState {
                step: step + 1,
                slots,
            });
            value
        })
    }
}

fn zeros(slots: &[Slot], device: &Device) -> Vec<Tensor<1>> {
    slots
        .iter()
        .map(|(_, length)| Tensor::zeros([*length], device))
        .collect()
}
