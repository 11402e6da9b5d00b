//! Mining of hard negatives: documents that a model ranks high for a query although they are not relevant.

mod config;
mod output;
mod report;
mod select;

use std::collections::BTreeMap;
use std::sync::Arc;

use sparse_model::{EncodeOptions, SparseEncoder};

pub use config::{MiningConfig, OutputFormat, SamplingStrategy};
pub use output::{Cell, MinedNegatives};
pub use report::{MiningReport, ScoreSummary};
pub(crate) use select::mix;
pub use select::{Selection, select_negatives};

use crate::encode_chunk::encode_in_chunks;
use crate::error::check_lengths;
use crate::retrieval::Ranker;
use crate::vector_store::{self, VectorStore};
use crate::{Error, Result};

/// Most texts encoded at a time.
const MOST_ENCODED: usize = 8192;

/// Scores pairs of query and document anew, for instance with a second model; a pair without a score is no candidate.
pub type Rescorer<'a> = dyn Fn(&[(&str, &str)]) -> Result<Vec<Option<f32>>> + 'a;

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
/// With a `rescorer`, candidates and relevant documents are scored anew, and the rules and the order follow the new scores;
/// candidates without a new score are dropped and counted as `unscored`.
///
/// # Errors
///
/// If a setting is wrong, the encoder or the rescorer fails, or a relevant document has no new score.
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
    let n_dims = encoder.embedding_dimension();
    let queries = VectorStore::of_texts(n_dims, &data.queries, |texts| {
        encoder.encode_query(texts, &query_options)
    })?;
    let queries = Arc::new(queries);
    let function = encoder.similarity_fn();
    let depth = range.end.saturating_add(data.max_positives());
    let mut ranker = Ranker::of_stored(function, Arc::clone(&queries), depth);
    let relevant = search_candidates(encoder, data, &corpus_options, &mut ranker)?;
    let mut found = ranker.finish().rankings;
    let mut positive_scores = Vec::with_capacity(data.queries.len());
    for (query, positives) in data.positives.iter().enumerate() {
        let positives = positives
            .iter()
            .map(|&position| position as usize)
            .collect::<Vec<_>>();
        positive_scores
            .push(function.matrix(&queries.select(&[query])?, &relevant.select(&positives)?)?);
    }
    let unscored = match rescorer {
        Some(rescorer) => Some(rescore(data, rescorer, &mut found, &mut positive_scores)?),
        None => None,
    };
    let mut selection = select_negatives(data, &found, &positive_scores, config)?;
    if let Some(unscored) = unscored.filter(|&unscored| unscored > 0) {
        selection.n_candidates += unscored;
        selection.dropped.insert(0, ("unscored", unscored));
    }
    Ok(MinedNegatives::new(
        data,
        &positive_scores,
        selection,
        config,
    ))
}

/// Searches all candidates, some at a time, and gives the vectors of the first ones, up to the last relevant one.
fn search_candidates(
    encoder: &SparseEncoder,
    data: &MiningData,
    options: &EncodeOptions,
    ranker: &mut Ranker,
) -> Result<VectorStore> {
    let last_relevant = data.positives.iter().flatten().max();
    let n_kept = last_relevant.map_or(0, |&position| position as usize + 1);
    let mut relevant = VectorStore::new(encoder.embedding_dimension());
    let encode = |_, texts: &[String]| encoder.encode_document(texts, options);
    let sizes = (MOST_ENCODED, relevant.n_cols());
    encode_in_chunks(&data.candidates, sizes, encode, |rows| {
        ranker.add(&rows)?;
        let wanted = n_kept - relevant.n_rows();
        if wanted >= rows.n_rows() {
            return relevant.append(&rows);
        }
        relevant.append(&rows.select(&(0..wanted).collect::<Vec<_>>()))
    })?;
    Ok(relevant)
}

