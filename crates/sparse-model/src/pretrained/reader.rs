//! Hands out parameters by key, and keeps account of them.

use std::collections::BTreeSet;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use super::Weights;
use super::weights::StoredTensor;
use crate::error::nearest;
use crate::parameter::ParameterEntry;
use crate::{Error, Result};

/// How the names of an architecture may be spelt in a file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Aliases<'a> {
    /// Prefix of the backbone's keys (`bert.`), which a file may have or not.
    pub(crate) prefix: &'a str,
    /// Whether the names in memory carry the prefix.
    pub(crate) with_prefix: bool,
    /// Other spellings of a whole key: (in memory, in the file).
    pub(crate) renamed: &'a [(&'a str, &'a str)],
}

/// Reads parameters out of a weights file.
///
/// Keys are asked for by their path below the current [`scope`](Self::scope). Missing keys are collected, so that one error
/// at the [end](Self::finish) names them all.
pub(crate) struct ParameterReader<'a> {
    weights: &'a Weights,
    device: &'a Device,
    aliases: Aliases<'a>,
    /// Name of the module in the encoder, such as `0.model.`; it makes the parameters' identities.
    owner: String,
    scope: String,
    used: BTreeSet<String>,
    missing: Vec<String>,
    entries: Vec<ParameterEntry>,
}

impl<'a> ParameterReader<'a> {
    pub(crate) fn new(
        weights: &'a Weights,
        device: &'a Device,
        aliases: Aliases<'a>,
        owner: String,
    ) -> Self {
        Self {
            weights,
            device,
            aliases,
            owner,
            scope: String::new(),
            used: BTreeSet::new(),
            missing: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Runs `read` with `name.` before every key.
    pub(crate) fn scope<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let outer = self.scope.len();
        self.scope.push_str(name);
        self.scope.push('.');
        let result = read(self);
        self.scope.truncate(outer);
        result
    }

    /// Runs `read` with the backbone's prefix before every key.
    pub(crate) fn backbone<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let prefix = self.aliases.prefix.trim_end_matches('.').to_string();
        if prefix.is_empty() {
            read(self)
        } else {
            self.scope(&prefix, read)
        }
    }

    /// Whether the file has a key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(&format!("{}{name}", self.scope)).is_some()
    }

    /// A weight matrix or an embedding table.
    pub(crate) fn matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>> {
        self.parameter(name, shape, false)
    }

    /// A bias.
    pub(crate) fn vector(&mut self, name: &str, length: usize) -> Result<Param<Tensor<1>>> {
        self.parameter(name, [length], false)
    }

    /// A parameter of a layer norm.
    pub(crate) fn norm(&mut self, name: &str, length: usize) -> Result<Param<Tensor<1>>> {
        self.parameter(name, [length], true)
    }

    /// The shape that the file has for a key.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(&format!("{}{name}", self.scope))
            .map(|(_, stored)| stored.shape.as_slice())
    }

    fn parameter<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        is_norm: bool,
    ) -> Result<Param<Tensor<D>>> {
        let full = format!("{}{name}", self.scope);
        let values = match self.find(&full) {
            Some((key, stored)) => {
                if stored.shape != shape {
                    return Err(Error::Weight {
                        path: self.weights.path().to_path_buf(),
                        key,
                        problem: format!("has shape {:?}; expected {shape:?}", stored.shape),
                    });
                }
                let values = self.weights.read_f32(&key)?;
                if values.iter().any(|value| !value.is_finite()) {
                    tracing::warn!(
                        "weights file `{}`: key `{key}` holds values that are not finite",
                        self.weights.path().display()
                    );
                }
                self.used.insert(key);
                values
            }
            None => {
                self.missing.push(full.clone());
                return Ok(Param::from_tensor(Tensor::zeros([0; D], self.device)));
            }
        };
        let name = self.name_in_memory(&full);
        let id = parameter_id(&format!("{}{name}", self.owner));
        let file_key = self.file_key(&name);
        self.entries.push(ParameterEntry {
            id,
            name,
            file_key,
            shape: shape.to_vec(),
            is_norm,
        });
        let mut param = Param::from_tensor(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ));
        param.id = id;
        Ok(param)
    }

    fn name_in_memory(&self, full: &str) -> String {
        let stripped = if self.aliases.with_prefix {
            None
        } else {
            full.strip_prefix(self.aliases.prefix)
        };
        stripped.unwrap_or(full).to_string()
    }

    fn file_key(&self, name: &str) -> String {
        let renamed = self
            .aliases
            .renamed
            .iter()
            .find(|(memory, _)| *memory == name);
        renamed.map_or(name, |(_, file)| file).to_string()
    }

    /// The key under which the file has `full`: as it is, without the prefix, renamed, or in the oldest spelling.
    fn find(&self, full: &str) -> Option<(String, &StoredTensor)> {
        let without_prefix = full
            .strip_prefix(self.aliases.prefix)
            .filter(|_| !self.aliases.prefix.is_empty());
        let renamed = self
            .aliases
            .renamed
            .iter()
            .find(|(memory, _)| *memory == full)
            .map(|(_, file)| *file);
        [Some(full), without_prefix, renamed]
            .into_iter()
            .flatten()
            .find_map(|key| {
                let oldest = key
                    .strip_suffix("LayerNorm.weight")
                    .map(|stem| format!("{stem}LayerNorm.gamma"))
                    .or_else(|| {
                        key.strip_suffix("LayerNorm.bias")
                            .map(|stem| format!("{stem}LayerNorm.beta"))
                    });
                std::iter::once(key.to_string())
                    .chain(oldest)
                    .find_map(|key| self.weights.get(&key).map(|stored| (key, stored)))
            })
    }

    /// Ends the reading: every key that was asked for must have been there, and every key of the file asked for, but for
    /// those that `ignored` accepts.
    pub(crate) fn finish(
        self,
        architecture: &str,
        ignored: impl Fn(&str) -> bool,
    ) -> Result<Vec<ParameterEntry>> {
        let unexpected: Vec<String> = self
            .weights
            .keys()
            .filter(|key| !self.used.contains(*key) && !ignored(key))
            .map(str::to_string)
            .collect();
        if let Some(first) = self.missing.first() {
            let hint = nearest(first, &unexpected);
            return Err(Error::MissingKeys {
                path: self.weights.path().to_path_buf(),
                keys: self.missing,
                hint,
            });
        }
        if !unexpected.is_empty() {
            return Err(Error::UnexpectedKeys {
                path: self.weights.path().to_path_buf(),
                keys: unexpected,
                architecture: architecture.to_string(),
            });
        }
        Ok(self.entries)
    }
}

/// A parameter's identity: a hash of its name (64-bit FNV-1a), so that it is the same in every run.
pub(crate) fn parameter_id(name: &str) -> ParamId {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ParamId::from(hash)
}
