//! Tensors in files: `model.safetensors`, its sharded form, `pytorch_model.bin`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};

use super::file::{is_there, open_regular};
use super::{entry, pickle, read_object, safetensors};
use crate::{Error, Result};

/// Element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredType {
    F32,
    F16,
    BF16,
    F64,
    I64,
    I32,
}

impl StoredType {
    /// The type of a name in a safetensors file.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "F64" => Self::F64,
            "I64" => Self::I64,
            "I32" => Self::I32,
            _ => return None,
        })
    }

    /// Bytes of one element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// The name that `config.json` has for it.
    pub(crate) fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F64 => "float64",
            Self::I64 => "int64",
            Self::I32 => "int32",
        }
    }
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
pub(crate) struct StoredTensor {
    pub(crate) file: usize,
    /// Element type, or the name of one that is not supported.
    pub(crate) dtype: Result<StoredType, String>,
    pub(crate) shape: Vec<usize>,
    /// First byte in the file.
    pub(crate) start: u64,
    /// Elements to skip per step of each dimension; `None` for row-major.
    pub(crate) strides: Option<Vec<usize>>,
}

/// The tensors of a model, read one by one when asked for.
#[derive(Debug)]
pub(crate) struct Weights {
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, StoredTensor>,
    path: PathBuf,
}

