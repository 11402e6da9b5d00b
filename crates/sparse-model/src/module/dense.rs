//! A linear layer with an activation function, on vectors of texts.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};
use serde_json::{Map, Value, json};
use sparse_kernels::{HiddenActivation, linear};

use super::normalize::{check_keys, check_names};
use super::{Features, Flow, Place, tensors_to_save};
use crate::parameter::ParameterEntry;
use crate::pretrained::{
    Aliases, DirectoryWriter, ParameterReader, Weights, entry, read_object, to_pretty,
};
use crate::{Error, Result};

/// The keys of a configuration.
const KEYS: [&str; 7] = [
    "in_features",
    "out_features",
    "bias",
    "activation_function",
    "module_input_name",
    "module_output_name",
    "use_residual",
];

/// Functions by the last part of their class path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DenseActivation {
    Identity,
    Tanh,
    Relu,
    Gelu,
    Sigmoid,
    Silu,
}

impl DenseActivation {
    fn from_path(path: &str, file: &Path) -> Option<Self> {
        if !path.starts_with("torch.") {
            tracing::warn!(
                "`{}`: `activation_function` is `{path}`, which is not torch's; Tanh is used, as in the reference",
                file.display()
            );
            return Some(Self::Tanh);
        }
        Some(match path.rsplit('.').next()? {
            "Identity" => Self::Identity,
            "Tanh" => Self::Tanh,
            "ReLU" => Self::Relu,
            "GELU" => Self::Gelu,
            "Sigmoid" => Self::Sigmoid,
            "SiLU" => Self::Silu,
            _ => return None,
        })
    }

    fn apply(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Relu => activation::relu(x),
            // Burn's own has the gradient of an approximation on some backends.
            Self::Gelu => HiddenActivation::Gelu.forward(x),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Silu => activation::silu(x),
        }
    }
}

/// `act(x·Wᵀ + b)`.
#[derive(Module, Debug)]
pub(crate) struct Dense {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    activation: DenseActivation,
    #[module(skip)]
    settings: DenseSettings,
}

#[derive(Debug, Clone)]
struct DenseSettings {
    d_in: usize,
    d_out: usize,
    activation_path: String,
    entries: Vec<ParameterEntry>,
}

impl Dense {
    pub(crate) fn load(place: &Place<'_>) -> Result<Self> {
        let path = place.directory.join("config.json");
        let config: Map<String, Value> = read_object(&path, "it describes a Dense module")?;
        check_names(&config, &path)?;
        check_keys(&config, &KEYS, &path)?;
        if entry(&config, "use_residual", &path)? == Some(true) {
            return Err(Error::config(
                &path,
                "use_residual",
                "is true, which is not supported",
            ));
        }
        let size = |key: &'static str| {
            let size: Option<usize> = entry(&config, key, &path)?;
            match size {
                Some(size) if size > 0 => Ok(size),
                Some(_) => Err(Error::config(
                    &path,
                    key,
                    "is 0; expected a positive integer",
                )),
                None => Err(Error::config(
                    &path,
                    key,
                    "is missing; expected a positive integer",
                )),
            }
        };
        let (d_in, d_out) = (size("in_features")?, size("out_features")?);
        let activation_path: String = entry(&config, "activation_function", &path)?
            .unwrap_or_else(|| "torch.nn.modules.activation.Tanh".to_string());
        let activation = DenseActivation::from_path(&activation_path, &path).ok_or_else(|| {
            let problem = format!("is `{activation_path}`; expected Identity, Tanh, ReLU, GELU, Sigmoid or SiLU of torch");
            Error::config(&path, "activation_function", problem)
        })?;
        let weights = Weights::open(place.directory)?;
        let mut reader = ParameterReader::new(
            &weights,
            place.device,
            Aliases::default(),
            place.owner.clone(),
        );
        let weight = reader.matrix("linear.weight", [d_out, d_in])?;
        let has_bias = entry(&config, "bias", &path)?.unwrap_or(true);
        let bias = if has_bias {
            Some(reader.vector("linear.bias", d_out)?)
        } else {
            None
        };
        let entries = reader.finish("Dense", |_| false)?;
        Ok(Self {
            weight,
            bias,
            activation,
            settings: DenseSettings {
                d_in,
                d_out,
                activation_path,
                entries,
            },
        })
    }

    pub(crate) fn check(&self, flow: Flow) -> Result<Flow, String> {
        match flow {
            Flow::Sentence { width, .. } if width == self.settings.d_in => Ok(Flow::Sentence {
                width: self.settings.d_out,
                lexical: false,
            }),
            Flow::Sentence { width, .. } => Err(format!(
                "has `in_features` {}, but gets {width}",
                self.settings.d_in
            )),
            _ => Err("needs one vector per text before it".to_string()),
        }
    }

    pub(crate) fn forward(&self, features: Features) -> Features {
        let bias = || self.bias.as_ref().map(Param::val);
        let sentence = features
            .sentence
            .map(|x| self.activation.apply(linear(x, self.weight.val(), bias())));
        Features {
            sentence,
            ..features
        }
    }

    pub(crate) fn entries(&self) -> &[ParameterEntry] {
        &self.settings.entries
    }

    pub(crate) fn config(&self) -> Value {
        json!({
            "in_features": self.settings.d_in,
            "out_features": self.settings.d_out,
            "bias": self.bias.is_some(),
            "activation_function": self.settings.activation_path,
            "module_input_name": "sentence_embedding",
            "module_output_name": "sentence_embedding",
        })
    }

    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str) -> Result<()> {
        writer.write(
            &format!("{directory}/config.json"),
            &to_pretty(&self.config(), 4),
        )?;
        let tensors = tensors_to_save(self, self.entries(), writer.weight_type())?;
        writer.write_tensors(Path::new(directory).join("model.safetensors"), tensors, &[])
    }
}
