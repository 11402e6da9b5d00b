//! Gradients by parameter, and the update of all parameters: AdamW with the reference's groups.

use std::collections::BTreeMap;

use burn::module::ParamId;
use burn::tensor::{Gradients, Tensor};
use regex::Regex;
use sparse_kernels::optimizer::{AdamWState, AdamWStep, adamw, squared_norm};
use sparse_model::SparseEncoder;

use crate::arguments::TrainingArguments;
use crate::error::{Error, Result};

/// Gradients of an update, flat, without a graph.
#[derive(Debug, Default)]
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

/// Settings of one parameter.
#[derive(Debug, Clone)]
pub(crate) struct ParameterOptions {
    pub(crate) name: String,
    pub(crate) id: ParamId,
    pub(crate) n_elements: usize,
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
}

/// AdamW ([Loshchilov & Hutter, 2019](https://arxiv.org/abs/1711.05101)) over the parameters of an encoder.
#[derive(Debug)]
pub(crate) struct Optimizer {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    pub(crate) parameters: Vec<ParameterOptions>,
    places: BTreeMap<ParamId, usize>,
    pub(crate) states: Vec<Option<ParameterState>>,
    /// Moments before a parameter's first update. They are made before the first forward pass: allocated after it, they would
    /// settle in the gaps that its activations left, and the next pass would need as much again elsewhere.
    fresh: Vec<Option<AdamWState<1>>>,
}

/// Moments of a parameter, flat, and how many updates made them.
#[derive(Debug, Clone)]
pub(crate) struct ParameterState {
    pub(crate) step: u64,
    pub(crate) moments: AdamWState<1>,
}

impl Optimizer {
    /// Groups the parameters as the reference does: biases and norms without decay, and `learning_rate_mapping` searched in the
    /// names, of several patterns that match the last in alphabetical order winning.
    pub(crate) fn new(encoder: &SparseEncoder, arguments: &TrainingArguments) -> Result<Self> {
        let parameters: Vec<_> = encoder
            .named_parameters()
            .into_iter()
            .filter(|parameter| parameter.trainable)
            .collect();
        let mut options: Vec<ParameterOptions> = parameters
            .iter()
            .map(|parameter| ParameterOptions {
                name: parameter.name.clone(),
                id: parameter.id,
                n_elements: parameter.shape.iter().product(),
                learning_rate: arguments.learning_rate,
                weight_decay: if parameter.is_norm || is_exempt(&parameter.name) {
                    0.0
                } else {
                    arguments.weight_decay
                },
            })
            .collect();
        for (pattern, rate) in &arguments.learning_rate_mapping {
            let key = format!("arguments.learning_rate_mapping.\"{pattern}\"");
            let regex = Regex::new(pattern).map_err(|error| {
                Error::argument(&key, format!("is no regular expression: {error}"))
            })?;
            let mut matched = false;
            for parameter in options
                .iter_mut()
                .filter(|parameter| regex.is_match(&parameter.name))
            {
                parameter.learning_rate = *rate;
                matched = true;
            }
            if !matched {
                let names: Vec<&str> = options
                    .iter()
                    .map(|parameter| parameter.name.as_str())
                    .collect();
                return Err(Error::argument(
                    key,
                    format!("matches no parameter; they are {}", names.join(", ")),
                ));
            }
        }
        let device = encoder.device().inner();
        Ok(Self {
            beta1: arguments.adam_beta1,
            beta2: arguments.adam_beta2,
            epsilon: arguments.adam_epsilon,
            places: options
                .iter()
                .enumerate()
                .map(|(place, parameter)| (parameter.id, place))
                .collect(),
            states: options.iter().map(|_| None).collect(),
            fresh: options
                .iter()
                .map(|parameter| Some(AdamWState::zeros(parameter.n_elements, &device)))
                .collect(),
            parameters: options,
        })
    }

    /// Updates every parameter that has a gradient.
    ///
    /// `rate_factor` multiplies each parameter's own learning rate, `gradient_scale` its gradient (clipping).
    pub(crate) fn step(
        &mut self,
        encoder: SparseEncoder,
        mut gradients: GradientSet,
        rate_factor: f64,
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
            let ParameterState { step, moments } =
                self.states[place].take().unwrap_or_else(|| ParameterState {
                    step: 0,
                    moments: fresh.unwrap_or_else(|| AdamWState::zeros_like(&value)),
                });
            let settings = AdamWStep {
                learning_rate: options.learning_rate * rate_factor,
                beta_1: self.beta1,
                beta_2: self.beta2,
                epsilon: self.epsilon,
                weight_decay: options.weight_decay,
                step: step + 1,
                gradient_scale,
            };
            let (value, moments) = adamw(value, gradient, moments, &settings);
            self.states[place] = Some(ParameterState {
                step: step + 1,
                moments,
            });
            value
        })
    }
}

/// Whether the reference leaves a parameter of this name out of weight decay.
fn is_exempt(name: &str) -> bool {
    let name = name.to_lowercase();
    ["bias", "layernorm", "rmsnorm"]
        .iter()
        .any(|part| name.contains(part))
        || name
            .split('.')
            .any(|part| part == "norm" || part.ends_with("_norm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_and_norms_are_exempt_from_decay() {
        for name in [
            "0.model.bert.embeddings.LayerNorm.weight",
            "0.model.cls.predictions.bias",
            "0.model.distilbert.transformer.layer.0.sa_layer_norm.weight",
            "0.model.head.norm.weight",
            "2.latent_bias",
        ] {
            assert!(is_exempt(name), "{name}");
        }
        for name in [
            "0.model.bert.embeddings.word_embeddings.weight",
            "0.model.normal.weight",
        ] {
            assert!(!is_exempt(name), "{name}");
        }
    }
}
