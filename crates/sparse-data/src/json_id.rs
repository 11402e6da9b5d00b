//! An id in a line of JSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// An id as a text: a JSON text, or a whole number of 64 bits with all its digits.
///
/// ```
/// let ids: Vec<sparse_data::Id> = serde_json::from_str("[\"d1\", 18446744073709551615, -3]").unwrap();
/// assert_eq!(ids[1].0, "18446744073709551615");
/// assert!(serde_json::from_str::<sparse_data::Id>("1.5").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, which is a text or a whole number of 64 bits")
            }

            fn visit_i64<E: Error>(self, id: i64) -> Result<Id, E> {
                Ok(Id(id.to_string()))
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<Id, E> {
                Ok(Id(id.to_string()))
            }

            fn visit_str<E: Error>(self, id: &str) -> Result<Id, E> {
                Ok(Id(id.to_owned()))
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}
