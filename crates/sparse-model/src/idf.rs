//! Weights of tokens by their rarity in a corpus.

use crate::tokenizer::TextTokenizer;
use crate::{Result, SparseEncoder};

/// Counts in how many documents each token of a model's vocabulary occurs; see [`weights`](Self::weights).
///
/// Documents are added batch by batch, so that a corpus never has to be in memory as a whole.
#[derive(Debug)]
pub struct DocumentFrequencies<'a> {
    tokenizer: &'a TextTokenizer,
    counts: Vec<u64>,
    /// Number of the last document that a token was seen in.
    last_seen: Vec<u64>,
    n_documents: u64,
}

impl<'a> DocumentFrequencies<'a> {
    /// Begins counting with the tokenizer of a model.
    ///
    /// # Errors
    ///
    /// If the model has no tokenizer.
    pub fn new(encoder: &'a SparseEncoder) -> Result<Self> {
        let tokenizer = encoder.tokenizer()?;
        let n_ids = tokenizer.n_ids();
        Ok(Self {
            tokenizer,
            counts: vec![0; n_ids],
            last_seen: vec![0; n_ids],
            n_documents: 0,
        })
    }

    /// Adds documents, cut at the model's maximum length, without special tokens.
    ///
    /// # Errors
    ///
    /// If a document can not be tokenized.
    pub fn add<S: AsRef<str> + Sync>(&mut self, documents: &[S]) -> Result<()> {
        let tokens = self.tokenizer.pack(documents, None, false)?;
        for range in tokens.rows.ranges() {
            self.n_documents += 1;
            for &id in &tokens.input_ids[range] {
                let id = id as usize;
                // A tokenizer may have an unknown token that is not in its vocabulary.
                let (Some(last_seen), Some(count)) =
                    (self.last_seen.get_mut(id), self.counts.get_mut(id))
                else {
                    continue;
                };
                if *last_seen != self.n_documents {
                    *last_seen = self.n_documents;
                    *count += 1;
                }
            }
        }
        Ok(())
    }

    /// Documents added so far.
    pub fn n_documents(&self) -> u64 {
        self.n_documents
    }

    /// The weight of each token id, with `n_v` the number of documents that hold token `v`, of `N`:
    ///
    /// ```text
    /// w_v = ln(1 + (N − n_v + 0.5) / (n_v + 0.5))
    /// ```
    ///
    /// the inverse document frequency of BM25 as search engines compute it
    /// ([Robertson and Zaragoza, 2009](https://doi.org/10.1561/1500000019)).
    pub fn weights(&self) -> Vec<f32> {
        let n = self.n_documents as f64;
        self.counts
            .iter()
            .map(|&count| (1.0 + (n - count as f64 + 0.5) / (count as f64 + 0.5)).ln() as f32)
            .collect()
    }
}
