//! Texts to sparse vectors.

use std::borrow::Cow;
use std::collections::BTreeSet;

use burn::module::Module;
use sparse_index::SparseMatrix;

use super::SparseEncoder;
use crate::module::PipelineModule;
use crate::{EncodeOptions, EncodeProgress, Error, ForwardContext, PackedTokens, Result};

/// Batches of a stream that are sorted by length together.
pub(super) const WINDOW: usize = 32;

impl SparseEncoder {
    /// Encodes texts, one row each, in their order.
    ///
    /// Texts are sorted by length first, so that those of a batch are alike. A model in training state is used in its
    /// plain state, without gradients or dropout.
    ///
    /// # Errors
    ///
    /// If an option is wrong, a text can not be tokenized, its vector is not finite, or the device fails.
    pub fn encode<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EncodeOptions,
    ) -> Result<SparseMatrix> {
        options.validate()?;
        let prompt = self.resolve_prompt(options)?;
        let lengths: Vec<usize> = texts
            .iter()
            .map(|text| text.as_ref().chars().count())
            .collect();
        self.encode_sorted(&lengths, options, |model, rows| {
            let batch: Vec<&str> = rows.iter().map(|&row| texts[row].as_ref()).collect();
            model.modules[0].preprocess(&batch, prompt, options.task.as_deref())
        })
    }

    /// Encodes pairs of texts, each pair as one input.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_pairs<S: AsRef<str> + Sync>(
        &self,
        pairs: &[(S, S)],
        options: &EncodeOptions,
    ) -> Result<SparseMatrix> {
        options.validate()?;
        let prompt = self.resolve_prompt(options)?;
        let length = |text: &S| text.as_ref().chars().count();
        let lengths: Vec<usize> = pairs
            .iter()
            .map(|(first, second)| length(first) + length(second))
            .collect();
        self.encode_sorted(&lengths, options, |model, rows| {
            let batch: Vec<(&str, &str)> = rows
                .iter()
                .map(|&row| (pairs[row].0.as_ref(), pairs[row].1.as_ref()))
                .collect();
            model.modules[0].preprocess_pairs(&batch, prompt, options.task.as_deref())
        })
    }

    /// Encodes any number of texts in their order, in memory that does not grow with them: `sink` gets the rows of a few
    /// dozen batches at a time. Gives the number of texts.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), or what `sink` fails with, which ends the encoding.
    pub fn encode_stream<S: AsRef<str> + Sync, E: From<Error>>(
        &self,
        texts: impl IntoIterator<Item = S>,
        options: &EncodeOptions,
        mut sink: impl FnMut(SparseMatrix) -> Result<(), E>,
    ) -> Result<usize, E> {
        options.validate()?;
        let options = &self.with_resolved_prompt(options)?;
        let mut texts = texts.into_iter();
        let mut total = 0;
        loop {
            let window: Vec<S> = texts
                .by_ref()
                .take(options.batch_size.saturating_mul(WINDOW))
                .collect();
            if window.is_empty() {
                return Ok(total);
            }
            let rows = self.encode(&window, options);
            sink(rows.map_err(|error| error.of_text(|row| total + row))?)?;
            total += window.len();
        }
    }

    /// Encodes queries: the prompt named `query` unless the options name one, and the route of that name.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_query<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EncodeOptions,
    ) -> Result<SparseMatrix> {
        self.encode(texts, &self.query_options(options))
    }

    /// Encodes documents: the first prompt of `document`, `passage` and `corpus` that there is unless the options name one,
    /// and the route `document`.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_document<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EncodeOptions,
    ) -> Result<SparseMatrix> {
        self.encode(texts, &self.document_options(options))
    }

    /// The prompt that `encode_query` or `encode_document` (by task) lays before a text, if any.
    pub fn prompt_for(&self, task: &str) -> Option<&str> {
        let names: &[&str] = match task {
            "document" => &["document", "passage", "corpus"],
            _ => &[task],
        };
        let prompt = names
            .iter()
            .find_map(|name| self.settings.prompts.get(*name))?;
        (!prompt.is_empty()).then_some(prompt.as_str())
    }

    /// The options with which a query is encoded.
    pub(super) fn query_options(&self, options: &EncodeOptions) -> EncodeOptions {
        self.options_for("query", &["query"], options)
    }

    /// The options with which a document is encoded.
    pub(super) fn document_options(&self, options: &EncodeOptions) -> EncodeOptions {
        self.options_for("document", &["document", "passage", "corpus"], options)
    }

    fn options_for(
        &self,
        task: &str,
        prompt_names: &[&str],
        options: &EncodeOptions,
    ) -> EncodeOptions {
        let mut options = options.clone();
        if options.prompt.is_none() && options.prompt_name.is_none() {
            let known = prompt_names
                .iter()
                .find(|name| self.settings.prompts.contains_key(**name));
            // Without one, no prompt at all: the default prompt is for `encode` alone.
            match known {
                Some(name) => options.prompt_name = Some((*name).to_string()),
                None => options.prompt = Some(String::new()),
            }
        }
        options.task.get_or_insert_with(|| task.to_string());
        options
    }

    /// The options with the text of their prompt, so that it is looked up, and a choice between two warned of, once.
    pub(super) fn with_resolved_prompt(&self, options: &EncodeOptions) -> Result<EncodeOptions> {
        let prompt = self.resolve_prompt(options)?.map(str::to_string);
        Ok(EncodeOptions {
            prompt: Some(prompt.unwrap_or_default()),
            prompt_name: None,
            ..options.clone()
        })
    }

    fn resolve_prompt<'a>(&'a self, options: &'a EncodeOptions) -> Result<Option<&'a str>> {
        if let Some(prompt) = &options.prompt {
            if options.prompt_name.is_some() {
                tracing::warn!("both a prompt and a prompt name were given; the name is ignored");
            }
            return Ok(Some(prompt));
        }
        let Some(name) = options
            .prompt_name
            .as_ref()
            .or(self.settings.default_prompt_name.as_ref())
        else {
            return Ok(None);
        };
        match self.settings.prompts.get(name) {
            Some(prompt) => Ok(Some(prompt)),
            None => Err(Error::UnknownPrompt {
                name: name.clone(),
                known: self.settings.prompts.keys().cloned().collect(),
            }),
        }
    }

    /// Runs batches in the order of falling length and puts the rows back into the caller's order.
    fn encode_sorted(
        &self,
        lengths: &[usize],
        options: &EncodeOptions,
        preprocess: impl Fn(&Self, &[usize]) -> Result<PackedTokens>,
    ) -> Result<SparseMatrix> {
        let model = if self.device().is_autodiff() {
            Cow::Owned(self.valid())
        } else {
            Cow::Borrowed(self)
        };
        let max_active_dims = options.max_active_dims.or(self.settings.max_active_dims);
        let context = ForwardContext::inference().with_max_active_dims(max_active_dims);
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));

        let mut sorted: Option<SparseMatrix> = None;
        let mut done = 0;
        for batch in order.chunks(options.batch_size) {
            let in_call =
                |error: Error| error.of_text(|row| batch.get(row).copied().unwrap_or(row));
            let tokens = preprocess(&model, batch).map_err(in_call)?;
            let embeddings = model.encode_tokens(&tokens, &context).map_err(in_call)?;
            match &mut sorted {
                None => sorted = Some(embeddings),
                Some(sorted) => sorted.append(&embeddings).map_err(Error::of_matrix)?,
            }
            done += batch.len();
            if let Some(progress) = &options.progress {
                progress(EncodeProgress {
                    done,
                    total: lengths.len(),
                    tokens: tokens.n_tokens(),
                });
            }
        }
        let Some(sorted) = sorted else {
            return Ok(SparseMatrix::new(self.embedding_dimension()));
        };
        let mut place = vec![0; order.len()];
        for (position, &row) in order.iter().enumerate() {
            place[row] = position;
        }
        Ok(sorted.select(&place))
    }

    /// The error with what to look at, if it is one of vectors that are not finite.
    fn explained(&self, mut error: Error) -> Error {
        if let Error::NotFinite { cause, .. } = &mut error {
            *cause = self.cause_of_non_finite();
        }
        error
    }

    /// What to look at when vectors are not finite: the parameters at fault, or else the computation.
    fn cause_of_non_finite(&self) -> String {
        let mut at_fault = BTreeSet::new();
        self.visit_parameters(|id, values| {
            if let Ok(data) = values.try_into_data_as::<f32>()
                && let Ok(values) = data.as_slice::<f32>()
                && values.iter().any(|value| !value.is_finite())
            {
                at_fault.insert(id);
            }
        });
        let parameters = self.named_parameters();
        let named = parameters
            .iter()
            .find(|parameter| at_fault.contains(&parameter.id));
        match named {
            Some(parameter) => format!(
                "{} of the {} parameters of `{}` hold values that are not finite, the first is `{}`",
                at_fault.len(),
                parameters.len(),
                self.name(),
                parameter.name
            ),
            None => format!(
                "the parameters of `{}` are finite, but too large for this text",
                self.name()
            ),
        }
    }

    /// Sparse vectors of one batch of tokens.
    fn encode_tokens(
        &self,
        tokens: &PackedTokens,
        context: &ForwardContext,
    ) -> Result<SparseMatrix> {
        if let [PipelineModule::SparseStaticEmbedding(module)] =
            self.route(tokens.task.as_deref()).as_slice()
        {
            let sparse = module
                .encode(tokens)
                .map_err(|error| self.explained(error))?;
            return Ok(match context.max_active_dims() {
                Some(limit) => sparse.prune(limit),
                None => sparse,
            });
        }
        let dense = self.forward(tokens, context).sentence_embedding;
        let [n_rows, n_cols] = dense.dims();
        let data = dense
            .try_into_data_as::<f32>()
            .map_err(|error| Error::Device(error.to_string()))?;
        let values = data
            .as_slice::<f32>()
            .map_err(|error| Error::Device(format!("{error:?}")))?;
        let sparse = SparseMatrix::from_dense(values, n_rows, n_cols)
            .map_err(|error| self.explained(Error::of_matrix(error)))?;
        Ok(match context.max_active_dims() {
            Some(limit) => sparse.prune(limit),
            None => sparse,
        })
    }
}
