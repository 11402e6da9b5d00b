//! A weight as small integers, in tiles of the vocabulary.

use rayon::prelude::*;

use super::bound::{self, Columns};
use super::product::{BLOCK, BLOCKS, STEP};
use super::{TILE, Text};
use crate::lexical_head::InstructionSet;

/// Columns that are tried before all of them are multiplied.
const SAMPLE: usize = 256;

/// Weights of a block that lie together: four of each column.
const LINE: usize = 4 * BLOCK;

/// Some columns of the vocabulary, which are rows of the weight.
#[derive(Debug)]
pub(super) struct Tile {
    /// Blocks of columns, see [`InstructionSet::column_maxima`]; those beyond the last column are zero.
    values: Vec<i8>,
    columns: Columns,
}

impl Tile {
    fn new<'a>(
        set: InstructionSet,
        width: usize,
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
    ) -> Self {
        let padded = width.next_multiple_of(STEP);
        let n_columns = rows.len().next_multiple_of(BLOCK * BLOCKS);
        let mut values = vec![0; n_columns * padded];
        let mut columns = Columns::default();
        let mut integers = vec![0; padded];
        for (column, row) in rows.enumerate() {
            let scale = bound::scale(row, set.weight_levels());
            let weight = bound::quantize(row, scale, 0, &mut integers[..width]);
            columns.push(scale, set.offset(), width, &weight);
            let block = &mut values[column / BLOCK * BLOCK * padded..][..BLOCK * padded];
            for (line, four) in block
                .as_chunks_mut::<LINE>()
                .0
                .iter_mut()
                .zip(integers.as_chunks::<4>().0)
            {
                let place = column % BLOCK * 4;
                line[place..place + 4].copy_from_slice(&four.map(|integer| integer as i8));
            }
        }
        Self { values, columns }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Flags the columns that are left open for a text, see [`Text::flag_open`]; gives their number.
    pub(super) fn flag_open<'a>(
        &self,
        set: InstructionSet,
        width: usize,
        text: &Text,
        hidden: &[u8],
        bias: &[f32],
        scratch: &'a mut Scratch,
    ) -> (usize, &'a [u8]) {
        let padded = width.next_multiple_of(STEP);
        let maxima = &mut scratch.maxima[..self.values.len() / padded];
        set.column_maxima(hidden, padded, &self.values, maxima);
        let flags = &mut scratch.flags[..self.len()];
        text.flag_open(&self.columns, width, maxima, bias, flags);
        let n_open = flags.iter().map(|&flag| usize::from(flag)).sum();
        (n_open, flags)
    }
}

/// Memory of a task, for tiles of up to [`TILE`] columns.
#[derive(Debug)]
pub(super) struct Scratch {
    maxima: [i32; TILE],
    flags: [u8; TILE],
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            maxima: [0; TILE],
            flags: [0; TILE],
        }
    }
}

/// A whole weight.
#[derive(Debug)]
pub(crate) struct QuantizedWeight {
    pub(super) set: InstructionSet,
    pub(super) tiles: Vec<Tile>,
    pub(super) sample: Sample,
}

impl QuantizedWeight {
    pub(super) fn new(set: InstructionSet, weight: &[f32], width: usize, sample: Sample) -> Self {
        Self {
            set,
            tiles: weight
                .par_chunks(TILE * width)
                .map(|rows| Tile::new(set, width, rows.chunks_exact(width)))
                .collect(),
            sample,
        }
    }
}

/// Columns spread over the vocabulary, by which to tell how many are left open.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) tile: Tile,
    entries: Vec<usize>,
}

impl Sample {
    pub(super) fn new(set: InstructionSet, weight: &[f32], width: usize) -> Self {
        let vocab_size = weight.len() / width;
        let n = SAMPLE.min(vocab_size);
        let entries: Vec<_> = (0..n).map(|i| i * vocab_size / n).collect();
        let rows = entries
            .iter()
            .map(|entry| &weight[entry * width..][..width]);
        Self {
            tile: Tile::new(set, width, rows),
            entries,
        }
    }

    /// The bias of the sample's entries.
    pub(super) fn bias(&self, bias: Option<&[f32]>) -> Vec<f32> {
        let entries = self.entries.iter();
        entries
            .map(|&entry| bias.map_or(0.0, |bias| bias[entry]))
            .collect()
    }
}