/// Scores pairs by another sparse encoder: a [`Rescorer`] in the making. Each distinct text is encoded once.
///
/// # Errors
///
/// If the encoder fails.
pub fn rescore_with(
    encoder: &SparseEncoder,
    pairs: &[(&str, &str)],
    options: &EncodeOptions,
) -> Result<Vec<Option<f32>>> {
    let (mut queries, mut documents) = (Numbered::default(), Numbered::default());
    let (query_rows, document_rows): (Vec<_>, Vec<_>) = pairs
        .iter()
        .map(|(query, document)| {
            (
                queries.number(query) as usize,
                documents.number(document) as usize,
            )
        })
        .unzip();
    let n_dims = encoder.embedding_dimension();
    let queries = VectorStore::of_texts(n_dims, &queries.texts, |texts| {
        encoder.encode_query(texts, options)
    })?;
    let documents = VectorStore::of_texts(n_dims, &documents.texts, |texts| {
        encoder.encode_document(texts, options)
    })?;
    let functions = [encoder.similarity_fn()];
    let rows = [query_rows.as_slice(), &document_rows];
    let scores = vector_store::pairwise(&functions, [&queries, &documents], rows)?;
    let scores = scores.into_iter().flat_map(|(_, scores)| scores);
    Ok(scores.map(Some).collect())
}

/// Scores that were given: a [`Rescorer`] in the making.
#[derive(Debug, Clone, Default)]
pub struct GivenScores(BTreeMap<String, BTreeMap<String, f32>>);

impl GivenScores {
    /// Takes the score of a pair; a later one replaces an earlier one.
    ///
    /// # Errors
    ///
    /// If the score is not finite.
    pub fn insert(&mut self, query: &str, document: &str, score: f32) -> Result<()> {
        if !score.is_finite() {
            return Err(Error::Data(format!(
                "the score of query `{query}` and a document must be finite; got {score}"
            )));
        }
        let scores = self.0.entry(query.to_owned()).or_default();
        scores.insert(document.to_owned(), score);
        Ok(())
    }

    /// Scores of pairs, as far as they were given.
    pub fn scores(&self, pairs: &[(&str, &str)]) -> Vec<Option<f32>> {
        pairs
            .iter()
            .map(|(query, document)| self.0.get(*query)?.get(*document).copied())
            .collect()
    }
}

/// Replaces scores, drops candidates that have none and counts them.
fn rescore(
    data: &MiningData,
    rescorer: &Rescorer<'_>,
    found: &mut [Vec<sparse_index::Hit>],
    positive_scores: &mut [Vec<f32>],
) -> Result<usize> {
    let mut pairs = Vec::new();
    for (query, text) in data.queries.iter().enumerate() {
        let hits = found[query].iter().map(|hit| hit.document);
        let positions = hits.chain(data.positives[query].iter().copied());
        pairs.extend(positions.map(|position| {
            let document = data.candidates[position as usize].as_str();
            (text.as_str(), document)
        }));
    }
    let scores = rescorer(&pairs)?;
    check_lengths(&["new scores", "pairs"], &[scores.len(), pairs.len()])?;
    let mut scores = scores.into_iter();
    let mut unscored = 0;
    for (query, text) in data.queries.iter().enumerate() {
        found[query].retain_mut(|hit| match scores.next().flatten() {
            Some(score) => {
                hit.score = score;
                true
            }
            None => {
                unscored += 1;
                false
            }
        });
        for score in &mut positive_scores[query] {
            *score = scores.next().flatten().ok_or_else(|| {
                Error::Data(format!(
                    "a relevant document of query `{text}` has no new score"
                ))
            })?;
        }
    }
    Ok(unscored)
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

    #[test]
    fn given_scores_replace_and_drop() {
        use sparse_index::Hit;
        let data = MiningData::new(&["q"], &["a"], &["b", "c"]).unwrap();
        let mut given = GivenScores::default();
        given.insert("q", "a", 9.0).unwrap();
        given.insert("q", "c", 4.0).unwrap();
        assert!(given.insert("q", "b", f32::NAN).is_err());
        let hit = |document, score| Hit { document, score };
        let mut found = [vec![hit(0, 1.0), hit(1, 0.5), hit(2, 0.25)]];
        let mut positives = [vec![1.0]];
        let rescorer = |pairs: &[(&str, &str)]| Ok(given.scores(pairs));
        let unscored = rescore(&data, &rescorer, &mut found, &mut positives).unwrap();
        assert_eq!(unscored, 1);
        assert_eq!(found, [vec![hit(0, 9.0), hit(2, 4.0)]]);
        assert_eq!(positives, [vec![9.0]]);

        let data = MiningData::new(&["q"], &["b"], &["c"]).unwrap();
        let error = rescore(&data, &rescorer, &mut [vec![]], &mut [vec![0.0]]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a relevant document of query `q` has no new score"
        );
    }
}
