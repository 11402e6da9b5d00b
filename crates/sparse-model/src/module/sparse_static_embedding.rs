//! A weight per token, and nothing else: queries without a transformer.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::{Map, Value, json};
use sparse_index::SparseMatrix;

use super::normalize::check_keys;
use super::{Features, Flow, Place, tensors_to_save};
use crate::parameter::ParameterEntry;
use crate::pretrained::{
    Aliases, DirectoryWriter, ParameterReader, Weights, entry, parameter_id, read_object_or_empty,
    read_table, to_pretty,
};
use crate::tokenizer::{TextTokenizer, TokenizerSettings};
use crate::{Error, PackedTokens, Result};

/// The weight of each distinct token of a text, as for inference-free queries
/// ([Geng et al., 2024](https://arxiv.org/abs/2411.04403)).
///
/// ```text
/// y[b, v] = w[v] if token v occurs in text b, else 0
/// ```
#[derive(Module, Debug)]
pub(crate) struct SparseStaticEmbedding {
    weight: Param<Tensor<1>>,
    #[module(skip)]
    frozen: bool,
    #[module(skip)]
    tokenizer: TextTokenizer,
    /// What `max_seq_length` says. As in the reference, setting it does not change where texts are cut.
    #[module(skip)]
    max_seq_length: Option<usize>,
    #[module(skip)]
    entries: Vec<ParameterEntry>,
}

impl SparseStaticEmbedding {
    /// The given weight for each token id.
    pub(crate) fn new(
        weight: Vec<f32>,
        frozen: bool,
        tokenizer: TextTokenizer,
        owner: &str,
        device: &Device,
    ) -> Self {
        let n_weights = weight.len();
        let id = parameter_id(&format!("{owner}weight"));
        let name = "weight".to_string();
        let entries = vec![ParameterEntry {
            id,
            file_key: name.clone(),
            name,
            shape: vec![n_weights],
            is_norm: false,
        }];
        let mut param = Param::from_tensor(Tensor::from_data(
            TensorData::new(weight, [n_weights]),
            device,
        ));
        param.id = id;
        let max_seq_length = tokenizer.max_length();
        Self {
            weight: param.set_require_grad(!frozen),
            frozen,
            tokenizer,
            max_seq_length,
            entries,
        }
    }

    pub(crate) fn load(place: &Place<'_>) -> Result<Self> {
        let path = place.directory.join("config.json");
        let config = read_object_or_empty(&path)?;
        check_keys(&config, &["frozen", "path"], &path)?;
        let frozen = entry(&config, "frozen", &path)?.unwrap_or(false);
        let table: Option<String> = entry(&config, "path", &path)?;
        let tokenizer = TextTokenizer::load(place.directory, TokenizerSettings::default())?;
        if let Some(named) = table {
            if !named.ends_with(".json") {
                let problem = format!("is `{named}`; expected the name of a .json file");
                return Err(Error::config(&path, "path", problem));
            }
            let table =
                crate::pretrained::join_inside(place.directory, &named).ok_or_else(|| {
                    Error::config(
                        &path,
                        "path",
                        format!("is `{named}`, outside of the model directory"),
                    )
                })?;
            let weight = weights_from_json(&table, &tokenizer)?;
            return Ok(Self::new(
                weight,
                frozen,
                tokenizer,
                &place.owner,
                place.device,
            ));
        }
        let weights = Weights::open(place.directory)?;
        let mut reader = ParameterReader::new(
            &weights,
            place.device,
            Aliases::default(),
            place.owner.clone(),
        );
        let length = reader
            .shape("weight")
            .and_then(|shape| shape.first().copied())
            .unwrap_or(0);
        if reader.has("weight") && length == 0 {
            return Err(Error::Weight {
                path: weights.path().to_path_buf(),
                key: "weight".to_string(),
                problem: "is empty; expected a weight for each token".to_string(),
            });
        }
        let weight = reader.vector("weight", length)?.set_require_grad(!frozen);
        let entries = reader.finish("SparseStaticEmbedding", |_| false)?;
        let max_seq_length = tokenizer.max_length();
        Ok(Self {
            weight,
            frozen,
            tokenizer,
            max_seq_length,
            entries,
        })
    }

    pub(crate) fn flow(&self) -> Flow {
        Flow::Sentence {
            width: self.weight.dims()[0],
            lexical: true,
        }
    }

    pub(crate) fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    pub(crate) fn max_seq_length(&self) -> Option<usize> {
        self.max_seq_length
    }

    pub(crate) fn set_max_seq_length(&mut self, max_seq_length: usize) {
        self.max_seq_length = Some(max_seq_length);
    }

    pub(crate) fn entries(&self) -> &[ParameterEntry] {
        &self.entries
    }

