//! The sparse autoencoder of CSR.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sparse_kernels::{RandomStream, linear};

use super::{Features, Flow, Place, tensors_to_save};
use crate::context::AutoencoderOutput;
use crate::parameter::ParameterEntry;
use crate::pretrained::{
    Aliases, DirectoryWriter, ParameterReader, TensorBytes, Weights, from_object, parameter_id,
    read_object, to_pretty,
};
use crate::{Error, ForwardContext, Result};

/// The decoder is the transposed encoder; files hold the shared matrix under the decoder's name.
const RENAMED: [(&str, &str); 1] = [("encoder.weight", "decoder.linear.weight")];

/// More latents than any autoencoder has: a limit against damaged configurations.
const LARGEST_SIZE: usize = 1 << 30;

/// Latents with a value above this are in use.
const IN_USE: f32 = 1e-5;

/// `config.json` of the module.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SparseAutoEncoderConfig {
    input_dim: usize,
    #[serde(default = "default_hidden")]
    hidden_dim: usize,
    #[serde(default = "default_k")]
    k: usize,
    #[serde(default = "default_k_aux")]
    k_aux: Option<usize>,
    #[serde(default)]
    normalize: bool,
    #[serde(default = "default_threshold")]
    dead_threshold: i64,
}

fn default_hidden() -> usize {
    512
}

fn default_k() -> usize {
    8
}

fn default_k_aux() -> Option<usize> {
    Some(512)
}

fn default_threshold() -> i64 {
    30
}

impl SparseAutoEncoderConfig {
    /// A fresh autoencoder, `hidden_dim` four times the input.
    pub(crate) fn new(input_dim: usize, k: usize, k_aux: usize) -> Self {
        let hidden_dim = 4 * input_dim;
        Self {
            input_dim,
            hidden_dim,
            k,
            k_aux: Some(k_aux),
            normalize: false,
            dead_threshold: default_threshold(),
        }
    }
}

/// A top-k sparse autoencoder with tied weights ([Wen et al., 2025](https://arxiv.org/abs/2503.01776)).
///
/// ```text
/// pre(x) = (x − b_pre)·Wᵀ + b_latent      topk(a, k) = ReLU(the k largest values of each row, zero elsewhere)
/// z = topk(pre(x), k)                     decode(z) = z·W + b_pre
/// ```
///
/// With `normalize`, rows of `x` are first brought to mean 0 and deviation 1, and reconstructions back.
#[derive(Module, Debug)]
pub(crate) struct SparseAutoEncoder {
    pre_bias: Param<Tensor<1>>,
    latent_bias: Param<Tensor<1>>,
    weight: Param<Tensor<2>>,
    #[module(skip)]
    config: SparseAutoEncoderConfig,
    /// Age of each latent: how often others were used in training since it was; on the host, and shared by clones, as a counter and not a weight.
    #[module(skip)]
    last_nonzero: Arc<Mutex<Vec<i64>>>,
    #[module(skip)]
    entries: Vec<ParameterEntry>,
}

