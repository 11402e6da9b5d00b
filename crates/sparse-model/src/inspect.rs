//! What a model is, and what looks wrong with it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sparse_kernels::{Activation, PoolingStrategy};

use crate::module::{ModuleKind, PipelineModule, Transformer};
use crate::tokenizer::TextTokenizer;
use crate::{EncodeOptions, Error, PreprocessOptions, Result, SparseEncoder};

/// Texts that are encoded when the caller has none.
const SAMPLES: [&str; 8] = [
    "The weather is lovely today.",
    "how to train a sparse retrieval model",
    "The committee approved the annual budget after a long debate about public transport.",
    "aspirin and the risk of heart attack",
    "def add(a, b): return a + b",
    "A recipe for bread: flour, water, salt and time.",
    "capital of france",
    "Vaccines train the immune system to recognize a virus before an infection.",
];

/// A bias that is larger than this on average makes dimensions active without any text.
const LARGE_MEAN_BIAS: f32 = 0.5;

/// A single bias as large as this does so for its own dimension.
const LARGE_BIAS: f32 = 5.0;

/// A dimension that is active in this share of the texts says little about any of them.
const OFTEN: f64 = 0.9;

/// A dimension that had this many chances on average, and took none, is probably dead.
const CHANCES: f64 = 10.0;

/// The result of [`SparseEncoder::inspect`]; serializes to JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The directory that the model was loaded from.
    pub name: String,
    /// The kind of model, such as `SPLADE Sparse Encoder`.
    pub type_name: String,
    /// The modules, those of a router's routes included.
    pub modules: Vec<ModuleSummary>,
    /// Number of parameters.
    pub n_parameters: usize,
    /// Number of parameters that training changes.
    pub n_trainable: usize,
    /// Number of dimensions of an embedding.
    pub embedding_dimension: usize,
    /// Largest number of active dimensions, if limited.
    pub max_active_dims: Option<usize>,
    /// How two embeddings are compared.
    pub similarity: String,
    /// What is computed for each route (or for `text`, without a router), in words and in symbols.
    pub formulas: Vec<Formula>,
    /// How texts become tokens.
    pub tokenization: TokenizationContract,
    /// What the model makes of sample texts.
    pub sample: SampleReport,
    /// What looks wrong.
    pub warnings: Vec<String>,
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleSummary {
    /// Its place, such as `0` or `query.0`.
    pub place: String,
    /// Its class name.
    pub kind: String,
    /// Number of its parameters.
    pub n_parameters: usize,
}

/// How an embedding is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Formula {
    /// The route, or `text`.
    pub route: String,
    /// In words.
    pub words: String,
    /// In symbols.
    pub symbols: String,
}

/// How texts become tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenizationContract {
    /// Number of tokens of the vocabulary.
    pub vocab_size: usize,
    /// Longest text in tokens.
    pub max_seq_length: Option<usize>,
    /// Special tokens that are added to a text.
    pub n_special_tokens: usize,
    /// Special tokens by role.
    pub special_tokens: BTreeMap<String, String>,
    /// Whether the tokenizer's configuration says that case is ignored.
    pub lower_case: Option<bool>,
    /// Prompts by name, the empty ones left out.
    pub prompts: BTreeMap<String, String>,
}

/// An output bias that makes dimensions active by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadBias {
    /// The route of the head, or `text`.
    pub route: String,
    /// Mean over the dimensions.
    pub mean: f32,
    /// The largest entry.
    pub largest: f32,
}