    pub(crate) fn is_trainable(&self) -> bool {
        !self.frozen
    }

    /// Tokens without the special ones.
    pub(crate) fn preprocess<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        prompt: Option<&str>,
    ) -> Result<PackedTokens> {
        self.tokenizer.pack(texts, prompt, false)
    }

    pub(crate) fn forward(&self, features: Features, tokens: &PackedTokens) -> Features {
        let weight = self.weight.val();
        let [width] = weight.dims();
        let mut present = vec![0.0_f32; tokens.n_texts() * width];
        for (row, range) in tokens.rows.ranges().enumerate() {
            for &id in &tokens.input_ids[range] {
                // A table may be shorter than the vocabulary; what it does not have weighs nothing.
                if let Some(place) = usize::try_from(id).ok().filter(|id| *id < width) {
                    present[row * width + place] = 1.0;
                }
            }
        }
        let present = Tensor::<2>::from_data(
            TensorData::new(present, [tokens.n_texts(), width]),
            &weight.device(),
        );
        let sentence = present * weight.unsqueeze();
        let sentence = match features.sentence {
            Some(before) => before * sentence,
            None => sentence,
        };
        Features {
            sentence: Some(sentence),
            ..features
        }
    }

    /// Sparse vectors at once, without ever building a dense one.
    pub(crate) fn encode(&self, tokens: &PackedTokens) -> Result<SparseMatrix> {
        let weight = self.weight.val();
        let [width] = weight.dims();
        let mut offsets = vec![0];
        let mut indices: Vec<u32> = Vec::with_capacity(tokens.n_tokens());
        for range in tokens.rows.ranges() {
            let start = indices.len();
            let known = tokens.input_ids[range]
                .iter()
                .filter_map(|&id| u32::try_from(id).ok());
            indices.extend(known.filter(|id| (*id as usize) < width));
            indices[start..].sort_unstable();
            let mut kept = start;
            for at in start..indices.len() {
                if at == start || indices[at] != indices[at - 1] {
                    indices[kept] = indices[at];
                    kept += 1;
                }
            }
            indices.truncate(kept);
            offsets.push(kept);
        }
        let values = if indices.is_empty() {
            Vec::new()
        } else {
            let chosen: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
            let chosen = weight.clone().select(
                0,
                Tensor::<1, Int>::from_data(chosen.as_slice(), &weight.device()),
            );
            let data = chosen
                .try_into_data_as::<f32>()
                .map_err(|error| Error::Device(error.to_string()))?;
            data.as_slice::<f32>()
                .map_err(|error| Error::Device(format!("{error:?}")))?
                .to_vec()
        };
        if values.iter().all(|value| *value != 0.0) {
            return SparseMatrix::from_csr(width, offsets, indices, values)
                .map_err(Error::of_matrix);
        }
        let mut kept = (vec![0], Vec::new(), Vec::new());
        for row in offsets.windows(2) {
            for at in row[0]..row[1] {
                if values[at] != 0.0 {
                    kept.1.push(indices[at]);
                    kept.2.push(values[at]);
                }
            }
            kept.0.push(kept.1.len());
        }
        SparseMatrix::from_csr(width, kept.0, kept.1, kept.2).map_err(Error::of_matrix)
    }

    pub(crate) fn config(&self) -> Value {
        json!({"frozen": self.frozen})
    }

    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str) -> Result<()> {
        let at = |name: &str| {
            if directory.is_empty() {
                name.to_string()
            } else {
                format!("{directory}/{name}")
            }
        };
        writer.write(&at("config.json"), &to_pretty(&self.config(), 4))?;
        self.tokenizer.save(writer, directory)?;
        let tensors = tensors_to_save(self, self.entries(), writer.weight_type())?;
        writer.write_tensors(at("model.safetensors"), tensors, &[])
    }
}

/// Weights by token id from a file of weights by token string: as long as its largest id asks for, zero elsewhere. Unknown
/// strings go to the unknown token, as in the reference.
pub(crate) fn weights_from_json(path: &Path, tokenizer: &TextTokenizer) -> Result<Vec<f32>> {
    let table: Map<String, Value> = read_table(path, "it holds the weights of tokens")?;
    let unknown = tokenizer
        .special_token("unk_token")
        .and_then(|token| tokenizer.id(token));
    let mut weights = Vec::new();
    for (token, weight) in table {
        let weight = weight.as_f64().ok_or_else(|| {
            Error::config(
                path,
                token.as_str(),
                format!("is {weight}; expected a number"),
            )
        })?;
        if let Some(id) = tokenizer.id(&token).or(unknown).map(|id| id as usize) {
            if weights.len() <= id {
                weights.resize(id + 1, 0.0);
            }
            weights[id] = weight as f32;
        }
    }
    Ok(weights)
}
