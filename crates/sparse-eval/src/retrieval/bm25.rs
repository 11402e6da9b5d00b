//! The lexical baseline.

use std::collections::BTreeMap;

use sparse_index::{SimilarityFunction, SparseMatrix, SparseVector};

use super::{Collection, Ranker, RetrievalRun};
use crate::Result;

/// Words that are not indexed: the English stop words of Lucene.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// BM25 ([Robertson and Zaragoza, 2009](https://doi.org/10.1561/1500000019)) over lower-cased words of letters, digits and
/// underscores, without stemming: the baseline that a learned encoder must beat.
///
/// ```text
/// score(q, d) = Σ over words w of q of  ln(1 + (N − df(w) + ½) / (df(w) + ½)) · tf(w, d) / (tf(w, d) + k1·(1 − b + b·|d| / mean |d|))
/// ```
///
/// `N` documents, `df(w)` of which hold the word; `tf(w, d)` times it occurs in `d`, which has `|d|` words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bm25 {
    /// How slowly repeated words lose weight (dimensionless, 0 and up). Default 0.9, as Lucene-based baselines use it.
    pub k1: f64,
    /// How much long documents are held back (0 to 1). Default 0.4.
    pub b: f64,
}

impl Default for Bm25 {
    fn default() -> Self {
        Self { k1: 0.9, b: 0.4 }
    }
}

impl Bm25 {
    /// Ranks the documents of a collection for its queries, the `k` best of each.
    ///
    /// # Errors
    ///
    /// If `k1` or `b` is such that a weight is not finite.
    pub fn rank(&self, collection: &Collection, k: usize) -> Result<RetrievalRun> {
        let (queries, documents) = self.vectors(collection)?;
        let mut ranker = Ranker::new(SimilarityFunction::Dot, &queries, k);
        ranker.add(&documents)?;
        Ok(RetrievalRun {
            name: "bm25".to_owned(),
            ..ranker.finish()
        })
    }

    /// A vector per query and per document, over the words of the corpus: their dot product is the score.
    ///
    /// # Errors
    ///
    /// If `k1` or `b` is such that a weight is not finite.
    pub fn vectors(&self, collection: &Collection) -> Result<(SparseMatrix, SparseMatrix)> {
        let (vocabulary, documents) = self.documents(collection.documents())?;
        let queries = collection.queries().iter().map(|query| {
            let counts = word_counts(query, |word| vocabulary.get(word).copied());
            vector(
                vocabulary.len(),
                counts
                    .into_iter()
                    .map(|(word, count)| (word, f64::from(count))),
            )
        });
        let queries = queries.collect::<Result<Vec<_>>>()?;
        let queries =
            SparseMatrix::from_rows(vocabulary.len(), queries.iter().map(SparseVector::as_row))?;
        Ok((queries, documents))
    }

    /// The words of all documents, and a vector per document so that its dot product with the word counts of a query is
    /// the query's score.
    fn documents(&self, texts: &[String]) -> Result<(BTreeMap<String, u32>, SparseMatrix)> {
        let mut vocabulary = BTreeMap::new();
        let counts = texts.iter().map(|text| {
            word_counts(text, |word| {
                let next = vocabulary.len() as u32;
                Some(*vocabulary.entry(word.to_owned()).or_insert(next))
            })
        });
        let counts = counts.collect::<Vec<_>>();

        let mut document_frequencies = vec![0u32; vocabulary.len()];
        counts
            .iter()
            .flatten()
            .for_each(|(&word, _)| document_frequencies[word as usize] += 1);
        let n_documents = texts.len() as f64;
        let idf = document_frequencies
            .iter()
            .map(|&df| f64::from(df))
            .map(|df| (1.0 + (n_documents - df + 0.5) / (df + 0.5)).ln());
        let idf = idf.collect::<Vec<_>>();
        let length = |counts: &BTreeMap<u32, u32>| f64::from(counts.values().sum::<u32>());
        let mean_length = counts
            .iter()
            .map(length)
            .fold(0.0, |sum, length| sum + length)
            / n_documents;

        let mut matrix = SparseMatrix::new(vocabulary.len());
        for counts in &counts {
            let slowness = self.k1 * (1.0 - self.b + self.b * length(counts) / mean_length);
            let weights = counts.iter().map(|(&word, &count)| {
                let count = f64::from(count);
                (word, idf[word as usize] * count / (count + slowness))
            });
            matrix.push_row(vector(vocabulary.len(), weights)?.as_row())?;
        }
        Ok((vocabulary, matrix))
    }
}

