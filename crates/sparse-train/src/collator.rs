//! From a batch of rows to packed tokens: prompts, routes, tokenization.

use std::collections::BTreeMap;

use sparse_data::Batch;
use sparse_model::{PackedTokens, PreprocessOptions, Preprocessor};

use crate::arguments::Prompts;
use crate::error::{Error, Result};
use crate::token_cache::TokenCache;

/// Turns batches of rows into tokens, as the training arguments say.
#[derive(Debug, Clone)]
pub(crate) struct Collator {
    preprocessor: Preprocessor,
    prompts: Option<Prompts>,
    routes: BTreeMap<String, String>,
    cache: Option<TokenCache>,
}

/// Tokens of a batch: columns that share route and prompt lie in one block and take one forward pass.
#[derive(Debug, Clone)]
pub(crate) struct CollatedBatch {
    /// Packed texts, and the columns they belong to in their order.
    pub(crate) blocks: Vec<(PackedTokens, Vec<usize>)>,
    /// Rows of the batch, which is the number of texts of each column.
    pub(crate) n_rows: usize,
    /// Number of columns.
    pub(crate) n_columns: usize,
    /// Tokens of all blocks.
    pub(crate) n_tokens: usize,
    /// Labels of the rows, if the data set has any.
    pub(crate) labels: Option<sparse_data::Labels>,
}

impl Collator {
    pub(crate) fn new(
        preprocessor: Preprocessor,
        prompts: Option<Prompts>,
        routes: BTreeMap<String, String>,
    ) -> Self {
        Self {
            preprocessor,
            prompts,
            routes,
            cache: None,
        }
    }

    /// Remembers the tokens of texts, in at most so many bytes; 0 remembers nothing.
    pub(crate) fn with_cache(self, limit_bytes: usize) -> Self {
        Self {
            cache: (limit_bytes > 0).then(|| TokenCache::new(limit_bytes)),
            ..self
        }
    }

    pub(crate) fn collate(&mut self, batch: &Batch) -> Result<CollatedBatch> {
        let mut blocks: Vec<(PreprocessOptions, Vec<PackedTokens>, Vec<usize>)> = Vec::new();
        for (index, column) in batch.columns.iter().enumerate() {
            let options = PreprocessOptions {
                prompt: self.prompt(batch.dataset_name.as_deref(), &column.name)?,
                task: self.routes.get(&column.name).cloned(),
            };
            let tokens = match &mut self.cache {
                Some(cache) => cache.preprocess(&self.preprocessor, &column.texts, &options)?,
                None => self.preprocessor.preprocess(&column.texts, &options)?,
            };
            match blocks.iter_mut().find(|(other, ..)| *other == options) {
                Some((_, packed, columns)) => {
                    packed.push(tokens);
                    columns.push(index);
                }
                None => blocks.push((options, vec![tokens], vec![index])),
            }
        }
        let blocks: Vec<(PackedTokens, Vec<usize>)> = blocks
            .into_iter()
            .filter_map(|(_, packed, columns)| Some((PackedTokens::concat(&packed)?, columns)))
            .collect();
        Ok(CollatedBatch {
            n_rows: batch.columns.first().map_or(0, |column| column.texts.len()),
            n_columns: batch.columns.len(),
            n_tokens: blocks.iter().map(|(tokens, _)| tokens.n_tokens()).sum(),
            blocks,
            labels: batch.labels.clone(),
        })
    }

    /// The prompt of a column, by the rules of the reference: one text for all; by data set; by data set and column; by column.
    fn prompt(&self, dataset: Option<&str>, column: &str) -> Result<Option<String>> {
        let named = match &self.prompts {
            None => return Ok(None),
            Some(Prompts::All(text)) => return Ok(Some(text.clone())),
            Some(Prompts::Named(named)) => named,
        };
        match dataset.and_then(|name| named.get(name)) {
            Some(Prompts::All(text)) => return Ok(Some(text.clone())),
            Some(Prompts::Named(columns)) => return Ok(text_of(columns.get(column))),
            None => {}
        }
        let nested = named
            .values()
            .any(|prompt| matches!(prompt, Prompts::Named(_)));
        if nested && dataset.is_none() {
            let names: Vec<&str> = named.keys().map(String::as_str).collect();
            return Err(Error::argument(
                "arguments.prompts",
                format!(
                    "names data sets ({}), but the data set has no name; give it one, or map columns to prompts",
                    names.join(", ")
                ),
            ));
        }
        Ok(if nested {
            None
        } else {
            text_of(named.get(column))
        })
    }
}

fn text_of(prompt: Option<&Prompts>) -> Option<String> {
    match prompt {
        Some(Prompts::All(text)) => Some(text.clone()),
        _ => None,
    }
}
