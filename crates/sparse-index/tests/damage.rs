//! A damaged index file gives an error that names it, or the answers that it gave before; never a panic.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs::{self, File};
use std::path::Path;

use sparse_index::{DocumentIds, Error, IndexFile, InvertedIndex, SparseMatrix, SparseVector};

const N_COLS: usize = 40;

/// Numbers without a pattern, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn rows(n_rows: usize, n_cols: usize, seed: u64) -> SparseMatrix {
    let mut numbers = Numbers(seed);
    let mut rows = SparseMatrix::new(n_cols);
    for _ in 0..n_rows {
        let mut indices: Vec<u32> = (0..6).map(|_| numbers.below(n_cols) as u32).collect();
        indices.sort_unstable();
        indices.dedup();
        let values = indices.iter().map(|_| numbers.below(9) as f32 + 0.5);
        let values = values.collect();
        let row = SparseVector::new(n_cols, indices, values).unwrap();
        rows.push_row(row.as_row()).unwrap();
    }
    rows
}

fn save(documents: &SparseMatrix, path: &Path) {
    let ids = DocumentIds::new((0..documents.n_rows()).map(|document| format!("dök-{document}")));
    let index = InvertedIndex::from_matrix(documents);
    let metadata = serde_json::json!({ "model": "tiny" });
    let file = IndexFile::new(index, ids, metadata).unwrap();
    file.save(path).unwrap();
}

type Answers = Vec<Vec<(String, f32)>>;

fn answers(path: &Path, queries: &SparseMatrix) -> Result<Answers, Error> {
    let index = IndexFile::open(path)?;
    let found = index.search(queries, 20)?;
    let owned = |hits: Vec<(&str, f32)>| {
        hits.into_iter()
            .map(|(id, score)| (id.to_owned(), score))
            .collect()
    };
    Ok(found.into_iter().map(owned).collect())
}

/// Opens and searches what `change` makes of the file, and says whether that was refused.
fn is_refused(path: &Path, bytes: &[u8], queries: &SparseMatrix, whole: &Answers) -> bool {
    fs::write(path, bytes).unwrap();
    match answers(path, queries) {
        Ok(found) => {
            assert!(found == *whole, "other answers");
            false
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("corpus.index"), "{message}");
            assert!(error.is_user_error(), "{message}");
            true
        }
    }
}

#[test]
fn no_flipped_bit_changes_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.index");
    save(&rows(300, N_COLS, 1), &path);
    // All dimensions are asked for, so that every posting list is read.
    let mut queries = rows(12, N_COLS, 2);
    queries
        .push_row(SparseVector::from_dense(&[1.0; N_COLS]).unwrap().as_row())
        .unwrap();
    let whole = answers(&path, &queries).unwrap();
    let bytes = fs::read(&path).unwrap();
    let mut numbers = Numbers(3);
    let positions = (0..64).chain((0..1500).map(|_| numbers.below(bytes.len())));
    let positions = positions.collect::<Vec<_>>();
    let mut refused = 0;
    for &position in &positions {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1 << numbers.below(8);
        refused += usize::from(is_refused(&path, &damaged, &queries, &whole));
    }
    // What is left is padding.
    assert!(refused > positions.len() * 3 / 4, "{refused}");
}

#[test]
fn no_cut_and_no_stretch_changes_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.index");
    save(&rows(50, N_COLS, 4), &path);
    let queries = rows(4, N_COLS, 5);
    let whole = answers(&path, &queries).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(37) {
        assert!(
            is_refused(&path, &bytes[..length], &queries, &whole),
            "{length}"
        );
    }
    let longer = [&bytes[..], &[0; 64]].concat();
    assert!(is_refused(&path, &longer, &queries, &whole));
    assert!(!is_refused(&path, &bytes, &queries, &whole));
}

#[test]
fn a_file_that_changes_while_it_is_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.index");
    save(&rows(5000, N_COLS, 6), &path);
    let queries = rows(4, N_COLS, 7);
    let index = IndexFile::open(&path).unwrap();
    index.search(&queries, 5).unwrap();

    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(100).unwrap();
    for error in [
        index.search(&queries, 5).unwrap_err(),
        index.index.search(&queries, 5).unwrap_err(),
        index.verify().unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(
            message.contains("corpus.index") && message.ends_with("and has 100 now"),
            "{message}"
        );
    }

    // Another index that is moved to its place is another file: the open one stays as it is.
    save(&rows(5000, N_COLS, 6), &path);
    let index = IndexFile::open(&path).unwrap();
    let before = index.search(&queries, 5).unwrap();
    save(&rows(10, N_COLS, 8), &path);
    assert_eq!(index.search(&queries, 5).unwrap(), before);
}

#[test]
fn an_index_written_over_while_it_is_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.index");
    save(&rows(50, N_COLS, 9), &path);
    let queries = rows(4, N_COLS, 10);
    let index = IndexFile::open(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    let earlier = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(earlier).unwrap();
    let message = index.search(&queries, 5).unwrap_err().to_string();
    assert!(
        message.ends_with("it was written to since it was opened"),
        "{message}"
    );
}

#[test]
fn the_first_release_s_files_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.index");
    save(&rows(5, N_COLS, 11), &path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 1;
    fs::write(&path, bytes).unwrap();
    let message = IndexFile::open(&path).unwrap_err().to_string();
    assert!(
        message.ends_with(
            "expected version 2, got 1: an earlier release wrote it, index the corpus again"
        ),
        "{message}"
    );
}

#[test]
fn empty_indexes_and_vectors_without_dimensions_are_searched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.index");
    for (n_rows, n_cols) in [(0, 0), (0, 4), (1, 4), (3, 0)] {
        let documents = match n_cols {
            0 => SparseMatrix::from_csr(0, vec![0; n_rows + 1], vec![], vec![]).unwrap(),
            _ => rows(n_rows, n_cols, 12),
        };
        save(&documents, &path);
        let index = IndexFile::open(&path).unwrap();
        index.verify().unwrap();
        assert_eq!(index.index.n_documents(), n_rows);
        let found = index.search(&documents, usize::MAX).unwrap();
        assert_eq!(found.len(), n_rows);
        assert_eq!(found.first().map_or(0, Vec::len), usize::from(n_rows == 1));
        assert!(
            index
                .search(&documents, 0)
                .unwrap()
                .iter()
                .all(Vec::is_empty)
        );
        assert!(index.search(&SparseMatrix::new(n_cols + 1), 1).is_err());
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = IndexFile::open(folder.path()).unwrap_err().to_string();
    assert!(message.ends_with("it is no regular file"), "{message}");
    #[cfg(unix)]
    {
        let message = IndexFile::open(Path::new("/dev/zero"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "`/dev/zero` is not a usable index file: it is no regular file"
        );
    }
}
