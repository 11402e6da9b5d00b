//! `decode`: what a text activates.

use sparse_encoder::model::EncodeOptions;

use super::{Task, load};
use crate::Global;
use crate::failure::Result;
use crate::output::{line, table};
use crate::zero_vectors::ZeroVectors;

/// Shows the tokens that a text activates.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sparse-encoder decode --model runs/my-model/final \"the text to look at\""
)]
pub(crate) struct Decode {
    /// Model directory or hub id.
    #[arg(long)]
    model: String,
    /// The text.
    text: String,
    /// Side of the model: query or document.
    #[arg(long, value_enum, default_value = "document")]
    task: Task,
    /// Tokens to show.
    #[arg(long, default_value_t = 20)]
    top_k: usize,
}

impl Decode {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let encoder = load(&self.model, global)?;
        let options = EncodeOptions::default();
        let embedding = match self.task {
            Task::Query => encoder.encode_query(&[&self.text], &options)?,
            Task::Document => encoder.encode_document(&[&self.text], &options)?,
        };
        let decoded = encoder.decode(&embedding, Some(self.top_k))?;
        let rows: Vec<Vec<String>> = decoded
            .iter()
            .flatten()
            .map(|(token, weight)| vec![token.clone(), format!("{weight:.4}")])
            .collect();
        line(&table(&["token", "weight"], &rows))?;
        if embedding.nnz() == 0 {
            tracing::warn!(
                "the vector of the text is all zero: `{}` activates no dimension for it",
                self.model
            );
        }
        line(&format!(
            "{} of {} dimensions are active",
            embedding.nnz(),
            embedding.n_cols()
        ))?;
        let mut zero = ZeroVectors::default();
        zero.add(&[&self.text], &embedding);
        zero.warn();
        Ok(())
    }
}
