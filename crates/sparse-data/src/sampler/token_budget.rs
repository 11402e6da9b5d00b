//! Batches of nearly constant cost.

use super::{BatchSampler, SamplerConfig};
use crate::columns::ColumnRoles;
use crate::error::Result;
use crate::random::RandomStream;
use crate::table::Table;

/// Bytes of text to a token, about what WordPiece makes of English.
const BYTES_PER_TOKEN: usize = 4;

/// Tokens that a tokenizer adds to a text.
const SPECIAL_TOKENS: usize = 2;

/// Rows in random order, as many in a batch as fit a number of tokens.
///
/// The cost of a step grows with its tokens, not with its rows, since nothing is padded. A row that exceeds the budget
/// alone is a batch of its own. With `drop_last` the last batch is left out.
#[derive(Debug, Clone)]
pub struct TokenBudgetSampler {
    lengths: Vec<u32>,
    budget: usize,
    config: SamplerConfig,
    stream: String,
}

impl TokenBudgetSampler {
    /// A sampler for rows of known lengths, in tokens, all input columns together.
    ///
    /// # Errors
    ///
    /// If `token_budget` is missing or 0.
    pub fn new(lengths: Vec<u32>, config: &SamplerConfig) -> Result<Self> {
        let config = SamplerConfig {
            batch_sampler: super::BatchSamplerKind::TokenBudget,
            ..*config
        };
        config.validate()?;
        Ok(Self {
            lengths,
            budget: config.token_budget.unwrap_or_default(),
            config,
            stream: "rows".to_owned(),
        })
    }

    /// A sampler that estimates the lengths from the texts.
    pub(super) fn estimate(
        table: &Table,
        roles: &ColumnRoles,
        config: &SamplerConfig,
        stream: &str,
    ) -> Result<Self> {
        let longest = config.max_seq_length.unwrap_or(usize::MAX);
        let mut lengths = vec![0_u32; table.num_rows()];
        for column in &roles.inputs {
            table.for_each_text(column, |row, text| {
                let tokens = text.map_or(0, str::len).div_ceil(BYTES_PER_TOKEN) + SPECIAL_TOKENS;
                lengths[row] = lengths[row]
                    .saturating_add(u32::try_from(tokens.min(longest)).unwrap_or(u32::MAX));
                Ok(())
            })?;
        }
        Ok(Self {
            stream: stream.to_owned(),
            ..Self::new(lengths, config)?
        })
    }
}

impl BatchSampler for TokenBudgetSampler {
    fn epoch(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let order = RandomStream::new(self.config.seed, &self.stream, epoch)
            .permutation(self.lengths.len());
        let mut batches = Vec::new();
        let mut batch = Vec::new();
        let mut tokens = 0;
        for row in order {
            let length = self.lengths[row] as usize;
            if !batch.is_empty() && tokens + length > self.budget {
                batches.push(std::mem::take(&mut batch));
                tokens = 0;
            }
            batch.push(row);
            tokens += length;
        }
        if !batch.is_empty() && !self.config.drop_last {
            batches.push(batch);
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Column;

    #[test]
    fn no_batch_exceeds_the_budget_but_a_single_long_row() {
        let lengths: Vec<u32> = (0..200)
            .map(|i| if i == 7 { 500 } else { 1 + i % 40 })
            .collect();
        let config = SamplerConfig {
            token_budget: Some(100),
            ..SamplerConfig::default()
        };
        let epoch = TokenBudgetSampler::new(lengths.clone(), &config)
            .unwrap()
            .epoch(0)
            .unwrap();
        assert_eq!(epoch.concat().len(), 200);
        for batch in &epoch {
            let tokens: u32 = batch.iter().map(|&row| lengths[row]).sum();
            assert!(tokens <= 100 || batch == &[7], "{batch:?} has {tokens}");
        }
    }

    #[test]
    fn lengths_are_estimated_from_all_inputs() {
        let table = Table::from_columns([
            ("query", Column::from(["12345678"])),
            ("text", Column::from(["x".repeat(400)])),
        ])
        .unwrap();
        let config = SamplerConfig {
            token_budget: Some(100),
            max_seq_length: Some(64),
            ..SamplerConfig::default()
        };
        let sampler =
            TokenBudgetSampler::estimate(&table, &table.roles().unwrap(), &config, "rows").unwrap();
        assert_eq!(sampler.lengths, [4 + 64]); // 8/4 + 2, and 400/4 + 2 cut at 64
    }
}
