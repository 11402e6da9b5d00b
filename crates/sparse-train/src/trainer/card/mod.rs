//! The model card, filled from the run: metadata, how to use the model, evaluations, data, hyperparameters, logs, literature.

mod data;
mod evaluation;
mod table;
mod training;
mod yaml;

use std::path::Path;

use serde_json::{Map, Value, json};
use sparse_eval::{Evaluator, SimilarityFunction};
use sparse_losses::{Description, RegularizerScheduleConfig};
use sparse_model::{EncodeOptions, SparseEncoder};

use crate::arguments::TrainingArguments;
use crate::callback::Emissions;
use crate::collator::Collator;
use crate::config::{ModelCardConfig, is_hub_id};
use crate::dataset::DatasetWithLoss;
use crate::error::Result;
use crate::state::TrainerState;
use data::DataFacts;
use evaluation::Judgement;

/// Stands for the id of the model until it is uploaded.
const PLACEHOLDER_ID: &str = "sparse_encoder_model_id";

/// Release whose layout of files is written.
const LAYOUT: &str = "6.2.0";

const EXAMPLES: usize = 5;
const LONGEST_EXAMPLE: usize = 250;

/// What a card needs beside the model and the state of the run.
#[derive(Debug)]
pub(crate) struct CardRecord {
    pub(crate) config: ModelCardConfig,
    base_model: Option<String>,
    train: Vec<DataFacts>,
    eval: Vec<DataFacts>,
    schedule: Option<Value>,
    /// By evaluator, from its last evaluation.
    judgements: Vec<Vec<Judgement>>,
    /// Scores of the example that the card shows.
    scores: Option<String>,
}

/// The run as a card tells it.
pub(crate) struct Run<'a> {
    pub(crate) encoder: &'a SparseEncoder,
    pub(crate) arguments: &'a TrainingArguments,
    pub(crate) state: &'a TrainerState,
    /// What was measured before the first step.
    pub(crate) before: Option<&'a [(String, f64)]>,
    pub(crate) emissions: Option<Emissions>,
}

impl CardRecord {
    /// Looks at the data sets.
    pub(crate) fn new(
        config: ModelCardConfig,
        encoder: &SparseEncoder,
        collator: &Collator,
        train: &[DatasetWithLoss],
        eval: &[DatasetWithLoss],
        schedule: &RegularizerScheduleConfig,
    ) -> Result<Self> {
        let facts = |datasets: &[DatasetWithLoss]| -> Result<Vec<DataFacts>> {
            if !config.generate {
                return Ok(Vec::new());
            }
            datasets
                .iter()
                .map(|dataset| DataFacts::new(dataset, collator))
                .collect()
        };
        let name = encoder.name();
        let from_hub = is_hub_id(name) && name.contains('/') && !Path::new(name).exists();
        let regularized = train
            .iter()
            .any(|dataset| dataset.loss.regularizer_weights().is_some());
        Ok(Self {
            base_model: config
                .base_model
                .clone()
                .or(from_hub.then(|| name.to_owned())),
            train: facts(train)?,
            eval: facts(eval)?,
            schedule: regularized.then(|| json!(schedule)),
            judgements: Vec::new(),
            scores: None,
            config,
        })
    }

    /// Remembers what an evaluator found.
    pub(crate) fn record(
        &mut self,
        index: usize,
        evaluator: &dyn Evaluator,
        own: SimilarityFunction,
        metrics: &[(String, f64)],
    ) {
        if self.judgements.len() <= index {
            self.judgements.resize(index + 1, Vec::new());
        }
        self.judgements[index] = evaluation::judgements(evaluator, own, metrics);
    }