/// What a model makes of sample texts, encoded as documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleReport {
    /// Number of texts.
    pub n_texts: usize,
    /// Mean number of active dimensions.
    pub active_dims: f64,
    /// Texts without any active dimension.
    pub n_empty: usize,
    /// Dimensions that no text activates.
    pub n_dead: usize,
    /// Dimensions active in nearly all texts, with their share, most frequent first; at most 20.
    pub frequent: Vec<(String, f64)>,
    /// Mean over the texts of the largest share of maxima that one token position wins, for maximum pooling.
    pub largest_position_share: Option<f64>,
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.name, self.type_name)?;
        writeln!(f, "\nModules")?;
        for module in &self.modules {
            writeln!(
                f,
                "  {:<12} {:<24} {:>12} parameters",
                module.place, module.kind, module.n_parameters
            )?;
        }
        writeln!(
            f,
            "  {:<12} {:<24} {:>12} parameters, {} trainable",
            "all", "", self.n_parameters, self.n_trainable
        )?;
        let limit = self.max_active_dims.map_or_else(
            || "not limited".to_string(),
            |limit| format!("at most {limit} active"),
        );
        writeln!(
            f,
            "\nEmbeddings\n  {} dimensions, {limit}; compared by {}",
            self.embedding_dimension, self.similarity
        )?;
        for formula in &self.formulas {
            writeln!(
                f,
                "  {}: {}\n    {}",
                formula.route, formula.words, formula.symbols
            )?;
        }
        let tokens = &self.tokenization;
        let length = tokens.max_seq_length.map_or_else(
            || "no limit".to_string(),
            |length| format!("at most {length} tokens"),
        );
        writeln!(
            f,
            "\nTexts\n  {length} of {}, {} of them special",
            tokens.vocab_size, tokens.n_special_tokens
        )?;
        for (role, token) in &tokens.special_tokens {
            writeln!(f, "  {role:<12} {token}")?;
        }
        if let Some(lower_case) = tokens.lower_case {
            writeln!(
                f,
                "  {:<12} {}",
                "case",
                if lower_case { "ignored" } else { "kept" }
            )?;
        }
        for (name, prompt) in &tokens.prompts {
            writeln!(f, "  prompt {name}: {prompt:?}")?;
        }
        let sample = &self.sample;
        writeln!(
            f,
            "\nOn {} sample texts\n  {:.1} active dimensions on average, {} texts without any, {} dimensions never active",
            sample.n_texts, sample.active_dims, sample.n_empty, sample.n_dead
        )?;
        if self.warnings.is_empty() {
            return write!(f, "\nNo warnings");
        }
        write!(f, "\nWarnings")?;
        self.warnings
            .iter()
            .try_for_each(|warning| write!(f, "\n  {warning}"))
    }
}

impl SparseEncoder {
    /// Describes the model and looks for signs of trouble on sample texts; on a built-in few if there are none.
    ///
    /// # Errors
    ///
    /// If a text can not be encoded.
    pub fn inspect<S: AsRef<str> + Sync>(&self, samples: &[S]) -> Result<Inspection> {
        let texts: Vec<&str> = if samples.is_empty() {
            SAMPLES.to_vec()
        } else {
            samples.iter().map(AsRef::as_ref).collect()
        };
        let sample = self.sample_report(&texts)?;
        let parameters = self.named_parameters();
        let size = |shape: &[usize]| shape.iter().product::<usize>();
        Ok(Inspection {
            name: self.name().to_string(),
            type_name: self.type_name(),
            modules: self.module_summaries(),
            n_parameters: parameters
                .iter()
                .map(|parameter| size(&parameter.shape))
                .sum(),
            n_trainable: parameters
                .iter()
                .filter(|parameter| parameter.trainable)
                .map(|parameter| size(&parameter.shape))
                .sum(),
            embedding_dimension: self.embedding_dimension(),
            max_active_dims: self.max_active_dims(),
            similarity: self.similarity_fn().name().to_string(),
            formulas: self
                .ways()
                .into_iter()
                .map(|(route, modules)| formula(&route, &modules))
                .collect(),
            tokenization: self.tokenization()?,
            warnings: self.warnings(&sample)?,
            sample,
        })
    }

    /// Every way through the model: the routes of a router, or the one row of modules.
    fn ways(&self) -> Vec<(String, Vec<&PipelineModule>)> {
        match self.modules().first() {
            Some(PipelineModule::Router(router)) => router
                .named_routes()
                .map(|(name, modules)| (name.to_string(), modules))
                .collect(),
            _ => vec![("text".to_string(), self.modules().iter().collect())],
        }
    }

    fn module_summaries(&self) -> Vec<ModuleSummary> {
        let routed = self.module_types().first() == Some(&ModuleKind::Router);
        self.ways()
            .into_iter()
            .flat_map(|(route, modules)| {
                modules.into_iter().enumerate().map(move |(index, module)| {
                    let parameters = module.named_parameters("");
                    ModuleSummary {
                        place: if routed {
                            format!("{route}.{index}")
                        } else {
                            index.to_string()
                        },
                        kind: module.kind().name().to_string(),
                        n_parameters: parameters
                            .iter()
                            .map(|parameter| parameter.shape.iter().product::<usize>())
                            .sum(),
                    }
                })
            })
            .collect()
    }

