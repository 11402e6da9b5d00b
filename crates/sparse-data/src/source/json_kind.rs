//! The types of JSON values, found by going through a file once.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::ReadLimits;
use super::limits::raised_by;

/// Type of a JSON value, or of all values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    /// Whole numbers; `large` if one lies beyond `i64`, `negative` if one lies below 0.
    Whole {
        large: bool,
        negative: bool,
    },
    Number,
    Text,
    List(Box<Self>),
    Object(Vec<(String, Self)>),
    /// Values that do not go together, the first two of them.
    Mixed(Box<(Self, Self)>),
    /// Texts and numbers, of which ids may be made.
    TextOrNumber(Box<(Self, Self)>),
    /// Objects with more keys than these, as many as a table may have columns.
    Endless(usize),
}

impl Kind {
    /// The kind that holds the values of both; of objects, with at most so many keys.
    fn merge(self, other: Self, max_keys: usize) -> Self {
        let is_number = |kind: &Self| matches!(kind, Self::Whole { .. } | Self::Number);
        match (self, other) {
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Endless(keys), _) | (_, Self::Endless(keys)) => Self::Endless(keys),
            (Self::Mixed(pair), _) | (_, Self::Mixed(pair)) => Self::Mixed(pair),
            (
                Self::Whole { large, negative },
                Self::Whole {
                    large: other_large,
                    negative: other_negative,
                },
            ) => Self::Whole {
                large: large || other_large,
                negative: negative || other_negative,
            },
            (Self::Whole { .. }, Self::Number) | (Self::Number, Self::Whole { .. }) => Self::Number,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.merge(*b, max_keys))),
            (Self::Object(fields), Self::Object(others)) => merge_fields(fields, others, max_keys),
            (a, b) if a == b => a,
            (Self::TextOrNumber(pair), kind) | (kind, Self::TextOrNumber(pair))
                if kind == Self::Text
                    || is_number(&kind)
                    || matches!(kind, Self::TextOrNumber(_)) =>
            {
                Self::TextOrNumber(pair)
            }
            (a, b) if (a == Self::Text && is_number(&b)) || (is_number(&a) && b == Self::Text) => {
                Self::TextOrNumber(Box::new((a, b)))
            }
            (a, b) => Self::Mixed(Box::new((a, b))),
        }
    }

    /// What is wrong with values of this kind in one place; `ids` may be texts and numbers.
    fn fault(&self, ids: bool) -> Option<String> {
        match self {
            Self::List(item) => match &**item {
                Self::TextOrNumber(pair) if !ids => Some(mixed_list(pair)),
                Self::Mixed(pair) => Some(mixed_list(pair)),
                item => item.fault(ids),
            },
            Self::Object(fields) => fields.iter().find_map(|(name, kind)| {
                let fault = kind.fault(false)?;
                Some(format!("has a key `{name}` that {fault}"))
            }),
            Self::TextOrNumber(pair) if !ids => Some(mixed(pair)),
            Self::Mixed(pair) => Some(mixed(pair)),
            Self::Endless(keys) => Some(format!(
                "holds objects with more than {keys} keys; to read them set {}",
                raised_by("max_columns")
            )),
            _ => None,
        }
    }

    /// The Arrow type; none for an object without a key, which holds nothing. Ids are texts as they are written unless they
    /// are whole numbers of 64 bits.
    pub(super) fn data_type(&self, ids: bool) -> Option<DataType> {
        Some(match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::Whole { large: false, .. } => DataType::Int64,
            Self::Whole {
                negative: false, ..
            } => DataType::UInt64,
            Self::Number if !ids => DataType::Float64,
            Self::List(item) => {
                DataType::List(Arc::new(Field::new_list_field(item.data_type(ids)?, true)))
            }
            Self::Object(fields) => {
                let fields: Fields = fields
                    .iter()
                    .filter_map(|(name, kind)| Some(Field::new(name, kind.data_type(false)?, true)))
                    .collect();
                if fields.is_empty() {
                    return None;
                }
                DataType::Struct(fields)
            }
            _ => DataType::Utf8,
        })
    }
}

fn mixed((a, b): &(Kind, Kind)) -> String {
    format!("holds {a} and {b}")
}

fn mixed_list((a, b): &(Kind, Kind)) -> String {
    format!("is a list that holds {a} and {b}")
}

fn merge_fields(
    mut fields: Vec<(String, Kind)>,
    others: Vec<(String, Kind)>,
    max_keys: usize,
) -> Kind {
    for (name, kind) in others {
        let known = fields.iter().position(|(known, _)| *known == name);
        match known {
            Some(known) => {
                let known = &mut fields[known].1;
                *known = std::mem::replace(known, Kind::Null).merge(kind, max_keys);
            }
            None if fields.len() == max_keys => return Kind::Endless(max_keys),
            None => fields.push((name, kind)),
        }
    }
    Kind::Object(fields)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "true or false",
            Self::Whole { .. } => "a whole number",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List(_) => "a list",
            Self::Object(_) | Self::Endless(_) => "an object",
            Self::Mixed(pair) | Self::TextOrNumber(pair) => {
                return write!(f, "{} or {}", pair.0, pair.1);
            }
        })?;
        match self {
            Self::List(item) if **item != Self::Null => write!(f, " (of it, {item})"),
            _ => Ok(()),
        }
    }
}

/// Finds the kind of a value; its objects have at most so many keys.
#[derive(Clone, Copy)]
struct KindSeed(usize);

