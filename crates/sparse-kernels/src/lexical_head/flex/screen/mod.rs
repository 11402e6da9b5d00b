//! Screening: which entries of the vectors can be anything but zero, told by a product of small integers.
//!
//! Of the logits of a text nearly all are negative, and only those of columns with one that isn't are worth f32. Hidden
//! states and weights are rounded to integers of 8 bits or fewer, whose product costs a quarter or less and errs by no
//! more than a proven bound ([`bound`]). Columns whose largest integer product is below zero by more than the bound are
//! zero in the vector; the others are **open** and computed as without screening, so that the vector is the same one to
//! the last bit.
//!
//! Where too many columns are open, screening only costs: each text is tried on a sample of the vocabulary first, and a
//! tile of which a text leaves much open is computed as a whole.

mod bound;
mod hidden;
mod known;
mod product;
mod weight;

use std::sync::Arc;

use rayon::prelude::*;

use super::Head;
use crate::lexical_head::InstructionSet;
use bound::Text;
use hidden::Hidden;
pub(super) use known::{forget, keep, known};
pub(crate) use weight::QuantizedWeight;
use weight::{Sample, Scratch};

/// Vocabulary entries of a tile, also without screening. With the tokens of a forward pass, its buffer of logits takes
/// 1 MiB, and the tile of a weight of up to 768 columns stays in the cache beside it.
pub(super) const TILE: usize = 512;

/// A text that leaves more than one column of the sample in this many open isn't screened: the integers cost up to half
/// as much as f32, and gathering columns up to half as much as multiplying them.
const OPEN_IN_TEXT: usize = 3;

/// A tile of which a text leaves more than one column in this many open is computed as a whole, without gathering.
const OPEN_IN_TILE: usize = 2;

/// The smallest vocabulary that is worth the trouble.
const SMALLEST: usize = 1024;

/// From this many tokens on a weight that may never be seen again is quantized: that costs about as much as 30
/// tokens save.
const TOKENS: usize = 64;

/// What is known of the quantized weight before a forward pass.
#[derive(Debug, Clone, Default)]
pub(crate) enum Known {
    /// This weight was never seen, or has been trained since: it may change before it is seen again.
    #[default]
    New,
    /// It was seen before, and will probably be again.
    Seen,
    /// It is quantized already, if for the same instruction set.
    Quantized(Arc<QuantizedWeight>),
}

/// What is to be computed in f32.
#[derive(Debug)]
pub(super) struct Plan {
    n_rows: usize,
    /// Whether a tile is computed as a whole for a text: `[n_tiles, n_rows]`.
    whole: Vec<bool>,
    /// Open entries of the other tiles for each text, in order.
    open: Vec<Vec<u32>>,
}

impl Plan {
    /// Everything.
    pub(super) fn everything(head: &Head<'_>) -> Self {
        Self {
            n_rows: head.n_rows,
            whole: vec![true; head.vocab_size.div_ceil(TILE) * head.n_rows],
            open: vec![Vec::new(); head.n_rows],
        }
    }

    /// Whether a tile is computed as a whole for a text.
    pub(super) fn is_whole(&self, tile: usize, row: usize) -> bool {
        self.whole[tile * self.n_rows + row]
    }

    /// Open entries of each text in the tiles that aren't computed as a whole.
    pub(super) fn open(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let open = self.open.iter().map(Vec::as_slice).enumerate();
        open.filter(|(_, entries)| !entries.is_empty())
    }

    /// What screening leaves to be computed, and the weight if it had to be quantized for that.
    pub(super) fn screened(
        head: &Head<'_>,
        set: InstructionSet,
        known: &Known,
    ) -> (Self, Option<Arc<QuantizedWeight>>) {
        if !(1..=bound::WIDEST).contains(&head.width)
            || head.vocab_size < SMALLEST
            || (matches!(known, Known::New) && head.n_tokens < TOKENS)
        {
            return (Self::everything(head), None);
        }
        let hidden = Hidden::new(set, head.hidden_values, head.width, head.rows);
        let screen = |sample: &Sample| worth_screening(head, set, &hidden, sample);
        if let Known::Quantized(weight) = known
            && weight.set == set
        {
            let rows = screen(&weight.sample);
            return (Self::of(head, &hidden, weight, &rows), None);
        }
        let sample = Sample::new(set, head.weight_values, head.width);
        let rows = screen(&sample);
        let n_tokens: usize = rows.iter().map(|&row| head.rows.range(row).len()).sum();
        if n_tokens == 0 || (matches!(known, Known::New) && n_tokens < TOKENS) {
            return (Self::everything(head), None);
        }
        let weight = QuantizedWeight::new(set, head.weight_values, head.width, sample);
        (
            Self::of(head, &hidden, &weight, &rows),
            Some(Arc::new(weight)),
        )
    }

    /// Screens some texts by all tiles.
    fn of(head: &Head<'_>, hidden: &Hidden, weight: &QuantizedWeight, rows: &[usize]) -> Self {
        let mut plan = Self::everything(head);
        let no_bias = [0.0; TILE];
        let tiles: Vec<Vec<Option<Vec<u32>>>> = weight
            .tiles
            .par_iter()
            .enumerate()
            .map_init(Scratch::new, |scratch, (index, tile)| {
                let first = index * TILE;
                let bias = match head.bias {
                    Some(bias) => &bias[first..first + tile.len()],
                    None => &no_bias[..tile.len()],
                };
                let open = rows.iter().map(|&row| {
                    let (text, values) = (&hidden.texts[row], hidden.of(head.rows, row));
                    let (n_open, flags) =
                        tile.flag_open(weight.set, head.width, text, values, bias, scratch);
                    (n_open * OPEN_IN_TILE <= tile.len()).then(|| flagged(flags, n_open, first))
                });
                open.collect()
            })
            .collect();
        for (tile, open) in tiles.iter().enumerate() {
            for (&row, open) in rows.iter().zip(open) {
                if let Some(open) = open {
                    plan.whole[tile * head.n_rows + row] = false;
                    plan.open[row].extend_from_slice(open);
                }
            }
        }
        plan
    }
}

/// Texts of which the sample leaves little enough open.
fn worth_screening(
    head: &Head<'_>,
    set: InstructionSet,
    hidden: &Hidden,
    sample: &Sample,
) -> Vec<usize> {
    let bias = sample.bias(head.bias);
    let rows = 0..head.n_rows;
    let is_worth = |scratch: &mut Scratch, row: usize| {
        let (text, values) = (&hidden.texts[row], hidden.of(head.rows, row));
        if values.is_empty() || !text.is_finite() {
            return None;
        }
        let tile = &sample.tile;
        let (n_open, _) = tile.flag_open(set, head.width, text, values, &bias, scratch);
        (n_open * OPEN_IN_TEXT <= tile.len()).then_some(row)
    };
    let found = rows.into_par_iter().map_init(Scratch::new, is_worth);
    found.flatten().collect()
}

/// Entries whose flag is set.
fn flagged(flags: &[u8], n: usize, first: usize) -> Vec<u32> {
    let mut entries = Vec::with_capacity(n);
    for (index, flags) in flags.chunks(8).enumerate() {
        if flags != [0; 8] {
            let set = (0..flags.len()).filter(|&i| flags[i] != 0);
            entries.extend(set.map(|i| (first + index * 8 + i) as u32));
        }
    }
    entries
}
