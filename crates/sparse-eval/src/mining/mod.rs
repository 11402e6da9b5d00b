//! Mining of hard negatives: documents that a model ranks high for a query although they are not relevant.

mod config;
mod output;
mod report;
mod select;

use std::collections::{BTreeMap, BTreeSet};

use sparse_index::SparseMatrix;
use sparse_model::{EncodeOptions, SparseEncoder};

pub use config::{MiningConfig, OutputFormat, SamplingStrategy};
pub use output::{Cell, MinedNegatives};
pub use report::{MiningReport, ScoreSummary};
pub(crate) use select::mix;
pub use select::{Selection, select_negatives};

use crate::error::check_lengths;
use crate::retrieval::Ranker;
use crate::{Error, Result};

/// Scores pairs of query and document anew, for instance with a second model.
pub type Rescorer<'a> = dyn Fn(&[(&str, &str)]) -> Result<Vec<f32>> + 'a;

/// Queries with their relevant documents, and the documents among which negatives are sought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MiningData {
    /// Distinct queries by first appearance.
    pub queries: Vec<String>,
    /// Per query its distinct relevant documents, as positions in `candidates`.
    pub positives: Vec<Vec<u32>>,
    /// Distinct documents: those relevant to any query, then the extra ones.
    pub candidates: Vec<String>,
}

impl MiningData {
    /// Groups rows of a query and a relevant document, and adds `corpus` to the candidates. A text is the same document
    /// wherever it appears, so what is relevant to a query once is never mined for it.
    ///
    /// # Errors
    ///
    /// If the columns differ in length or are empty.
    pub fn new(
        anchors: &[impl AsRef<str>],
        positives: &[impl AsRef<str>],
        corpus: &[impl AsRef<str>],
    ) -> Result<Self> {
        check_lengths(&["anchors", "positives"], &[anchors.len(), positives.len()])?;
        if anchors.is_empty() {
            return Err(Error::Data(
                "mining needs at least one pair of query and relevant document".to_owned(),
            ));
        }
        let mut candidates = Numbered::default();
        let positions = positives
            .iter()
            .map(|text| candidates.number(text.as_ref()))
            .collect::<Vec<_>>();
        for text in corpus {
            candidates.number(text.as_ref());
        }
        let mut queries = Numbered::default();
        let mut grouped: Vec<Vec<u32>> = Vec::new();
        for (anchor, position) in anchors.iter().zip(positions) {
            let query = queries.number(anchor.as_ref()) as usize;
            grouped.resize(grouped.len().max(query + 1), Vec::new());
            if !grouped[query].contains(&position) {
                grouped[query].push(position);
            }
        }
        Ok(Self {
            queries: queries.texts,
            positives: grouped,
            candidates: candidates.texts,
        })
    }