    /// Runs the example of the card, for its scores.
    ///
    /// # Errors
    ///
    /// If the model can't encode.
    pub(crate) fn run_example(&mut self, encoder: &SparseEncoder) -> Result<()> {
        let (queries, documents) = self.example();
        if !self.config.generate || queries.is_empty() || documents.is_empty() {
            return Ok(());
        }
        let options = EncodeOptions::default();
        let queries = encoder.encode_query(&queries, &options)?;
        let documents = encoder.encode_document(&documents, &options)?;
        let scores = encoder.similarity(&queries, &documents)?;
        let scores: Vec<String> = scores.iter().map(|score| format!("{score:.4}")).collect();
        self.scores = Some(format!("[[{}]]", scores.join(", ")));
        Ok(())
    }

    /// A query and documents, texts of the first data set.
    fn example(&self) -> (Vec<String>, Vec<String>) {
        let columns = self
            .train
            .first()
            .map(|facts| facts.columns.as_slice())
            .unwrap_or_default();
        let texts: Vec<_> = columns.iter().filter(|column| column.is_text).collect();
        let (Some(query), Some(document)) = (texts.first(), texts.get(1).or(texts.first())) else {
            return Default::default();
        };
        if !self.config.generate_widget_examples {
            return (
                vec!["a query".to_owned()],
                ["a document", "another one", "a third"]
                    .map(str::to_owned)
                    .to_vec(),
            );
        }
        (
            query.samples.iter().take(1).cloned().collect(),
            document.samples.iter().take(3).cloned().collect(),
        )
    }

    fn losses(&self) -> Vec<&Description> {
        let mut losses: Vec<&Description> = Vec::new();
        for part in self
            .train
            .iter()
            .flat_map(|facts| facts.description.flatten())
        {
            if !losses
                .iter()
                .any(|known| known.class_name == part.class_name)
            {
                losses.push(part);
            }
        }
        losses
    }

    fn model_name(&self, encoder: &SparseEncoder) -> String {
        if let Some(name) = &self.config.model_name {
            return name.clone();
        }
        let kind = encoder.type_name();
        let data: Vec<&str> = self
            .train
            .iter()
            .map(|facts| facts.name.as_str())
            .filter(|name| *name != "default")
            .collect();
        match (&self.base_model, data.as_slice()) {
            (Some(base), []) => format!("{kind} based on {base}"),
            (Some(base), data) => format!("{kind} based on {base}, trained on {}", data.join(", ")),
            (None, []) => kind,
            (None, data) => format!("{kind} trained on {}", data.join(", ")),
        }
    }