impl<'de> DeserializeSeed<'de> for KindSeed {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KindSeed {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Boolean)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Whole {
            large: false,
            negative: value < 0,
        })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Whole {
            large: i64::try_from(value).is_err(),
            negative: false,
        })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut kind = Kind::Null;
        while let Some(item) = items.next_element_seed(self)? {
            kind = kind.merge(item, self.0);
        }
        Ok(Kind::List(Box::new(kind)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = entries.next_key()? {
            let kind = entries.next_value_seed(self)?;
            if fields.len() <= self.0 {
                fields.push((name, kind));
            }
        }
        Ok(if fields.len() > self.0 {
            Kind::Endless(self.0)
        } else {
            Kind::Object(fields)
        })
    }
}

/// A column as far as a file has been read.
#[derive(Debug)]
pub(super) struct JsonColumn {
    pub(super) name: String,
    kind: Kind,
    /// Row in which it was seen last.
    seen: u64,
    /// Row and line of the first value that does not go with the others, and why.
    pub(super) clash: Option<(u64, Option<u64>, String)>,
}

impl JsonColumn {
    /// The Arrow type; none if it holds nothing.
    pub(super) fn data_type(&self) -> Option<DataType> {
        self.kind.data_type(holds_ids(&self.name))
    }
}

/// Whether a column with this name holds ids, which may be texts in one row and numbers in another.
fn holds_ids(name: &str) -> bool {
    const ENDINGS: [&str; 5] = ["_id", "_ids", "_idx", "-id", "-ids"];
    matches!(name, "id" | "ids" | "idx") || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The columns of a file as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Columns {
    limits: ReadLimits,
    pub(super) known: Vec<JsonColumn>,
    /// Rows read, the one at fault included.
    pub(super) num_rows: u64,
    /// Line of the row, where rows are lines.
    pub(super) line: Option<u64>,
    /// Column and fault of the row read last.
    pub(super) fault: Option<(Option<String>, String)>,
}

impl Columns {
    /// No columns yet.
    pub(super) fn new(limits: &ReadLimits) -> Self {
        Self {
            limits: *limits,
            ..Self::default()
        }
    }

    /// Position of a column, which is new unless it is known.
    fn column(&mut self, expected: usize, name: &str) -> Option<usize> {
        if self
            .known
            .get(expected)
            .is_some_and(|column| column.name == name)
        {
            return Some(expected);
        }
        let position = self.known.iter().position(|column| column.name == name);
        if position.is_none() {
            let most = self.limits.max_columns;
            if self.known.len() == most {
                let problem = format!(
                    "has one more key, and all rows together may have {most}; to read more, set {}",
                    raised_by("max_columns")
                );
                self.fault = Some((Some(name.to_owned()), problem));
                return None;
            }
            self.known.push(JsonColumn {
                name: name.to_owned(),
                kind: Kind::Null,
                seen: 0,
                clash: None,
            });
        }
        position.or(Some(self.known.len() - 1))
    }

    /// Takes the value of a column in the present row.
    fn take(&mut self, column: usize, here: Kind) {
        let (row, line) = (self.num_rows, self.line);
        let max_keys = self.limits.max_columns;
        let column = &mut self.known[column];
        if column.kind == here || column.clash.is_some() {
            return;
        }
        let ids = holds_ids(&column.name);
        let alone = here.fault(ids);
        let earlier = std::mem::replace(&mut column.kind, Kind::Null);
        // Objects, which may be large, say themselves which of their keys is at fault.
        let shown = match &here {
            Kind::Object(_) if matches!(earlier, Kind::Object(_)) => None,
            here => Some(format!("is {here}, and {earlier} in an earlier row")),
        };
        column.kind = earlier.merge(here, max_keys);
        let problem = alone.or_else(|| {
            let fault = column.kind.fault(ids)?;
            Some(shown.unwrap_or(fault))
        });
        column.clash = problem.map(|problem| (row, line, problem));
    }

    /// The names of the columns, without those that hold nothing.
    pub(super) fn names(&self) -> Vec<&str> {
        let held = self
            .known
            .iter()
            .filter(|column| column.data_type().is_some());
        held.map(|column| column.name.as_str()).collect()
    }

    /// The first value that does not go with the others of its column, among the columns of `names`.
    pub(super) fn clash(&self, names: &[&str]) -> Option<&JsonColumn> {
        let names: BTreeSet<&str> = names.iter().copied().collect();
        self.known
            .iter()
            .filter(|column| column.clash.is_some() && names.contains(column.name.as_str()))
            .min_by_key(|column| column.clash.as_ref().map(|clash| clash.0))
    }
}

/// Reads one object as the next row.
impl<'de> DeserializeSeed<'de> for &mut Columns {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.num_rows += 1;
        deserializer.deserialize_map(RowVisitor(self))
    }
}

struct RowVisitor<'a>(&'a mut Columns);

impl<'de> Visitor<'de> for RowVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a key for each column")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let columns = self.0;
        let mut position = 0;
        while let Some(column) = entries.next_key_seed(KeySeed {
            columns: &mut *columns,
            position,
        })? {
            position = column + 1;
            let known = &mut columns.known[column];
            if known.seen == columns.num_rows {
                columns.fault = Some((
                    Some(known.name.clone()),
                    "is there twice in one object".to_owned(),
                ));
                return Err(A::Error::custom("duplicate key"));
            }
            known.seen = columns.num_rows;
            let kind = entries.next_value_seed(KindSeed(columns.limits.max_columns))?;
            columns.take(column, kind);
        }
        Ok(())
    }
}

struct KeySeed<'a> {
    columns: &'a mut Columns,
    position: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        struct KeyVisitor<'a>(KeySeed<'a>);
        impl Visitor<'_> for KeyVisitor<'_> {
            type Value = usize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
                let position = self.0.columns.column(self.0.position, name);
                position.ok_or_else(|| E::custom("too many keys"))
            }
        }
        deserializer.deserialize_str(KeyVisitor(self))
    }
}
