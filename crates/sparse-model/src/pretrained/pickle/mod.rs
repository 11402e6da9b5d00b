//! `pytorch_model.bin`: where its tensors lie, read without running anything.
//!
//! Two formats: a zip archive whose member `data.pkl` is the list of tensors (PyTorch 1.6 and later), and before that a row of
//! pickles with the tensors' bytes behind them.
//!
//! The crate `pytorch-reader` reads both, but not as strictly as our tests of broken files ask for: of a key or a member that
//! is there twice it silently takes the last, members may overlap, the checksum of a storage is only looked at where one tensor
//! is all of it, and its messages do not name the key.

mod archive;
mod machine;

use std::collections::{BTreeMap, btree_map::Entry};
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use self::archive::read_at;
use self::machine::{Item, Machine, Outcome, Step, Storages, Tensor};
use super::weights::StoredTensor;
use crate::{Error, Result};

/// Longest pickle that is read; a large model's is a few hundred kilobytes.
const LONGEST_PICKLE: u64 = 64 << 20;

/// The first pickle of a file from before PyTorch 1.6: the number 0x1950a86a20f9469cfc6c.
const OLD_FORMAT: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The only version of that format.
const OLD_VERSION: i64 = 1001;

/// Bytes of the number of elements before each storage of that format.
const COUNT_SIZE: u64 = 8;

/// Reads where each tensor of the file lies.
pub(super) fn read_index(path: &Path, file: &File) -> Result<BTreeMap<String, StoredTensor>> {
    index(file).map_err(|problem| Error::DamagedWeights {
        path: path.to_path_buf(),
        problem,
    })
}

fn index(file: &File) -> Step<BTreeMap<String, StoredTensor>> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let start = read_at(file, 0, length.min(OLD_FORMAT.len() as u64), length)?;
    if start == OLD_FORMAT {
        index_old(file, length)
    } else {
        index_archive(file)
    }
}

fn index_archive(file: &File) -> Step<BTreeMap<String, StoredTensor>> {
    let members = archive::members(file)?;
    let (name, pickle) = members
        .iter()
        .find(|(name, _)| name.ends_with("/data.pkl"))
        .ok_or("it has no `data.pkl`")?;
    if pickle.length > LONGEST_PICKLE {
        return Err(format!("its pickle is {} bytes long", pickle.length));
    }
    let root = name.trim_end_matches("data.pkl");
    let order = format!("{root}byteorder");
    if let Some(member) = members.get(&order) {
        let mut start = *member;
        start.length = start.length.min(16);
        if start.length > 0 && archive::read(file, &start)? != b"little" {
            return Err("its numbers are big-endian".to_owned());
        }
    }
    let Outcome { value, .. } = Machine::new(&archive::read(file, pickle)?, 0).run()?;
    let mut used = BTreeMap::from([(name, pickle)]);
    let tensors = tensors_of(value, |key, tensor| {
        let found = members.get_key_value(&format!("{root}data/{}", tensor.member));
        let (name, member) = found.ok_or_else(|| format!("the data of `{key}` are missing"))?;
        used.insert(name, member);
        locate(key, tensor, member.start, member.length)
    })?;
    for (name, member) in used {
        archive::check(file, name, member)?;
    }
    Ok(tensors)
}

/// Reads a row of pickles: the number that tells the format, its version, the machine, the dictionary of tensors, the names of
/// the storages; then the storages in this order, each with its number of elements before it.
fn index_old(file: &File, length: u64) -> Step<BTreeMap<String, StoredTensor>> {
    let text = read_at(file, 0, length.min(LONGEST_PICKLE), length)?;
    let version = Machine::new(&text, OLD_FORMAT.len()).run()?;
    if !matches!(version.value, Item::Int(OLD_VERSION)) {
        return Err(format!("its format is not version {OLD_VERSION}"));
    }
    let machine = Machine::new(&text, version.end).run()?;
    if let Item::Dict(entries) = &machine.value
        && entries.iter().any(
            |entry| matches!(entry, (Item::Text(key), Item::Int(0)) if &**key == "little_endian"),
        )
    {
        return Err("its numbers are big-endian".to_owned());
    }
    let dictionary = Machine::new(&text, machine.end).run()?;
    let names = Machine::new(&text, dictionary.end).run()?;
    let Item::List(listed) = names.value else {
        return Err("it has no list of storages".to_owned());
    };
    let places = places_of(
        &listed,
        &dictionary.storages,
        names.end as u64,
        file,
        length,
    )?;
    tensors_of(dictionary.value, |key, tensor| {
        let place = places.get(&tensor.member);
        let (start, length) = place.ok_or_else(|| format!("the data of `{key}` are missing"))?;
        locate(key, tensor, *start, *length)
    })
}

