//! Which figures are computed, and down to which rank.

use super::{Collection, RetrievalRun};
use crate::metric::ranking;
use crate::{Error, Result};

/// Ranks at which the figures are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cutoffs {
    /// Ranks for the reciprocal rank.
    pub mrr_at_k: Vec<usize>,
    /// Ranks for the normalized discounted cumulative gain; the largest gives the primary figure.
    pub ndcg_at_k: Vec<usize>,
    /// Ranks for the share of queries with any relevant document.
    pub accuracy_at_k: Vec<usize>,
    /// Ranks for precision and recall.
    pub precision_recall_at_k: Vec<usize>,
    /// Ranks for the mean average precision.
    pub map_at_k: Vec<usize>,
    /// Whether a document's gain is its grade, as in `trec_eval`, rather than 1, as in the reference. Without grades above 1 it
    /// makes no difference; the figures besides the gain know relevant and irrelevant only.
    pub graded_gains: bool,
}

impl Default for Cutoffs {
    fn default() -> Self {
        Self {
            mrr_at_k: vec![10],
            ndcg_at_k: vec![10],
            accuracy_at_k: vec![1, 3, 5, 10],
            precision_recall_at_k: vec![1, 3, 5, 10],
            map_at_k: vec![100],
            graded_gains: false,
        }
    }
}

impl Cutoffs {
    /// Refuses ranks of 0 and an empty list for the primary figure.
    ///
    /// # Errors
    ///
    /// Naming the list at fault.
    pub fn validate(&self) -> Result<()> {
        if self.ndcg_at_k.is_empty() {
            return Err(Error::option("ndcg_at_k", "must name at least one rank"));
        }
        match self
            .lists()
            .into_iter()
            .find(|(_, ranks)| ranks.contains(&0))
        {
            Some((name, _)) => Err(Error::option(name, "must hold ranks of at least 1; got 0")),
            None => Ok(()),
        }
    }

    /// The deepest rank of all: how many documents a search must return.
    pub fn max_k(&self) -> usize {
        self.lists()
            .into_iter()
            .flat_map(|(_, ranks)| ranks)
            .copied()
            .max()
            .unwrap_or(0)
    }

    /// Means over all queries: `accuracy@k`, `precision@k`, `recall@k`, `ndcg@k`, `mrr@k`, `map@k`, in this order.
    pub fn figures(&self, collection: &Collection, run: &RetrievalRun) -> Vec<(String, f64)> {
        self.names()
            .into_iter()
            .map(|name| {
                let values = self.per_query(collection, run, &name).unwrap_or_default();
                let mean =
                    values.iter().fold(0.0, |sum, value| sum + value) / values.len().max(1) as f64;
                (name, mean)
            })
            .collect()
    }

    /// The values of one figure, such as `ndcg@10`, query by query; `None` for a name that is no figure.
    pub fn per_query(
        &self,
        collection: &Collection,
        run: &RetrievalRun,
        name: &str,
    ) -> Option<Vec<f64>> {
        let (kind, k) = name.split_once('@')?;
        let k = k.parse::<usize>().ok().filter(|&k| k > 0)?;
        let figure = |hits: &[bool], n_relevant: usize| {
            Some(match kind {
                "accuracy" => ranking::accuracy(hits, k),
                "precision" => ranking::precision(hits, k),
                "recall" => ranking::recall(hits, n_relevant, k),
                "ndcg" => ranking::ndcg(hits, n_relevant, k),
                "mrr" => ranking::reciprocal_rank(hits, k),
                "map" => ranking::average_precision(hits, n_relevant, k),
                _ => return None,
            })
        };
        let queries = run.rankings.iter().enumerate();
        let values = queries.map(|(query, hits)| {
            let positions = hits.iter().map(|hit| hit.document);
            if self.graded_gains && kind == "ndcg" {
                let gains = positions.map(|position| collection.grade(query, position));
                let gains = gains.collect::<Vec<_>>();
                return Some(ranking::graded_ndcg(
                    &gains,
                    collection.ideal_gains(query),
                    k,
                ));
            }
            let hits = ranking::hits(positions, |&position| {
                collection.is_relevant(query, position)
            });
            figure(&hits, collection.n_relevant(query))
        });
        values.collect()
    }

