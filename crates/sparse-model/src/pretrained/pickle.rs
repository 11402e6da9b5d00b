//! `pytorch_model.bin`: the list of tensors in a pickle, read without running anything.
//!
//! A pickle is a program for a small stack machine. This one knows the instructions that a state dictionary needs and the
//! few names that it may mention; whatever else appears ends the reading with an error.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use super::archive::{self, Member};
use super::weights::{StoredTensor, StoredType};
use crate::{Error, Result};

/// Longest pickle that is read; a large model's is a few hundred kilobytes.
const LONGEST_PICKLE: u64 = 64 << 20;

/// Deepest nesting of tuples.
const DEEPEST: usize = 32;

/// What the stack holds.
#[derive(Debug, Clone)]
enum Item {
    Mark,
    None,
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<Vec<Self>>, usize),
    Dict(Vec<(Self, Self)>),
    /// A list, or another value that says nothing about tensors.
    Other,
    Name(Rc<str>),
    Storage {
        dtype: std::result::Result<StoredType, String>,
        member: Rc<str>,
    },
    Tensor(Rc<Tensor>),
}

#[derive(Debug)]
struct Tensor {
    dtype: std::result::Result<StoredType, String>,
    member: Rc<str>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// Reads where each tensor of the file lies.
pub(super) fn read_index(path: &Path, file: &File) -> Result<BTreeMap<String, StoredTensor>> {
    index(file).map_err(|problem| Error::DamagedWeights {
        path: path.to_path_buf(),
        problem,
    })
}

fn index(file: &File) -> std::result::Result<BTreeMap<String, StoredTensor>, String> {
    let members = archive::members(file)?;
    let (name, pickle) = members
        .iter()
        .find(|(name, _)| name.ends_with("/data.pkl"))
        .ok_or("it has no `data.pkl`")?;
    let root = name.trim_end_matches("data.pkl").to_string();
    if pickle.length > LONGEST_PICKLE {
        return Err(format!("its pickle is {} bytes long", pickle.length));
    }
    if let Some(order) = members.get(&format!("{root}byteorder")) {
        let text = archive::read_at(
            file,
            order.start,
            order.length.min(16),
            order.start + order.length,
        )?;
        if text != b"little" {
            return Err("its numbers are big-endian".to_string());
        }
    }
    let program = archive::read_at(
        file,
        pickle.start,
        pickle.length,
        pickle.start + pickle.length,
    )?;
    let Item::Dict(entries) = Machine::new(&program).run()? else {
        return Err("it holds no dictionary of tensors".to_string());
    };
    let mut tensors = BTreeMap::new();
    for (key, value) in entries {
        if let (Item::Text(key), Item::Tensor(tensor)) = (key, value) {
            let member = members
                .get(&format!("{root}data/{}", tensor.member))
                .ok_or_else(|| format!("the data of `{key}` are missing"))?;
            let located = locate(&key, &tensor, *member)?;
            if tensors.insert(key.to_string(), located).is_some() {
                return Err(format!("its dictionary has `{key}` twice"));
            }
        }
    }
    Ok(tensors)
}

fn locate(key: &str, tensor: &Tensor, member: Member) -> std::result::Result<StoredTensor, String> {
    let size = tensor.dtype.as_ref().map_or(1, |dtype| dtype.size()) as u64;
    let empty = tensor.shape.contains(&0);
    let last =
        tensor
            .shape
            .iter()
            .zip(&tensor.strides)
            .try_fold(tensor.offset, |last, (size, stride)| {
                size.saturating_sub(1)
                    .checked_mul(*stride)
                    .and_then(|step| last.checked_add(step))
            });
    let fits = last
        .and_then(|last| (last as u64 + 1).checked_mul(size))
        .is_some_and(|end| end <= member.length);
    let n_elements = tensor
        .shape
        .iter()
        .try_fold(1_u64, |product, size| product.checked_mul(*size as u64));
    // A tensor that repeats its elements would be larger in memory than in the file.
    let honest = n_elements
        .and_then(|n| n.checked_mul(size))
        .is_some_and(|bytes| bytes <= member.length);
    if tensor.shape.len() != tensor.strides.len() || !(empty || fits && honest) {
        return Err(format!(
            "`{key}` of shape {:?} does not fit into its {} bytes",
            tensor.shape, member.length
        ));
    }
    if empty {
        return Ok(StoredTensor {
            file: 0,
            dtype: tensor.dtype.clone(),
            shape: tensor.shape.clone(),
            start: member.start,
            strides: None,
        });
    }
    let row_major =
        tensor
            .shape
            .iter()
            .zip(&tensor.strides)
            .rev()
            .try_fold(1, |expected, (size, stride)| {
                // The product may overflow where another size is 0.
                (*size == 1 || *stride == expected).then_some(usize::checked_mul(expected, *size)?)
            });
    Ok(StoredTensor {
        file: 0,
        dtype: tensor.dtype.clone(),
        shape: tensor.shape.clone(),
        start: member.start + tensor.offset as u64 * size,
        strides: row_major.is_none().then(|| tensor.strides.clone()),
    })
}

struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    memo: BTreeMap<u32, Item>,
}

