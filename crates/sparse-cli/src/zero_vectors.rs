//! Vectors without an active dimension.

use sparse_encoder::index::SparseMatrix;

/// Counts vectors that are all zero, for one warning at the end: no search finds such a document, and such a query finds none.
#[derive(Debug, Default)]
pub(crate) struct ZeroVectors {
    n_rows: usize,
    n_zero: usize,
    first: Vec<String>,
}

impl ZeroVectors {
    /// Ids that the warning names.
    const NAMED: usize = 3;

    /// Looks at vectors and their ids.
    pub(crate) fn add(&mut self, ids: &[impl AsRef<str>], rows: &SparseMatrix) {
        self.n_rows += rows.n_rows();
        for (_, id) in rows.rows().zip(ids).filter(|(row, _)| row.nnz() == 0) {
            self.n_zero += 1;
            if self.first.len() < Self::NAMED {
                self.first.push(id.as_ref().to_owned());
            }
        }
    }

    /// Warns if there was one.
    pub(crate) fn warn(&self) {
        if let Some(text) = self.text() {
            tracing::warn!("{text}");
        }
    }

    fn text(&self) -> Option<String> {
        if self.n_zero == 0 {
            return None;
        }
        let names = self.first.iter().map(|id| format!("`{id}`"));
        let names = names.collect::<Vec<_>>().join(", ");
        let more = match self.n_zero > self.first.len() {
            true => ", ...",
            false => "",
        };
        Some(format!(
            "{} of {} vectors are all zero, so that nothing is similar to them: {names}{more}",
            self.n_zero, self.n_rows
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_vectors_are_counted_and_the_first_are_named() {
        let rows = SparseMatrix::from_dense(&[0.0, 1.0, /**/ 0.0, 0.0], 2, 2).unwrap();
        let mut zero = ZeroVectors::default();
        zero.add(&["a", "b"], &rows);
        assert_eq!(
            zero.text().unwrap(),
            "1 of 2 vectors are all zero, so that nothing is similar to them: `b`"
        );
        for id in ["c", "d", "e"] {
            zero.add(&["x", id], &rows);
        }
        assert!(zero.text().unwrap().starts_with("4 of 8 vectors"));
        assert!(zero.text().unwrap().ends_with("`b`, `c`, `d`, ..."));
        let mut none = ZeroVectors::default();
        none.add(&["a"], &rows.select(&[0]));
        assert_eq!(none.text(), None);
    }
}
