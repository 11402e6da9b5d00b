//! `convert`: a model into a directory of the common layout.

use std::path::PathBuf;

use sparse_encoder::model::WeightType;

use super::load;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::line;

/// Writes a model into a directory that sentence-transformers and this program load.
///
/// What is converted may be a plain masked-language model, which becomes a SPLADE encoder, pickled weights, an old layout, an
/// adapter, or a model whose weights shall be half as large.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sparse-encoder convert --model naver/splade-v3 --output splade-v3-bf16 --weights bf16"
)]
pub(crate) struct Convert {
    /// Model directory or hub id.
    #[arg(long)]
    model: String,
    /// Directory to write, which must not exist.
    #[arg(long)]
    output: PathBuf,
    /// Number type of the weights.
    #[arg(long, value_enum, default_value = "f32")]
    weights: Weights,
    /// Adds an adapter into the weights that it is for, instead of writing it alone.
    #[arg(long)]
    merge_adapter: bool,
}

/// Number types of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Weights {
    /// 32 bits, as in memory.
    F32,
    /// 16 bits with a range to 65,504.
    F16,
    /// 16 bits with the range of f32.
    Bf16,
}

impl Convert {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if self.output.exists() {
            return Err(Failure::input(format!(
                "`{}` is there already; --output must name a new directory",
                self.output.display()
            )));
        }
        let mut encoder = load(&self.model, global)?;
        if self.merge_adapter {
            if !encoder.has_adapter() {
                return Err(Failure::input(format!(
                    "`{}` has no adapter to merge",
                    self.model
                )));
            }
            encoder = encoder.merge_adapter();
        }
        let weights = match self.weights {
            Weights::F32 => WeightType::F32,
            Weights::F16 => WeightType::F16,
            Weights::Bf16 => WeightType::Bf16,
        };
        encoder.save_pretrained_as(&self.output, weights)?;
        line(&format!(
            "wrote a {} to `{}`",
            encoder.type_name(),
            self.output.display()
        ))?;
        Ok(())
    }
}
