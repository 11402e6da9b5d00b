//! `inspect`: what a model is.

use super::load;
use crate::Global;
use crate::failure::Result;
use crate::output::line;

/// Says what a model is: modules, sizes, formula, tokenization, warnings.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sparse-encoder inspect --model runs/my-model/final")]
pub(crate) struct Inspect {
    /// Model directory or hub id.
    #[arg(long)]
    model: String,
    /// A text to try the model on, instead of a built-in few; may be given several times.
    #[arg(long = "text")]
    texts: Vec<String>,
}

impl Inspect {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let encoder = load(&self.model, global)?;
        line(encoder.inspect(&self.texts)?.to_string().trim_end())?;
        Ok(())
    }
}
