//! A backbone with its tokenizer, and its masked-language-model head where the task asks for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use serde_json::{Map, Value, json};

use super::adapter::{self, Adapter};
use super::transformer_options::{CONFIG_NAMES, ModuleOptions};
use super::{Features, Flow, Place, TokenFeatures, named, tensors_to_save};
use crate::backbone::{Backbone, Family, MlmHead, PoolerWeights};
use crate::parameter::ParameterEntry;
use crate::preprocessor::TaskTokenizers;
use crate::pretrained::{
    Aliases, DirectoryWriter, ParameterReader, Weights, is_there, read_object, to_pretty,
};
use crate::tokenizer::{TextTokenizer, TokenizerSettings};
use crate::{Error, ForwardContext, LoraOptions, NamedParameter, PackedTokens, Result};

/// What a backbone is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Logits over the vocabulary.
    FillMask,
    /// Hidden states.
    FeatureExtraction,
}

impl Task {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FillMask => "fill-mask",
            Self::FeatureExtraction => "feature-extraction",
        }
    }

    pub(super) fn output_name(self) -> &'static str {
        match self {
            Self::FillMask => "logits",
            Self::FeatureExtraction => "last_hidden_state",
        }
    }
}

/// The module that turns texts into hidden states or logits.
#[derive(Module, Debug)]
pub(crate) struct Transformer {
    backbone: Backbone,
    head: Option<MlmHead>,
    /// Carried along for files that have it; no computation reads it.
    pooler: Option<PoolerWeights>,
    #[module(skip)]
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    task: Task,
    tokenizers: TaskTokenizers,
    /// `config.json`, as it will be saved.
    config: Map<String, Value>,
    /// What of it decides about vectors.
    architecture: Value,
    family: Family,
    entries: Vec<ParameterEntry>,
    kept_options: Map<String, Value>,
    /// Whether the module was saved under its old class name.
    mlm_class: bool,
    adapter: Option<Adapter>,
    /// The model that an adapter of this one says it is for.
    base_name: String,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("task", &self.task)
            .field("tokenizer", &self.tokenizers.tokenizer)
            .finish_non_exhaustive()
    }
}

impl Transformer {
    /// Loads a directory; `default_task` counts where its files do not name one.
    pub(crate) fn load(default_task: Task, mlm_class: bool, place: &Place<'_>) -> Result<Self> {
        let options = ModuleOptions::load(place.directory)?;
        let task = options.task(default_task)?;
        Self::load_task(task, mlm_class, &options, place)
    }

    /// Loads a plain backbone directory for a task.
    pub(crate) fn load_plain(task: Task, place: &Place<'_>) -> Result<Self> {
        Self::load_task(task, false, &ModuleOptions::load(place.directory)?, place)
    }

    fn load_task(
        task: Task,
        mlm_class: bool,
        options: &ModuleOptions,
        place: &Place<'_>,
    ) -> Result<Self> {
        options.check(task)?;
        // A directory with an adapter has its own tokenizer and options; the rest is with the base model.
        let adapter_base = adapter::base_of(place.directory, place.source)?;
        let source = adapter_base
            .as_ref()
            .map_or(place.directory, |base| base.directory.as_path());
        let base_name = adapter_base.as_ref().unwrap_or(place.source).name();
        let config_path = source.join("config.json");
        let mut config = read_object(&config_path, "it describes the architecture")?;
        let family = Backbone::family(&config, &config_path)?;

        let declared_positions = config
            .get("max_position_embeddings")
            .and_then(Value::as_i64)
            != Some(-1);
        let tokenizer_settings = TokenizerSettings {
            max_positions: family.max_positions.filter(|_| declared_positions),
            max_seq_length: options.length("max_seq_length")?,
            lower_case: options.get("do_lower_case")?.unwrap_or(false),
            n_embeddings: Some(family.vocab_size),
        };
        let own_tokenizer = is_there(&place.directory.join("tokenizer.json"))?;
        let tokenizer_directory = if own_tokenizer {
            place.directory
        } else {
            source
        };
        let tokenizer = TextTokenizer::load(tokenizer_directory, tokenizer_settings)?;

        let weights = Weights::open(source)?;
        let with_head = task == Task::FillMask;
        let aliases = Aliases {
            prefix: family.prefix,
            with_prefix: with_head,
            renamed: &[],
        };
        let mut reader = ParameterReader::new(
            &weights,
            place.device,
            aliases,
            format!("{}model.", place.owner),
        );
        let backbone = Backbone::load(&config, &config_path, &mut reader)?;
        let (head, pooler) = if with_head {
            (Some(MlmHead::load(&family, &mut reader)?), None)
        } else {
            (None, reader.backbone(PoolerWeights::load)?)
        };
        let keys = family.head.keys;
        let tied = family.tied;
        let entries = reader.finish(config["model_type"].as_str().unwrap_or_default(), |key| {
            key.ends_with("position_ids")
                || key.starts_with("cls.seq_relationship.")
                || (with_head && key.contains("pooler."))
                || if with_head {
                    tied && keys.repeats(key)
                } else {
                    keys.owns(key)
                }
        })?;

        if !with_head && let Some(Value::Array(architectures)) = config.get_mut("architectures") {
            for name in architectures.iter_mut() {
                if let Some(stem) = name
                    .as_str()
                    .and_then(|name| name.strip_suffix("ForMaskedLM"))
                {
                    *name = json!(format!("{stem}Model"));
                }
            }
        }
        let settings = Settings {
            task,
            architecture: Backbone::vector_settings(&config, &config_path)?,
            config,
            family,
            entries,
            tokenizers: TaskTokenizers {
                by_task: task_tokenizers(&tokenizer, options)?,
                tokenizer,
            },
            kept_options: options.kept(),
            mlm_class,
            adapter: None,
            base_name: base_name.clone(),
        };
        let plain = Self {
            backbone,
            head,
            pooler,
            settings: Arc::new(settings),
        };
        if adapter_base.is_none() {
            return Ok(plain);
        }
        let owner = format!("{}model.", place.owner);
        plain.attach(|module, settings| {
            let places = (owner.as_str(), base_name.as_str());
            Adapter::load(
                module,
                &settings.entries,
                place.directory,
                places,
                place.device,
            )
        })
    }