/// First byte and length of each storage, of which the first begins at `at`.
fn places_of(
    listed: &[Rc<str>],
    storages: &Storages,
    mut at: u64,
    file: &File,
    file_length: u64,
) -> Step<BTreeMap<Rc<str>, (u64, u64)>> {
    let mut places = BTreeMap::new();
    for name in listed {
        let (elements, count) = storages
            .get(name)
            .ok_or_else(|| format!("its storage `{name}` belongs to no tensor"))?;
        let size = elements.as_ref().map(|elements| elements.size() as u64);
        let size = size.or_else(|other| {
            size_of(other).ok_or_else(|| format!("its storage `{name}` is a {other}"))
        })?;
        let found = i64::from_le_bytes(archive::array_at(
            &read_at(file, at, COUNT_SIZE, file_length)?,
            0,
        )?);
        if found != *count {
            return Err(format!(
                "its storage `{name}` has {found} elements; expected {count}"
            ));
        }
        let bytes = u64::try_from(found)
            .ok()
            .and_then(|found| found.checked_mul(size));
        let start = at + COUNT_SIZE;
        let end = bytes.and_then(|bytes| start.checked_add(bytes));
        at = end
            .filter(|end| *end <= file_length)
            .ok_or_else(|| format!("its storage `{name}` is cut off"))?;
        if places.insert(name.clone(), (start, at - start)).is_some() {
            return Err(format!("its storage `{name}` is there twice"));
        }
    }
    Ok(places)
}

/// Bytes of an element of a type that is not read, but may be passed over.
fn size_of(storage: &str) -> Option<u64> {
    match storage {
        "ByteStorage" | "CharStorage" | "BoolStorage" => Some(1),
        "ShortStorage" => Some(2),
        "ComplexFloatStorage" => Some(8),
        "ComplexDoubleStorage" => Some(16),
        _ => None,
    }
}

/// The tensors of a dictionary, each where `locate` finds it.
fn tensors_of(
    value: Item,
    mut locate: impl FnMut(&str, &Tensor) -> Step<StoredTensor>,
) -> Step<BTreeMap<String, StoredTensor>> {
    let Item::Dict(entries) = value else {
        return Err("it holds no dictionary of tensors".to_owned());
    };
    let mut tensors = BTreeMap::new();
    for entry in entries {
        if let (Item::Text(key), Item::Tensor(tensor)) = entry {
            match tensors.entry(key.to_string()) {
                Entry::Vacant(place) => place.insert(locate(&key, &tensor)?),
                Entry::Occupied(_) => return Err(format!("its dictionary has `{key}` twice")),
            };
        }
    }
    Ok(tensors)
}

/// Where a tensor lies whose storage begins at byte `start` and has `length` bytes.
fn locate(key: &str, tensor: &Tensor, start: u64, length: u64) -> Step<StoredTensor> {
    let Tensor {
        shape,
        strides,
        offset,
        ..
    } = tensor;
    let size = tensor
        .elements
        .as_ref()
        .map_or(1, |elements| elements.size()) as u64;
    let empty = shape.contains(&0);
    let steps = || shape.iter().zip(strides);
    let last = steps().try_fold(*offset, |last, (size, stride)| {
        size.saturating_sub(1)
            .checked_mul(*stride)
            .and_then(|step| last.checked_add(step))
    });
    let fits = last
        .and_then(|last| (last as u64 + 1).checked_mul(size))
        .is_some_and(|end| end <= length);
    // A tensor that repeats its elements would be larger in memory than in the file.
    let honest = shape
        .iter()
        .try_fold(size, |product, size| product.checked_mul(*size as u64))
        .is_some_and(|bytes| bytes <= length);
    if shape.len() != strides.len() || !(empty || fits && honest) {
        return Err(format!(
            "`{key}` of shape {shape:?} does not fit into its {length} bytes"
        ));
    }
    let is_row_major = || {
        let end = steps().rev().try_fold(1, |expected, (size, stride)| {
            // The product may overflow where another size is 0.
            (*size == 1 || *stride == expected).then_some(usize::checked_mul(expected, *size)?)
        });
        end.is_some()
    };
    let elements = tensor.elements.clone();
    Ok(StoredTensor {
        file: 0,
        dtype: elements.map_err(|name| name.to_string()),
        shape: shape.clone(),
        start: if empty {
            start
        } else {
            start + *offset as u64 * size
        },
        strides: (!empty && !is_row_major()).then(|| strides.clone()),
    })
}