impl SparseAutoEncoder {
    /// Fresh weights, uniform within ±1/√input_dim, biases zero.
    pub(crate) fn new(
        config: SparseAutoEncoderConfig,
        stream: RandomStream,
        owner: &str,
        device: &Device,
    ) -> Self {
        let SparseAutoEncoderConfig {
            input_dim,
            hidden_dim,
            ..
        } = config;
        let bound = 1.0 / (input_dim as f64).sqrt();
        let stream = stream.derive("sparse_auto_encoder");
        let weight: Vec<f32> = (0..input_dim * hidden_dim)
            .map(|at| ((2.0 * stream.uniform(at as u64) - 1.0) * bound) as f32)
            .collect();
        let mut entries = Vec::new();
        let mut register = |name: &str, shape: Vec<usize>| {
            let id = parameter_id(&format!("{owner}{name}"));
            let file_key = RENAMED
                .iter()
                .find(|(memory, _)| *memory == name)
                .map_or(name, |(_, file)| file)
                .to_string();
            entries.push(ParameterEntry {
                id,
                name: name.to_string(),
                file_key,
                shape,
                is_norm: false,
            });
            id
        };
        let mut pre_bias = Param::from_tensor(Tensor::zeros([input_dim], device));
        pre_bias.id = register("pre_bias", vec![input_dim]);
        let mut latent_bias = Param::from_tensor(Tensor::zeros([hidden_dim], device));
        latent_bias.id = register("latent_bias", vec![hidden_dim]);
        let mut matrix = Param::from_tensor(Tensor::from_data(
            TensorData::new(weight, [hidden_dim, input_dim]),
            device,
        ));
        matrix.id = register("encoder.weight", vec![hidden_dim, input_dim]);
        let last_nonzero = Arc::new(Mutex::new(vec![0; hidden_dim]));
        Self {
            pre_bias,
            latent_bias,
            weight: matrix,
            config,
            last_nonzero,
            entries,
        }
    }

    pub(crate) fn load(place: &Place<'_>) -> Result<Self> {
        let path = place.directory.join("config.json");
        let entries = read_object(&path, "it describes a SparseAutoEncoder")?;
        let config: SparseAutoEncoderConfig = from_object(&entries, &path)?;
        let SparseAutoEncoderConfig {
            input_dim,
            hidden_dim,
            k,
            ..
        } = config;
        let k_aux = config.k_aux.unwrap_or(1);
        for (key, size, least) in [
            ("input_dim", input_dim, 1),
            ("hidden_dim", hidden_dim, 1),
            ("k", k, 1),
            ("k_aux", k_aux, 0),
        ] {
            if !(least..=LARGEST_SIZE).contains(&size) {
                let problem = format!("is {size}; expected between {least} and {LARGEST_SIZE}");
                return Err(Error::config(&path, key, problem));
            }
        }
        if k > hidden_dim {
            tracing::warn!(
                "`{}`: `k` is {k}, of {hidden_dim} latents; all of them are kept",
                path.display()
            );
        }
        let weights = Weights::open(place.directory)?;
        let aliases = Aliases {
            renamed: &RENAMED,
            ..Aliases::default()
        };
        let mut reader = ParameterReader::new(&weights, place.device, aliases, place.owner.clone());
        let pre_bias = reader.vector("pre_bias", input_dim)?;
        let latent_bias = reader.vector("latent_bias", hidden_dim)?;
        let weight = reader.matrix("encoder.weight", [hidden_dim, input_dim])?;
        let entries = reader.finish("SparseAutoEncoder", |key| {
            matches!(
                key,
                "stats_last_nonzero" | "decoder.linear.weight" | "encoder.weight"
            )
        })?;
        let last_nonzero = weights.read_i64("stats_last_nonzero")?;
        if last_nonzero.len() != hidden_dim {
            return Err(Error::Weight {
                path: weights.path().to_path_buf(),
                key: "stats_last_nonzero".to_string(),
                problem: format!("has {} values; expected {hidden_dim}", last_nonzero.len()),
            });
        }
        Ok(Self {
            pre_bias,
            latent_bias,
            weight,
            config,
            last_nonzero: Arc::new(Mutex::new(last_nonzero)),
            entries,
        })
    }

    /// Latents that a text keeps.
    pub(crate) fn k(&self) -> usize {
        self.config.k
    }

    /// What decides about vectors.
    pub(crate) fn vector_settings(&self) -> Value {
        json!({"k": self.config.k, "normalize": self.config.normalize})
    }

    /// Latents that training had not used for longer than `dead_threshold` batches when it ended.
    pub(crate) fn n_dead(&self) -> usize {
        let counters = self
            .last_nonzero
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_dead = |counter: &&i64| **counter > self.config.dead_threshold;
        counters.iter().filter(is_dead).count()
    }

