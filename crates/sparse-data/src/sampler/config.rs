//! Which sampler, with which settings.

use serde::{Deserialize, Serialize};

use super::{
    BatchSampler, GroupByLabelSampler, NoDuplicatesSampler, ShuffledSampler, TokenBudgetSampler,
};
use crate::columns::ColumnRoles;
use crate::error::{Error, Result};
use crate::table::Table;

/// The samplers by name: `batch_sampler` in a training file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchSamplerKind {
    /// Rows in random order: [`ShuffledSampler`].
    #[default]
    BatchSampler,
    /// No text twice in a batch: [`NoDuplicatesSampler`].
    NoDuplicates,
    /// Another name of [`NoDuplicates`](Self::NoDuplicates), which always compares hashes.
    NoDuplicatesHashed,
    /// Several rows of each label in a batch: [`GroupByLabelSampler`].
    GroupByLabel,
    /// As many rows as fit a number of tokens: [`TokenBudgetSampler`].
    TokenBudget,
}

/// Whose random order the rows come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleOrder {
    /// Our own: fast, and nothing is left out.
    #[default]
    Default,
    /// The order of sentence-transformers 6.2 for the same seed, bit for bit.
    Reference,
}

/// Settings of a sampler.
///
/// # Example
///
/// ```
/// use sparse_data::{BatchSamplerKind, Column, SamplerConfig, Table};
///
/// let table = Table::from_columns([("query", Column::from(["a", "b", "a"])), ("answer", Column::from(["x", "y", "z"]))])?;
/// let config = SamplerConfig {
///     batch_sampler: BatchSamplerKind::NoDuplicates,
///     batch_size: 2,
///     ..SamplerConfig::default()
/// };
/// let epoch = config.init(&table, &table.roles()?)?.epoch(0)?;
/// assert_eq!(epoch.len(), 2);
/// assert!(!epoch.iter().any(|batch| batch.contains(&0) && batch.contains(&2)));
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SamplerConfig {
    /// Which sampler.
    pub batch_sampler: BatchSamplerKind,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Whether a batch that is not full is left out.
    pub drop_last: bool,
    /// Seed of all that is random.
    pub seed: u64,
    /// Whose order.
    pub order: SampleOrder,
    /// Tokens in a batch of `token_budget`, all input columns together, estimated as a token for four bytes of text.
    pub token_budget: Option<usize>,
    /// Tokens at which a text is cut, for the estimate of `token_budget`.
    pub max_seq_length: Option<usize>,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            batch_sampler: BatchSamplerKind::default(),
            batch_size: 8,
            drop_last: false,
            seed: 42,
            order: SampleOrder::default(),
            token_budget: None,
            max_seq_length: None,
        }
    }
}

impl SamplerConfig {
    /// Checks the values.
    ///
    /// # Errors
    ///
    /// If a value is not allowed, or two contradict each other.
    pub fn validate(&self) -> Result<()> {
        let setting = |key, problem: String| Err(Error::Setting { key, problem });
        if self.batch_size == 0 {
            return setting("batch_size", "must be at least 1; got 0".to_owned());
        }
        match self.batch_sampler {
            BatchSamplerKind::GroupByLabel
                if self.batch_size < 4 || !self.batch_size.is_multiple_of(2) =>
            {
                return setting(
                    "batch_size",
                    format!(
                        "must be even and at least 4 for `group_by_label`; got {}",
                        self.batch_size
                    ),
                );
            }
            BatchSamplerKind::TokenBudget if self.token_budget.is_none_or(|budget| budget == 0) => {
                return setting(
                    "token_budget",
                    "must be given, and at least 1, for `token_budget`".to_owned(),
                );
            }
            BatchSamplerKind::GroupByLabel | BatchSamplerKind::TokenBudget
                if self.order == SampleOrder::Reference =>
            {
                return setting(
                    "order",
                    "`reference` exists for `batch_sampler` and `no_duplicates` only".to_owned(),
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// Builds the sampler for a table.
    ///
    /// # Errors
    ///
    /// If a value is not allowed or the table does not suit the sampler.
    pub fn init(&self, table: &Table, roles: &ColumnRoles) -> Result<Box<dyn BatchSampler>> {
        self.init_named(table, roles, "rows")
    }

    /// The same, drawing from another stream of random numbers.
    pub(super) fn init_named(
        &self,
        table: &Table,
        roles: &ColumnRoles,
        stream: &str,
    ) -> Result<Box<dyn BatchSampler>> {
        self.validate()?;
        Ok(match self.batch_sampler {
            BatchSamplerKind::BatchSampler => {
                Box::new(ShuffledSampler::new(table.num_rows(), self, stream))
            }
            BatchSamplerKind::NoDuplicates | BatchSamplerKind::NoDuplicatesHashed => {
                Box::new(NoDuplicatesSampler::new(table, roles, self, stream)?)
            }
            BatchSamplerKind::GroupByLabel => {
                Box::new(GroupByLabelSampler::new(table, roles, self, stream)?)
            }
            BatchSamplerKind::TokenBudget => {
                Box::new(TokenBudgetSampler::estimate(table, roles, self, stream)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        let config = |batch_sampler, batch_size, order, token_budget| SamplerConfig {
            batch_sampler,
            batch_size,
            order,
            token_budget,
            ..SamplerConfig::default()
        };
        use {BatchSamplerKind as Kind, SampleOrder as Order};
        let cases = [
            (
                config(Kind::BatchSampler, 0, Order::Default, None),
                "`batch_size` must be at least 1; got 0",
            ),
            (
                config(Kind::GroupByLabel, 5, Order::Default, None),
                "`batch_size` must be even and at least 4 for `group_by_label`; got 5",
            ),
            (
                config(Kind::TokenBudget, 8, Order::Default, None),
                "`token_budget` must be given, and at least 1, for `token_budget`",
            ),
            (
                config(Kind::GroupByLabel, 8, Order::Reference, None),
                "`order` `reference` exists for `batch_sampler` and `no_duplicates` only",
            ),
        ];
        for (config, message) in cases {
            assert_eq!(config.validate().unwrap_err().to_string(), message);
        }
    }
}
