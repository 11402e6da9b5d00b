//! The stack machine that a pickle is a program for, with no instruction that could do harm: it knows those that a state
//! dictionary needs and the few names that it may mention; whatever else appears ends the reading with an error.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::pretrained::weights::StoredType;

/// Deepest nesting of tuples.
const DEEPEST: usize = 32;

/// The type of stored elements, or the name of one that is not supported.
pub(super) type Elements = std::result::Result<StoredType, Rc<str>>;

/// What the stack holds.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Mark,
    None,
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<Vec<Self>>, usize),
    Dict(Vec<(Self, Self)>),
    /// The texts of a list.
    List(Vec<Rc<str>>),
    /// A value that says nothing about tensors.
    Other,
    Name(Rc<str>),
    Storage {
        elements: Elements,
        member: Rc<str>,
    },
    Tensor(Rc<Tensor>),
}

/// A tensor as the dictionary describes it: a part of a storage.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) elements: Elements,
    pub(super) member: Rc<str>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// A storage that a pickle mentions: the type of its elements, and how many there are.
pub(super) type Storages = BTreeMap<Rc<str>, (Elements, i64)>;

/// What a program leaves: its value, the storages that it mentions, and where the next program begins.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) value: Item,
    pub(super) storages: Storages,
    pub(super) end: usize,
}

pub(super) struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    memo: BTreeMap<u32, Item>,
    storages: Storages,
}

pub(super) type Step<T = ()> = std::result::Result<T, String>;

impl<'a> Machine<'a> {
    /// A machine for the program that begins at a byte of `program`.
    pub(super) fn new(program: &'a [u8], at: usize) -> Self {
        Self {
            program,
            at,
            stack: Vec::new(),
            memo: BTreeMap::new(),
            storages: Storages::new(),
        }
    }

    pub(super) fn run(mut self) -> Step<Outcome> {
        loop {
            let [opcode] = self.take()?;
            if opcode == b'.' {
                return Ok(Outcome {
                    value: self.pop()?,
                    storages: self.storages,
                    end: self.at,
                });
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Step {
        match opcode {
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
            b']' => self.stack.push(Item::List(Vec::new())),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
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
        Ok(())
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
        let bytes = self.program[self.at..]
            .get(..length)
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
            let value = match value {
                Item::Dict(_) | Item::List(_) => Item::Other,
                value => value,
            };
            entries.push((key, value));
        }
        Ok(())
    }

    /// Of a list, only the texts are of interest: the names of storages.
    fn append(&mut self, items: Vec<Item>) -> Step {
        let problem = self.broken("items of no list");
        let Some(Item::List(texts)) = self.stack.last_mut() else {
            return Err(problem);
        };
        texts.extend(items.into_iter().filter_map(|item| match item {
            Item::Text(text) => Some(text),
            _ => None,
        }));
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
        // Dictionaries and lists are remembered empty: a state dictionary does not mention itself.
        let item = match self
            .stack
            .last()
            .ok_or_else(|| self.broken("an empty stack"))?
        {
            Item::Dict(_) => Item::Dict(Vec::new()),
            Item::List(_) => Item::List(Vec::new()),
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

    /// `('storage', type, member, device, length)`, and before PyTorch 1.6 the part of another storage that it is, or none.
    fn storage(&mut self) -> Step {
        let item = self.pop()?;
        let Item::Tuple(parts, _) = &item else {
            return Err(self.broken("a reference that is no tuple"));
        };
        let [
            _,
            Item::Name(kind),
            Item::Text(member),
            _,
            Item::Int(length),
            rest @ ..,
        ] = parts.as_slice()
        else {
            return Err(self.broken("a reference to no storage"));
        };
        if !matches!(rest, [] | [Item::None]) {
            return Err(self.broken("a storage that is a part of another"));
        }
        let elements = match kind.as_ref() {
            "FloatStorage" => Ok(StoredType::F32),
            "HalfStorage" => Ok(StoredType::F16),
            "BFloat16Storage" => Ok(StoredType::BF16),
            "DoubleStorage" => Ok(StoredType::F64),
            "LongStorage" => Ok(StoredType::I64),
            "IntStorage" => Ok(StoredType::I32),
            other => Err(other.into()),
        };
        let entry = (elements.clone(), *length);
        if let Some(other) = self.storages.insert(member.clone(), entry.clone())
            && other != entry
        {
            return Err(format!("its storage `{member}` is of two types or lengths"));
        }
        let member = member.clone();
        self.stack.push(Item::Storage { elements, member });
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
                    Item::Storage { elements, member },
                    Item::Int(offset),
                    Item::Tuple(shape, _),
                    Item::Tuple(strides, _),
                    ..,
                ],
            ) => {
                let (Ok(offset), Some(shape), Some(strides)) =
                    (usize::try_from(*offset), numbers(shape), numbers(strides))
                else {
                    return Err(self.broken("a tensor of impossible shape"));
                };
                Item::Tensor(Rc::new(Tensor {
                    elements: elements.clone(),
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

/// The sizes that a tuple lists.
fn numbers(items: &[Item]) -> Option<Vec<usize>> {
    let number = |item: &Item| match item {
        Item::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    items.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &[u8]) -> Step<Outcome> {
        Machine::new(program, 0).run()
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
