//! A user's own corpus, indexed and searched.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sparse_index::{DocumentIds, IndexBuilder, IndexFile, SimilarityFunction, SparseMatrix};

use crate::{Error, Result};

/// What an index file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexDescription {
    /// Directory, as an absolute path, or hub id of the model whose vectors are indexed, if known.
    pub model: Option<String>,
    /// Commit of a model of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Folder of the model in its repository, if it isn't the topmost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subfolder: Option<String>,
    /// What tells the model's weights and tokenizer from any other's; absent for vectors that came from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How queries are compared with documents: `dot`, or `cosine` over vectors of length 1.
    pub similarity: SimilarityFunction,
}

impl IndexDescription {
    /// Vectors of unknown origin.
    pub fn new(similarity: SimilarityFunction) -> Self {
        Self {
            model: None,
            revision: None,
            subfolder: None,
            fingerprint: None,
            similarity,
        }
    }
}

/// Builds a [`CorpusIndex`] from vectors that arrive in parts; beyond the index itself it holds one block of them.
#[derive(Debug)]
pub struct CorpusIndexBuilder {
    description: IndexDescription,
    builder: IndexBuilder,
    ids: Vec<String>,
}

impl CorpusIndexBuilder {
    /// Most dimensions of a vector: every block of an index has a number for each.
    pub const MAX_DIMS: usize = 1 << 24;

    /// Starts an index over vectors of `n_dims` dimensions.
    ///
    /// # Errors
    ///
    /// If the similarity is a distance: dimensions that only one side has count there, which an inverted index doesn't see. If
    /// `n_dims` is 0 or above [`MAX_DIMS`](Self::MAX_DIMS).
    pub fn new(n_dims: usize, description: IndexDescription) -> Result<Self> {
        if !(1..=Self::MAX_DIMS).contains(&n_dims) {
            let problem = format!("must lie between 1 and {}; got {n_dims}", Self::MAX_DIMS);
            return Err(Error::option("dimensions", problem));
        }
        check_similarity(description.similarity)?;
        Ok(Self {
            description,
            builder: IndexBuilder::new(n_dims),
            ids: Vec::new(),
        })
    }

    /// Adds documents: an id for each row.
    ///
    /// # Errors
    ///
    /// If there aren't as many ids as rows, or their dimension is another.
    pub fn push(&mut self, ids: Vec<String>, rows: &SparseMatrix) -> Result<()> {
        crate::error::check_lengths(&["ids", "vectors"], &[ids.len(), rows.n_rows()])?;
        match self.description.similarity {
            SimilarityFunction::Cosine => self.builder.push(&rows.normalized())?,
            _ => self.builder.push(rows)?,
        }
        self.ids.extend(ids);
        Ok(())
    }

    /// The index of all documents added.
    ///
    /// # Errors
    ///
    /// If there is none, or two have the same id.
    pub fn finish(self) -> Result<CorpusIndex> {
        if self.ids.is_empty() {
            return Err(Error::Data("the corpus holds no document".to_owned()));
        }
        let ids = DocumentIds::new(&self.ids);
        ids.check_distinct()?;
        let metadata = serde_json::to_value(&self.description)
            .map_err(|error| Error::Data(error.to_string()))?;
        let file = IndexFile::new(self.builder.finish(), ids, metadata)?;
        Ok(CorpusIndex {
            file,
            description: self.description,
        })
    }
}

/// Documents of a corpus, ready for search: exact, the best `k` of a query, by id.
///
/// ```
/// use sparse_eval::{CorpusIndexBuilder, IndexDescription};
/// use sparse_index::{SimilarityFunction, SparseMatrix};
///
/// # fn main() -> sparse_eval::Result<()> {
/// let description = IndexDescription::new(SimilarityFunction::Dot);
/// let mut builder = CorpusIndexBuilder::new(3, description)?;
/// let documents = SparseMatrix::from_dense(&[0.0, 2.0, 0.0, /**/ 1.0, 1.0, 0.0], 2, 3)?;
/// builder.push(vec!["a".into(), "b".into()], &documents)?;
/// let index = builder.finish()?;
/// let query = SparseMatrix::from_dense(&[3.0, 1.0, 0.0], 1, 3)?;
/// assert_eq!(index.search(&query, 10)?, [[("b", 4.0), ("a", 2.0)]]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CorpusIndex {
    file: IndexFile,
    description: IndexDescription,
}

