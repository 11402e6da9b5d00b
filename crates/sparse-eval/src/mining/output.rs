//! Rows of mined negatives.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use sparse_files::StagedFile;
use sparse_index::Hit;

use super::{MiningConfig, MiningData, MiningReport, OutputFormat, Selection};
use crate::{Error, Result};

/// A value of a mined row.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// 1 for a relevant document, 0 for a negative.
    Label(u8),
    /// Labels of several documents.
    Labels(Vec<u8>),
    /// The score of a document.
    Score(f32),
    /// Scores of several documents.
    Scores(Vec<f32>),
}

/// Mined negatives as a table.
#[derive(Debug, Clone, PartialEq)]
pub struct MinedNegatives {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, by first appearance of their queries.
    pub rows: Vec<Vec<Cell>>,
    /// What was found and what was dropped.
    pub report: MiningReport,
}

impl MinedNegatives {
    /// Lays out the negatives that were selected.
    pub fn new(
        data: &MiningData,
        positive_scores: &[Vec<f32>],
        selection: Selection,
        config: &MiningConfig,
    ) -> Self {
        let layout = Layout {
            data,
            positive_scores,
            config,
        };
        let mut rows = Vec::new();
        for (query, negatives) in selection.negatives.iter().enumerate() {
            layout.rows(query, negatives, &mut rows);
        }
        let report = MiningReport::new(positive_scores, &selection, config.num_negatives);
        Self {
            columns: layout.columns(),
            rows,
            report,
        }
    }

    /// One JSON object per row.
    pub fn json_lines(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|row| {
            let cells = row.iter().map(|cell| serde_json::json!(cell));
            let object: serde_json::Map<_, _> = self.columns.iter().cloned().zip(cells).collect();
            serde_json::Value::Object(object).to_string()
        })
    }

    /// Writes one JSON object per row; the file appears under its name only when it is complete.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_json_lines(&self, path: &Path) -> Result<()> {
        let mut file = StagedFile::create(path)?;
        for row in self.json_lines() {
            writeln!(file, "{row}").map_err(|source| Error::write(path, source))?;
        }
        Ok(file.finish()?)
    }
}

struct Layout<'a> {
    data: &'a MiningData,
    positive_scores: &'a [Vec<f32>],
    config: &'a MiningConfig,
}

impl Layout<'_> {
    fn columns(&self) -> Vec<String> {
        let scores = self.config.output_scores;
        let negatives = (1..=self.config.num_negatives).map(|number| format!("negative_{number}"));
        let columns = match self.config.format() {
            OutputFormat::Triplet => vec!["negative".to_owned()],
            OutputFormat::NTuple => negatives.collect(),
            OutputFormat::LabeledPair => vec![if scores { "score" } else { "label" }.to_owned()],
            OutputFormat::LabeledList => vec![if scores { "scores" } else { "labels" }.to_owned()],
        };
        let appended = scores
            && matches!(
                self.config.format(),
                OutputFormat::Triplet | OutputFormat::NTuple
            );
        let first = ["anchor".to_owned(), "positive".to_owned()];
        first
            .into_iter()
            .chain(columns)
            .chain(appended.then(|| "scores".to_owned()))
            .collect()
    }

    fn rows(&self, query: usize, negatives: &[Hit], rows: &mut Vec<Vec<Cell>>) {
        let anchor = Cell::Text(self.data.queries[query].clone());
        let text = |position: u32| self.data.candidates[position as usize].clone();
        let positives = || {
            self.data.positives[query]
                .iter()
                .copied()
                .zip(self.positive_scores[query].iter().copied())
        };
        let scores = self.config.output_scores;
        match self.config.format() {
            OutputFormat::Triplet => {
                for (positive, positive_score) in positives() {
                    for negative in negatives {
                        let mut row = vec![
                            anchor.clone(),
                            Cell::Text(text(positive)),
                            Cell::Text(text(negative.document)),
                        ];
                        row.extend(
                            scores.then(|| Cell::Scores(vec![positive_score, negative.score])),
                        );
                        rows.push(row);
                    }
                }
            }
            OutputFormat::NTuple if negatives.len() < self.config.num_negatives => {}
            OutputFormat::NTuple => {
                for (positive, positive_score) in positives() {
                    let mut row = vec![anchor.clone(), Cell::Text(text(positive))];
                    row.extend(
                        negatives
                            .iter()
                            .map(|negative| Cell::Text(text(negative.document))),
                    );
                    row.extend(scores.then(|| {
                        Cell::Scores(with_first(positive_score, negatives, |hit| hit.score))
                    }));
                    rows.push(row);
                }
            }
            OutputFormat::LabeledPair => {
                let positives = positives().map(|(position, score)| (position, score, 1));
                let negatives = negatives.iter().map(|hit| (hit.document, hit.score, 0));
                for (position, score, label) in positives.chain(negatives) {
                    let last = if scores {
                        Cell::Score(score)
                    } else {
                        Cell::Label(label)
                    };
                    rows.push(vec![anchor.clone(), Cell::Text(text(position)), last]);
                }
            }
            OutputFormat::LabeledList if negatives.is_empty() => {}
            OutputFormat::LabeledList => {
                for (positive, positive_score) in positives() {
                    let texts = with_first(text(positive), negatives, |hit| text(hit.document));
                    let last = match scores {
                        true => {
                            Cell::Scores(with_first(positive_score, negatives, |hit| hit.score))
                        }
                        false => Cell::Labels(with_first(1, negatives, |_| 0)),
                    };
                    rows.push(vec![anchor.clone(), Cell::Texts(texts), last]);
                }
            }
        }
    }
}

fn with_first<T>(first: T, negatives: &[Hit], of: impl Fn(&Hit) -> T) -> Vec<T> {
    std::iter::once(first)
        .chain(negatives.iter().map(of))
        .collect()
}