    pub(crate) fn check(&self, flow: Flow) -> Result<Flow, String> {
        let SparseAutoEncoderConfig {
            input_dim,
            hidden_dim,
            ..
        } = self.config;
        match flow {
            Flow::Sentence { width, .. } if width == input_dim => Ok(Flow::Sentence {
                width: hidden_dim,
                lexical: false,
            }),
            Flow::Sentence { width, .. } => {
                Err(format!("has `input_dim` {input_dim}, but gets {width}"))
            }
            _ => Err("needs one vector per text before it".to_string()),
        }
    }

    pub(crate) fn entries(&self) -> &[ParameterEntry] {
        &self.entries
    }

    pub(crate) fn forward(&self, features: Features, context: &ForwardContext) -> Features {
        let Some(input) = features.sentence else {
            unreachable!("loading checks that vectors come before an autoencoder")
        };
        let prepared = Prepared::new(input.clone(), self.config.normalize);
        let weight = self.weight.val();
        let centered = prepared.x.clone() - self.pre_bias.val().unsqueeze();
        let encoded = linear(centered, weight.clone(), Some(self.latent_bias.val()));
        let k = context.max_active_dims().unwrap_or(self.config.k);
        let latents = top_k(encoded.clone(), k);
        if !context.autoencoder_branches() {
            return Features {
                sentence: Some(latents),
                ..features
            };
        }

        // The order is the reference's: what the k largest leave out of use is known to the auxiliary branch, what the 4k
        // largest use only afterwards. An unused latent ages by two in each pass.
        let count = |latents: &Tensor<2>| {
            if context.is_training() {
                self.count(latents)
            }
        };
        count(&latents);
        let auxiliary = self
            .config
            .k_aux
            .filter(|k_aux| *k_aux > 0)
            .map(|k_aux| top_k(encoded.clone() * self.dead(&encoded), k_aux));
        let encoded_4k = top_k(encoded.clone(), 4 * k);
        count(&encoded_4k);
        let reconstruct =
            |latents: Tensor<2>| latents.matmul(weight.clone()) + self.pre_bias.val().unsqueeze();
        let decoded_k = prepared.restore(reconstruct(latents.clone()));
        let output = AutoencoderOutput {
            backbone: input,
            encoded,
            decoded_4k: prepared.restore(reconstruct(encoded_4k.clone())),
            encoded_4k,
            decoded_auxiliary: auxiliary
                .clone()
                .map(|auxiliary| prepared.rescale(reconstruct(auxiliary))),
            auxiliary,
            decoded_k_pre_bias: decoded_k.clone()
                - prepared.rescale(self.pre_bias.val().unsqueeze()),
            decoded_k,
        };
        Features {
            sentence: Some(latents),
            autoencoder: Some(output),
            ..features
        }
    }

    /// Ages every latent by one; those in use begin anew.
    fn count(&self, latents: &Tensor<2>) {
        let largest = latents.clone().detach().max_dim(0).into_data_as::<f32>();
        let mut counters = self
            .last_nonzero
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Ok(largest) = largest.as_slice::<f32>() {
            for (counter, value) in counters.iter_mut().zip(largest) {
                *counter = if *value > IN_USE { 1 } else { *counter + 1 };
            }
        }
    }

    /// 1 for latents out of use, 0 for the others, `[1, hidden_dim]`.
    fn dead(&self, like: &Tensor<2>) -> Tensor<2> {
        let counters = self
            .last_nonzero
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let dead: Vec<f32> = counters
            .iter()
            .map(|counter| f32::from(u8::from(*counter > self.config.dead_threshold)))
            .collect();
        Tensor::from_data(
            TensorData::new(dead, [1, self.config.hidden_dim]),
            &like.device(),
        )
    }