impl CorpusIndex {
    /// Opens an index file, which takes milliseconds for a million documents; its posting lists are read, and compared with
    /// their checksums, when they are searched.
    ///
    /// # Errors
    ///
    /// If the file is missing, damaged or no index of this kind.
    pub fn open(path: &Path) -> Result<Self> {
        let file = IndexFile::open(path)?;
        let unusable = |problem: String| Error::File {
            path: path.to_owned(),
            problem: format!("does not say how it was made: {problem}"),
        };
        let description: IndexDescription = serde_json::from_value(file.metadata.clone())
            .map_err(|error| unusable(error.to_string()))?;
        check_similarity(description.similarity).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { file, description })
    }

    /// Writes the index; the file appears under its name only when it is complete.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(self.file.save(path)?)
    }

    /// Reads the whole file and compares its checksum.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub fn verify(&self) -> Result<()> {
        Ok(self.file.verify()?)
    }

    /// What the index says about itself.
    pub fn description(&self) -> &IndexDescription {
        &self.description
    }

    /// Dimensions of the vectors.
    pub fn n_dims(&self) -> usize {
        self.file.index.n_cols()
    }

    /// Size of the index, and the lengths of its posting lists.
    pub fn cost(&self) -> sparse_index::IndexCost {
        self.file.index.cost()
    }

    /// The `k` best documents of every row of `queries`, best first, equal scores in the order in which the documents
    /// were added; documents without a common dimension (score 0) are left out.
    ///
    /// # Errors
    ///
    /// If `queries` has another number of columns than the index, a posting list is damaged, or the file has changed since it
    /// was opened.
    pub fn search(&self, queries: &SparseMatrix, k: usize) -> Result<Vec<Vec<(&str, f32)>>> {
        Ok(match self.description.similarity {
            SimilarityFunction::Cosine => self.file.search(&queries.normalized(), k)?,
            _ => self.file.search(queries, k)?,
        })
    }
}

fn check_similarity(similarity: SimilarityFunction) -> Result<()> {
    match similarity {
        SimilarityFunction::Dot | SimilarityFunction::Cosine => Ok(()),
        _ => Err(Error::option(
            "similarity",
            format!("must be dot or cosine for an inverted index; got {similarity}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(similarity: SimilarityFunction) -> Result<CorpusIndexBuilder> {
        let model = Some("a model".to_owned());
        let description = IndexDescription {
            model,
            ..IndexDescription::new(similarity)
        };
        CorpusIndexBuilder::new(2, description)
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn an_index_comes_back_from_its_file_with_its_similarity() {
        let documents = SparseMatrix::from_dense(&[3.0, 4.0, /**/ 2.0, 0.0], 2, 2).unwrap();
        let query = SparseMatrix::from_dense(&[2.0, 0.0], 1, 2).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (similarity, expected) in [
            (SimilarityFunction::Dot, [("x", 6.0), ("y", 4.0)]),
            (SimilarityFunction::Cosine, [("y", 1.0), ("x", 0.6)]),
        ] {
            let mut builder = builder(similarity).unwrap();
            builder.push(ids(&["x", "y"]), &documents).unwrap();
            let path = folder.path().join(similarity.name());
            builder.finish().unwrap().save(&path).unwrap();
            let index = CorpusIndex::open(&path).unwrap();
            index.verify().unwrap();
            assert_eq!(index.description().model.as_deref(), Some("a model"));
            assert_eq!((index.n_dims(), index.cost().n_postings), (2, 3));
            // More are asked for than there are.
            assert_eq!(index.search(&query, 9).unwrap(), [expected]);
            assert!(index.search(&SparseMatrix::new(3), 1).is_err());
        }
    }

    #[test]
    fn an_index_that_was_not_made_here_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foreign.index");
        for metadata in [
            serde_json::json!(null),
            serde_json::json!({ "model": 7, "similarity": "dot" }),
            serde_json::json!({ "model": null, "similarity": "euclidean" }),
        ] {
            let rows = SparseMatrix::from_dense(&[1.0], 1, 1).unwrap();
            let index = sparse_index::InvertedIndex::from_matrix(&rows);
            let file = IndexFile::new(index, DocumentIds::new(["a"]), metadata).unwrap();
            file.save(&path).unwrap();
            let message = CorpusIndex::open(&path).unwrap_err().to_string();
            assert!(
                message.contains("foreign.index` does not say how it was made"),
                "{message}"
            );
        }
    }

    #[test]
    fn dimensions_that_no_vector_has_are_refused() {
        for n_dims in [0, CorpusIndexBuilder::MAX_DIMS + 1, usize::MAX] {
            let description = IndexDescription::new(SimilarityFunction::Dot);
            let message = CorpusIndexBuilder::new(n_dims, description)
                .unwrap_err()
                .to_string();
            assert_eq!(
                message,
                format!("`dimensions` must lie between 1 and 16777216; got {n_dims}")
            );
        }
    }

    #[test]
    fn unusable_corpora_are_refused() {
        let message = |ids_given: &[&str]| {
            let mut builder = builder(SimilarityFunction::Dot).unwrap();
            let rows =
                SparseMatrix::from_dense(&vec![1.0; 2 * ids_given.len()], ids_given.len(), 2);
            builder.push(ids(ids_given), &rows.unwrap()).unwrap();
            builder.finish().unwrap_err().to_string()
        };
        assert_eq!(message(&[]), "the corpus holds no document");
        assert_eq!(
            message(&["a", "b", "a"]),
            "document id `a` occurs twice: documents 1 and 3, counted from 1"
        );
        let error = builder(SimilarityFunction::Manhattan).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`similarity` must be dot or cosine for an inverted index; got manhattan"
        );
        let mut builder = builder(SimilarityFunction::Dot).unwrap();
        assert!(builder.push(ids(&["a"]), &SparseMatrix::new(2)).is_err());
    }
}
