//! Saving a model directory.

use std::path::Path;

use serde_json::json;
use sparse_files::StagedDirectory;

use super::SparseEncoder;
use crate::module::PipelineModule;
use crate::pretrained::{
    DirectoryWriter, ModuleEntry, SentenceTransformersConfig, save_directory, to_pretty,
};
use crate::{Result, WeightType};

/// The release whose layout and behaviour is written.
const LAYOUT_VERSION: &str = "6.2.0";

impl SparseEncoder {
    /// Writes the model into a directory, in the layout of sentence-transformers 6.2, which loads it.
    ///
    /// The files are written beside the directory and moved there when complete; until then nothing is changed. Of a model
    /// that is there already, its own files are replaced; all others stay.
    ///
    /// # Errors
    ///
    /// If the path is a file or a directory with other files and no model ([`check_target`](crate::check_target)), a file
    /// can not be written, or the device fails.
    pub fn save_pretrained(&self, directory: impl AsRef<Path>) -> Result<()> {
        self.save_pretrained_as(directory, WeightType::F32)
    }

    /// Writes the model as [`save_pretrained`](Self::save_pretrained) does, with weights of another type.
    ///
    /// # Errors
    ///
    /// As [`save_pretrained`](Self::save_pretrained).
    pub fn save_pretrained_as(
        &self,
        directory: impl AsRef<Path>,
        weight_type: WeightType,
    ) -> Result<()> {
        save_directory(directory.as_ref(), |staged| {
            self.write_files(&DirectoryWriter::new(staged, weight_type))
        })
    }

    /// Writes the files of the model into a directory that is being written, which may get others.
    ///
    /// # Errors
    ///
    /// If a file can not be written, or the device fails.
    pub fn save_into(&self, staged: &StagedDirectory) -> Result<()> {
        self.write_files(&DirectoryWriter::new(staged, WeightType::F32))
    }

    fn write_files(&self, writer: &DirectoryWriter) -> Result<()> {
        let settings = &self.settings;
        let mut version = settings.version.clone();
        version
            .entry("sentence_transformers".to_string())
            .or_insert_with(|| json!(LAYOUT_VERSION));
        let config = SentenceTransformersConfig {
            version,
            default_prompt_name: settings.default_prompt_name.clone(),
            max_active_dims: settings.max_active_dims,
            model_type: Some("SparseEncoder".to_string()),
            prompts: settings
                .prompts
                .iter()
                .map(|(name, prompt)| (name.clone(), Some(prompt.clone())))
                .collect(),
            similarity_fn_name: settings
                .similarity_fn
                .map(|function| function.name().to_string()),
        };
        writer.write("config_sentence_transformers.json", &to_pretty(&config, 2))?;

        let mut entries = Vec::new();
        for (index, (module, flow)) in self
            .modules
            .iter()
            .zip(self.flows().iter().copied())
            .enumerate()
        {
            let path = if index == 0 && module.takes_texts() {
                String::new()
            } else {
                format!("{index}_{}", module.directory_name())
            };
            module.save(writer, &path, flow)?;
            entries.push(ModuleEntry {
                idx: index,
                name: index.to_string(),
                path,
                class: module.class().to_string(),
                kwargs: None,
            });
        }
        writer.write("modules.json", &to_pretty(&entries, 2))?;
        let card = settings
            .model_card
            .clone()
            .unwrap_or_else(|| self.default_model_card());
        writer.write("README.md", card.as_bytes())
    }

    /// The kind of model in the reference's words, such as `SPLADE Sparse Encoder`.
    pub fn type_name(&self) -> String {
        let mut parts: Vec<&str> = PipelineModule::type_words(&self.modules);
        parts.push("Sparse Encoder");
        parts.join(" ")
    }

    /// The text of `README.md` that is saved when the model has no other.
    pub fn default_model_card(&self) -> String {
        let type_name = self.type_name();
        let tags: String = PipelineModule::type_words(&self.modules)
            .iter()
            .map(|word| format!("- {}\n", word.to_lowercase()))
            .collect();
        let dimension = self.embedding_dimension();
        let length = self.max_seq_length().map_or_else(
            || "unlimited".to_string(),
            |length| format!("{length} tokens"),
        );
        let similarity = match self.similarity_fn() {
            sparse_index::SimilarityFunction::Dot => "Dot Product",
            sparse_index::SimilarityFunction::Cosine => "Cosine Similarity",
            sparse_index::SimilarityFunction::Euclidean => "Euclidean Distance",
            sparse_index::SimilarityFunction::Manhattan => "Manhattan Distance",
        };
        format!(
            "---\ntags:\n- sentence-transformers\n- sparse-encoder\n- sparse\n{tags}pipeline_tag: feature-extraction\n\
             library_name: sentence-transformers\n---\n\n# {type_name}\n\n\
             This model maps inputs to a {dimension}-dimensional sparse vector space and can be used for semantic search and \
             sparse retrieval.\n\n## Model Details\n\n### Model Description\n- **Model Type:** {type_name}\n\
             - **Maximum Sequence Length:** {length}\n- **Output Dimensionality:** {dimension} dimensions\n\
             - **Similarity Function:** {similarity}\n\n### Full Model Architecture\n\n```\n{}\n```\n",
            self.architecture()
        )
    }
}