    pub(crate) fn config(&self) -> Value {
        json!(self.config)
    }

    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str) -> Result<()> {
        writer.write(
            &format!("{directory}/config.json"),
            &to_pretty(&self.config(), 4),
        )?;
        let mut tensors = tensors_to_save(self, self.entries(), writer.weight_type())?;
        let counters = self
            .last_nonzero
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tensors.push(TensorBytes {
            key: "stats_last_nonzero".to_string(),
            dtype: "I64",
            width: 8,
            shape: vec![counters.len()],
            bytes: counters
                .iter()
                .flat_map(|counter| counter.to_le_bytes())
                .collect(),
        });
        let path = Path::new(directory).join("model.safetensors");
        writer.write_tensors(
            path,
            tensors,
            &[("encoder.weight", "decoder.linear.weight")],
        )
    }
}

/// The input with mean and deviation of each row taken out, where asked for.
struct Prepared {
    x: Tensor<2>,
    /// Mean and deviation, `[batch_size, 1]` each.
    moments: Option<(Tensor<2>, Tensor<2>)>,
}

impl Prepared {
    fn new(x: Tensor<2>, normalize: bool) -> Self {
        if !normalize {
            return Self { x, moments: None };
        }
        let [_, width] = x.dims();
        let mean = x.clone().mean_dim(1);
        let x = x - mean.clone();
        let deviation = (x.clone().square().sum_dim(1) / (width as f64 - 1.0)).sqrt();
        Self {
            x: x / (deviation.clone() + 1e-5),
            moments: Some((mean, deviation)),
        }
    }

    /// Back to the scale and place of the input.
    fn restore(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.moments {
            Some((mean, _)) => self.rescale(x) + mean.clone(),
            None => x,
        }
    }

    /// Back to the scale of the input.
    fn rescale(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.moments {
            Some((_, deviation)) => x * deviation.clone(),
            None => x,
        }
    }
}

