//! Writes a model directory: whole, or not at all.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use sparse_files::StagedDirectory;

use super::own_files::{check_target, is_of_model};
use crate::{Result, WeightType};

/// A model directory that is being written.
#[derive(Debug)]
pub(crate) struct DirectoryWriter<'a> {
    staged: &'a StagedDirectory,
    weight_type: WeightType,
}

impl<'a> DirectoryWriter<'a> {
    pub(crate) fn new(staged: &'a StagedDirectory, weight_type: WeightType) -> Self {
        Self {
            staged,
            weight_type,
        }
    }

    /// The type to write weights in.
    pub(crate) fn weight_type(&self) -> WeightType {
        self.weight_type
    }

    /// Writes a file; directories on its way are made.
    pub(crate) fn write(&self, relative: &str, content: &[u8]) -> Result<()> {
        Ok(self.staged.write(relative, content)?)
    }

    /// Writes a safetensors file.
    pub(crate) fn write_tensors(
        &self,
        relative: impl AsRef<Path>,
        tensors: Vec<TensorBytes>,
        metadata: &[(&str, &str)],
    ) -> Result<()> {
        Ok(self
            .staged
            .write_with(relative, |file| write_safetensors(file, tensors, metadata))?)
    }
}

/// Writes a model to `target`, and leaves everything there alone that isn't a model's.
pub(crate) fn save_directory(
    target: &Path,
    write: impl FnOnce(&StagedDirectory) -> Result<()>,
) -> Result<()> {
    check_target(target)?;
    let staged = StagedDirectory::create(target)?.with_manifest("modules.json");
    write(&staged)?;
    Ok(staged.replace(is_of_model)?)
}

/// A tensor to be written, see [`write_safetensors`].
#[derive(Debug)]
pub struct TensorBytes {
    pub(crate) key: String,
    /// The format's name of the element type.
    pub(crate) dtype: &'static str,
    /// Bytes of one element: tensors of wider elements come first in a file.
    pub(crate) width: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl TensorBytes {
    /// A tensor of f32 values, little-endian.
    pub fn f32(key: String, shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        Self {
            key,
            dtype: "F32",
            width: 4,
            shape,
            bytes,
        }
    }
}

/// Writes a safetensors file exactly as the reference's library does: wider types first, then by key, the header padded to
/// eight bytes.
///
/// # Errors
///
/// If `file` can't be written to.
pub fn write_safetensors(
    file: &mut dyn Write,
    mut tensors: Vec<TensorBytes>,
    metadata: &[(&str, &str)],
) -> io::Result<()> {
    tensors.sort_by(|left, right| {
        right
            .width
            .cmp(&left.width)
            .then_with(|| left.key.cmp(&right.key))
    });
    let mut header = Map::new();
    if !metadata.is_empty() {
        let entries: Map<String, Value> = metadata
            .iter()
            .map(|(key, value)| (key.to_string(), json!(value)))
            .collect();
        header.insert("__metadata__".to_string(), Value::Object(entries));
    }
    let mut end = 0;
    for tensor in &tensors {
        let start = end;
        end += tensor.bytes.len();
        let entry =
            json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.key.clone(), entry);
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');

    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for tensor in &tensors {
        file.write_all(&tensor.bytes)?;
    }
    Ok(())
}
