//! `similarity`: two texts, their score and what they share.

use std::collections::BTreeMap;

use sparse_encoder::model::EncodeOptions;

use super::load;
use crate::Global;
use crate::failure::Result;
use crate::output::{line, table};

/// Compares two texts: score, and the tokens they share.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sparse-encoder similarity --model runs/my-model/final \"a query\" \"a document\""
)]
pub(crate) struct Similarity {
    /// Model directory or hub id.
    #[arg(long)]
    model: String,
    /// The query.
    a: String,
    /// The document.
    b: String,
    /// Shared tokens to show.
    #[arg(long, default_value_t = 20)]
    top_k: usize,
}

impl Similarity {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let encoder = load(&self.model, global)?;
        let options = EncodeOptions::default();
        let query = encoder.encode_query(&[&self.a], &options)?;
        let document = encoder.encode_document(&[&self.b], &options)?;
        for (side, embedding) in [("query", &query), ("document", &document)] {
            if embedding.nnz() == 0 {
                tracing::warn!(
                    "the vector of the {side} is all zero: `{}` activates no dimension for it",
                    self.model
                );
            }
        }
        let score = encoder.similarity(&query, &document)?;
        line(&format!(
            "{} {:.4}",
            encoder.similarity_fn(),
            score.first().copied().unwrap_or_default()
        ))?;

        let tokens = |embedding| -> Result<BTreeMap<String, f32>> {
            Ok(encoder
                .decode(embedding, None)?
                .into_iter()
                .flatten()
                .collect())
        };
        let documents = tokens(&document)?;
        let mut shared: Vec<(String, f32, f32)> = tokens(&query)?
            .into_iter()
            .filter_map(|(token, weight)| Some((token.clone(), weight, *documents.get(&token)?)))
            .collect();
        shared.sort_by(|a, b| {
            (b.1 * b.2)
                .total_cmp(&(a.1 * a.2))
                .then_with(|| a.0.cmp(&b.0))
        });
        let n_shared = shared.len();
        let rows: Vec<Vec<String>> = shared
            .into_iter()
            .take(self.top_k)
            .map(|(token, a, b)| {
                vec![
                    token,
                    format!("{a:.4}"),
                    format!("{b:.4}"),
                    format!("{:.4}", a * b),
                ]
            })
            .collect();
        line(&table(&["token", "query", "document", "product"], &rows))?;
        line(&format!(
            "active dimensions: query {}, document {}, both {n_shared}",
            query.nnz(),
            document.nnz()
        ))?;
        Ok(())
    }
}