/// The `k` largest values of each row where positive, zero elsewhere.
fn top_k(x: Tensor<2>, k: usize) -> Tensor<2> {
    let [_, width] = x.dims();
    if k >= width {
        return relu(x);
    }
    let (_, indices) = x.clone().detach().topk_with_indices(k, 1);
    let [n_rows, _] = x.dims();
    let device = x.device();
    let ones = Tensor::<2>::ones([n_rows, k], &device);
    let kept = Tensor::<2>::zeros([n_rows, width], &device).scatter(
        1,
        indices,
        ones,
        burn::tensor::IndexingUpdateOp::Add,
    );
    relu(x * kept)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tolerance;
    use safetensors::SafeTensors;

    use super::*;

    const VALUES: &[u8] = include_bytes!("../../tests/golden/csr.safetensors");

    fn floats<const D: usize>(values: &SafeTensors<'_>, name: &str) -> Tensor<D> {
        let tensor = values.tensor(name).unwrap_or_else(|_| panic!("no {name}"));
        let (chunks, _) = tensor.data().as_chunks::<4>();
        let numbers: Vec<f32> = chunks
            .iter()
            .map(|chunk| f32::from_le_bytes(*chunk))
            .collect();
        Tensor::from_data(
            TensorData::new(numbers, tensor.shape().to_vec()),
            &Device::default(),
        )
    }

    fn integers(values: &SafeTensors<'_>, name: &str) -> Vec<i64> {
        let tensor = values.tensor(name).unwrap();
        let (chunks, _) = tensor.data().as_chunks::<8>();
        chunks
            .iter()
            .map(|chunk| i64::from_le_bytes(*chunk))
            .collect()
    }

    fn encoder(values: &SafeTensors<'_>, case: &str, normalize: bool) -> SparseAutoEncoder {
        let config = SparseAutoEncoderConfig {
            input_dim: 16,
            hidden_dim: 64,
            k: 4,
            k_aux: Some(8),
            normalize,
            dead_threshold: 2,
        };
        let mut encoder =
            SparseAutoEncoder::new(config, RandomStream::new(0), "0.", &Device::default());
        encoder.pre_bias = Param::from_tensor(floats(values, &format!("{case}.param.pre_bias")));
        encoder.latent_bias =
            Param::from_tensor(floats(values, &format!("{case}.param.latent_bias")));
        encoder.weight =
            Param::from_tensor(floats(values, &format!("{case}.param.encoder.weight")));
        encoder
    }

    /// Three training steps of three columns without updates, as the reference ran them.
    #[test]
    fn training_branches_equal_the_reference() {
        let values = SafeTensors::deserialize(VALUES).unwrap();
        // Latents out of use after each step, from `csr.json` of the reference values.
        for (case, normalize, dead_after) in
            [("csr.0", false, [13, 12, 15]), ("csr.1", true, [16, 6, 17])]
        {
            let encoder = encoder(&values, case, normalize);
            let run = |name: &str, context: &ForwardContext| {
                encoder.forward(
                    Features {
                        sentence: Some(floats(&values, name)),
                        ..Features::default()
                    },
                    context,
                )
            };
            let check = |actual: Tensor<2>, name: &str| {
                let expected = floats::<2>(&values, name).into_data();
                actual
                    .into_data()
                    .assert_approx_eq::<f32>(&expected, Tolerance::absolute(2e-5));
            };
            let training = ForwardContext::training(RandomStream::new(0));
            for (step, dead) in dead_after.into_iter().enumerate() {
                for column in 0..3 {
                    let features = run(&format!("{case}.0.step{step}.x{column}"), &training);
                    if step < 2 {
                        continue;
                    }
                    let of = |name: &str| format!("{case}.0.step2.features{column}.{name}");
                    check(features.sentence.unwrap(), &of("sentence_embedding"));
                    let output = features.autoencoder.unwrap();
                    check(output.encoded, &of("sentence_embedding_encoded"));
                    check(output.encoded_4k, &of("sentence_embedding_encoded_4k"));
                    check(output.auxiliary.unwrap(), &of("auxiliary_embedding"));
                    check(output.decoded_k, &of("decoded_embedding_k"));
                    check(output.decoded_4k, &of("decoded_embedding_4k"));
                    check(
                        output.decoded_auxiliary.unwrap(),
                        &of("decoded_embedding_aux"),
                    );
                    check(
                        output.decoded_k_pre_bias,
                        &of("decoded_embedding_k_pre_bias"),
                    );
                }
                let counters = encoder.last_nonzero.lock().unwrap();
                assert_eq!(
                    counters.iter().filter(|counter| **counter > 2).count(),
                    dead
                );
            }
            let before = encoder.last_nonzero.lock().unwrap().clone();
            let input = format!("{case}.0.step2.x0");
            check(
                run(&input, &ForwardContext::inference()).sentence.unwrap(),
                &format!("{case}.0.inference.default"),
            );
            let narrow = ForwardContext::inference().with_max_active_dims(Some(2));
            check(
                run(&input, &narrow).sentence.unwrap(),
                &format!("{case}.0.inference.2"),
            );
            run(&input, &ForwardContext::evaluation());
            assert_eq!(
                *encoder.last_nonzero.lock().unwrap(),
                before,
                "only training counts"
            );
        }
    }

    #[test]
    fn counters_equal_the_reference() {
        let values = SafeTensors::deserialize(VALUES).unwrap();
        for (case, normalize) in [("csr.0", false), ("csr.1", true)] {
            let encoder = encoder(&values, case, normalize);
            let training = ForwardContext::training(RandomStream::new(0));
            for step in 0..3 {
                for column in 0..3 {
                    let input = floats(&values, &format!("{case}.1.step{step}.x{column}"));
                    encoder.forward(
                        Features {
                            sentence: Some(input),
                            ..Features::default()
                        },
                        &training,
                    );
                }
            }
            let counters = encoder.last_nonzero.lock().unwrap().clone();
            assert_eq!(
                counters,
                integers(&values, &format!("{case}.1.step2.stats_last_nonzero"))
            );
        }
    }
}
