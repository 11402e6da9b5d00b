//! Which texts a process embeds.

use std::ops::Range;

use sparse_model::PackedTokens;

/// How the work of an update is divided among processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// Whole micro-batches in turn: process r embeds the micro-batches r, r + size, ...
    Batches {
        /// Number of processes.
        size: usize,
    },
    /// A part of the texts of every micro-batch, with about as many tokens as every other part.
    Texts {
        /// Number of processes.
        size: usize,
    },
}

impl Share {
    /// The texts of one block that process `rank` embeds, of micro-batch `index` of the update.
    pub(crate) fn texts(self, rank: usize, index: usize, tokens: &PackedTokens) -> Range<usize> {
        let n_texts = tokens.n_texts();
        match self {
            Self::Batches { size } if index % size == rank => 0..n_texts,
            Self::Batches { .. } => 0..0,
            Self::Texts { size } => {
                let ends = tokens.rows.as_slice();
                let total = tokens.n_tokens();
                let border = |rank: usize| {
                    if rank == size {
                        return n_texts;
                    }
                    ends.partition_point(|&end| end * size < total * rank)
                };
                border(rank)..border(rank + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(lengths: &[usize]) -> PackedTokens {
        let rows: Vec<_> = lengths.iter().map(|&n| (vec![1; n], vec![0; n])).collect();
        PackedTokens::from_rows(&rows, None, 0)
    }

    #[test]
    fn parts_have_about_as_many_tokens_and_cover_all_texts() {
        // 4 queries of 2 tokens, 4 documents of 6: half of 32 lies behind the first documents
        let block = tokens(&[2, 2, 2, 2, 6, 6, 6, 6]);
        let part = |size, rank| Share::Texts { size }.texts(rank, 0, &block);
        assert_eq!([part(2, 0), part(2, 1)], [0..6, 6..8]);
        for size in 1..10 {
            let parts: Vec<usize> = (0..size).flat_map(|rank| part(size, rank)).collect();
            assert_eq!(parts, (0..8).collect::<Vec<_>>(), "{size}");
        }
    }

    #[test]
    fn batches_go_to_processes_in_turn() {
        let block = tokens(&[3, 3]);
        let owners: Vec<_> = (0..5)
            .map(|index| {
                let owns = |rank: &usize| {
                    !Share::Batches { size: 3 }
                        .texts(*rank, index, &block)
                        .is_empty()
                };
                (0..3).filter(owns).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(owners, [[0], [1], [2], [0], [1]]);
    }
}
