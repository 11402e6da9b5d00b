//! Quality against the number of active dimensions.

use std::fmt;

use serde::Serialize;
use sparse_index::{SimilarityFunction, SparseMatrix};

use crate::{Error, InformationRetrievalEvaluator, Result};

/// A figure for each pair of limits of active dimensions, of documents and of queries, in one run: vectors are encoded
/// once and pruned again and again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PruningTable {
    /// Name of the figure, such as `dot_ndcg@10`.
    pub figure: String,
    /// One entry per pair of limits, query limits innermost.
    pub entries: Vec<PruningEntry>,
}

/// One pair of limits, what the vectors then cost and how good they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PruningEntry {
    /// Largest number of active dimensions of a document; no limit if absent.
    pub document_limit: Option<usize>,
    /// Largest number of active dimensions of a query; no limit if absent.
    pub query_limit: Option<usize>,
    /// Mean number of active dimensions of the documents.
    pub corpus_active_dims: f64,
    /// Mean number of active dimensions of the queries.
    pub query_active_dims: f64,
    /// Expected multiply-adds per pair.
    pub avg_flops: f64,
    /// The figure.
    pub value: f64,
}

impl PruningTable {
    /// Prunes the vectors of a collection to each pair of limits and evaluates them. Rows of `queries` and `corpus` are in
    /// the order of the evaluator's collection; `None` is no limit. The figure is the evaluator's primary one.
    ///
    /// # Errors
    ///
    /// If the vectors do not fit the collection, or a list of limits is empty or holds 0.
    pub fn new(
        evaluator: &InformationRetrievalEvaluator,
        queries: &SparseMatrix,
        corpus: &SparseMatrix,
        function: SimilarityFunction,
        document_limits: &[Option<usize>],
        query_limits: &[Option<usize>],
    ) -> Result<Self> {
        for (name, limits) in [
            ("document_limits", document_limits),
            ("query_limits", query_limits),
        ] {
            if limits.is_empty() || limits.contains(&Some(0)) {
                return Err(Error::option(name, "must hold limits of at least 1"));
            }
        }
        let pruned = |matrix: &SparseMatrix, limit: Option<usize>| {
            limit.map_or_else(|| matrix.clone(), |n| matrix.prune(n))
        };
        let mut table = Self {
            figure: String::new(),
            entries: Vec::new(),
        };
        for &document_limit in document_limits {
            let corpus = pruned(corpus, document_limit);
            for &query_limit in query_limits {
                let report = evaluator.report_on_vectors(
                    &pruned(queries, query_limit),
                    &corpus,
                    function,
                )?;
                let metric = |name: &str| report.metrics.get(name).unwrap_or(f64::NAN);
                table.figure = report.metrics.primary().unwrap_or_default().to_owned();
                table.entries.push(PruningEntry {
                    document_limit,
                    query_limit,
                    corpus_active_dims: metric("corpus_active_dims"),
                    query_active_dims: metric("query_active_dims"),
                    avg_flops: metric("avg_flops"),
                    value: metric(&table.figure),
                });
            }
        }
        Ok(table)
    }

