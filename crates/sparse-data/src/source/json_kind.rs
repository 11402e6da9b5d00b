//! The types of JSON values, found by going through a file once.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};

/// Type of a JSON value, or of all values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Whole,
    Number,
    Text,
    List(Box<Self>),
    Object(Vec<(String, Self)>),
}

impl Kind {
    /// The kind that holds the values of both, or the two that do not go together.
    fn merge(self, other: Self) -> Result<Self, (Self, Self)> {
        match (self, other) {
            (Self::Null, kind) | (kind, Self::Null) => Ok(kind),
            (Self::Whole, Self::Number) | (Self::Number, Self::Whole) => Ok(Self::Number),
            (Self::List(a), Self::List(b)) => match a.merge(*b) {
                Ok(item) => Ok(Self::List(Box::new(item))),
                Err((a, b)) => Err((Self::List(Box::new(a)), Self::List(Box::new(b)))),
            },
            (Self::Object(mut fields), Self::Object(others)) => {
                for (name, kind) in others {
                    match fields.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => {
                            *known = std::mem::replace(known, Self::Null).merge(kind)?
                        }
                        None => fields.push((name, kind)),
                    }
                }
                Ok(Self::Object(fields))
            }
            (a, b) if a == b => Ok(a),
            (a, b) => Err((a, b)),
        }
    }

    /// The Arrow type; none for an object without a key, which holds nothing.
    pub(super) fn data_type(&self) -> Option<DataType> {
        Some(match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::Whole => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::List(item) => {
                DataType::List(Arc::new(Field::new_list_field(item.data_type()?, true)))
            }
            Self::Object(fields) => {
                let fields: Fields = fields
                    .iter()
                    .filter_map(|(name, kind)| Some(Field::new(name, kind.data_type()?, true)))
                    .collect();
                if fields.is_empty() {
                    return None;
                }
                DataType::Struct(fields)
            }
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "true or false",
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        })?;
        match self {
            Self::List(item) if **item != Self::Null => write!(f, " (of it, {item})"),
            _ => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl<'de> Visitor<'de> for KindVisitor {
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

            fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
                Ok(Kind::Whole)
            }

            fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
                Ok(if i64::try_from(value).is_ok() {
                    Kind::Whole
                } else {
                    Kind::Number
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
                while let Some(item) = items.next_element()? {
                    kind = kind.merge(item).map_err(|(a, b)| {
                        A::Error::custom(format_args!("a list holds {a} and {b}"))
                    })?;
                }
                Ok(Kind::List(Box::new(kind)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    fields.push(entry);
                }
                Ok(Kind::Object(fields))
            }
        }
        deserializer.deserialize_any(KindVisitor)
    }
}

/// The columns of a file as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) kinds: Vec<(String, Kind)>,
    /// Row in which each column was seen last.
    seen: Vec<u64>,
    /// Rows read, the one at fault included.
    pub(super) num_rows: u64,
    /// Column and fault of the row read last.
    pub(super) fault: Option<(String, String)>,
}

impl Columns {
    fn column(&mut self, expected: usize, name: &str) -> usize {
        if self
            .kinds
            .get(expected)
            .is_some_and(|(known, _)| known == name)
        {
            return expected;
        }
        if let Some(position) = self.kinds.iter().position(|(known, _)| known == name) {
            return position;
        }
        self.kinds.push((name.to_owned(), Kind::Null));
        self.seen.push(0);
        self.kinds.len() - 1
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
            if columns.seen[column] == columns.num_rows {
                let name = columns.kinds[column].0.clone();
                columns.fault = Some((name, "is there twice in one object".to_owned()));
                return Err(A::Error::custom("duplicate key"));
            }
            columns.seen[column] = columns.num_rows;
            let kind: Kind = entries.next_value()?;
            let known = &mut columns.kinds[column].1;
            if *known == kind {
                continue;
            }
            match std::mem::replace(known, Kind::Null).merge(kind) {
                Ok(merged) => *known = merged,
                Err((earlier, here)) => {
                    let name = columns.kinds[column].0.clone();
                    columns.fault =
                        Some((name, format!("is {here}, and {earlier} in an earlier row")));
                    while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                    return Err(A::Error::custom("mixed types"));
                }
            }
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

            fn visit_str<E>(self, name: &str) -> Result<usize, E> {
                Ok(self.0.columns.column(self.0.position, name))
            }
        }
        deserializer.deserialize_str(KeyVisitor(self))
    }
}
