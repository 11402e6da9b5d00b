//! The type users hold.

mod adapter;
mod encode;
mod fingerprint;
mod load;
mod parameters;
mod pool;
mod push;
mod save;
mod static_queries;

pub use pool::EncoderPool;
pub use push::{PushOptions, name_model_card};

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use serde_json::Value;
use sparse_index::{SimilarityFunction, SparseMatrix, SparseRow, Sparsity};

use crate::module::{Features, Flow, PipelineModule, TokenFeatures, Transformer};
use crate::tokenizer::TextTokenizer;
use crate::{
    Embeddings, Error, ForwardContext, ModelSource, ModuleKind, PackedTokens, PreprocessOptions,
    Preprocessor, Result,
};

/// Prompts by name.
pub type Prompts = BTreeMap<String, String>;

/// A learned sparse text encoder: an ordered list of modules that turn texts into sparse vectors.
///
/// The type is a Burn module: `train()` and `valid()` move it between a training and a plain state, `to_device` moves it
/// to another device. Clones share their tensors, tokenizers and an autoencoder's statistics.
#[derive(Module, Debug)]
pub struct SparseEncoder {
    modules: Vec<PipelineModule>,
    #[module(skip)]
    settings: Settings,
}

/// What belongs to no module.
#[derive(Debug, Clone, Default)]
struct Settings {
    prompts: Prompts,
    default_prompt_name: Option<String>,
    similarity_fn: Option<SimilarityFunction>,
    max_active_dims: Option<usize>,
    /// Versions that the directory was written with.
    version: BTreeMap<String, Value>,
    model_card: Option<String>,
    /// The directory that the model was loaded from.
    name: String,
    /// Where it is found again.
    source: Option<ModelSource>,
    /// What comes out of each module, as it was when the model was put together.
    flows: Vec<Flow>,
}

