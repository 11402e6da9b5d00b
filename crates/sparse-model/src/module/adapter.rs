//! Low-rank adapters on the matrices of a backbone, in PEFT's layout.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Lora, Module, ModuleMapper, Param, ParamGroup, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Map, Value, json};
use sparse_kernels::RandomStream;

use super::tensors_to_save;
use crate::error::nearest;
use crate::parameter::ParameterEntry;
use crate::pretrained::{
    DirectoryWriter, FoundModel, Weights, entry, is_there, parameter_id, read_object, shortened,
    to_pretty, warn_of_unknown,
};
use crate::{Error, LoraOptions, Result};

/// The adapter's own configuration.
pub(super) const CONFIG: &str = "adapter_config.json";

/// The adapter's own weights.
const WEIGHTS: &str = "adapter_model.safetensors";

/// An adapter that is on a module: its options, and its factors.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    options: LoraOptions,
    /// The model that the adapter is for.
    base: String,
    pub(super) entries: Vec<ParameterEntry>,
}

/// The `lora_alpha` of a configuration without one, as in PEFT.
const DEFAULT_ALPHA: f64 = 8.0;

/// The factors of one matrix `W + (alpha/rank)·B·A`, row-major: `a` is `[rank, d_in]`, `b` `[d_out, rank]`.
struct Factors {
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Adapter {
    /// Puts fresh factors on the matrices that the options choose: `A` random, `B` zero, so that nothing changes yet.
    pub(super) fn attach<M: Module>(
        module: M,
        entries: &[ParameterEntry],
        options: &LoraOptions,
        (owner, base): (&str, &str),
        device: &Device,
    ) -> Result<(M, Self)> {
        options.validate()?;
        let stream = RandomStream::new(options.seed).derive("lora");
        let fresh = |entry: &ParameterEntry| {
            // As PEFT does: uniform within ±1/√d_in.
            let (d_out, d_in) = (entry.shape[0], entry.shape[1]);
            let (stream, bound) = (stream.derive(&entry.name), 1.0 / (d_in as f64).sqrt());
            let uniform = |at: usize| ((2.0 * stream.uniform(at as u64) - 1.0) * bound) as f32;
            Ok(Factors {
                a: (0..options.rank * d_in).map(uniform).collect(),
                b: vec![0.0; d_out * options.rank],
            })
        };
        Self::attach_with(module, entries, options, (owner, base), device, fresh)
    }

    /// Puts the factors of a directory on the matrices that its configuration chooses.
    pub(super) fn load<M: Module>(
        module: M,
        entries: &[ParameterEntry],
        directory: &Path,
        (owner, base): (&str, &str),
        device: &Device,
    ) -> Result<(M, Self)> {
        let path = directory.join(CONFIG);
        let options = options_of(&read_object(&path, "")?, &path)?;
        let weights = Weights::open_file(&directory.join(WEIGHTS))?;
        let read = |entry: &ParameterEntry| {
            let stem = format!("base_model.model.{}", stem(&entry.name));
            let (d_out, d_in) = (entry.shape[0], entry.shape[1]);
            let factor = |name: &str, shape: [usize; 2]| {
                let key = format!("{stem}.{name}.weight");
                match weights.get(&key) {
                    Some(stored) if stored.shape != shape => Err(Error::Weight {
                        path: weights.path().to_path_buf(),
                        key,
                        problem: format!("has shape {:?}; expected {shape:?}", stored.shape),
                    }),
                    _ => weights.read_f32(&key),
                }
            };
            Ok(Factors {
                a: factor("lora_A", [options.rank, d_in])?,
                b: factor("lora_B", [d_out, options.rank])?,
            })
        };
        let (module, adapter) =
            Self::attach_with(module, entries, &options, (owner, base), device, read)?;
        let has = |key: &str| adapter.entries.iter().any(|entry| entry.file_key == key);
        let unexpected: Vec<String> = weights
            .keys()
            .filter(|key| !has(key))
            .map(str::to_string)
            .collect();
        if !unexpected.is_empty() {
            return Err(Error::UnexpectedKeys {
                path: weights.path().to_path_buf(),
                keys: unexpected,
                architecture: "LoRA".to_string(),
            });
        }
        Ok((module, adapter))
    }

    fn attach_with<M: Module>(
        module: M,
        entries: &[ParameterEntry],
        options: &LoraOptions,
        (owner, base): (&str, &str),
        device: &Device,
        factors: impl Fn(&ParameterEntry) -> Result<Factors>,
    ) -> Result<(M, Self)> {
        let chosen: Vec<&ParameterEntry> = entries
            .iter()
            .filter(|entry| is_target(entry, &options.target_modules))
            .collect();
        if chosen.is_empty() {
            let known = last_names(entries);
            let wanted = options.target_modules.join(", ");
            let hint = nearest(&wanted, &known);
            let problem = format!(
                "{wanted} names no matrix of this model; it has {}{hint}",
                known.join(", ")
            );
            return Err(Error::Option {
                name: "target_modules",
                problem,
            });
        }
        let ids = chosen.iter().map(|entry| entry.id).collect();
        let lora =
            Lora::new(options.rank, options.alpha).set_param_group(ParamGroup::from_ids(ids));
        let module = module.apply_lora(lora);

        let mut all = BTreeMap::new();
        let mut factor_entries = Vec::new();
        for entry in chosen {
            let stem = stem(&entry.name);
            let (d_out, d_in, rank) = (entry.shape[0], entry.shape[1], options.rank);
            let mut register = |factor: &str, shape: [usize; 2]| {
                let name = format!("{stem}.{factor}.default.weight");
                let id = parameter_id(&format!("{owner}{name}"));
                factor_entries.push(ParameterEntry {
                    id,
                    name,
                    file_key: format!("base_model.model.{stem}.{factor}.weight"),
                    shape: shape.to_vec(),
                    is_norm: false,
                });
                id
            };
            let a = register("lora_A", [rank, d_in]);
            let b = register("lora_B", [d_out, rank]);
            let Factors {
                a: a_values,
                b: b_values,
            } = factors(entry)?;
            // Burn multiplies its `a` by its `b`: PEFT's B by PEFT's A.
            all.insert((entry.id, "a"), (b, b_values));
            all.insert((entry.id, "b"), (a, a_values));
        }
        let module = module.map(&mut Fill {
            factors: all,
            device,
            base: None,
            path: Vec::new(),
        });
        let adapter = Self {
            options: options.clone(),
            base: base.to_string(),
            entries: factor_entries,
        };
        Ok((module, adapter))
    }

    /// What decides about vectors, beside the factors.
    pub(super) fn vector_settings(&self) -> Value {
        json!([
            self.options.rank,
            self.options.alpha,
            self.options.target_modules
        ])
    }

    /// Writes the adapter instead of the module's own weights.
    pub(super) fn save<M: Module>(
        &self,
        module: &M,
        writer: &DirectoryWriter,
        at: impl Fn(&str) -> String,
    ) -> Result<()> {
        let LoraOptions {
            rank,
            alpha,
            target_modules,
            ..
        } = &self.options;
        let config = json!({
            "base_model_name_or_path": self.base,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": rank,
            "target_modules": target_modules,
            "task_type": "FEATURE_EXTRACTION",
        });
        writer.write(&at(CONFIG), &to_pretty(&config, 2))?;
        let tensors = tensors_to_save(module, &self.entries, writer.weight_type())?;
        writer.write_tensors(at(WEIGHTS), tensors, &[("format", "pt")])
    }
}

/// The model that an adapter directory is for; `None` if the directory holds no adapter.
pub(crate) fn base_of(directory: &Path, source: &FoundModel) -> Result<Option<FoundModel>> {
    let path = directory.join(CONFIG);
    if !is_there(&path)? {
        return Ok(None);
    }
    let config = read_object(&path, "")?;
    let base: Option<String> = entry(&config, "base_model_name_or_path", &path)?;
    let base = base.ok_or_else(|| {
        Error::config(
            &path,
            "base_model_name_or_path",
            "is missing; expected a model directory or the id of a model on the hub",
        )
    })?;
    let revision: Option<String> = entry(&config, "revision", &path)?;
    match source.find_base(&base, revision.as_deref()) {
        Ok(found) => Ok(Some(found)),
        Err(Error::ModelNotFound { problem, .. }) => {
            let problem = format!("is `{base}`, but {problem}");
            Err(Error::config(&path, "base_model_name_or_path", problem))
        }
        Err(other) => Err(other),
    }
}

fn options_of(config: &Map<String, Value>, path: &Path) -> Result<LoraOptions> {
    if config.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return Err(Error::config(
            path,
            "peft_type",
            "is not LORA, the only kind that is supported",
        ));
    }
    let known: Vec<&str> = UNSUPPORTED.into_iter().chain(KNOWN).collect();
    warn_of_unknown(config, &known, path);
    for key in UNSUPPORTED {
        if let Some(value) = config.get(key).filter(|value| asks(value)) {
            let problem = format!("is {}, which is not supported", shortened(value));
            return Err(Error::config(path, key, problem));
        }
    }
    let bias: Option<String> = entry(config, "bias", path)?;
    if let Some(bias) = bias.filter(|bias| bias != "none") {
        let problem = format!("is `{bias}`; only `none` is supported");
        return Err(Error::config(path, "bias", problem));
    }
    // These begin with factors that were taken out of the base model's weights.
    if let Some(Value::String(name)) = config.get("init_lora_weights")
        && ["pissa", "olora", "corda", "loftq"]
            .iter()
            .any(|kind| name.starts_with(kind))
    {
        let problem = format!("is `{name}`, which changes the base model; it is not supported");
        return Err(Error::config(path, "init_lora_weights", problem));
    }
    let rank: Option<usize> = entry(config, "r", path)?;
    let rank = rank
        .filter(|rank| (1..1 << 16).contains(rank))
        .ok_or_else(|| {
            Error::config(path, "r", "is missing or out of range; expected 1 to 65535")
        })?;
    let alpha: Option<f64> = entry(config, "lora_alpha", path)?;
    let target_modules: Option<Vec<String>> = entry(config, "target_modules", path)?;
    Ok(LoraOptions {
        rank,
        alpha: alpha.unwrap_or(DEFAULT_ALPHA),
        target_modules: target_modules.ok_or_else(|| {
            Error::config(
                path,
                "target_modules",
                "is missing; expected a list of names",
            )
        })?,
        seed: 0,
    })
}

