//! Texts as token ids, laid end to end.

use sparse_kernels::RowOffsets;

/// Tokenized texts without padding: the ids of all texts in one row, and where each text begins.
#[derive(Debug, Clone)]
pub struct PackedTokens {
    /// Token ids of all texts, `[n_tokens]`.
    pub input_ids: Vec<i32>,
    /// Segment of each token (0, or 1 for the second text of a pair), `[n_tokens]`.
    pub token_type_ids: Vec<i32>,
    /// Boundaries of the texts.
    pub rows: RowOffsets,
    /// Route of a router, as asked for.
    pub task: Option<String>,
    /// Leading tokens of each text that belong to the prompt, a leading special token included; 0 without a prompt.
    pub prompt_length: usize,
}

impl PackedTokens {
    /// Lays texts end to end, given the ids and segments of each.
    pub fn from_rows(
        rows: &[(Vec<i32>, Vec<i32>)],
        task: Option<String>,
        prompt_length: usize,
    ) -> Self {
        let lengths: Vec<usize> = rows.iter().map(|(ids, _)| ids.len()).collect();
        Self {
            input_ids: rows
                .iter()
                .flat_map(|(ids, _)| ids.iter().copied())
                .collect(),
            token_type_ids: rows
                .iter()
                .flat_map(|(_, types)| types.iter().copied())
                .collect(),
            rows: RowOffsets::from_lengths(&lengths),
            task,
            prompt_length,
        }
    }

    /// Number of texts.
    pub fn n_texts(&self) -> usize {
        self.rows.n_rows()
    }

    /// Number of tokens in all texts.
    pub fn n_tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// The chosen texts, in the order given: a mini-batch, or another order.
    ///
    /// # Panics
    ///
    /// If an index is not below [`n_texts`](Self::n_texts).
    pub fn select(&self, texts: &[usize]) -> Self {
        let rows: Vec<_> = texts
            .iter()
            .map(|&text| {
                let range = self.rows.range(text);
                (
                    self.input_ids[range.clone()].to_vec(),
                    self.token_type_ids[range].to_vec(),
                )
            })
            .collect();
        Self::from_rows(&rows, self.task.clone(), self.prompt_length)
    }

    /// All texts of several batches, one after the other, for one forward pass. The batches must agree in task and prompt,
    /// of which the first counts; `None` if there is no batch.
    pub fn concat(batches: &[Self]) -> Option<Self> {
        let first = batches.first()?;
        let lengths: Vec<usize> = batches
            .iter()
            .flat_map(|batch| batch.rows.lengths())
            .collect();
        Some(Self {
            input_ids: batches
                .iter()
                .flat_map(|batch| batch.input_ids.iter().copied())
                .collect(),
            token_type_ids: batches
                .iter()
                .flat_map(|batch| batch.token_type_ids.iter().copied())
                .collect(),
            rows: RowOffsets::from_lengths(&lengths),
            task: first.task.clone(),
            prompt_length: first.prompt_length,
        })
    }
}
