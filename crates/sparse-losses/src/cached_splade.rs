//! The SPLADE wrapper under the name that asks for gradient caching.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::require;
use crate::overview::Role;
use crate::splade::Caching;
use crate::{DataFormat, Result, SpladeLoss, SpladeLossConfig};

pub(crate) const NAME: &str = "cached_splade";
const SIZE: &str = "mini_batch_size";
const NUM_TOKENS: &str = "mini_batch_num_tokens";

/// Configuration of a [`SpladeLoss`] that is trained with gradient caching
/// ([Gao et al., 2021](https://arxiv.org/abs/2101.06983)): the options of [`SpladeLossConfig`] and two of its own, in one table.
///
/// Values and gradients are those of `splade`; only the trainer reads the difference, which is how much it embeds at a time.
/// The argument `mini_batch_size` asks for gradient caching with any loss.
#[doc(alias = "CachedSpladeLoss")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct CachedSpladeLossConfig {
    /// The loss itself.
    pub splade: SpladeLossConfig,
    /// Texts that are embedded at a time (at least 1, default 32).
    pub mini_batch_size: usize,
    /// Tokens that are embedded at a time (at least 1), instead of a number of texts.
    pub mini_batch_num_tokens: Option<usize>,
}

impl CachedSpladeLossConfig {
    pub(crate) const ROLE: Role = Role::Wrapper;
    pub(crate) const SUMMARY: &'static str = "`splade` under the reference's name for training with gradient caching; any loss is trained so with `arguments.mini_batch_size`";
    pub(crate) const FORMATS: &'static [DataFormat] = &[];

    /// `splade` in mini-batches of 32 texts.
    pub fn new(splade: SpladeLossConfig) -> Self {
        Self {
            splade,
            mini_batch_size: 32,
            mini_batch_num_tokens: None,
        }
    }

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// As [`SpladeLossConfig::init`], and if a mini-batch would be empty.
    pub fn init(&self) -> Result<SpladeLoss> {
        let given = [
            (SIZE, Some(self.mini_batch_size)),
            (NUM_TOKENS, self.mini_batch_num_tokens),
        ];
        for (option, value) in given {
            require(value != Some(0), (NAME, option), "at least 1", 0)?;
        }
        let mut loss = self.splade.init()?;
        loss.caching = Some(Caching {
            name: NAME,
            mini_batch_size: self.mini_batch_size,
            mini_batch_num_tokens: self.mini_batch_num_tokens,
        });
        Ok(loss)
    }
}

impl TryFrom<Map<String, Value>> for CachedSpladeLossConfig {
    type Error = serde_json::Error;

    fn try_from(mut table: Map<String, Value>) -> Result<Self, Self::Error> {
        let mut take = |key: &str| {
            let value = table.remove(key).filter(|value| !value.is_null());
            value.map(serde_json::from_value::<usize>).transpose()
        };
        let (size, num_tokens) = (take(SIZE)?, take(NUM_TOKENS)?);
        let config = Self::new(serde_json::from_value(Value::Object(table))?);
        Ok(Self {
            mini_batch_size: size.unwrap_or(config.mini_batch_size),
            mini_batch_num_tokens: num_tokens,
            ..config
        })
    }
}

impl From<CachedSpladeLossConfig> for Map<String, Value> {
    fn from(config: CachedSpladeLossConfig) -> Self {
        let mut table = match without_nulls(json!(config.splade)) {
            Value::Object(table) => table,
            _ => Self::new(),
        };
        table.insert(SIZE.to_owned(), json!(config.mini_batch_size));
        if let Some(num_tokens) = config.mini_batch_num_tokens {
            table.insert(NUM_TOKENS.to_owned(), json!(num_tokens));
        }
        table
    }
}

/// Options that aren't set are left out, as TOML has no null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(table) => table
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{N1, P, Q, total};
    use crate::{LossConfig, MiniBatches};

    const FILE: &str = r#"
        type = "cached_splade"
        document_regularizer_weight = 0.2
        query_regularizer_weight = 0.1
        mini_batch_size = 4
        loss = { type = "multiple_negatives_ranking" }
    "#;

    #[test]
    fn the_value_is_that_of_splade() {
        let cached: LossConfig = toml::from_str(FILE).unwrap();
        let plain = FILE.replace("cached_splade", "splade");
        let plain: LossConfig = toml::from_str(&plain.replace("mini_batch_size = 4", "")).unwrap();
        let value = |config: &LossConfig| total(&*config.init().unwrap(), &[Q, P, N1]);
        assert_eq!(value(&cached), value(&plain));
    }

    #[test]
    fn its_options_are_read_and_written_beside_those_of_splade() {
        let config: LossConfig = toml::from_str(FILE).unwrap();
        let loss = config.init().unwrap();
        assert_eq!(loss.mini_batches(), Some(MiniBatches::Rows(4)));
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<LossConfig>(&text).unwrap(), config);
        let tokens = FILE.replace("mini_batch_size = 4", "mini_batch_num_tokens = 512");
        let loss = toml::from_str::<LossConfig>(&tokens)
            .unwrap()
            .init()
            .unwrap();
        assert_eq!(loss.mini_batches(), Some(MiniBatches::Tokens(512)));
        let description = loss.describe();
        assert_eq!(description.class_name, "CachedSpladeLoss");
        assert_eq!(description.options[NUM_TOKENS], 512);
    }

    #[test]
    fn unknown_options_and_empty_mini_batches_are_refused() {
        let wrong = FILE.replace("mini_batch_size", "mini_batch_sise");
        let error = toml::from_str::<LossConfig>(&wrong).unwrap_err();
        assert!(error.to_string().contains("mini_batch_sise"), "{error}");
        let empty: LossConfig = toml::from_str(&FILE.replace("= 4", "= 0")).unwrap();
        assert_eq!(
            empty.init().unwrap_err().to_string(),
            "`mini_batch_size` of `cached_splade` must be at least 1; got 0"
        );
    }
}
