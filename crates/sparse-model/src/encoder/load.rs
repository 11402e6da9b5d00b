//! Loading a model directory.

use std::path::Path;

use burn::tensor::Device;
use serde_json::Value;
use sparse_index::SimilarityFunction;
use sparse_kernels::RandomStream;

use super::{Prompts, Settings, SparseEncoder};
use crate::module::{
    Flow, PipelineModule, Place, Pooling, SparseAutoEncoder, SparseAutoEncoderConfig,
    SpladePooling, Task, Transformer, adapter_base, check_flow,
};
use crate::pretrained::{
    FoundModel, ModuleEntry, SentenceTransformersConfig, check_without_listing, is_there,
    join_inside, load_modules, read_limited, read_object, short_class,
};
use crate::{Error, LoadOptions, Result};

impl SparseEncoder {
    /// Loads a model onto a device: a directory that sentence-transformers or this crate wrote, or a plain
    /// masked-language-model directory, which becomes a SPLADE encoder with maximum pooling. A name that is no directory is
    /// the id of a model on the hub, such as `naver/splade-v3`, which is downloaded into the cache unless it is there.
    ///
    /// # Errors
    ///
    /// If there is no such directory or model, the hub can't be asked, a file is missing or damaged, or the parts do not fit
    /// together; the message names file and key.
    pub fn from_pretrained(name_or_path: impl AsRef<str>, device: &Device) -> Result<Self> {
        Self::from_pretrained_with(name_or_path, &LoadOptions::default(), device)
    }

    /// Loads a model with settings that win over those of its files; those in [`LoadOptions::hub`] say where a model of the hub
    /// is found.
    ///
    /// # Errors
    ///
    /// As [`from_pretrained`](Self::from_pretrained), or if an option is wrong.
    pub fn from_pretrained_with(
        name_or_path: impl AsRef<str>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self> {
        let name = name_or_path.as_ref();
        let source = FoundModel::find(name, &options.hub)?;
        let directory = source.directory.as_path();
        let saved = SentenceTransformersConfig::load(directory)?;
        let listing = directory.join("modules.json");
        let fresh = RandomStream::new(options.seed);
        let (modules, origin) = match load_modules(directory)? {
            Some(entries) if saved.model_type() == "SparseEncoder" => (
                load_listed(&entries, &source, &listing, device)?,
                Origin::SparseEncoder,
            ),
            Some(entries) if saved.model_type() == "SentenceTransformer" => {
                let modules = load_listed(&entries, &source, &listing, device)?;
                (
                    convert_dense(modules, &listing, fresh, device)?,
                    Origin::Dense,
                )
            }
            Some(_) => {
                tracing::warn!(
                    "`{name}` is a {}; its backbone alone becomes a sparse encoder",
                    saved.model_type()
                );
                (load_plain(&source, fresh, device)?, Origin::Plain)
            }
            None => {
                check_without_listing(directory)?;
                (load_plain(&source, fresh, device)?, Origin::Plain)
            }
        };
        let flows = check_flow(&modules, &listing)?;
        if !matches!(flows.last(), Some(Flow::Sentence { .. })) {
            return Err(Error::config(
                &listing,
                "modules",
                "end before there is one vector per text; a pooling module is missing",
            ));
        }
        let saved = if origin == Origin::Plain {
            SentenceTransformersConfig::default()
        } else {
            saved
        };
        let mut settings = Settings::new(saved, options, directory, name)?;
        settings.source = Some(source.source());
        settings.flows = flows;
        if origin != Origin::SparseEncoder {
            settings.model_card = None;
        }
        let k = modules.iter().find_map(|module| match module {
            PipelineModule::SparseAutoEncoder(module) => Some(module.k()),
            _ => None,
        });
        settings.max_active_dims = settings.max_active_dims.or(k);
        let mut encoder = Self { modules, settings };
        if let Some(length) = options.max_seq_length {
            encoder.set_max_seq_length(length)?;
        }
        Ok(encoder)
    }
}

impl Settings {
    fn new(
        saved: SentenceTransformersConfig,
        options: &LoadOptions,
        directory: &Path,
        name: &str,
    ) -> Result<Self> {
        let mut prompts: Prompts = [("document", ""), ("query", "")]
            .map(|(name, text)| (name.to_string(), text.to_string()))
            .into();
        prompts.extend(
            saved
                .prompts
                .into_iter()
                .filter_map(|(name, prompt)| prompt.map(|prompt| (name, prompt))),
        );
        prompts.extend(options.prompts.iter().cloned());
        let default_prompt_name = options
            .default_prompt_name
            .clone()
            .or(saved.default_prompt_name);
        if let Some(name) = &default_prompt_name
            && !prompts.contains_key(name)
        {
            let unknown = Error::UnknownPrompt {
                name: name.clone(),
                known: prompts.into_keys().collect(),
            };
            return Err(match options.default_prompt_name {
                Some(_) => unknown,
                None => {
                    let path = directory.join("config_sentence_transformers.json");
                    Error::config(&path, "default_prompt_name", format!("names an {unknown}"))
                }
            });
        }
        if options.max_active_dims == Some(0) {
            return Err(Error::Option {
                name: "max_active_dims",
                problem: "must be at least 1; got 0".to_string(),
            });
        }
        // A name of another model family is dropped.
        let saved_similarity: Option<SimilarityFunction> =
            saved.similarity_fn_name.and_then(|name| name.parse().ok());
        let card = directory.join("README.md");
        let model_card = if is_there(&card)? {
            Some(read_card(&card)?)
        } else {
            None
        };
        Ok(Self {
            prompts,
            default_prompt_name,
            similarity_fn: options.similarity_fn.or(saved_similarity),
            max_active_dims: options.max_active_dims.or(saved.max_active_dims),
            version: saved.version,
            model_card,
            name: name.to_string(),
            source: None,
            flows: Vec::new(),
        })
    }
}

/// Longest model card; some have pictures in their text.
const LONGEST_CARD: u64 = 64 << 20;

fn read_card(path: &Path) -> Result<String> {
    let text = read_limited(path, LONGEST_CARD, "")?;
    String::from_utf8(text).map_err(|error| Error::Unreadable {
        path: path.to_path_buf(),
        problem: format!("is no UTF-8 text: {}", error.utf8_error()),
    })
}

/// Loads the modules that `modules.json` lists.
fn load_listed(
    entries: &[ModuleEntry],
    source: &FoundModel,
    listing: &Path,
    device: &Device,
) -> Result<Vec<PipelineModule>> {
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let class = short_class(&entry.class, listing)?;
            let own = join_inside(&source.directory, &entry.path).ok_or_else(|| {
                Error::config(
                    listing,
                    "path",
                    format!("is `{}`, outside of the model directory", entry.path),
                )
            })?;
            PipelineModule::load(
                class,
                &Place {
                    directory: &own,
                    listing,
                    owner: format!("{index}."),
                    source,
                    device,
                },
            )
        })
        .collect()
}