/// How often each word occurs, by the number that `number` gives it; words without a number are skipped.
fn word_counts(text: &str, mut number: impl FnMut(&str) -> Option<u32>) -> BTreeMap<u32, u32> {
    let text = text.to_lowercase();
    let words = text.split(|character: char| !(character.is_alphanumeric() || character == '_'));
    let mut counts = BTreeMap::new();
    for word in words.filter(|word| !word.is_empty() && STOP_WORDS.binary_search(word).is_err()) {
        if let Some(number) = number(word) {
            *counts.entry(number).or_insert(0) += 1;
        }
    }
    counts
}

fn vector(dim: usize, weights: impl Iterator<Item = (u32, f64)>) -> Result<SparseVector> {
    let (indices, values) = weights.map(|(word, weight)| (word, weight as f32)).unzip();
    Ok(SparseVector::new(dim, indices, values)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(documents: &[&str], query: &str) -> Collection {
        let corpus = documents
            .iter()
            .enumerate()
            .map(|(id, text)| (id.to_string(), (*text).to_owned()));
        let relevant = [("q".to_owned(), ["0".to_owned()].into())].into();
        Collection::new([("q".to_owned(), query.to_owned())], corpus, &relevant).unwrap()
    }

    #[test]
    fn scores_by_hand() {
        let collection = collection(
            &["The cat; the CAT sat", "a dog sat_down here", ""],
            "cat or cat?",
        );
        let run = Bm25::default().rank(&collection, 10).unwrap();
        // df 1 of 3: ln(1 + 2.5 / 1.5) = 0.980829; lengths 3, 3, 0, mean 2: tf 2 / (2 + 0.9·(0.6 + 0.4·1.5)) = 0.649351;
        // the query has the word twice.
        let [best, ..] = run.rankings[0][..] else {
            panic!()
        };
        assert_eq!(best.document, 0);
        assert!(
            (best.score - 2.0 * 0.980829 * 0.649351).abs() < 1e-5,
            "{best:?}"
        );
        assert_eq!(
            run.rankings[0][1..]
                .iter()
                .map(|hit| hit.score)
                .collect::<Vec<_>>(),
            [0.0, 0.0]
        );
    }

    #[test]
    fn stop_words_are_in_order_for_the_binary_search() {
        assert!(STOP_WORDS.is_sorted());
        assert!(
            word_counts("This is the END_of it", |_| Some(0))
                .values()
                .eq([&1])
        );
    }

    #[test]
    fn parameters_that_make_no_number_are_refused() {
        let collection = collection(&["a cat"], "cat");
        for (k1, b) in [(f64::NAN, 0.4), (-1.0, 0.0)] {
            let error = Bm25 { k1, b }.rank(&collection, 10).unwrap_err();
            assert!(error.to_string().contains("must be finite"), "{error}");
        }
    }

    #[test]
    fn unknown_words_and_empty_corpora_score_zero() {
        let run = Bm25::default()
            .rank(&collection(&["", "the"], "unseen"), 10)
            .unwrap();
        assert_eq!(
            run.rankings[0]
                .iter()
                .map(|hit| hit.score)
                .collect::<Vec<_>>(),
            [0.0, 0.0]
        );
    }
}