    fn tokenization(&self) -> Result<TokenizationContract> {
        let tokenizer: &TextTokenizer = self.tokenizer()?;
        let roles = [
            "cls_token",
            "sep_token",
            "bos_token",
            "eos_token",
            "pad_token",
            "unk_token",
            "mask_token",
        ];
        let special = roles.iter().filter_map(|role| {
            Some((role.to_string(), tokenizer.special_token(role)?.to_string()))
        });
        let prompts = self
            .prompts()
            .iter()
            .filter(|(_, prompt)| !prompt.is_empty());
        Ok(TokenizationContract {
            vocab_size: tokenizer.vocab_size(),
            max_seq_length: self.max_seq_length(),
            n_special_tokens: tokenizer.special_tokens_added(false),
            special_tokens: special.collect(),
            lower_case: tokenizer
                .setting("do_lower_case")
                .and_then(serde_json::Value::as_bool),
            prompts: prompts
                .map(|(name, prompt)| (name.clone(), prompt.clone()))
                .collect(),
        })
    }

    fn sample_report(&self, texts: &[&str]) -> Result<SampleReport> {
        let embeddings = self.encode_document(texts, &EncodeOptions::default())?;
        let mut counts = vec![0_usize; embeddings.n_cols()];
        for row in embeddings.rows() {
            row.indices()
                .iter()
                .for_each(|&index| counts[index as usize] += 1);
        }
        let n_texts = texts.len().max(1) as f64;
        let mut frequent: Vec<(usize, f64)> = counts
            .iter()
            .enumerate()
            .map(|(index, &count)| (index, count as f64 / n_texts))
            .filter(|(_, share)| *share >= OFTEN)
            .collect();
        frequent.sort_by(|left, right| right.1.total_cmp(&left.1));
        frequent.truncate(20);
        let lexical = self.is_splade();
        let name = |index: usize| match self.id_to_token(index as u32).filter(|_| lexical) {
            Some(token) => token,
            None => index.to_string(),
        };
        Ok(SampleReport {
            n_texts: texts.len(),
            active_dims: Self::sparsity(&embeddings).active_dims,
            n_empty: embeddings.rows().filter(|row| row.nnz() == 0).count(),
            n_dead: counts.iter().filter(|count| **count == 0).count(),
            frequent: frequent
                .into_iter()
                .map(|(index, share)| (name(index), share))
                .collect(),
            largest_position_share: self.largest_position_share(texts)?,
        })
    }