impl SparseEncoder {
    /// Tokenizes texts for [`forward`](Self::forward).
    ///
    /// # Errors
    ///
    /// If a text can not be tokenized, or no route takes the task.
    pub fn preprocess<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &PreprocessOptions,
    ) -> Result<PackedTokens> {
        self.modules[0].preprocess(texts, options.prompt.as_deref(), options.task.as_deref())
    }

    /// What turns texts into tokens, apart from the weights: to tokenize on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the model takes no texts.
    pub fn preprocessor(&self) -> Result<Preprocessor> {
        self.modules[0].preprocessor()
    }

    /// Tokenizes pairs of texts, each pair as one input.
    ///
    /// # Errors
    ///
    /// As [`preprocess`](Self::preprocess), or if the model takes no pairs.
    pub fn preprocess_pairs(
        &self,
        pairs: &[(&str, &str)],
        options: &PreprocessOptions,
    ) -> Result<PackedTokens> {
        self.modules[0].preprocess_pairs(pairs, options.prompt.as_deref(), options.task.as_deref())
    }

    /// Embeddings of tokenized texts, `[n_texts, embedding_dimension]`, dense, on the model's device.
    ///
    /// # Panics
    ///
    /// If a token id is outside the vocabulary, or the task of the tokens is none of the model's.
    pub fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Embeddings {
        crate::module::run(&self.modules, tokens, context).into_embeddings()
    }

    /// The first half of [`forward`](Self::forward): everything that looks at one text at a time, up to a sparse
    /// autoencoder, whose counters and auxiliary branch look at the whole batch. `[n_texts, width]`.
    ///
    /// Texts may be embedded in any number of mini-batches (see [`ForwardContext::with_offset`]); their vectors, laid below
    /// each other, are what [`forward_batch`](Self::forward_batch) takes. Without an autoencoder these are the embeddings.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_texts(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let modules = self.route(tokens.task.as_deref());
        let (front, _) = modules.split_at(autoencoder_place(&modules));
        crate::module::run(front.iter().copied(), tokens, &self.inside(context))
            .into_embeddings()
            .sentence_embedding
    }

    /// The second half of [`forward`](Self::forward): an autoencoder on the vectors of a whole batch, texts of the route of
    /// `task`.
    ///
    /// # Panics
    ///
    /// If no route takes the task.
    pub fn forward_batch(
        &self,
        texts: Tensor<2>,
        task: Option<&str>,
        context: &ForwardContext,
    ) -> Embeddings {
        let modules = self.route(task);
        let place = autoencoder_place(&modules);
        let context = self.inside(context);
        let back = modules[place..].iter().enumerate();
        back.fold(Features::of_texts(texts), |features, (index, module)| {
            module.forward_vectors(features, &context.part("module", place + index))
        })
        .into_embeddings()
    }

    /// The context inside of a router, where there is one.
    fn inside(&self, context: &ForwardContext) -> ForwardContext {
        match self.modules.first() {
            Some(PipelineModule::Router(_)) => context.part("module", 0),
            _ => context.clone(),
        }
    }

    /// The backbone's hidden states, `[n_tokens, hidden_size]`; for a look inside. `None` if the tokens take a way without a
    /// backbone.
    pub fn hidden_states(&self, tokens: &PackedTokens) -> Option<Tensor<2>> {
        let transformer = self.transformer(tokens)?;
        Some(transformer.hidden_states(tokens, &ForwardContext::inference()))
    }

    /// Logits over the vocabulary, `[n_tokens, vocab_size]`; for a look inside, since `encode` never builds them. `None` if
    /// the tokens take a way without a masked-language-model head.
    pub fn logits(&self, tokens: &PackedTokens) -> Option<Tensor<2>> {
        let transformer = self.transformer(tokens)?;
        match transformer
            .forward(Features::default(), tokens, &ForwardContext::inference())
            .tokens?
        {
            TokenFeatures::Logits {
                hidden,
                weight,
                bias,
            } => Some(sparse_kernels::linear(hidden, weight, bias)),
            TokenFeatures::Hidden(_) => None,
        }
    }

    fn transformer(&self, tokens: &PackedTokens) -> Option<&Transformer> {
        self.route(tokens.task.as_deref())
            .into_iter()
            .find_map(PipelineModule::transformer)
    }

    /// The modules that texts of a task run through; none if there is no route for it.
    fn route(&self, task: Option<&str>) -> Vec<&PipelineModule> {
        match self.modules.split_first() {
            Some((PipelineModule::Router(router), behind)) => {
                let mut modules = router.route(task).unwrap_or_default();
                modules.extend(behind);
                modules
            }
            _ => self.modules.iter().collect(),
        }
    }

    /// How two embeddings are compared; `dot` unless the model says otherwise.
    pub fn similarity_fn(&self) -> SimilarityFunction {
        self.settings
            .similarity_fn
            .unwrap_or(SimilarityFunction::Dot)
    }

    /// Changes how two embeddings are compared.
    pub fn set_similarity_fn(&mut self, similarity_fn: SimilarityFunction) {
        self.settings.similarity_fn = Some(similarity_fn);
    }

    /// Similarity of every row of `a` with every row of `b`, row-major, `[a.n_rows(), b.n_rows()]`.
    ///
    /// # Errors
    ///
    /// If the matrices differ in width.
    pub fn similarity(&self, a: &SparseMatrix, b: &SparseMatrix) -> Result<Vec<f32>> {
        self.similarity_fn()
            .matrix(a, b)
            .map_err(|error| Error::Unsupported(error.to_string()))
    }

    /// Similarity of each row of `a` with the same row of `b`.
    ///
    /// # Errors
    ///
    /// If the matrices differ in shape.
    pub fn similarity_pairwise(&self, a: &SparseMatrix, b: &SparseMatrix) -> Result<Vec<f32>> {
        self.similarity_fn()
            .pairwise(a, b)
            .map_err(|error| Error::Unsupported(error.to_string()))
    }

    /// Active dimensions per row, and the share of inactive ones.
    pub fn sparsity(embeddings: &SparseMatrix) -> Sparsity {
        Sparsity::of(embeddings)
    }

    /// What two texts share: for every row of `others` the products with `one`, where positive.
    ///
    /// # Errors
    ///
    /// If the widths differ.
    pub fn intersection(one: SparseRow<'_>, others: &SparseMatrix) -> Result<SparseMatrix> {
        let mut shared = SparseMatrix::new(others.n_cols());
        for row in others.rows() {
            one.intersection(row)
                .and_then(|vector| shared.push_row(vector.as_row()))
                .map_err(|error| Error::Unsupported(error.to_string()))?;
        }
        Ok(shared)
    }

    /// Tokens of each row with their weights, heaviest first; at most `top_k` each. Tokens are the vocabulary's own
    /// strings, such as `##ing`.
    ///
    /// # Errors
    ///
    /// If `top_k` is 0, or the model's dimensions are not a vocabulary.
    pub fn decode(
        &self,
        embeddings: &SparseMatrix,
        top_k: Option<usize>,
    ) -> Result<Vec<Vec<(String, f32)>>> {
        embeddings
            .rows()
            .map(|row| self.decode_row(row, top_k))
            .collect()
    }

    /// Tokens of one vector with their weights, as [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_row(
        &self,
        row: SparseRow<'_>,
        top_k: Option<usize>,
    ) -> Result<Vec<(String, f32)>> {
        if top_k == Some(0) {
            return Err(Error::Option {
                name: "top_k",
                problem: "must be a positive integer; got 0".to_string(),
            });
        }
        let tokenizer = self.vocabulary()?;
        let mut entries: Vec<(u32, f32)> = row.iter().collect();
        entries.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        entries.truncate(top_k.unwrap_or(usize::MAX));
        Ok(entries
            .into_iter()
            .map(|(id, weight)| (token_of(tokenizer, id), weight))
            .collect())
    }

    /// The token of each dimension of an embedding, as [`decode`](Self::decode) names it.
    ///
    /// # Errors
    ///
    /// If the model's dimensions are not a vocabulary.
    pub fn dimension_tokens(&self) -> Result<Vec<String>> {
        let tokenizer = self.vocabulary()?;
        let ids = (0..).take(self.embedding_dimension());
        Ok(ids.map(|id| token_of(tokenizer, id)).collect())
    }

    /// The tokenizer whose vocabulary the dimensions are.
    fn vocabulary(&self) -> Result<&TextTokenizer> {
        match self.flows().last() {
            Some(Flow::Sentence { lexical: true, .. }) => self.tokenizer(),
            _ => Err(Error::Unsupported(
                "the dimensions of this model are latents, not tokens".to_string(),
            )),
        }
    }

    pub(crate) fn tokenizer(&self) -> Result<&TextTokenizer> {
        let tokenizer = self.modules.first().and_then(PipelineModule::tokenizer);
        tokenizer.ok_or_else(|| Error::Unsupported("this model has no tokenizer".to_string()))
    }

    pub(crate) fn modules(&self) -> &[PipelineModule] {
        &self.modules
    }

    fn flows(&self) -> &[Flow] {
        &self.settings.flows
    }

    /// Number of dimensions of an embedding.
    pub fn embedding_dimension(&self) -> usize {
        match self.flows().last() {
            Some(Flow::Sentence { width, .. }) => *width,
            _ => 0,
        }
    }

    /// Number of tokens of the vocabulary, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer().map_or(0, TextTokenizer::vocab_size)
    }

    /// The id of a vocabulary string, which for a lexical model is its dimension.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer()
            .ok()
            .and_then(|tokenizer| tokenizer.id(token))
    }

    /// The vocabulary string of an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.tokenizer()
            .ok()
            .and_then(|tokenizer| tokenizer.token(id))
    }

    /// Whether the dimensions are the tokens of a vocabulary, so that [`decode`](Self::decode) works.
    pub fn is_splade(&self) -> bool {
        self.vocabulary().is_ok()
    }

    /// Longest text in tokens, special ones included; what is longer is cut.
    pub fn max_seq_length(&self) -> Option<usize> {
        self.modules
            .first()
            .and_then(PipelineModule::max_seq_length)
    }

    /// Changes the longest length.
    ///
    /// # Errors
    ///
    /// If the model has no positions for it, or it leaves no room beside the special tokens.
    pub fn set_max_seq_length(&mut self, max_seq_length: usize) -> Result<()> {
        self.modules[0].set_max_seq_length(max_seq_length)
    }

    /// Largest number of active dimensions per text, if limited.
    pub fn max_active_dims(&self) -> Option<usize> {
        self.settings.max_active_dims
    }

    /// Limits the number of active dimensions per text.
    ///
    /// # Errors
    ///
    /// If the limit is 0.
    pub fn set_max_active_dims(&mut self, max_active_dims: Option<usize>) -> Result<()> {
        if max_active_dims == Some(0) {
            return Err(Error::Option {
                name: "max_active_dims",
                problem: "must be at least 1; got 0".to_string(),
            });
        }
        self.settings.max_active_dims = max_active_dims;
        Ok(())
    }

    /// Whether the first dense pooling counts the tokens of a prompt. Nothing happens to a model without one.
    pub fn set_pooling_include_prompt(&mut self, include_prompt: bool) {
        let pooling = self.modules.iter_mut().find_map(|module| match module {
            PipelineModule::Pooling(pooling) => Some(pooling),
            _ => None,
        });
        if let Some(pooling) = pooling {
            pooling.set_include_prompt(include_prompt);
        }
    }

    /// The prompts by name; `query` and `document` are always there, empty for most models.
    pub fn prompts(&self) -> &Prompts {
        &self.settings.prompts
    }

    /// Replaces the prompts.
    pub fn set_prompts(&mut self, prompts: Prompts) {
        self.settings.prompts = prompts;
    }

    /// The prompt that `encode` uses when none is asked for.
    pub fn default_prompt_name(&self) -> Option<&str> {
        self.settings.default_prompt_name.as_deref()
    }

    /// Replaces the text of `README.md` that is saved with the model.
    pub fn set_model_card(&mut self, markdown: String) {
        self.settings.model_card = Some(markdown);
    }

    /// The text of `README.md`, if the model was loaded with one or has been given one.
    pub fn model_card(&self) -> Option<&str> {
        self.settings.model_card.as_deref()
    }

    /// The name that the model was loaded by: a directory, or an id of the hub.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where the model was loaded from: an absolute directory, or an id of the hub with the commit. What is changed or
    /// trained afterwards is not there; [`fingerprint`](Self::fingerprint) tells whether it is the same model.
    pub fn source(&self) -> Option<&ModelSource> {
        self.settings.source.as_ref()
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        struct First(Option<Device>);
        impl ModuleVisitor for First {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if self.0.is_none() {
                    self.0 = Some(param.lazy_device());
                }
            }
        }
        let mut first = First(None);
        self.visit(&mut first);
        first.0.unwrap_or_default()
    }

    /// The top-level modules, in order.
    pub fn module_types(&self) -> Vec<ModuleKind> {
        self.modules.iter().map(PipelineModule::kind).collect()
    }

    /// The model as Python prints it, for model cards.
    pub fn architecture(&self) -> String {
        let mut text = "SparseEncoder(\n".to_string();
        for (index, (module, flow)) in self
            .modules
            .iter()
            .zip(self.flows().iter().copied())
            .enumerate()
        {
            let body = module.printed(flow).replace('\n', "\n  ");
            text.push_str(&format!("  ({index}): {body}\n"));
        }
        text.push(')');
        text
    }
}

fn token_of(tokenizer: &TextTokenizer, dimension: u32) -> String {
    tokenizer
        .token(dimension)
        .unwrap_or_else(|| format!("[{dimension}]"))
}

/// Where the modules begin that look at the whole batch.
fn autoencoder_place(modules: &[&PipelineModule]) -> usize {
    modules
        .iter()
        .position(|module| matches!(module, PipelineModule::SparseAutoEncoder(_)))
        .unwrap_or(modules.len())
}