    /// Draws the figure against the limit of the documents, one line per limit of the queries, as an SVG image.
    pub fn to_svg(&self) -> String {
        const COLORS: [&str; 6] = [
            "#1b6ca8", "#c0392b", "#27864a", "#8e5ea2", "#b8860b", "#444444",
        ];
        const LEFT: f64 = 60.0;
        const TOP: f64 = 40.0;
        const WIDTH: f64 = 460.0;
        const HEIGHT: f64 = 260.0;
        let mut document_limits = self
            .entries
            .iter()
            .map(|entry| entry.document_limit)
            .collect::<Vec<_>>();
        document_limits.sort_by_key(|limit| limit.unwrap_or(usize::MAX));
        document_limits.dedup();
        let mut query_limits = Vec::new();
        self.entries
            .iter()
            .map(|entry| entry.query_limit)
            .for_each(|limit| {
                if !query_limits.contains(&limit) {
                    query_limits.push(limit);
                }
            });
        let values = self
            .entries
            .iter()
            .map(|entry| entry.value)
            .filter(|value| value.is_finite());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
            (a.min(v), b.max(v))
        });
        let span = if high > low { high - low } else { 1.0 };
        let steps = document_limits.len().saturating_sub(1).max(1) as f64;
        let x = |limit: Option<usize>| {
            let step = document_limits
                .iter()
                .position(|other| *other == limit)
                .unwrap_or(0);
            LEFT + WIDTH * step as f64 / steps
        };
        let y = |value: f64| TOP + HEIGHT * (1.0 - (value - low) / span);
        let label = |limit: Option<usize>| {
            limit.map_or_else(|| "all".to_owned(), |limit| limit.to_string())
        };

        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"680\" height=\"360\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"680\" height=\"360\" fill=\"white\"/>\n",
        );
        let mut line = |text: fmt::Arguments<'_>| svg += &format!("{text}\n");
        line(format_args!(
            "<text x=\"{LEFT}\" y=\"22\">{} by active dimensions of the documents</text>",
            self.figure
        ));
        for step in 0..=4 {
            let value = low + span * f64::from(step) / 4.0;
            let (y, right) = (y(value), LEFT + WIDTH);
            line(format_args!(
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"
            ));
            line(format_args!(
                "<text x=\"8\" y=\"{:.1}\">{value:.4}</text>",
                y + 4.0
            ));
        }
        for &limit in &document_limits {
            let (x, y) = (x(limit), TOP + HEIGHT + 20.0);
            line(format_args!(
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                label(limit)
            ));
        }
        for (number, &query_limit) in query_limits.iter().enumerate() {
            let color = COLORS[number % COLORS.len()];
            let mut entries = self
                .entries
                .iter()
                .filter(|entry| entry.query_limit == query_limit)
                .collect::<Vec<_>>();
            entries.sort_by_key(|entry| entry.document_limit.unwrap_or(usize::MAX));
            let points = entries
                .iter()
                .map(|entry| format!("{:.1},{:.1}", x(entry.document_limit), y(entry.value)));
            let points = points.collect::<Vec<_>>().join(" ");
            line(format_args!(
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"
            ));
            let y = TOP + 16.0 * number as f64;
            let label = label(query_limit);
            line(format_args!(
                "<text x=\"535\" y=\"{y}\" fill=\"{color}\">queries: {label}</text>"
            ));
        }
        svg + "</svg>\n"
    }
}

impl fmt::Display for PruningTable {
    /// A Markdown table.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "| documents | queries | document dims | query dims | FLOPS | {} |",
            self.figure
        )?;
        writeln!(formatter, "| ---: | ---: | ---: | ---: | ---: | ---: |")?;
        let label = |limit: Option<usize>| {
            limit.map_or_else(|| "all".to_owned(), |limit| limit.to_string())
        };
        self.entries.iter().try_for_each(|entry| {
            writeln!(
                formatter,
                "| {} | {} | {:.1} | {:.1} | {:.2} | {:.4} |",
                label(entry.document_limit),
                label(entry.query_limit),
                entry.corpus_active_dims,
                entry.query_active_dims,
                entry.avg_flops,
                entry.value
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collection;

    fn table() -> PruningTable {
        let pairs = |ids: &[&str]| {
            ids.iter()
                .map(|id| ((*id).to_owned(), String::new()))
                .collect::<Vec<_>>()
        };
        let relevant = [("q".to_owned(), ["b".to_owned()].into())].into();
        let collection = Collection::new(pairs(&["q"]), pairs(&["a", "b"]), &relevant).unwrap();
        let evaluator = InformationRetrievalEvaluator::new(collection, Default::default()).unwrap();
        let queries = SparseMatrix::from_dense(&[3.0, 1.0, 2.0], 1, 3).unwrap();
        let corpus = SparseMatrix::from_dense(&[2.0, 0.0, 0.0, /**/ 1.0, 3.0, 2.0], 2, 3).unwrap();
        let limits = [Some(1), None];
        PruningTable::new(
            &evaluator,
            &queries,
            &corpus,
            SimilarityFunction::Dot,
            &limits,
            &limits,
        )
        .unwrap()
    }

    #[test]
    fn each_pair_of_limits_is_evaluated() {
        // b is found first (3·1 + 1·3 + 2·2 = 10 against 3·2) unless a side keeps one dimension only.
        assert_eq!(
            table().to_string(),
            "| documents | queries | document dims | query dims | FLOPS | dot_ndcg@10 |\n\
             | ---: | ---: | ---: | ---: | ---: | ---: |\n\
             | 1 | 1 | 1.0 | 1.0 | 0.50 | 0.6309 |\n\
             | 1 | all | 1.0 | 3.0 | 1.00 | 0.6309 |\n\
             | all | 1 | 2.0 | 1.0 | 1.00 | 0.6309 |\n\
             | all | all | 2.0 | 3.0 | 2.00 | 1.0000 |\n"
        );
    }

    #[test]
    fn the_plot_has_a_line_per_query_limit() {
        let svg = table().to_svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains(">all<") && svg.contains("queries: 1"), "{svg}");
        assert!(!svg.contains("NaN"));
    }
}