    /// Puts a fresh adapter on the chosen matrices.
    pub(crate) fn add_adapter(self, options: &LoraOptions, owner: &str) -> Result<Self> {
        if self.has_adapter() {
            return Err(Error::Unsupported(
                "this model has an adapter already".to_string(),
            ));
        }
        let device = self.devices().into_iter().next().unwrap_or_default();
        self.attach(|module, settings| {
            let places = (owner, settings.base_name.as_str());
            Adapter::attach(module, &settings.entries, options, places, &device)
        })
    }

    fn attach(
        self,
        attach: impl FnOnce(Self, &Settings) -> Result<(Self, Adapter)>,
    ) -> Result<Self> {
        let settings = self.settings.clone();
        let (mut module, adapter) = attach(self, &settings)?;
        Arc::make_mut(&mut module.settings).adapter = Some(adapter);
        Ok(module)
    }

    /// Adds the adapter into the weights, which are trainable again.
    pub(crate) fn merge_adapter(self) -> Self {
        if !self.has_adapter() {
            return self;
        }
        let mut module = self.materialize().set_require_grad(true);
        Arc::make_mut(&mut module.settings).adapter = None;
        module
    }

    pub(crate) fn has_adapter(&self) -> bool {
        self.settings.adapter.is_some()
    }

    pub(crate) fn named_parameters(&self, prefix: &str, class: &str) -> Vec<NamedParameter> {
        let Settings {
            entries, adapter, ..
        } = &*self.settings;
        let mut parameters = named(prefix, class, entries, adapter.is_none());
        if let Some(adapter) = adapter {
            parameters.extend(named(prefix, class, &adapter.entries, true));
        }
        parameters
    }

