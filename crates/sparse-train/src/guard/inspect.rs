//! Checks of the model itself: the bias of its head, and the positions that win its maxima.

use sparse_model::SparseEncoder;

use super::{Guards, Warning};
use crate::error::Result;

/// Share of a text's active dimensions whose maximum one token position may have.
const LARGEST_SHARE: f64 = 0.5;

impl Guards {
    /// Whether the head's bias makes dimensions active by itself.
    pub(crate) fn check_head_bias(&self, encoder: &SparseEncoder) -> Result<Vec<Warning>> {
        if !self.config.head_bias {
            return Ok(Vec::new());
        }
        let biases = encoder.large_head_biases()?.into_iter();
        Ok(biases
            .map(|bias| {
                Warning::new(
                    format!("head bias {}", bias.route),
                    format!(
                        "the bias of the masked-language-model head ({}) is large (mean {:.2}, largest {:.2}): it makes \
                         dimensions active whatever the text says, and a regularizer needs many steps to undo that. Start \
                         from another backbone, or raise the regularizer weights, best through `document_target_active_dims`",
                        bias.route, bias.mean, bias.largest
                    ),
                )
            })
            .collect())
    }

    /// Whether one token position wins most maxima of `texts`.
    pub(crate) fn check_positions(
        &self,
        encoder: &SparseEncoder,
        texts: &[String],
    ) -> Result<Vec<Warning>> {
        if !self.config.collapse {
            return Ok(Vec::new());
        }
        let share = encoder.largest_position_share(texts)?;
        let share = share.filter(|share| *share > LARGEST_SHARE);
        Ok(share
            .map(|share| {
                Warning::new(
                    "one position",
                    format!(
                        "one token position has the maximum of {:.0} % of a document's active dimensions on average: it says \
                         the same about every text. Usual cause: a special token that attracts all attention; leave it out of \
                         the tokenizer's template, add prompts, or start from another backbone",
                        share * 100.0
                    ),
                )
            })
            .into_iter()
            .collect())
    }
}
