//! Reading the reference values.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use safetensors::SafeTensors;
use serde_json::Value;
use sparse_index::SparseMatrix;
use sparse_model::{Error, PackedTokens, SparseEncoder};

pub(crate) fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

pub(crate) fn load(path: &str) -> SparseEncoder {
    SparseEncoder::from_pretrained(golden(path).to_str().unwrap(), &Device::default())
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A copy of a golden directory that a test may spoil.
pub(crate) fn copy_of(path: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target)
            } else {
                std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap()
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    copy(&golden(path), directory.path());
    directory
}

pub(crate) struct Expected {
    pub(crate) json: Value,
    tensors: Vec<u8>,
}

impl Expected {
    pub(crate) fn of(path: &str) -> Self {
        let json = std::fs::read(golden(path).join("expected.json")).unwrap();
        Self {
            json: serde_json::from_slice(&json).unwrap(),
            tensors: std::fs::read(golden(path).join("expected.safetensors")).unwrap(),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.tensors)
            .unwrap()
            .tensor(name)
            .is_ok()
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        SafeTensors::deserialize(&self.tensors)
            .unwrap()
            .tensor(name)
            .unwrap()
            .shape()
            .to_vec()
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let (chunks, _) = tensors
            .tensor(name)
            .unwrap_or_else(|_| panic!("no {name}"))
            .data()
            .as_chunks::<4>();
        chunks
            .iter()
            .map(|chunk| f32::from_le_bytes(*chunk))
            .collect()
    }

    pub(crate) fn integers(&self, name: &str) -> Vec<i64> {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let (chunks, _) = tensors
            .tensor(name)
            .unwrap_or_else(|_| panic!("no {name}"))
            .data()
            .as_chunks::<8>();
        chunks
            .iter()
            .map(|chunk| i64::from_le_bytes(*chunk))
            .collect()
    }

    /// The texts under a key.
    pub(crate) fn texts(&self, key: &str) -> Vec<String> {
        strings(&self.json[key])
    }

    /// The sparse matrix stored as `{name}.indices` and `{name}.values`.
    pub(crate) fn sparse(&self, name: &str, n_rows: usize, n_cols: usize) -> SparseMatrix {
        let indices = self.integers(&format!("{name}.indices"));
        let values = self.floats(&format!("{name}.values"));
        let mut dense = vec![0.0; n_rows * n_cols];
        for (position, value) in values.iter().enumerate() {
            let (row, column) = (
                indices[position] as usize,
                indices[values.len() + position] as usize,
            );
            dense[row * n_cols + column] = *value;
        }
        SparseMatrix::from_dense(&dense, n_rows, n_cols).unwrap()
    }
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_string())
        .collect()
}

/// Overwrites a tensor of a safetensors file, values of 32 bits.
pub(crate) fn set_floats(path: &Path, key: &str, values: impl IntoIterator<Item = f32>) {
    let mut bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let offsets = &header[key]["data_offsets"];
    let (start, end) = (offsets[0].as_u64().unwrap(), offsets[1].as_u64().unwrap());
    let place = 8 + length + start as usize..8 + length + end as usize;
    let values: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    bytes[place].copy_from_slice(&values);
    std::fs::write(path, bytes).unwrap();
}

/// What `work` logs as warnings, each as its message.
pub(crate) fn warnings_of<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let recorder = Recorder::default();
    let result = tracing::subscriber::with_default(recorder.clone(), work);
    let messages = recorder.messages.lock().unwrap().clone();
    (result, messages)
}

#[derive(Clone, Default)]
struct Recorder {
    messages: Arc<Mutex<Vec<String>>>,
}

impl tracing::Subscriber for Recorder {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.messages.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Asserts `|a − e| ≤ absolute + relative·|e|` everywhere.
#[track_caller]
pub(crate) fn assert_close(
    what: &str,
    actual: &[f32],
    expected: &[f32],
    relative: f32,
    absolute: f32,
) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    let worst = actual
        .iter()
        .zip(expected)
        .enumerate()
        .map(|(at, (a, e))| ((a - e).abs() - absolute - relative * e.abs(), at));
    let (excess, at) = worst
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .expect("there are values");
    assert!(
        excess <= 0.0,
        "{what}: {} instead of {} at {at}",
        actual[at],
        expected[at]
    );
    assert!(
        actual.iter().all(|value| value.is_finite()),
        "{what}: not finite"
    );
}

/// Compares the rows of packed tokens with padded reference rows.
#[track_caller]
pub(crate) fn assert_tokens(what: &str, tokens: &PackedTokens, expected: &Expected, group: &str) {
    let ids = expected.integers(&format!("{group}.input_ids"));
    let mask = expected.integers(&format!("{group}.attention_mask"));
    let kept = |values: Vec<i64>| -> Vec<i32> {
        values
            .iter()
            .zip(&mask)
            .filter(|(_, mask)| **mask == 1)
            .map(|(value, _)| *value as i32)
            .collect()
    };
    assert_eq!(tokens.input_ids, kept(ids), "{what}: ids");
    let types = format!("{group}.token_type_ids");
    if expected.has(&types) {
        assert_eq!(
            tokens.token_type_ids,
            kept(expected.integers(&types)),
            "{what}: types"
        );
    }
    let width = expected.shape(&format!("{group}.input_ids"))[1];
    let lengths: Vec<usize> = mask
        .chunks(width)
        .map(|row| row.iter().sum::<i64>() as usize)
        .collect();
    assert_eq!(
        tokens.rows.lengths().collect::<Vec<_>>(),
        lengths,
        "{what}: lengths"
    );
}

pub(crate) fn open(directory: &Path) -> Result<SparseEncoder, Error> {
    SparseEncoder::from_pretrained(directory.to_str().unwrap(), &Default::default())
}

#[track_caller]
pub(crate) fn refused(directory: &Path, parts: &[&str]) {
    let error = open(directory).expect_err("the directory is broken");
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        message = format!("{message}: {source}");
    }
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
    assert!(error.is_user_error());
}

pub(crate) fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}