type Step<T = ()> = std::result::Result<T, String>;

impl<'a> Machine<'a> {
    fn new(program: &'a [u8]) -> Self {
        Self {
            program,
            at: 0,
            stack: Vec::new(),
            memo: BTreeMap::new(),
        }
    }

    fn run(mut self) -> Step<Item> {
        loop {
            let [opcode] = self.take::<1>()?;
            match opcode {
                b'.' => return self.pop(),
                0x80 => self.take::<1>().map(drop)?,
                0x95 => self.take::<8>().map(drop)?,
                b'(' => self.stack.push(Item::Mark),
                b'N' => self.stack.push(Item::None),
                0x88 | 0x89 => self.stack.push(Item::Int(i64::from(opcode == 0x88))),
                b'J' => self.push_int(|raw: [u8; 4]| i64::from(i32::from_le_bytes(raw)))?,
                b'K' => self.push_int(|[byte]: [u8; 1]| i64::from(byte))?,
                b'M' => self.push_int(|raw: [u8; 2]| i64::from(u16::from_le_bytes(raw)))?,
                0x8a => self.long()?,
                b'G' => {
                    self.take::<8>()?;
                    self.stack.push(Item::Other);
                }
                b'X' => {
                    let length = u32::from_le_bytes(self.take()?) as usize;
                    self.text(length)?;
                }
                0x8c => {
                    let [length] = self.take()?;
                    self.text(usize::from(length))?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.name(&module, &name)?;
                }
                0x93 => match (self.pop()?, self.pop()?) {
                    (Item::Text(name), Item::Text(module)) => self.name(&module, &name)?,
                    _ => return Err(self.broken("a name that is no text")),
                },
                b')' => self.stack.push(Item::Tuple(Rc::default(), 0)),
                0x85..=0x87 => {
                    let length = usize::from(opcode - 0x84);
                    let first = self
                        .stack
                        .len()
                        .checked_sub(length)
                        .ok_or_else(|| self.broken("an empty stack"))?;
                    let items = self.stack.split_off(first);
                    self.tuple(items)?;
                }
                b't' => {
                    let items = self.since_mark()?;
                    self.tuple(items)?;
                }
                b'}' => self.stack.push(Item::Dict(Vec::new())),
                b']' => self.stack.push(Item::Other),
                b'a' => self.pop().map(drop)?,
                b'e' => self.since_mark().map(drop)?,
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set(items)?;
                }
                // The state of an ordered dictionary says nothing about its tensors.
                b'b' => self.pop().map(drop)?,
                b'q' => {
                    let [slot] = self.take()?;
                    self.remember(u32::from(slot))?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.take()?);
                    self.remember(slot)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let [slot] = self.take()?;
                    self.recall(u32::from(slot))?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.take()?);
                    self.recall(slot)?;
                }
                b'Q' => self.storage()?,
                b'R' => self.call()?,
                other => {
                    return Err(format!(
                        "its pickle has the forbidden opcode {other:#04x} at byte {}",
                        self.at - 1
                    ));
                }
            }
        }
    }

    fn broken(&self, what: &str) -> String {
        format!("its pickle meets {what} at byte {}", self.at)
    }

    fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        let bytes = self.program[self.at..]
            .first_chunk::<N>()
            .copied()
            .ok_or("its pickle is cut off")?;
        self.at += N;
        Ok(bytes)
    }

    fn push_int<const N: usize>(&mut self, convert: impl Fn([u8; N]) -> i64) -> Step {
        let raw = self.take()?;
        self.stack.push(Item::Int(convert(raw)));
        Ok(())
    }

    fn long(&mut self) -> Step {
        let [length] = self.take()?;
        let length = usize::from(length);
        let bytes = self
            .program
            .get(self.at..self.at + length)
            .filter(|_| length <= 8)
            .ok_or_else(|| self.broken("an overlong number"))?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut raw = if negative { [0xff; 8] } else { [0; 8] };
        raw[..length].copy_from_slice(bytes);
        self.at += length;
        self.stack.push(Item::Int(i64::from_le_bytes(raw)));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Step {
        let bytes = self
            .at
            .checked_add(length)
            .and_then(|end| self.program.get(self.at..end))
            .ok_or("its pickle is cut off")?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| self.broken("a text that is not UTF-8"))?;
        self.stack.push(Item::Text(text.into()));
        self.at += length;
        Ok(())
    }

    fn line(&mut self) -> Step<String> {
        let length = self.program[self.at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or("its pickle is cut off")?;
        let line = String::from_utf8_lossy(&self.program[self.at..self.at + length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    fn name(&mut self, module: &str, name: &str) -> Step {
        let known = matches!(
            (module, name),
            ("collections", "OrderedDict")
                | ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_parameter")
        ) || module == "torch" && name.ends_with("Storage");
        if !known {
            return Err(format!(
                "its pickle asks for the forbidden name `{module}.{name}`"
            ));
        }
        self.stack.push(Item::Name(name.into()));
        Ok(())
    }

    fn tuple(&mut self, items: Vec<Item>) -> Step {
        let depth = items
            .iter()
            .map(|item| {
                if let Item::Tuple(_, depth) = item {
                    depth + 1
                } else {
                    0
                }
            })
            .max()
            .unwrap_or(0);
        if depth > DEEPEST
            || items
                .iter()
                .any(|item| matches!(item, Item::Dict(entries) if !entries.is_empty()))
        {
            return Err(self.broken("values nested too deeply"));
        }
        self.stack.push(Item::Tuple(Rc::new(items), depth));
        Ok(())
    }

    fn set(&mut self, items: Vec<Item>) -> Step {
        let problem = self.broken("entries of no dictionary");
        let Some(Item::Dict(entries)) = self.stack.last_mut() else {
            return Err(problem);
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            // A dictionary within the dictionary is no tensor.
            let value = if matches!(value, Item::Dict(_)) {
                Item::Other
            } else {
                value
            };
            entries.push((key, value));
        }
        Ok(())
    }

    fn pop(&mut self) -> Step<Item> {
        self.stack
            .pop()
            .ok_or_else(|| self.broken("an empty stack"))
    }

    fn since_mark(&mut self) -> Step<Vec<Item>> {
        let mark = self
            .stack
            .iter()
            .rposition(|item| matches!(item, Item::Mark))
            .ok_or_else(|| self.broken("no mark"))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn remember(&mut self, slot: u32) -> Step {
        // Dictionaries are remembered empty: a state dictionary does not mention itself.
        let item = match self
            .stack
            .last()
            .ok_or_else(|| self.broken("an empty stack"))?
        {
            Item::Dict(_) => Item::Dict(Vec::new()),
            item => item.clone(),
        };
        self.memo.insert(slot, item);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Step {
        let item = self
            .memo
            .get(&slot)
            .cloned()
            .ok_or_else(|| self.broken("an unknown memory"))?;
        self.stack.push(item);
        Ok(())
    }

    /// `('storage', type, member, device, length)`.
    fn storage(&mut self) -> Step {
        let item = self.pop()?;
        let Item::Tuple(parts, _) = &item else {
            return Err(self.broken("a reference that is no tuple"));
        };
        let (Some(Item::Name(kind)), Some(Item::Text(member))) = (parts.get(1), parts.get(2))
        else {
            return Err(self.broken("a reference to no storage"));
        };
        let dtype = match kind.as_ref() {
            "FloatStorage" => Ok(StoredType::F32),
            "HalfStorage" => Ok(StoredType::F16),
            "BFloat16Storage" => Ok(StoredType::BF16),
            "DoubleStorage" => Ok(StoredType::F64),
            "LongStorage" => Ok(StoredType::I64),
            "IntStorage" => Ok(StoredType::I32),
            other => Err(other.to_string()),
        };
        let member = member.clone();
        self.stack.push(Item::Storage { dtype, member });
        Ok(())
    }

    fn call(&mut self) -> Step {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Item::Name(function), Item::Tuple(arguments, _)) = (&function, &arguments) else {
            return Err(self.broken("a call of something that is no function"));
        };
        let made = match (function.as_ref(), arguments.as_slice()) {
            ("OrderedDict", _) => Item::Dict(Vec::new()),
            ("_rebuild_parameter", [tensor @ Item::Tensor(_), ..]) => tensor.clone(),
            (
                "_rebuild_tensor_v2",
                [
                    Item::Storage { dtype, member },
                    Item::Int(offset),
                    Item::Tuple(shape, _),
                    Item::Tuple(strides, _),
                    ..,
                ],
            ) => {
                let numbers = |items: &[Item]| -> Option<Vec<usize>> {
                    items
                        .iter()
                        .map(|item| {
                            if let Item::Int(number) = item {
                                usize::try_from(*number).ok()
                            } else {
                                None
                            }
                        })
                        .collect()
                };
                let (Ok(offset), Some(shape), Some(strides)) =
                    (usize::try_from(*offset), numbers(shape), numbers(strides))
                else {
                    return Err(self.broken("a tensor of impossible shape"));
                };
                Item::Tensor(Rc::new(Tensor {
                    dtype: dtype.clone(),
                    member: member.clone(),
                    offset,
                    shape,
                    strides,
                }))
            }
            (other, _) => {
                return Err(self.broken(&format!("a call of `{other}` with unknown arguments")));
            }
        };
        self.stack.push(made);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &[u8]) -> std::result::Result<Item, String> {
        Machine::new(program).run()
    }

    #[test]
    fn code_is_never_run() {
        let message = run(b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R.").unwrap_err();
        assert_eq!(
            message,
            "its pickle asks for the forbidden name `os.system`"
        );
        let message = run(b"\x80\x02ios\nsystem\n.").unwrap_err();
        assert_eq!(
            message,
            "its pickle has the forbidden opcode 0x69 at byte 2"
        );
    }

    #[test]
    fn broken_programs_are_refused() {
        for program in [
            &b""[..],
            b"R.",
            b"X\xff\xff\xff\xffab",
            b"\x8a\xff",
            b"u.",
            b"h\x07.",
            b"\x87.",
            b"Q.",
            b"(t",
        ] {
            assert!(run(program).is_err(), "{program:?}");
        }
        let deep: Vec<u8> = std::iter::once(b')')
            .chain(std::iter::repeat_n(0x85, 100))
            .chain([b'.'])
            .collect();
        assert!(run(&deep).unwrap_err().contains("nested too deeply"));
    }
}
