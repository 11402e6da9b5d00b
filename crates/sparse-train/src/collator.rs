//! From a batch of rows to packed tokens: prompts, routes, tokenization.

use std::collections::BTreeMap;

use sparse_data::Batch;
use sparse_model::{PackedTokens, PreprocessOptions, Preprocessor};

use crate::arguments::{ColumnPrompts, Routes};
use crate::error::{Error, Result};
use crate::token_cache::TokenCache;

/// Turns batches of rows into tokens, as the training arguments say.
#[derive(Debug, Clone)]
pub(crate) struct Collator {
    preprocessor: Preprocessor,
    prompts: Option<ColumnPrompts>,
    routes: BTreeMap<String, Routes>,
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
        prompts: Option<ColumnPrompts>,
        routes: BTreeMap<String, Routes>,
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
                task: self.route(batch.dataset_name.as_deref(), &column.name),
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

    /// Tokens of each text, column by column, prompts and special tokens included.
    pub(crate) fn token_counts(&self, batch: &Batch) -> Result<Vec<Vec<usize>>> {
        let dataset = batch.dataset_name.as_deref();
        let counts = batch.columns.iter().map(|column| {
            let options = PreprocessOptions {
                prompt: self.prompt(dataset, &column.name)?,
                task: self.route(dataset, &column.name),
            };
            let tokens = self.preprocessor.preprocess(&column.texts, &options)?;
            Ok(tokens.rows.lengths().collect())
        });
        counts.collect()
    }

    /// The route of a column: by data set and column, or by column.
    fn route(&self, dataset: Option<&str>, column: &str) -> Option<String> {
        let by_dataset = dataset.and_then(|name| match self.routes.get(name)? {
            Routes::Dataset(columns) => columns.get(column),
            Routes::Column(_) => None,
        });
        let by_column = || match self.routes.get(column)? {
            Routes::Column(route) => Some(route),
            Routes::Dataset(_) => None,
        };
        by_dataset.or_else(by_column).cloned()
    }

    /// The prompt of a column, by the rules of the reference: one text for all; by data set; by data set and column; by column.
    fn prompt(&self, dataset: Option<&str>, column: &str) -> Result<Option<String>> {
        let named = match &self.prompts {
            None => return Ok(None),
            Some(ColumnPrompts::All(text)) => return Ok(Some(text.clone())),
            Some(ColumnPrompts::Named(named)) => named,
        };
        match dataset.and_then(|name| named.get(name)) {
            Some(ColumnPrompts::All(text)) => return Ok(Some(text.clone())),
            Some(ColumnPrompts::Named(columns)) => return Ok(text_of(columns.get(column))),
            None => {}
        }
        let nested = named
            .values()
            .any(|prompt| matches!(prompt, ColumnPrompts::Named(_)));
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

fn text_of(prompt: Option<&ColumnPrompts>) -> Option<String> {
    match prompt {
        Some(ColumnPrompts::All(text)) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use sparse_data::TextColumn;
    use sparse_model::SparseEncoder;

    use super::*;

    fn collator(prompts: serde_json::Value, routes: serde_json::Value) -> Collator {
        let directory = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../sparse-model/tests/golden/encoders/splade-max"
        );
        let encoder = SparseEncoder::from_pretrained(directory, &Device::flex()).unwrap();
        Collator::new(
            encoder.preprocessor().unwrap(),
            serde_json::from_value(prompts).unwrap(),
            serde_json::from_value(routes).unwrap(),
        )
    }

    /// The prompts of the columns `query` and `answer`.
    fn prompts(value: serde_json::Value, dataset: Option<&str>) -> [Option<String>; 2] {
        let collator = collator(value, serde_json::json!({}));
        ["query", "answer"].map(|column| collator.prompt(dataset, column).unwrap())
    }

    #[test]
    fn prompts_are_for_all_by_column_by_data_set_or_by_both() {
        use serde_json::json;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(prompts(json!(null), None), [None, None]);
        assert_eq!(
            prompts(json!("p: "), Some("nq")),
            [some("p: "), some("p: ")]
        );
        assert_eq!(
            prompts(json!({"query": "q: "}), Some("nq")),
            [some("q: "), None]
        );
        let both = json!({"nq": {"query": "q: ", "answer": "a: "}, "nli": "n: "});
        assert_eq!(
            prompts(both.clone(), Some("nq")),
            [some("q: "), some("a: ")]
        );
        assert_eq!(
            prompts(both.clone(), Some("nli")),
            [some("n: "), some("n: ")]
        );
        assert_eq!(prompts(both.clone(), Some("sts")), [None, None]);
        let error = collator(both, json!({})).prompt(None, "query").unwrap_err();
        assert!(error.is_user_error());
        assert!(
            error
                .to_string()
                .contains("names data sets (nli, nq), but the data set has no name"),
            "{error}"
        );
    }

    #[test]
    fn routes_are_by_column_or_by_data_set_and_column() {
        use serde_json::json;
        let some = |text: &str| Some(text.to_owned());
        let routes = |value: serde_json::Value, dataset| {
            let collator = collator(json!(null), value);
            ["query", "answer"].map(|column| collator.route(dataset, column))
        };
        let flat = json!({"query": "query", "answer": "document"});
        assert_eq!(routes(flat, Some("nq")), [some("query"), some("document")]);
        let nested =
            json!({"nq": {"query": "query", "answer": "document"}, "sts": {"query": "document"}});
        assert_eq!(
            routes(nested.clone(), Some("nq")),
            [some("query"), some("document")]
        );
        assert_eq!(
            routes(nested.clone(), Some("sts")),
            [some("document"), None]
        );
        assert_eq!(routes(nested, None), [None, None]);
    }

    #[test]
    fn columns_of_one_prompt_and_route_share_a_block() {
        use serde_json::json;
        let batch = Batch {
            dataset_name: None,
            columns: ["query", "positive", "negative"]
                .map(|name| TextColumn {
                    name: name.to_owned(),
                    texts: vec![format!("a {name}"), "another text".to_owned()],
                })
                .into(),
            labels: None,
        };
        let columns = |mut collator: Collator| -> Vec<Vec<usize>> {
            let collated = collator.collate(&batch).unwrap();
            assert_eq!((collated.n_rows, collated.n_columns), (2, 3));
            for (tokens, columns) in &collated.blocks {
                assert_eq!(tokens.n_texts(), 2 * columns.len());
            }
            collated.blocks.into_iter().map(|block| block.1).collect()
        };
        assert_eq!(columns(collator(json!(null), json!({}))), [[0, 1, 2]]);
        assert_eq!(
            columns(collator(json!({"query": "q: "}), json!({}))),
            [vec![0], vec![1, 2]]
        );
        let routes = json!({"query": "query", "positive": "document", "negative": "query"});
        assert_eq!(
            columns(collator(json!(null), routes)),
            [vec![0, 2], vec![1]]
        );
    }
}
