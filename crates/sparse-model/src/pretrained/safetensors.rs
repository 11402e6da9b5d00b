//! The header of a safetensors file: which tensors it holds, and where.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::json::{parse_strictly, shortened};
use super::weights::{StoredTensor, StoredType};
use crate::{Error, Result};

/// Longest header that a reader must accept.
const LONGEST_HEADER: u64 = 100_000_000;

/// What the header says of one tensor.
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    /// First byte and the byte after the last, counted from the end of the header.
    start: u64,
    end: u64,
}

/// Reads the header of a file of `file_length` bytes, the `index`-th of a model.
///
/// The tensors' bytes must lie end to end and fill the file, as the format demands: with a gap or an overlap, some would
/// be read from the wrong place.
pub(super) fn read_header(
    path: &Path,
    file: &mut File,
    file_length: u64,
    index: usize,
) -> Result<BTreeMap<String, StoredTensor>> {
    let damaged = |problem: String| Error::DamagedWeights {
        path: path.to_path_buf(),
        problem,
    };
    let mut length = [0; 8];
    if file.read_exact(&mut length).is_err() {
        return Err(damaged(format!(
            "it is {file_length} bytes long, too short for a header"
        )));
    }
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER || length + 8 > file_length {
        return Err(damaged(format!(
            "its header of {length} bytes does not fit into the file of {file_length} bytes"
        )));
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)
        .map_err(|source| Error::read(path, source))?;
    let header = match parse_strictly(&text) {
        Ok(Value::Object(header)) => header,
        Ok(_) => return Err(damaged("its header is no JSON object".to_string())),
        Err(error) => return Err(damaged(format!("its header is not valid: {error}"))),
    };
    let data_start = 8 + length;
    let entries = entries(&header).map_err(damaged)?;
    check_places(&entries, file_length - data_start).map_err(damaged)?;
    Ok(entries
        .into_iter()
        .map(|(key, entry)| {
            let stored = StoredTensor {
                file: index,
                dtype: StoredType::from_name(&entry.dtype).ok_or(entry.dtype),
                shape: entry.shape,
                start: data_start + entry.start,
                strides: None,
            };
            (key, stored)
        })
        .collect())
}

fn entries(header: &Map<String, Value>) -> Result<BTreeMap<String, Entry>, String> {
    let tensors = header.iter().filter(|(key, _)| *key != "__metadata__");
    tensors
        .map(|(key, value)| {
            let of_key = |problem: String| format!("the header's entry for `{key}` {problem}");
            let field = |name: &str| {
                let found = value.get(name);
                found.ok_or_else(|| of_key(format!("has no `{name}`")))
            };
            let wrong = |name: &str, expected: &str| {
                let found = value.get(name).map(shortened).unwrap_or_default();
                of_key(format!("has the `{name}` {found}; expected {expected}"))
            };
            let numbers = |name: &'static str| -> Result<Vec<u64>, String> {
                let expected = "a list of numbers, none of them negative";
                let items = field(name)?.as_array();
                let numbers = items.and_then(|items| items.iter().map(Value::as_u64).collect());
                numbers.ok_or_else(|| wrong(name, expected))
            };
            let dtype = field("dtype")?
                .as_str()
                .ok_or_else(|| wrong("dtype", "the name of a number type"))?;
            let shape: Option<Vec<usize>> = numbers("shape")?
                .into_iter()
                .map(|size| usize::try_from(size).ok())
                .collect();
            let [start, end] = numbers("data_offsets")?[..] else {
                return Err(wrong("data_offsets", "two of them"));
            };
            let entry = Entry {
                dtype: dtype.to_string(),
                shape: shape.ok_or_else(|| wrong("shape", "sizes that fit into memory"))?,
                start,
                end,
            };
            check_size(key, &entry)?;
            Ok((key.clone(), entry))
        })
        .collect()
}

/// Checks that a tensor has as many bytes as its shape and type ask for.
fn check_size(key: &str, entry: &Entry) -> Result<(), String> {
    let Entry {
        dtype,
        shape,
        start,
        end,
    } = entry;
    if start > end {
        return Err(format!(
            "the bytes of `{key}` end at {end}, before they start at {start}"
        ));
    }
    // Types that have parts of a byte are not known here, and not read.
    let Some(size) = size_of(dtype) else {
        return Ok(());
    };
    let needed = shape
        .iter()
        .try_fold(size, |bytes, size| bytes.checked_mul(*size as u64));
    match needed {
        Some(needed) if needed == end - start => Ok(()),
        Some(needed) => Err(format!(
            "`{key}` of shape {shape:?} and type {dtype} has {} bytes; expected {needed}",
            end - start
        )),
        None => Err(format!(
            "`{key}` of shape {shape:?} is larger than any memory"
        )),
    }
}