/// What a directory was before it became a sparse encoder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    SparseEncoder,
    /// A dense encoder of sentence-transformers.
    Dense,
    /// A backbone.
    Plain,
}

/// Makes the modules for a directory without a saved sparse pipeline: a SPLADE encoder with maximum pooling out of a
/// masked-language model, an untrained sparse autoencoder on the mean of hidden states out of anything else.
fn load_plain(
    source: &FoundModel,
    fresh: RandomStream,
    device: &Device,
) -> Result<Vec<PipelineModule>> {
    let directory = source.directory.as_path();
    let mut config_path = directory.join("config.json");
    // A directory with nothing but an adapter, as PEFT writes it: the architecture is that of its base model.
    if !is_there(&config_path)?
        && let Some(base) = adapter_base(directory, source)?
    {
        config_path = base.directory.join("config.json");
    }
    let config = read_object(&config_path, "it describes the architecture")?;
    let is_masked_lm = match config.get("architectures") {
        Some(Value::Array(names)) => names.iter().any(|name| {
            name.as_str()
                .is_some_and(|name| name.ends_with("ForMaskedLM"))
        }),
        _ => false,
    };
    let place = Place {
        directory,
        listing: &config_path,
        owner: "0.".to_string(),
        source,
        device,
    };
    if is_masked_lm {
        tracing::warn!(
            "`{}` has no `modules.json`: it is taken for a plain masked-language model, with maximum pooling of \
             ln(1 + max(0, logit)), dot product and no prompts",
            directory.display()
        );
        let transformer = Transformer::load_plain(Task::FillMask, &place)?;
        let pooling = SpladePooling::new(Default::default(), Default::default());
        return Ok(vec![
            PipelineModule::Transformer(transformer),
            PipelineModule::SpladePooling(pooling),
        ]);
    }
    tracing::warn!(
        "`{}` names no `...ForMaskedLM` under `architectures`: the model becomes a CSR encoder with an untrained autoencoder; \
         name the architecture there if it has a masked-language-model head and should become a SPLADE encoder",
        config_path.display()
    );
    let transformer = Transformer::load_plain(Task::FeatureExtraction, &place)?;
    let width = transformer.hidden_size();
    let autoencoder = SparseAutoEncoder::new(
        SparseAutoEncoderConfig::new(width, 256, 512),
        fresh,
        "2.",
        device,
    );
    Ok(vec![
        PipelineModule::Transformer(transformer),
        PipelineModule::Pooling(Pooling::mean(width)),
        PipelineModule::SparseAutoEncoder(autoencoder),
    ])
}

fn has_autoencoder(modules: &[PipelineModule]) -> bool {
    modules
        .iter()
        .any(|module| matches!(module, PipelineModule::SparseAutoEncoder(_)))
}

/// Puts an untrained sparse autoencoder on a dense encoder.
fn convert_dense(
    mut modules: Vec<PipelineModule>,
    listing: &Path,
    fresh: RandomStream,
    device: &Device,
) -> Result<Vec<PipelineModule>> {
    match check_flow(&modules, listing)?.last() {
        Some(Flow::Sentence { lexical, .. }) if *lexical || has_autoencoder(&modules) => {
            tracing::warn!(
                "`{}` lies beside no `config_sentence_transformers.json` that says SparseEncoder, but its modules are those of one; \
                 it is loaded as it is, its prompts empty and its similarity dot unless that file says otherwise",
                listing.display()
            );
        }
        Some(Flow::Sentence { width, .. }) => {
            tracing::warn!(
                "a dense encoder becomes a CSR encoder: an untrained sparse autoencoder is put on it"
            );
            let width = *width;
            let config = SparseAutoEncoderConfig::new(width, (width / 4).max(1), width / 2);
            let owner = format!("{}.", modules.len());
            modules.push(PipelineModule::SparseAutoEncoder(SparseAutoEncoder::new(
                config, fresh, &owner, device,
            )));
        }
        _ => {
            return Err(Error::config(
                listing,
                "modules",
                "end before there is one vector per text",
            ));
        }
    }
    Ok(modules)
}