    /// The output biases of masked-language-model heads that are so large that dimensions are active whatever the text says.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn large_head_biases(&self) -> Result<Vec<HeadBias>> {
        let mut found = Vec::new();
        for (route, modules) in self.ways() {
            let Some(bias) = modules
                .iter()
                .find_map(|module| module.transformer())
                .and_then(Transformer::head_bias)
            else {
                continue;
            };
            let data = bias
                .try_into_data_as::<f32>()
                .map_err(|error| Error::Device(error.to_string()))?;
            let bias = data
                .as_slice::<f32>()
                .map_err(|error| Error::Device(format!("{error:?}")))?;
            let mean = bias.iter().sum::<f32>() / bias.len().max(1) as f32;
            let largest = bias.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if mean > LARGE_MEAN_BIAS || largest > LARGE_BIAS {
                found.push(HeadBias {
                    route,
                    mean,
                    largest,
                });
            }
        }
        Ok(found)
    }

    /// The mean over the texts, encoded as documents, of the largest share of active dimensions whose maximum one token
    /// position has; `None` without maximum pooling, or if no text has an active dimension. It builds the logits of one text
    /// at a time.
    ///
    /// # Errors
    ///
    /// If a text can not be tokenized, or the device fails.
    pub fn largest_position_share<S: AsRef<str>>(&self, texts: &[S]) -> Result<Option<f64>> {
        let ways = self.ways();
        let document = ways
            .iter()
            .find(|(route, _)| route == "document")
            .or_else(|| ways.first());
        let maximum = document.is_some_and(|(_, modules)| {
            modules.iter().any(|module| matches!(module, PipelineModule::SpladePooling(module) if module.function().0 == PoolingStrategy::Max))
        });
        if !maximum {
            return Ok(None);
        }
        let mut shares = Vec::new();
        for text in texts {
            let options = PreprocessOptions {
                prompt: self.prompt_for("document").map(str::to_string),
                task: Some("document".to_string()),
            };
            let tokens = self.preprocess(&[text.as_ref()], &options)?;
            let Some(logits) = self.logits(&tokens) else {
                return Ok(None);
            };
            let [n_tokens, width] = logits.dims();
            let data = logits
                .try_into_data_as::<f32>()
                .map_err(|error| Error::Device(error.to_string()))?;
            let values = data
                .as_slice::<f32>()
                .map_err(|error| Error::Device(format!("{error:?}")))?;
            let mut wins = vec![0_usize; n_tokens];
            for dimension in 0..width {
                let column = (0..n_tokens).map(|token| (token, values[token * width + dimension]));
                if let Some((token, value)) = column
                    .max_by(|left, right| left.1.total_cmp(&right.1).then(right.0.cmp(&left.0)))
                    && value > 0.0
                {
                    wins[token] += 1;
                }
            }
            let active: usize = wins.iter().sum();
            if active > 0 {
                shares.push(wins.into_iter().max().unwrap_or(0) as f64 / active as f64);
            }
        }
        Ok((!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64))
    }

    fn warnings(&self, sample: &SampleReport) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        for HeadBias {
            route,
            mean,
            largest,
        } in self.large_head_biases()?
        {
            warnings.push(format!(
                "the bias of the masked-language-model head ({route}) is large (mean {mean:.2}, largest {largest:.2}): it \
                 makes dimensions active whatever the text says"
            ));
        }
        for module in self.ways().into_iter().flat_map(|(_, modules)| modules) {
            if let PipelineModule::SparseAutoEncoder(module) = module
                && module.n_dead() > 0
            {
                warnings.push(format!(
                    "{} of {} latents of the autoencoder are dead: training did not use them any more",
                    module.n_dead(),
                    self.embedding_dimension()
                ));
            }
        }
        let dimension = self.embedding_dimension() as f64;
        let chances = sample.n_texts as f64 * sample.active_dims / dimension.max(1.0);
        if chances >= CHANCES && sample.n_dead as f64 > 0.5 * dimension {
            warnings.push(format!(
                "{} of {} dimensions are never active in the sample texts, though each could have been {chances:.0} times",
                sample.n_dead,
                self.embedding_dimension()
            ));
        }
        if let Some(share) = sample.largest_position_share.filter(|share| *share > 0.5) {
            warnings.push(format!("one token position has the maximum of {:.0} % of a text's active dimensions on average", share * 100.0));
        }
        if !sample.frequent.is_empty() {
            let first: Vec<&str> = sample
                .frequent
                .iter()
                .take(5)
                .map(|(token, _)| token.as_str())
                .collect();
            warnings.push(format!(
                "{} dimensions are active in at least {:.0} % of the sample texts: {}",
                sample.frequent.len(),
                OFTEN * 100.0,
                first.join(", ")
            ));
        }
        if sample.n_empty > 0 {
            warnings.push(format!(
                "{} of {} sample texts have no active dimension",
                sample.n_empty, sample.n_texts
            ));
        }
        if sample.active_dims > 0.5 * self.embedding_dimension() as f64 {
            warnings.push(format!(
                "embeddings are dense: {:.0} of {} dimensions are active",
                sample.active_dims,
                self.embedding_dimension()
            ));
        }
        Ok(warnings)
    }
}

/// What a row of modules computes.
fn formula(route: &str, modules: &[&PipelineModule]) -> Formula {
    let (words, symbols) = match modules.last() {
        Some(PipelineModule::SpladePooling(pooling)) => {
            let (strategy, activation) = pooling.function();
            let (name, symbol) = match strategy {
                PoolingStrategy::Max => ("the largest weight that any of the text's tokens gives it", "max_t"),
                PoolingStrategy::Sum => ("the sum of the weights that the text's tokens give it", "Σ_t"),
            };
            let (function, inner) = match activation {
                Activation::Relu => ("the logarithm of one plus the positive part of the logit", "ln(1 + max(0, z_tv))"),
                Activation::Log1pRelu => ("twice the logarithm of one plus the positive part of the logit", "ln(1 + ln(1 + max(0, z_tv)))"),
            };
            (
                format!("each dimension is a vocabulary token; its value is {name}, which is {function}"),
                format!("y_v = {symbol} {inner},  z_tv = h_t·E_v + b_v"),
            )
        }
        Some(PipelineModule::SparseAutoEncoder(encoder)) => (
            format!("each dimension is a latent of an autoencoder; a text keeps the {} largest, where positive", encoder.k()),
            format!("y = ReLU(top_{}((x − b_pre)·Wᵀ + b_latent)),  x the text's dense vector", encoder.k()),
        ),
        Some(PipelineModule::SparseStaticEmbedding(_)) => (
            "each dimension is a vocabulary token; its value is that token's fixed weight if it occurs in the text".to_string(),
            "y_v = w_v · [v ∈ text]".to_string(),
        ),
        _ => ("the output of the last module".to_string(), "y".to_string()),
    };
    Formula {
        route: route.to_string(),
        words,
        symbols,
    }
}