    pub(crate) fn class(&self) -> &'static str {
        if self.settings.mlm_class {
            "sentence_transformers.sparse_encoder.modules.mlm_transformer.MLMTransformer"
        } else {
            super::ModuleKind::Transformer.class()
        }
    }

    pub(crate) fn tokenizer(&self) -> &TextTokenizer {
        &self.settings.tokenizers.tokenizer
    }

    /// The tokenizer, and those for the texts of a task.
    pub(crate) fn tokenizers(&self) -> &TaskTokenizers {
        &self.settings.tokenizers
    }

    pub(crate) fn set_max_seq_length(&mut self, max_seq_length: usize) -> Result<()> {
        if let Some(positions) = self.settings.family.max_positions
            && max_seq_length > positions
        {
            let problem =
                format!("is {max_seq_length}, but the model has positions for {positions} tokens");
            return Err(Error::Option {
                name: "max_seq_length",
                problem,
            });
        }
        Arc::make_mut(&mut self.settings)
            .tokenizers
            .tokenizer
            .set_max_length(max_seq_length)
    }

    pub(crate) fn entries(&self) -> &[ParameterEntry] {
        &self.settings.entries
    }

    /// Width of the hidden states.
    pub(crate) fn hidden_size(&self) -> usize {
        self.settings.family.hidden_size
    }

    /// The output bias of the head.
    pub(crate) fn head_bias(&self) -> Option<burn::tensor::Tensor<1>> {
        self.head.as_ref().and_then(MlmHead::bias)
    }

    pub(crate) fn flow(&self) -> Flow {
        match self.head {
            Some(_) => Flow::Logits {
                vocab_size: self.settings.family.vocab_size,
            },
            None => Flow::Hidden {
                width: self.settings.family.hidden_size,
            },
        }
    }

    /// Hidden states of all tokens, `[n_tokens, hidden_size]`.
    pub(crate) fn hidden_states(
        &self,
        tokens: &PackedTokens,
        context: &ForwardContext,
    ) -> burn::tensor::Tensor<2> {
        self.backbone.forward(tokens, context)
    }

    pub(crate) fn forward(
        &self,
        features: Features,
        tokens: &PackedTokens,
        context: &ForwardContext,
    ) -> Features {
        let hidden = self.hidden_states(tokens, context);
        let tokens = match &self.head {
            None => TokenFeatures::Hidden(hidden),
            Some(head) => TokenFeatures::Logits {
                hidden: head.transform(hidden),
                weight: head
                    .decoder()
                    .unwrap_or_else(|| self.backbone.word_embeddings()),
                bias: head.bias(),
            },
        };
        Features {
            tokens: Some(tokens),
            ..features
        }
    }

    fn module_config(&self) -> Map<String, Value> {
        let task = self.settings.task;
        let mut config = Map::new();
        config.insert("transformer_task".to_string(), json!(task.name()));
        let modalities =
            json!({"text": {"method": "forward", "method_output_name": task.output_name()}});
        config.insert("modality_config".to_string(), modalities);
        config.insert("module_output_name".to_string(), json!("token_embeddings"));
        config.extend(self.settings.kept_options.clone());
        config
    }

    /// What decides about vectors.
    pub(crate) fn vector_settings(&self) -> Value {
        let Settings {
            task,
            tokenizers,
            architecture,
            adapter,
            ..
        } = &*self.settings;
        let by_task = tokenizers.by_task.iter();
        json!({
            "task": task.name(),
            "architecture": architecture,
            "tokenizer": tokenizers.tokenizer.fingerprint(),
            "lengths": by_task.map(|(task, own)| json!([task, own.max_length()])).collect::<Vec<_>>(),
            "adapter": adapter.as_ref().map(Adapter::vector_settings),
        })
    }

    pub(crate) fn printed_settings(&self) -> Value {
        let mut config = self.module_config();
        let architecture = self
            .settings
            .config
            .get("architectures")
            .and_then(|names| names.get(0))
            .cloned();
        config.insert(
            "architecture".to_string(),
            architecture.unwrap_or(Value::Null),
        );
        Value::Object(config)
    }

    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str) -> Result<()> {
        let at = |name: &str| {
            if directory.is_empty() {
                name.to_string()
            } else {
                format!("{directory}/{name}")
            }
        };
        writer.write(&at(CONFIG_NAMES[0]), &to_pretty(&self.module_config(), 4))?;
        self.settings.tokenizers.tokenizer.save(writer, directory)?;
        if let Some(adapter) = &self.settings.adapter {
            return adapter.save(self, writer, at);
        }
        let mut config = self.settings.config.clone();
        for key in ["dtype", "torch_dtype"] {
            if config.contains_key(key) {
                config.insert(key.to_string(), json!(writer.weight_type().torch_name()));
            }
        }
        let mut config = to_pretty(&config, 2);
        config.push(b'\n');
        writer.write(&at("config.json"), &config)?;
        let tensors = tensors_to_save(self, self.entries(), writer.weight_type())?;
        writer.write_tensors(at("model.safetensors"), tensors, &[("format", "pt")])
    }
}

/// The tokenizers that `query_length`, `document_length` and a `max_length` under `processing_kwargs` ask for; the last one
/// is stronger than the others.
fn task_tokenizers(
    tokenizer: &TextTokenizer,
    options: &ModuleOptions,
) -> Result<BTreeMap<Option<String>, TextTokenizer>> {
    let wanted = [
        (None, options.text_length()?),
        (Some("query"), options.length("query_length")?),
        (Some("document"), options.length("document_length")?),
    ];
    let mut tokenizers = BTreeMap::new();
    for (task, length) in wanted {
        let shorter =
            length.filter(|length| tokenizer.max_length().is_none_or(|limit| *length < limit));
        if let Some(length) = shorter {
            let mut shorter = tokenizer.clone();
            shorter.set_max_length(length)?;
            tokenizers.insert(task.map(str::to_string), shorter);
        }
    }
    Ok(tokenizers)
}