fn size_of(dtype: &str) -> Option<u64> {
    match dtype {
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" => Some(1),
        "U16" | "I16" => Some(2),
        "U32" => Some(4),
        "U64" => Some(8),
        other => StoredType::from_name(other).map(|dtype| dtype.size() as u64),
    }
}

/// Checks that the tensors lie end to end, from the first byte of the data to the last.
fn check_places(entries: &BTreeMap<String, Entry>, data_length: u64) -> Result<(), String> {
    let mut ordered: Vec<(&String, &Entry)> = entries.iter().collect();
    ordered.sort_by_key(|(_, entry)| (entry.start, entry.end));
    let mut before: Option<&str> = None;
    let mut covered = 0;
    for (key, entry) in ordered {
        let Entry { start, end, .. } = *entry;
        if end > data_length {
            return Err(format!(
                "`{key}` needs bytes up to {end}, but the file ends after {data_length}; it was cut off"
            ));
        }
        if start < covered {
            return Err(format!(
                "the bytes of `{key}`, from {start}, overlap those of `{}`, which end at {covered}",
                before.unwrap_or_default()
            ));
        }
        if start > covered {
            return Err(format!(
                "the bytes {covered} to {start} before those of `{key}` belong to no tensor"
            ));
        }
        covered = end;
        before = Some(key);
    }
    if covered < data_length {
        return Err(format!(
            "{} bytes after the last tensor belong to none",
            data_length - covered
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    /// What is said of a file with this header and `n_bytes` of data; nothing if it is good.
    fn problem(header: &str, n_bytes: usize) -> Option<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes())
            .unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(&vec![0; n_bytes]).unwrap();
        file.rewind().unwrap();
        let length = (8 + header.len() + n_bytes) as u64;
        let result = read_header(Path::new("f"), &mut file, length, 0);
        result.err().map(|error| error.to_string())
    }

    fn two(first: [u64; 2], second: [u64; 2]) -> String {
        format!(
            r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{first:?}}},"b":{{"dtype":"F32","shape":[2],"data_offsets":{second:?}}}}}"#
        )
    }

    #[test]
    fn tensors_lie_end_to_end_in_any_order() {
        assert_eq!(problem(&two([0, 8], [8, 16]), 16), None);
        assert_eq!(problem(&two([8, 16], [0, 8]), 16), None);
        let empty = r#"{"a":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]}}  "#;
        assert_eq!(problem(empty, 0), None);
        assert_eq!(problem("{}", 0), None);
    }

    #[test]
    fn bytes_of_two_tensors_or_of_none_are_refused() {
        let said = |header: &str, n_bytes, part: &str| {
            let message = problem(header, n_bytes).unwrap_or_default();
            assert!(message.contains(part), "{part}: {message}");
        };
        said(
            &two([0, 8], [4, 12]),
            12,
            "the bytes of `b`, from 4, overlap those of `a`, which end at 8",
        );
        said(
            &two([0, 8], [0, 8]),
            8,
            "the bytes of `b`, from 0, overlap those of `a`",
        );
        said(
            &two([0, 8], [12, 20]),
            20,
            "the bytes 8 to 12 before those of `b` belong to no tensor",
        );
        said(
            &two([4, 12], [12, 20]),
            20,
            "the bytes 0 to 4 before those of `a`",
        );
        said(&two([0, 8], [8, 16]), 20, "4 bytes after the last tensor");
        said(
            &two([0, 8], [8, 16]),
            12,
            "`b` needs bytes up to 16, but the file ends after 12",
        );
        said(
            &two([0, 8], [16, 8]),
            16,
            "`b` end at 8, before they start at 16",
        );
        said(
            &two([0, 8], [8, 12]),
            12,
            "`b` of shape [2] and type F32 has 4 bytes; expected 8",
        );
        let end = u64::MAX;
        said(&two([0, 8], [8, end]), 16, "`b` of shape [2]");
        said(&two([end, end], [0, 8]), 8, "`a` of shape [2]");
    }

    #[test]
    fn broken_entries_are_named() {
        let said = |header: &str, part: &str| {
            let message = problem(header, 8).unwrap_or_default();
            assert!(message.contains(part), "{part}: {message}");
        };
        said("[]", "no JSON object");
        said(
            r#"{"a":["F32",[2],[0,8]]}"#.replace('\\', "").as_str(),
            "`a` has no `dtype`",
        );
        said(
            r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#,
            "`a` has the `shape` [-2]",
        );
        said(
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#,
            "`a` has the `data_offsets` [0]",
        );
        said(
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e99]}}"#,
            "`a` has the `data_offsets` [0,1e+99]",
        );
        said(
            r#"{"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}}"#,
            "`a` has the `dtype` 7",
        );
        let large = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#;
        said(large, "larger than any memory");
        let twice = two([0, 8], [0, 8]).replace("\"b\"", "\"a\"");
        said(&twice, "the key `a` is there twice");
    }
}
