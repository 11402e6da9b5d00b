//! Writes a model directory: whole, or not at all.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::{Error, Result, WeightType};

/// A directory that is written beside its place and moved there when complete.
#[derive(Debug)]
pub(crate) struct DirectoryWriter {
    target: PathBuf,
    weight_type: WeightType,
    temporary: tempfile::TempDir,
}

impl DirectoryWriter {
    /// Begins writing what shall become `target`.
    pub(crate) fn new(target: &Path, weight_type: WeightType) -> Result<Self> {
        if target.exists() && !target.is_dir() {
            return Err(Error::Option {
                name: "path",
                problem: format!("`{}` is a file; expected a directory", target.display()),
            });
        }
        let parent = match target.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(|source| Error::write(&parent, source))?;
        let temporary = tempfile::Builder::new()
            .prefix(".saving-")
            .tempdir_in(&parent)
            .map_err(|source| Error::write(&parent, source))?;
        Ok(Self {
            target: target.to_path_buf(),
            weight_type,
            temporary,
        })
    }

    /// The type to write weights in.
    pub(crate) fn weight_type(&self) -> WeightType {
        self.weight_type
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Writes a file; directories on its way are made.
    pub(crate) fn write(&self, relative: &str, content: &[u8]) -> Result<()> {
        write_file(&self.path().join(relative), content)
    }

    /// Moves the finished directory to its place. One that stood there is moved aside first and removed last, so that at
    /// every instant a whole directory exists under one of the two names.
    pub(crate) fn finish(self) -> Result<()> {
        let Self {
            target, temporary, ..
        } = self;
        make_readable(temporary.path())?;
        let written = temporary.keep();
        let move_to = |from: &Path, to: &Path| {
            fs::rename(from, to).map_err(|source| Error::write(to, source))
        };
        if !target.exists() {
            return move_to(&written, &target);
        }
        let aside = written.with_extension("replaced");
        move_to(&target, &aside)?;
        if let Err(error) = move_to(&written, &target) {
            move_to(&aside, &target)?;
            return Err(error);
        }
        fs::remove_dir_all(&aside).map_err(|source| Error::write(&aside, source))
    }
}

/// A temporary directory is private; a model directory has the usual permissions.
#[cfg(unix)]
fn make_readable(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // What `mkdir` would have given: a fresh directory inside shows the user's mask.
    let probe = directory.join(".mode");
    fs::create_dir(&probe).map_err(|source| Error::write(&probe, source))?;
    let mode = fs::metadata(&probe)
        .map_err(|source| Error::read(&probe, source))?
        .permissions()
        .mode();
    fs::remove_dir(&probe).map_err(|source| Error::write(&probe, source))?;
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
        .map_err(|source| Error::write(directory, source))
}

#[cfg(not(unix))]
fn make_readable(_directory: &Path) -> Result<()> {
    Ok(())
}

pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| Error::write(parent, source))?;
    }
    fs::write(path, content).map_err(|source| Error::write(path, source))
}

/// A tensor to be written.
#[derive(Debug)]
pub(crate) struct TensorBytes {
    pub(crate) key: String,
    /// The format's name of the element type.
    pub(crate) dtype: &'static str,
    /// Bytes of one element: tensors of wider elements come first in a file.
    pub(crate) width: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// Writes a safetensors file exactly as the reference's library does: wider types first, then by key, the header padded to
/// eight bytes.
pub(crate) fn write_safetensors(
    path: &Path,
    mut tensors: Vec<TensorBytes>,
    metadata: &[(&str, &str)],
) -> Result<()> {
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
    let mut header = serde_json::to_vec(&header).expect("a JSON value in memory can be written");
    header.resize(header.len().next_multiple_of(8), b' ');

    let fail = |source| Error::write(path, source);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(fail)?;
    }
    let mut file = BufWriter::new(fs::File::create(path).map_err(fail)?);
    file.write_all(&(header.len() as u64).to_le_bytes())
        .map_err(fail)?;
    file.write_all(&header).map_err(fail)?;
    for tensor in &tensors {
        file.write_all(&tensor.bytes).map_err(fail)?;
    }
    file.flush().map_err(fail)
}