/// Settings of PEFT that make another computation of the same factors.
const UNSUPPORTED: [&str; 18] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "exclude_modules",
    "fan_in_fan_out",
    "layer_replication",
    "layers_pattern",
    "layers_to_transform",
    "lora_bias",
    "megatron_config",
    "modules_to_save",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
];

/// Settings that are read, or play a part in training and in no vector.
const KNOWN: [&str; 20] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "init_lora_weights",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
];

/// Whether a setting asks for anything.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        _ => true,
    }
}

/// The module that a weight belongs to.
fn stem(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name)
}

/// Whether a weight is a matrix of one of the modules named, in full or by their last parts.
fn is_target(entry: &ParameterEntry, targets: &[String]) -> bool {
    let stem = stem(&entry.name);
    let named = |target: &String| stem == target || stem.ends_with(&format!(".{target}"));
    entry.shape.len() == 2 && !stem.contains("embeddings") && targets.iter().any(named)
}

/// The last parts of the names of all matrices, each once.
fn last_names(entries: &[ParameterEntry]) -> Vec<String> {
    let matrices = entries
        .iter()
        .filter(|entry| entry.shape.len() == 2 && !entry.name.contains("embeddings"));
    let mut names: Vec<String> = matrices
        .filter_map(|entry| stem(&entry.name).rsplit('.').next().map(str::to_string))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Gives the factors their values and identities.
struct Fill<'a> {
    factors: BTreeMap<(ParamId, &'static str), (ParamId, Vec<f32>)>,
    device: &'a Device,
    base: Option<ParamId>,
    /// Names on the way, and whether each is that of an adapter.
    path: Vec<(String, bool)>,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path
            .push((name.to_string(), container == "Reparameterization"));
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !self.path.iter().any(|(_, adapter)| *adapter) {
            self.base = Some(param.id);
            return param;
        }
        let field = match self.path.last().map(|(name, _)| name.as_str()) {
            Some("a") => "a",
            _ => "b",
        };
        let Some((id, values)) = self
            .base
            .and_then(|base| self.factors.remove(&(base, field)))
        else {
            return param;
        };
        let data = TensorData::new(values, param.dims());
        let mut filled = Param::from_tensor(Tensor::from_data(data, self.device));
        filled.id = id;
        filled
    }
}
