//! Retrieval sets: a corpus, queries and relevance judgements in one folder (the layout of BEIR).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, list_names, nearest};
use crate::ids::{IdColumns, TextsById};
use crate::memory::Column;
use crate::source::{Format, Lines, ReadLimits, ReadOptions, read_path, require};
use crate::table::Table;

/// A document that is relevant to a query, by their positions in the folder's files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Position of the query.
    pub query: usize,
    /// Position of the document.
    pub document: usize,
    /// Grade of relevance; 0 says that the document is not relevant.
    pub score: f64,
}

/// A folder with `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and judgements in
/// `qrels/<split>.tsv` (`query-id`, `corpus-id`, `score`; the header line may be missing).
///
/// The text of a document is `(title + " " + text)` without blanks at the ends
/// ([Thakur et al., 2021](https://arxiv.org/abs/2104.08663)).
///
/// # Example
///
/// ```no_run
/// use sparse_data::Retrieval;
///
/// let retrieval = Retrieval::open("data/scifact")?;
/// let pairs = retrieval.training_pairs("train")?;
/// assert_eq!(pairs.column_names(), ["query", "document"]);
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Retrieval {
    folder: PathBuf,
    limits: ReadLimits,
    queries: TextsById,
    corpus: TextsById,
}

impl Retrieval {
    /// Reads corpus and queries.
    ///
    /// # Errors
    ///
    /// If a file is missing or malformed, an id is repeated, or a text is null.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(folder, ReadLimits::default())
    }

    /// As [`open`](Self::open), with other limits than the usual ones.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(folder: impl AsRef<Path>, limits: ReadLimits) -> Result<Self> {
        let folder = folder.as_ref();
        require(folder)?;
        let read = |name: &str| -> Result<TextsById> {
            let path = ["", ".gz", ".zst", ".bz2", ".xz"]
                .into_iter()
                .map(|ending| folder.join(format!("{name}{ending}")))
                .find(|path| path.exists())
                .unwrap_or_else(|| folder.join(name));
            read_texts_by_id(&path, limits)
        };
        Ok(Self {
            folder: folder.to_owned(),
            limits,
            queries: read("queries.jsonl")?,
            corpus: read("corpus.jsonl")?,
        })
    }

    /// Ids and texts of a file of such a folder, in the order of its rows; a pipe works, too.
    ///
    /// # Errors
    ///
    /// If the file is missing or malformed, an id is repeated, or a text is null.
    pub fn read_texts(path: &Path) -> Result<Vec<(String, String)>> {
        let texts = read_texts_by_id(path, ReadLimits::default())?;
        (0..texts.len())
            .map(|row| Ok((texts.id(row).to_owned(), texts.text(row)?)))
            .collect()
    }

    /// Number of queries, of all splits together.
    pub fn num_queries(&self) -> usize {
        self.queries.len()
    }

    /// Number of documents.
    pub fn num_documents(&self) -> usize {
        self.corpus.len()
    }

    /// Id of a query.
    ///
    /// # Panics
    ///
    /// If there is no such query.
    pub fn query_id(&self, query: usize) -> &str {
        self.queries.id(query)
    }

    /// Id of a document.
    ///
    /// # Panics
    ///
    /// If there is no such document.
    pub fn document_id(&self, document: usize) -> &str {
        self.corpus.id(document)
    }

    /// Text of a query.
    ///
    /// # Errors
    ///
    /// If the text is null.
    pub fn query_text(&self, query: usize) -> Result<String> {
        self.queries.text(query)
    }

    /// Text of a document: title and text, joined by a blank.
    ///
    /// # Errors
    ///
    /// If the text is null.
    pub fn document_text(&self, document: usize) -> Result<String> {
        self.corpus.text(document)
    }

    /// Names of the splits that have judgements, sorted.
    ///
    /// # Errors
    ///
    /// If the folder has no `qrels`.
    pub fn splits(&self) -> Result<Vec<String>> {
        let qrels = self.folder.join("qrels");
        require(&qrels)?;
        let entries = std::fs::read_dir(&qrels).map_err(|source| Error::Io {
            path: qrels.clone(),
            source,
        })?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                Some(
                    entry
                        .ok()?
                        .file_name()
                        .to_str()?
                        .strip_suffix(".tsv")?
                        .to_owned(),
                )
            })
            .collect();
        names.sort();
        Ok(names)
    }

    /// The judgements of a split, in the order of its file.
    ///
    /// # Errors
    ///
    /// If there is no such split, a line is malformed or names an id that does not exist, or two lines give one pair of query
    /// and document different scores.
    pub fn judgements(&self, split: &str) -> Result<Vec<Judgement>> {
        let splits = self.splits()?;
        if !splits.iter().any(|known| known == split) {
            return Err(Error::UnknownSplit {
                place: self.folder.display().to_string(),
                split: split.to_owned(),
                nearest: nearest(split, splits.iter().map(String::as_str)),
                known: list_names(splits.iter().map(String::as_str)),
            });
        }
        let path = self.folder.join("qrels").join(format!("{split}.tsv"));
        let mut lines = Lines::open_with(&path, self.limits)?;
        let mut judgements: Vec<Judgement> = Vec::new();
        // Line and score of each pair so far.
        let mut judged = BTreeMap::new();
        while let Some((line, text)) = lines.next_line()? {
            let malformed = |(column, problem): (Option<&str>, String)| Error::Malformed {
                file: path.display().to_string(),
                row: None,
                line: Some(line),
                column: column.map(str::to_owned),
                problem,
            };
            let Some(judgement) = self.judgement(text, line == 1).map_err(malformed)? else {
                continue;
            };
            let pair = (judgement.query, judgement.document);
            let earlier = judged.insert(pair, (line, judgement.score));
            if let Some((first, score)) = earlier
                && score != judgement.score
            {
                let problem = format!(
                    "is {} for query `{}` and document `{}`, and {score} in line {first}",
                    judgement.score,
                    self.query_id(judgement.query),
                    self.document_id(judgement.document),
                );
                return Err(malformed((Some("score"), problem)));
            }
            judgements.push(judgement);
        }
        if judgements.is_empty() {
            return Err(Error::Empty {
                place: path.display().to_string(),
                problem: "it has no judgements".to_owned(),
            });
        }
        Ok(judgements)
    }

    /// One line; none for an empty line and for the header.
    fn judgement(
        &self,
        text: &str,
        may_be_header: bool,
    ) -> Result<Option<Judgement>, (Option<&'static str>, String)> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let cells: Vec<&str> = text.split('\t').collect();
        let [query, document, score] = cells.as_slice() else {
            let problem = format!(
                "has {} cells; expected 3 between tabs: query-id, corpus-id, score",
                cells.len()
            );
            return Err((None, problem));
        };
        let score: f64 = match score.trim().parse() {
            Ok(score) if f64::is_finite(score) => score,
            _ if may_be_header => return Ok(None),
            _ => return Err((Some("score"), format!("is not a number: `{score}`"))),
        };
        let row = |texts: &TextsById, id: &str, column| {
            texts
                .row(id)
                .ok_or_else(|| (Some(column), texts.unknown(id)))
        };
        Ok(Some(Judgement {
            query: row(&self.queries, query, "query-id")?,
            document: row(&self.corpus, document, "corpus-id")?,
            score,
        }))
    }

    /// The relevant pairs of a split as a table of the columns `query` and `document`, in the order of its file.
    ///
    /// # Errors
    ///
    /// As [`judgements`](Self::judgements), and if no pair is relevant.
    pub fn training_pairs(&self, split: &str) -> Result<Table> {
        let mut judgements = self.judgements(split)?;
        judgements.retain(|judgement| judgement.score > 0.0);
        let place = format!("{}/qrels/{split}.tsv", self.folder.display());
        if judgements.is_empty() {
            return Err(Error::Empty {
                place,
                problem: "no pair has a score above 0".to_owned(),
            });
        }
        let texts = |part: &[Judgement]| -> Result<Table> {
            let queries: Vec<String> = part
                .iter()
                .map(|pair| self.query_text(pair.query))
                .collect::<Result<_>>()?;
            let documents: Vec<String> = part
                .iter()
                .map(|pair| self.document_text(pair.document))
                .collect::<Result<_>>()?;
            Table::from_columns([
                ("query", Column::from(queries)),
                ("document", Column::from(documents)),
            ])
        };
        // In parts, as files are: the offsets of one Arrow array end at 2 GiB of text.
        const PART: usize = 8192;
        let parts = judgements
            .chunks(PART)
            .map(texts)
            .collect::<Result<Vec<_>>>()?;
        Ok(Table::concatenate(&parts)?.with_place(&place))
    }
}

/// Reads a file of ids and texts, whatever it is called.
fn read_texts_by_id(path: &Path, limits: ReadLimits) -> Result<TextsById> {
    let options = ReadOptions {
        format: Format::from_path(path).is_none().then_some(Format::Json),
        // Other keys, such as `metadata`, may hold what they like.
        columns: IdColumns::choice(Some("_id".to_owned()), None),
        limits,
        ..ReadOptions::default()
    };
    let table = read_path(path, &options)?;
    let columns = IdColumns::find(table.place(), &table.column_names(), Some("_id"), None)?;
    TextsById::new(table, &columns)
}