impl Weights {
    /// Opens whichever weights file `directory` has, safetensors first.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let single = directory.join("model.safetensors");
        let sharded = directory.join("model.safetensors.index.json");
        let pickled = directory.join("pytorch_model.bin");
        if is_there(&single)? {
            let mut weights = Self {
                files: Vec::new(),
                tensors: BTreeMap::new(),
                path: single.clone(),
            };
            weights.add_safetensors(&single)?;
            Ok(weights)
        } else if is_there(&sharded)? {
            Self::open_sharded(directory, &sharded)
        } else if is_there(&pickled)? {
            let (file, _) = open_regular(&pickled, "it holds the weights")?;
            let tensors = pickle::read_index(&pickled, &file)?;
            Ok(Self {
                files: vec![(pickled.clone(), file)],
                tensors,
                path: pickled,
            })
        } else {
            Err(Error::MissingFile {
                path: single,
                needed_for: "it holds the weights (pytorch_model.bin would do as well)",
            })
        }
    }

    /// Opens one safetensors file.
    pub(crate) fn open_file(path: &Path) -> Result<Self> {
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
            path: path.to_path_buf(),
        };
        weights.add_safetensors(path)?;
        Ok(weights)
    }

    fn open_sharded(directory: &Path, index_path: &Path) -> Result<Self> {
        let index = read_object(index_path, "it names the shards")?;
        let weight_map: Option<BTreeMap<String, String>> = entry(&index, "weight_map", index_path)?;
        let weight_map = weight_map.filter(|map| !map.is_empty()).ok_or_else(|| {
            Error::config(
                index_path,
                "weight_map",
                "is missing or empty; expected an object of keys to files",
            )
        })?;
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort();
        shards.dedup();
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
            path: index_path.to_path_buf(),
        };
        for shard in &shards {
            let path = super::join_inside(directory, shard).ok_or_else(|| {
                Error::config(
                    index_path,
                    "weight_map",
                    format!("names `{shard}`, outside of the model directory"),
                )
            })?;
            if !is_there(&path)? {
                let named = weight_map.iter().filter(|(_, file)| file == shard);
                let keys: Vec<&str> = named.map(|(key, _)| key.as_str()).collect();
                return Err(Error::DamagedWeights {
                    path: index_path.to_path_buf(),
                    problem: format!(
                        "it puts {} keys, the first `{}`, into `{shard}`, which is missing",
                        keys.len(),
                        keys.first().copied().unwrap_or_default()
                    ),
                });
            }
            weights.add_safetensors(&path)?;
        }
        let misplaced = weight_map.iter().find(|(key, file)| {
            let found = weights.tensors.get(*key);
            found.is_none_or(|tensor| shards[tensor.file] != *file)
        });
        match misplaced {
            None => Ok(weights),
            Some((key, file)) => Err(Error::Weight {
                path: index_path.to_path_buf(),
                key: key.clone(),
                problem: format!("is not in `{file}`, where the index puts it"),
            }),
        }
    }

    fn add_safetensors(&mut self, path: &Path) -> Result<()> {
        let (mut file, length) = open_regular(path, "it holds weights")?;
        let index = self.files.len();
        for (key, tensor) in safetensors::read_header(path, &mut file, length, index)? {
            if let Some(other) = self.tensors.insert(key.clone(), tensor) {
                return Err(Error::DamagedWeights {
                    path: path.to_path_buf(),
                    problem: format!(
                        "it holds `{key}`, and `{}` does too",
                        self.files[other.file].0.display()
                    ),
                });
            }
        }
        self.files.push((path.to_path_buf(), file));
        Ok(())
    }

    /// The file, or the index of the files, that errors name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, sorted.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&StoredTensor> {
        self.tensors.get(key)
    }

    /// A tensor's elements in row-major order, converted to f32.
    pub(crate) fn read_f32(&self, key: &str) -> Result<Vec<f32>> {
        let (dtype, bytes) = self.read_bytes(key)?;
        Ok(match dtype {
            StoredType::F32 => elements(&bytes, f32::from_le_bytes),
            StoredType::F64 => elements(&bytes, |raw| f64::from_le_bytes(raw) as f32),
            StoredType::F16 => elements(&bytes, |raw| f16::from_le_bytes(raw).to_f32()),
            StoredType::BF16 => elements(&bytes, |raw| bf16::from_le_bytes(raw).to_f32()),
            StoredType::I64 | StoredType::I32 => {
                return Err(self.error(
                    key,
                    format!(
                        "is of type {}; expected a floating-point type",
                        dtype.torch_name()
                    ),
                ));
            }
        })
    }

    /// A tensor's elements in row-major order, of an integer type.
    pub(crate) fn read_i64(&self, key: &str) -> Result<Vec<i64>> {
        let (dtype, bytes) = self.read_bytes(key)?;
        Ok(match dtype {
            StoredType::I64 => elements(&bytes, i64::from_le_bytes),
            StoredType::I32 => elements(&bytes, |raw| i64::from(i32::from_le_bytes(raw))),
            _ => {
                return Err(self.error(
                    key,
                    format!(
                        "is of type {}; expected an integer type",
                        dtype.torch_name()
                    ),
                ));
            }
        })
    }

    fn read_bytes(&self, key: &str) -> Result<(StoredType, Vec<u8>)> {
        let Some(tensor) = self.tensors.get(key) else {
            return Err(Error::MissingKeys {
                path: self.path.clone(),
                keys: vec![key.to_string()],
                hint: String::new(),
            });
        };
        let dtype = tensor.dtype.clone().map_err(|name| {
            self.error(
                key,
                format!("is of type {name}; expected F32, F16, BF16 or F64"),
            )
        })?;
        let (path, file) = &self.files[tensor.file];
        // Beside a size of 0, the product of the others may be anything.
        let n_elements = match tensor.shape.contains(&0) {
            true => 0,
            false => tensor.shape.iter().product(),
        };
        let stored = match &tensor.strides {
            None => n_elements,
            Some(_) if n_elements == 0 => 0,
            Some(strides) => {
                1 + tensor
                    .shape
                    .iter()
                    .zip(strides)
                    .map(|(size, stride)| (size - 1) * stride)
                    .sum::<usize>()
            }
        };
        let mut bytes = vec![0; stored * dtype.size()];
        let mut file = file;
        file.seek(SeekFrom::Start(tensor.start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| Error::read(path, source))?;
        match &tensor.strides {
            None => Ok((dtype, bytes)),
            Some(strides) => Ok((
                dtype,
                row_major(&bytes, dtype.size(), &tensor.shape, strides),
            )),
        }
    }

    fn error(&self, key: &str, problem: String) -> Error {
        let path = self
            .tensors
            .get(key)
            .map_or(&self.path, |tensor| &self.files[tensor.file].0);
        Error::Weight {
            path: path.clone(),
            key: key.to_string(),
            problem,
        }
    }
}

fn elements<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| convert(*chunk)).collect()
}

/// Copies strided elements into row-major order.
fn row_major(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let n_elements: usize = shape.iter().product();
    let mut out = Vec::with_capacity(n_elements * size);
    let mut position = vec![0; shape.len()];
    for _ in 0..n_elements {
        let offset: usize = position
            .iter()
            .zip(strides)
            .map(|(index, stride)| index * stride)
            .sum();
        out.extend_from_slice(&bytes[offset * size..(offset + 1) * size]);
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            if position[axis] < shape[axis] {
                break;
            }
            position[axis] = 0;
        }
    }
    out
}
