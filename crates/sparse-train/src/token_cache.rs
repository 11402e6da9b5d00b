//! Texts that were tokenized before, in bounded memory.

use std::collections::BTreeMap;

use sparse_model::{PackedTokens, PreprocessOptions, Preprocessor};

use crate::error::Result;

/// Bytes that an entry takes beside its text and its tokens: three slices, their allocations and the place in the map.
const ENTRY_BYTES: usize = 128;

/// The tokens of texts by prompt and route.
///
/// What came first stays: every epoch goes through all rows once, and giving up old texts for new ones would give up each
/// just before it is wanted again.
#[derive(Debug, Clone)]
pub(crate) struct TokenCache {
    limit_bytes: usize,
    used_bytes: usize,
    shelves: Vec<Shelf>,
}

/// The texts of one prompt and route.
#[derive(Debug, Clone)]
struct Shelf {
    options: PreprocessOptions,
    prompt_length: usize,
    texts: BTreeMap<Box<str>, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    input_ids: Box<[i32]>,
    token_type_ids: Box<[i32]>,
}

impl TokenCache {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
            shelves: Vec::new(),
        }
    }

    /// As [`Preprocessor::preprocess`], which is asked for unknown texts only.
    pub(crate) fn preprocess(
        &mut self,
        preprocessor: &Preprocessor,
        texts: &[String],
        options: &PreprocessOptions,
    ) -> Result<PackedTokens> {
        let position = self
            .shelves
            .iter()
            .position(|shelf| shelf.options == *options);
        let Some(position) = position else {
            let tokens = preprocessor.preprocess(texts, options)?;
            self.shelves.push(Shelf {
                options: options.clone(),
                prompt_length: tokens.prompt_length,
                texts: BTreeMap::new(),
            });
            let position = self.shelves.len() - 1;
            self.keep(position, texts, &tokens);
            return Ok(tokens);
        };
        let known = &self.shelves[position].texts;
        let unknown: Vec<&String> = texts
            .iter()
            .filter(|text| !known.contains_key(text.as_str()))
            .collect();
        let Ok(fresh) = preprocessor.preprocess(&unknown, options) else {
            // Again with all texts, so that the error counts as the batch does.
            return Ok(preprocessor.preprocess(texts, options)?);
        };
        let mut next = 0;
        let rows: Vec<(Vec<i32>, Vec<i32>)> = texts
            .iter()
            .map(|text| match known.get(text.as_str()) {
                Some(entry) => (entry.input_ids.to_vec(), entry.token_type_ids.to_vec()),
                None => {
                    let range = fresh.rows.range(next);
                    next += 1;
                    (
                        fresh.input_ids[range.clone()].to_vec(),
                        fresh.token_type_ids[range].to_vec(),
                    )
                }
            })
            .collect();
        let prompt_length = self.shelves[position].prompt_length;
        self.keep(position, &unknown, &fresh);
        Ok(PackedTokens::from_rows(
            &rows,
            options.task.clone(),
            prompt_length,
        ))
    }

    /// Keeps texts as long as there is room.
    fn keep(&mut self, shelf: usize, texts: &[impl AsRef<str>], tokens: &PackedTokens) {
        for (text, range) in texts.iter().zip(tokens.rows.ranges()) {
            let text = text.as_ref();
            let bytes = text.len() + 2 * size_of::<i32>() * range.len() + ENTRY_BYTES;
            if self.used_bytes + bytes > self.limit_bytes {
                continue;
            }
            let entry = Entry {
                input_ids: tokens.input_ids[range.clone()].into(),
                token_type_ids: tokens.token_type_ids[range].into(),
            };
            if self.shelves[shelf]
                .texts
                .insert(text.into(), entry)
                .is_none()
            {
                self.used_bytes += bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use sparse_model::SparseEncoder;

    use super::*;

    #[test]
    fn cached_tokens_are_the_same_and_memory_is_bounded() {
        let directory = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../sparse-model/tests/golden/encoders/splade-max"
        );
        let preprocessor = SparseEncoder::from_pretrained(directory, &Device::flex())
            .unwrap()
            .preprocessor()
            .unwrap();
        let texts: Vec<String> = (0..40).map(|i| format!("one text of number {i}")).collect();
        let plain = PreprocessOptions::default();
        let prompted = PreprocessOptions {
            prompt: Some("query: ".to_owned()),
            task: None,
        };
        for limit_bytes in [0, 2000, 1 << 20] {
            let mut cache = TokenCache::new(limit_bytes);
            for options in [&plain, &prompted, &plain, &prompted] {
                for batch in [&texts[..7], &texts[3..20], &texts[3..3], &texts[..]] {
                    let tokens = cache.preprocess(&preprocessor, batch, options).unwrap();
                    let expected = preprocessor.preprocess(batch, options).unwrap();
                    assert_eq!(tokens.input_ids, expected.input_ids);
                    assert_eq!(tokens.token_type_ids, expected.token_type_ids);
                    assert_eq!(tokens.prompt_length, expected.prompt_length);
                    assert_eq!(
                        tokens.rows.ranges().collect::<Vec<_>>(),
                        expected.rows.ranges().collect::<Vec<_>>()
                    );
                }
            }
            let kept: usize = cache.shelves.iter().map(|shelf| shelf.texts.len()).sum();
            assert!(cache.used_bytes <= limit_bytes);
            match limit_bytes {
                0 => assert_eq!(kept, 0),
                2000 => assert!((5..15).contains(&kept), "{kept}"),
                _ => assert_eq!(kept, 80),
            }
        }
    }
}
