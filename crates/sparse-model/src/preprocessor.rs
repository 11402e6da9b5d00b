//! Tokenization apart from the weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::module::router::table::RouteTable;
use crate::tokenizer::TextTokenizer;
use crate::{PackedTokens, PreprocessOptions, Result};

/// What turns texts into the tokens of a model: its tokenizers, their longest lengths, and the rules by which a router chooses
/// among them. It holds no weight, so a thread that tokenizes ahead of the computation keeps none alive.
///
/// It is as the model was when [`SparseEncoder::preprocessor`](crate::SparseEncoder::preprocessor) made it; a longest length
/// that is set later does not reach it.
#[derive(Debug, Clone)]
pub struct Preprocessor(Stage);

#[derive(Debug, Clone)]
enum Stage {
    Tokenizers {
        tokenizers: TaskTokenizers,
        special_tokens: bool,
    },
    /// The first stage of each route of the table.
    Routes {
        table: Arc<RouteTable>,
        stages: Vec<Self>,
    },
}

/// Tokenizers that may cut elsewhere for one task than for another.
#[derive(Debug, Clone)]
pub(crate) struct TaskTokenizers {
    pub(crate) tokenizer: TextTokenizer,
    /// By task, and for all tasks under no name.
    pub(crate) by_task: BTreeMap<Option<String>, TextTokenizer>,
}

impl TaskTokenizers {
    /// The tokenizer for texts of a task.
    pub(crate) fn get(&self, task: Option<&str>) -> &TextTokenizer {
        if self.by_task.is_empty() {
            return &self.tokenizer;
        }
        let own = self.by_task.get(&task.map(str::to_string));
        self.by_task.get(&None).or(own).unwrap_or(&self.tokenizer)
    }
}

impl Preprocessor {
    pub(crate) fn new(tokenizers: TaskTokenizers, special_tokens: bool) -> Self {
        Self(Stage::Tokenizers {
            tokenizers,
            special_tokens,
        })
    }

    /// One for each route of a table, in its order.
    pub(crate) fn routed(table: Arc<RouteTable>, routes: Vec<Self>) -> Self {
        let stages = routes.into_iter().map(|route| route.0).collect();
        Self(Stage::Routes { table, stages })
    }

    /// Tokenizes texts for [`SparseEncoder::forward`](crate::SparseEncoder::forward).
    ///
    /// # Errors
    ///
    /// If a text can not be tokenized, or no route takes the task.
    pub fn preprocess<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &PreprocessOptions,
    ) -> Result<PackedTokens> {
        let task = options.task.as_deref();
        let mut stage = &self.0;
        loop {
            match stage {
                Stage::Routes { table, stages } => stage = &stages[table.choose(task)?],
                Stage::Tokenizers {
                    tokenizers,
                    special_tokens,
                } => {
                    let prompt = options.prompt.as_deref();
                    let tokens = tokenizers.get(task).pack(texts, prompt, *special_tokens)?;
                    return Ok(PackedTokens {
                        task: options.task.clone(),
                        ..tokens
                    });
                }
            }
        }
    }
}