    /// The largest number of relevant documents of a query.
    pub fn max_positives(&self) -> usize {
        self.positives.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// Distinct texts, numbered by first appearance.
#[derive(Default)]
struct Numbered {
    numbers: BTreeMap<String, u32>,
    texts: Vec<String>,
}

impl Numbered {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }
}

/// Mines hard negatives with `encoder`: searches the candidates for every query by the model's similarity, drops what is
/// relevant or fails a rule of `config`, and picks from the rest.
///
/// With a `rescorer`, candidates and relevant documents are scored anew, and the rules and the order follow the new scores.
///
/// # Errors
///
/// If a setting is wrong, or the encoder or the rescorer fails.
pub fn mine_hard_negatives(
    encoder: &SparseEncoder,
    data: &MiningData,
    rescorer: Option<&Rescorer<'_>>,
    config: &MiningConfig,
) -> Result<MinedNegatives> {
    let range = config.range(data.max_positives())?;
    let options = |prompt: &Option<String>, name: &Option<String>| EncodeOptions {
        batch_size: config.batch_size,
        prompt: prompt.clone(),
        prompt_name: name.clone(),
        ..EncodeOptions::default()
    };
    let query_options = options(&config.query_prompt, &config.query_prompt_name);
    let corpus_options = options(&config.corpus_prompt, &config.corpus_prompt_name);
    let queries: SparseMatrix = encoder.encode_query(&data.queries, &query_options)?;
    let candidates: SparseMatrix = encoder.encode_document(&data.candidates, &corpus_options)?;

    let function = encoder.similarity_fn();
    let mut ranker = Ranker::new(function, &queries, range.end + data.max_positives());
    ranker.add(&candidates)?;
    let mut found = ranker.finish().rankings;
    let mut positive_scores = Vec::with_capacity(data.queries.len());
    for (query, positives) in data.positives.iter().enumerate() {
        let positives = positives
            .iter()
            .map(|&position| position as usize)
            .collect::<Vec<_>>();
        positive_scores
            .push(function.matrix(&queries.select(&[query]), &candidates.select(&positives))?);
    }
    if let Some(rescorer) = rescorer {
        rescore(data, rescorer, &mut found, &mut positive_scores)?;
    }
    let selection = select_negatives(data, &found, &positive_scores, config)?;
    Ok(MinedNegatives::new(
        data,
        &positive_scores,
        selection,
        config,
    ))
}

/// Scores pairs by another sparse encoder: a [`Rescorer`] in the making.
///
/// # Errors
///
/// If the encoder fails.
pub fn rescore_with(
    encoder: &SparseEncoder,
    pairs: &[(&str, &str)],
    options: &EncodeOptions,
) -> Result<Vec<f32>> {
    // A query has many candidates, and a candidate many queries: each text is encoded once.
    let distinct = |texts: BTreeSet<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let queries = distinct(pairs.iter().map(|pair| pair.0).collect());
    let documents = distinct(pairs.iter().map(|pair| pair.1).collect());
    let rows = |texts: &[String], side: &dyn Fn(usize) -> String| {
        (0..pairs.len())
            .map(|pair| texts.binary_search(&side(pair)).unwrap_or(0))
            .collect::<Vec<_>>()
    };
    let query_rows = rows(&queries, &|pair| pairs[pair].0.to_owned());
    let document_rows = rows(&documents, &|pair| pairs[pair].1.to_owned());
    let queries: SparseMatrix = encoder.encode_query(&queries, options)?;
    let documents: SparseMatrix = encoder.encode_document(&documents, options)?;
    Ok(encoder.similarity_fn().pairwise(
        &queries.select(&query_rows),
        &documents.select(&document_rows),
    )?)
}

fn rescore(
    data: &MiningData,
    rescorer: &Rescorer<'_>,
    found: &mut [Vec<sparse_index::Hit>],
    positive_scores: &mut [Vec<f32>],
) -> Result<()> {
    let document = |position: u32| data.candidates[position as usize].as_str();
    for (query, text) in data.queries.iter().enumerate() {
        let hits = found[query].iter().map(|hit| hit.document);
        let positions = hits.chain(data.positives[query].iter().copied());
        let pairs = positions
            .map(|position| (text.as_str(), document(position)))
            .collect::<Vec<_>>();
        let scores = rescorer(&pairs)?;
        check_lengths(&["new scores", "pairs"], &[scores.len(), pairs.len()])?;
        let (candidates, positives) = scores.split_at(found[query].len());
        found[query]
            .iter_mut()
            .zip(candidates)
            .for_each(|(hit, &score)| hit.score = score);
        positive_scores[query] = positives.to_vec();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_grouped_and_texts_kept_once() {
        let data =
            MiningData::new(&["q", "r", "q", "q"], &["a", "b", "c", "a"], &["b", "d"]).unwrap();
        assert_eq!(data.queries, ["q", "r"]);
        assert_eq!(data.positives, [vec![0, 2], vec![1]]);
        assert_eq!(data.candidates, ["a", "b", "c", "d"]);
        assert_eq!(data.max_positives(), 2);
        assert!(MiningData::new(&["q"], &["a", "b"], &[""; 0]).is_err());
        assert!(MiningData::new(&[""; 0], &[""; 0], &["a"]).is_err());
    }
}
