//! What goes from module to module.

use std::fmt;
use std::path::Path;

use super::PipelineModule;
use crate::Result;

/// What comes out of a module, as far as the next one cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Texts, before the first module.
    Texts,
    /// Logits over the vocabulary, per token.
    Logits { vocab_size: usize },
    /// Hidden states, per token.
    Hidden { width: usize },
    /// One vector per text; `lexical` if its dimensions are the vocabulary.
    Sentence { width: usize, lexical: bool },
}

impl fmt::Display for Flow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Texts => formatter.write_str("texts"),
            Self::Logits { vocab_size } => write!(formatter, "{vocab_size} logits per token"),
            Self::Hidden { width } => write!(formatter, "{width} values per token"),
            Self::Sentence { width, lexical } => {
                let kind = if *lexical { "tokens" } else { "latents" };
                write!(formatter, "vectors over {width} {kind}")
            }
        }
    }
}

/// Describes the output of a row of modules, or says which of them is out of place.
pub(crate) fn check_flow<'a>(
    modules: impl IntoIterator<Item = &'a PipelineModule>,
    path: &Path,
) -> Result<Vec<Flow>> {
    let mut flow = Flow::Texts;
    modules
        .into_iter()
        .map(|module| {
            flow = module.check(flow, path)?;
            Ok(flow)
        })
        .collect()
}