    fn metadata(&self, run: &Run<'_>, judgements: &[Judgement]) -> String {
        let config = &self.config;
        let type_name = run.encoder.type_name();
        let words = type_name
            .strip_suffix("Sparse Encoder")
            .unwrap_or_default()
            .split_whitespace();
        let mut tags: Vec<String> = ["sentence-transformers", "sparse-encoder", "sparse"]
            .map(str::to_owned)
            .to_vec();
        tags.extend(words.map(str::to_lowercase));
        tags.push("generated_from_trainer".to_owned());
        let n_rows: usize = self.train.iter().map(|facts| facts.n_rows).sum();
        tags.push(format!("dataset_size:{n_rows}"));
        tags.extend(
            self.losses()
                .iter()
                .map(|loss| format!("loss:{}", loss.class_name)),
        );
        for tag in &config.tags {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        let mut entries = Map::new();
        let mut put = |key: &str, value: Value| {
            let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            if !is_empty {
                entries.insert(key.to_owned(), value);
            }
        };
        put("language", json!(config.language));
        put("license", json!(config.license));
        put("tags", json!(tags));
        put("datasets", json!(config.datasets));
        put("base_model", json!(self.base_model));
        let widget: Vec<Value> = self
            .widget()
            .iter()
            .map(|text| json!({ "text": text }))
            .collect();
        put("widget", json!(widget));
        put("pipeline_tag", json!("feature-extraction"));
        put("library_name", json!("sentence-transformers"));
        put("metrics", json!(evaluation::metric_types(judgements)));
        if let Some(emissions) = &run.emissions {
            put("co2_eq_emissions", training::co2(emissions));
        }
        if !judgements.is_empty() {
            put(
                "model-index",
                evaluation::model_index(&self.model_name(run.encoder), judgements),
            );
        }
        yaml::block(&Value::Object(entries), 0)
    }

    fn widget(&self) -> Vec<&String> {
        if !self.config.generate_widget_examples {
            return Vec::new();
        }
        let mut texts: Vec<&String> = Vec::new();
        let columns = self.train.iter().flat_map(|facts| &facts.columns);
        let first: Vec<_> = columns.filter(|column| column.is_text).collect();
        for text in first
            .iter()
            .flat_map(|column| column.samples.iter().take(2))
        {
            if !texts.contains(&text)
                && !text.trim().is_empty()
                && text.chars().count() <= LONGEST_EXAMPLE
            {
                texts.push(text);
            }
        }
        texts.truncate(EXAMPLES);
        texts
    }

    /// The whole card.
    pub(crate) fn render(&self, run: &Run<'_>) -> String {
        let judgements: Vec<Judgement> = self.judgements.concat();
        let mut card = format!("---\n{}---\n", self.metadata(run, &judgements));
        card.push_str(&self.description(run.encoder));
        card.push_str(&self.usage(run.encoder));
        if !judgements.is_empty() {
            card.push_str(&evaluation::section(&judgements, run.before));
        }
        card.push_str(
            "\n<!--\n## Bias, Risks and Limitations\n\nWhat is known of the model's weaknesses, and of texts it should not be used on.\n\n\
             ### Recommendations\n\nWhat its users should do about them.\n-->\n\n## Training Details\n",
        );
        for (title, role, sets) in [
            ("Training Dataset", "training", &self.train),
            ("Evaluation Dataset", "evaluation", &self.eval),
        ] {
            if !sets.is_empty() {
                let s = if sets.len() > 1 { "s" } else { "" };
                card.push_str(&format!("\n### {title}{s}\n"));
            }
            for facts in sets {
                card.push_str(&facts.section(role, self.config.generate_widget_examples));
            }
        }
        if let Some(schedule) = &self.schedule {
            card.push_str(&format!(
                "\n### Regularizer Schedule\n\n```json\n{schedule:#}\n```\n"
            ));
        }
        card.push_str(&training::hyperparameters(run.arguments));
        let primaries = evaluation::primary_keys(&judgements);
        card.push_str(&training::logs(
            run.state,
            &primaries,
            run.arguments.load_best_model_at_end,
        ));
        card.push_str(&training::time(run.state));
        if let Some(emissions) = &run.emissions {
            card.push_str(&training::impact(emissions));
        }
        card.push_str(&training::versions(LAYOUT));
        card.push_str(&self.citations());
        card.push_str(
            "\n<!--\n## Model Card Authors\n\nWho wrote this card, and how to reach them.\n-->\n",
        );
        card
    }

    fn description(&self, encoder: &SparseEncoder) -> String {
        let kind = encoder.type_name();
        let dimension = encoder.embedding_dimension();
        let length = encoder.max_seq_length().map_or_else(
            || "unlimited".to_owned(),
            |length| format!("{length} tokens"),
        );
        let similarity = match encoder.similarity_fn() {
            SimilarityFunction::Dot => "Dot Product",
            SimilarityFunction::Cosine => "Cosine Similarity",
            SimilarityFunction::Euclidean => "Euclidean Distance",
            SimilarityFunction::Manhattan => "Manhattan Distance",
        };
        let mut facts = vec![format!("- **Model Type:** {kind}")];
        if let Some(base) = &self.base_model {
            facts.push(format!(
                "- **Base model:** [{base}](https://huggingface.co/{base})"
            ));
        }
        facts.push(format!("- **Maximum Sequence Length:** {length}"));
        facts.push(format!(
            "- **Output Dimensionality:** {dimension} dimensions"
        ));
        if let Some(limit) = encoder.max_active_dims() {
            facts.push(format!("- **Active Dimensions:** at most {limit}"));
        }
        facts.push(format!("- **Similarity Function:** {similarity}"));
        facts.push("- **Supported Modality:** Text".to_owned());
        let links = self.config.datasets.iter();
        let links: Vec<String> = links
            .map(|id| format!("[{id}](https://huggingface.co/datasets/{id})"))
            .collect();
        if !links.is_empty() {
            facts.push(format!("- **Training Dataset:** {}", links.join(", ")));
        }
        if !self.config.language.is_empty() {
            facts.push(format!(
                "- **Language:** {}",
                self.config.language.join(", ")
            ));
        }
        if let Some(license) = &self.config.license {
            facts.push(format!("- **License:** {license}"));
        }
        let origin = match &self.base_model {
            Some(base) => format!(" fine-tuned from [{base}](https://huggingface.co/{base})"),
            None => String::new(),
        };
        format!(
            "\n# {}\n\nThis is a {kind} model{origin}. It maps texts to sparse vectors of {dimension} dimensions and can be used for \
             {}. It was trained with sparse-encoder, a Rust library, and its files have the layout of sentence-transformers, \
             which loads it too.\n\n## Model Details\n\n### Model Description\n\n{}\n\n### Model Sources\n\n\
             - **Documentation:** [Sparse Encoder Documentation](https://www.sbert.net/docs/sparse_encoder/usage/usage.html)\n\
             - **Models of this kind:** [on Hugging Face](https://huggingface.co/models?library=sentence-transformers&other=sparse-encoder)\n\n\
             ### Full Model Architecture\n\n```\n{}\n```\n",
            self.model_name(encoder),
            self.config.task_name,
            facts.join("\n"),
            encoder.architecture()
        )
    }

    fn usage(&self, encoder: &SparseEncoder) -> String {
        let id = self.config.model_id.as_deref().unwrap_or(PLACEHOLDER_ID);
        let (queries, documents) = self.example();
        let list = |texts: &[String]| -> String {
            // A JSON text is a text of Python and of Rust too, but for what Rust escapes in another way.
            let lines = texts
                .iter()
                .map(|text| format!("    {},\n", Value::from(text.as_str())));
            lines.collect()
        };
        let scores = self
            .scores
            .as_ref()
            .map_or(String::new(), |scores| format!("# {scores}\n"));
        format!(
            "\n## Usage\n\n### From the command line\n\n```bash\nsparse-encoder encode --model {id} --input texts.txt\n```\n\n\
             ### From Python\n\nWith `pip install -U sentence-transformers`:\n\n```python\nfrom sentence_transformers import SparseEncoder\n\n\
             model = SparseEncoder(\"{id}\")\nqueries = [\n{}]\ndocuments = [\n{}]\nquery_embeddings = model.encode_query(queries)\n\
             document_embeddings = model.encode_document(documents)\nprint(query_embeddings.shape, document_embeddings.shape)\n\
             # [{}, {dimension}] [{}, {dimension}]\n\nprint(model.similarity(query_embeddings, document_embeddings))\n{scores}```\n",
            list(&queries),
            list(&documents),
            queries.len(),
            documents.len(),
            dimension = encoder.embedding_dimension(),
        )
    }

    fn citations(&self) -> String {
        let mut text = String::new();
        let mut known: Vec<&str> = Vec::new();
        for loss in self.losses() {
            let Some(citation) = loss
                .citation
                .as_deref()
                .filter(|citation| !known.contains(citation))
            else {
                continue;
            };
            known.push(citation);
            text.push_str(&format!(
                "\n#### {}\n```bibtex\n{}\n```\n",
                loss.class_name,
                citation.trim_end()
            ));
        }
        if text.is_empty() {
            return text;
        }
        format!("\n## Citation\n\n### BibTeX\n{text}")
    }
}