    /// Names of all figures in the order of the results.
    pub fn names(&self) -> Vec<String> {
        let at = |kind: &str, ranks: &[usize]| {
            ranks
                .iter()
                .map(|k| format!("{kind}@{k}"))
                .collect::<Vec<_>>()
        };
        [
            at("accuracy", &self.accuracy_at_k),
            at("precision", &self.precision_recall_at_k),
            at("recall", &self.precision_recall_at_k),
            at("ndcg", &self.ndcg_at_k),
            at("mrr", &self.mrr_at_k),
            at("map", &self.map_at_k),
        ]
        .concat()
    }

    /// Name of the figure that stands for all: `ndcg` at the deepest rank.
    pub fn primary(&self) -> String {
        format!("ndcg@{}", self.ndcg_at_k.iter().max().unwrap_or(&0))
    }

    /// Columns of a result file with the figures they hold, in the reference's order: `Accuracy@k` …, `Precision@k`
    /// and `Recall@k` in turn, `MRR@k` …, `NDCG@k` …, `MAP@k` ….
    pub fn csv_columns(&self) -> Vec<(String, String)> {
        let at =
            |title: &str, kind: &str, k: &usize| (format!("{title}@{k}"), format!("{kind}@{k}"));
        let mut columns = Vec::new();
        columns.extend(
            self.accuracy_at_k
                .iter()
                .map(|k| at("Accuracy", "accuracy", k)),
        );
        for k in &self.precision_recall_at_k {
            columns.extend([at("Precision", "precision", k), at("Recall", "recall", k)]);
        }
        columns.extend(self.mrr_at_k.iter().map(|k| at("MRR", "mrr", k)));
        columns.extend(self.ndcg_at_k.iter().map(|k| at("NDCG", "ndcg", k)));
        columns.extend(self.map_at_k.iter().map(|k| at("MAP", "map", k)));
        columns
    }

    fn lists(&self) -> [(&'static str, &Vec<usize>); 5] {
        [
            ("mrr_at_k", &self.mrr_at_k),
            ("ndcg_at_k", &self.ndcg_at_k),
            ("accuracy_at_k", &self.accuracy_at_k),
            ("precision_recall_at_k", &self.precision_recall_at_k),
            ("map_at_k", &self.map_at_k),
        ]
    }
}

#[cfg(test)]
mod tests {
    use sparse_index::Hit;

    use super::*;

    #[test]
    fn grades_count_where_they_are_asked_for() {
        let pair = |id: &str| (id.to_owned(), String::new());
        let grades = [("d1", 1.0), ("d2", 1.0), ("d3", 3.0)];
        let grades = grades.map(|(id, grade)| (id.to_owned(), grade)).into();
        let judgements = [("q1".to_owned(), grades)].into();
        let corpus = ["d1", "d2", "d3", "d4"].map(pair);
        let collection = Collection::with_grades([pair("q1")], corpus, &judgements).unwrap();
        let hits = [0, 1, 2, 3].map(|document| Hit {
            document,
            score: 4.0 - document as f32,
        });
        let run = RetrievalRun {
            name: "dot".to_owned(),
            rankings: vec![hits.to_vec()],
        };
        let value = |graded_gains: bool, name: &str| {
            let cutoffs = Cutoffs {
                graded_gains,
                ..Cutoffs::default()
            };
            cutoffs.per_query(&collection, &run, name).unwrap()[0]
        };
        // All relevant documents come first: as good as can be, unless the best of them should.
        assert_eq!(value(false, "ndcg@10"), 1.0);
        // (1 + 1 / log2(3) + 3 / 2) / (3 + 1 / log2(3) + 1 / 2)
        assert!((value(true, "ndcg@10") - 0.757924).abs() < 1e-6);
        for name in ["map@100", "mrr@10", "recall@3", "precision@5", "accuracy@1"] {
            assert_eq!(value(false, name), value(true, name));
        }
    }

    #[test]
    fn ranks_are_checked() {
        let cutoffs = Cutoffs {
            map_at_k: vec![5, 0],
            ..Cutoffs::default()
        };
        let message = cutoffs.validate().unwrap_err().to_string();
        assert_eq!(message, "`map_at_k` must hold ranks of at least 1; got 0");
        assert!(
            Cutoffs {
                ndcg_at_k: vec![],
                ..Cutoffs::default()
            }
            .validate()
            .is_err()
        );
        assert!(
            Cutoffs {
                mrr_at_k: vec![],
                ..Cutoffs::default()
            }
            .validate()
            .is_ok()
        );
    }

    #[test]
    fn the_deepest_rank_is_searched() {
        assert_eq!(Cutoffs::default().max_k(), 100);
        assert_eq!(Cutoffs::default().primary(), "ndcg@10");
        assert_eq!(Cutoffs::default().names().len(), 15);
    }
}
