//! A short name for what a model computes.

use std::collections::BTreeMap;

use burn::module::ParamId;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::Xxh3;

use super::SparseEncoder;
use crate::{Error, NamedParameter, Result};

/// Values that are hashed at a time.
const CHUNK: usize = 1024;

impl SparseEncoder {
    /// A hash, 16 hexadecimal digits, over everything that decides what vector a text gets: the parameters by name, shape
    /// and value, the tokenizers, and the settings (architecture, pooling, prompts, lengths, limits).
    ///
    /// Two encoders with equal fingerprints give equal vectors on one machine, so that vectors which are kept, as in an
    /// index, can be told from those of another model or of an older state of this one. Loading a model again and saving it
    /// (as [`WeightType::F32`](crate::WeightType::F32)) keep the fingerprint; training, another tokenizer or another prompt
    /// change it. How vectors are compared, the model card and the device play no part.
    ///
    /// All parameters are read from the device, which takes about as long as a copy of them.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = Xxh3::new();
        hash.update(settings_of(self).to_string().as_bytes());
        for (parameter, values) in self.hashes_by_name()? {
            let shape = json!(parameter.shape);
            hash.update(format!("\n{} {shape} {values:016x}", parameter.name).as_bytes());
        }
        Ok(format!("{:016x}", hash.digest()))
    }

    /// The parameters in the order of their names, each with a hash of its values.
    fn hashes_by_name(&self) -> Result<Vec<(NamedParameter, u64)>> {
        let mut hashes: BTreeMap<ParamId, Result<u64, String>> = BTreeMap::new();
        self.visit_parameters(|id, values| {
            let hash = values
                .try_into_data_as::<f32>()
                .map_err(|error| error.to_string())
                .and_then(|data| {
                    let values = data.as_slice::<f32>();
                    values.map(hash_of).map_err(|error| format!("{error:?}"))
                });
            hashes.insert(id, hash);
        });
        let mut parameters = self.named_parameters();
        parameters.sort_by(|left, right| left.name.cmp(&right.name));
        let mut named = Vec::with_capacity(parameters.len());
        for parameter in parameters {
            match hashes.remove(&parameter.id) {
                Some(Ok(hash)) => named.push((parameter, hash)),
                Some(Err(problem)) => {
                    let problem = format!("the values of `{}`: {problem}", parameter.name);
                    return Err(Error::Device(problem));
                }
                None => {}
            }
        }
        Ok(named)
    }
}

/// What decides about vectors, and is no parameter.
fn settings_of(encoder: &SparseEncoder) -> Value {
    let settings = &encoder.settings;
    let prompts = settings.prompts.iter();
    // A prompt that is empty and one that is not there say the same.
    let prompts: Map<String, Value> = prompts
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name.clone(), json!(text)))
        .collect();
    let modules = encoder.modules.iter();
    let modules: Vec<Value> = modules.map(|module| module.vector_settings()).collect();
    json!({
        "modules": modules,
        "prompts": prompts,
        "default_prompt_name": settings.default_prompt_name,
        "max_active_dims": settings.max_active_dims,
    })
}

/// A hash of values as they lie in a weights file, whatever the byte order of the machine.
fn hash_of(values: &[f32]) -> u64 {
    let mut hash = Xxh3::new();
    let mut bytes = [0; 4 * CHUNK];
    for chunk in values.chunks(CHUNK) {
        let (places, _) = bytes.as_chunks_mut::<4>();
        for (place, value) in places.iter_mut().zip(chunk) {
            *place = value.to_le_bytes();
        }
        hash.update(&bytes[..4 * chunk.len()]);
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hashed_as_the_bytes_of_a_weights_file() {
        let values: Vec<f32> = (0..3000_u16).map(|at| f32::from(at) / 7.0).collect();
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(hash_of(&values), xxhash_rust::xxh3::xxh3_64(&bytes));
    }
}
