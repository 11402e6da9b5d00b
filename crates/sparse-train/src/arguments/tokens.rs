//! Which tokens are counted.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Which tokens `include_num_input_tokens_seen` adds to the logs. Texts aren't padded here, so that both counts are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CountTokens {
    /// None.
    #[default]
    No,
    /// All of them; `true` is read as this.
    All,
    /// Those that aren't padding.
    NonPadding,
}

impl<'de> Deserialize<'de> for CountTokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = CountTokens;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"no\", \"all\", \"non_padding\" or a boolean")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<CountTokens, E> {
                Ok(if value {
                    CountTokens::All
                } else {
                    CountTokens::No
                })
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<CountTokens, E> {
                match value {
                    "no" => Ok(CountTokens::No),
                    "all" => Ok(CountTokens::All),
                    "non_padding" => Ok(CountTokens::NonPadding),
                    _ => Err(E::unknown_variant(value, &["no", "all", "non_padding"])),
                }
            }
        }
        deserializer.deserialize_any(Count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_booleans_are_read() {
        let read =
            |text: &str| serde_json::from_str::<CountTokens>(text).map_err(|e| e.to_string());
        assert_eq!(read("true"), Ok(CountTokens::All));
        assert_eq!(read("false"), Ok(CountTokens::No));
        assert_eq!(read("\"non_padding\""), Ok(CountTokens::NonPadding));
        assert!(
            read("\"none\"")
                .unwrap_err()
                .starts_with("unknown variant `none`")
        );
        assert!(
            read("1")
                .unwrap_err()
                .contains("\"no\", \"all\", \"non_padding\" or a boolean")
        );
    }
}
