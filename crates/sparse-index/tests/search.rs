//! The index finds what comparing everything finds, from memory and from a file.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use proptest::prelude::*;
use sparse_index::{
    DocumentIds, Hit, IndexBuilder, IndexFile, InvertedIndex, SimilarityFunction, SparseMatrix,
    SparseVector, TopK, brute_force,
};

const N_COLS: usize = 40;

/// Few distinct values, so that ties are common; some rows are empty.
fn rows(count: std::ops::Range<usize>) -> impl Strategy<Value = SparseMatrix> {
    let value = (1i8..4, any::<bool>())
        .prop_map(|(size, minus)| f32::from(if minus { -size } else { size }) / 3.0);
    let row = proptest::collection::btree_map(0u32..N_COLS as u32, value, 0..12);
    proptest::collection::vec(row, count).prop_map(|rows| {
        let rows = rows.into_iter().map(|row| {
            let (indices, values) = row.into_iter().unzip();
            SparseVector::new(N_COLS, indices, values).unwrap()
        });
        let rows = rows.collect::<Vec<_>>();
        SparseMatrix::from_rows(N_COLS, rows.iter().map(SparseVector::as_row)).unwrap()
    })
}

fn hits(best: Vec<TopK>) -> Vec<Vec<Hit>> {
    best.into_iter().map(TopK::into_hits).collect()
}

proptest! {
    #[test]
    fn the_index_equals_brute_force(documents in rows(0..150), queries in rows(0..9), k in 0usize..40) {
        let index = InvertedIndex::from_matrix(&documents);
        let expected = hits(brute_force(SimilarityFunction::Dot, &queries, &documents, 0, k).unwrap());
        prop_assert_eq!(index.search(&queries, k).unwrap(), expected);

        let normalized = InvertedIndex::from_matrix(&documents.normalized());
        let expected = hits(brute_force(SimilarityFunction::Cosine, &queries, &documents, 0, k).unwrap());
        prop_assert_eq!(normalized.search(&queries.normalized(), k).unwrap(), expected);
    }

    #[test]
    fn brute_force_equals_sorting_the_similarity_matrix(documents in rows(1..60), queries in rows(1..4), k in 1usize..70) {
        for function in SimilarityFunction::ALL {
            let scores = function.matrix(&queries, &documents).unwrap();
            let found = hits(brute_force(function, &queries, &documents, 0, k).unwrap());
            for (scores, found) in scores.chunks(documents.n_rows()).zip(found) {
                let mut all = (0..).zip(scores).map(|(document, &score)| Hit { document, score }).collect::<Vec<_>>();
                all.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap().then(a.document.cmp(&b.document)));
                all.truncate(k);
                prop_assert_eq!(found, all);
            }
        }
    }

    #[test]
    fn a_corpus_searched_in_parts_gives_the_same_hits(documents in rows(2..80), queries in rows(1..4), cut in 0.0..1.0) {
        let cut = (cut * documents.n_rows() as f64) as usize;
        let part = |range: std::ops::Range<usize>| documents.select(&range.collect::<Vec<_>>());
        for function in SimilarityFunction::ALL {
            // The later part first: merging must not depend on the order.
            let mut best = brute_force(function, &queries, &part(cut..documents.n_rows()), cut as u32, 7).unwrap();
            let others = brute_force(function, &queries, &part(0..cut), 0, 7).unwrap();
            best.iter_mut().zip(others).for_each(|(best, other)| best.merge(other));
            prop_assert_eq!(hits(best), hits(brute_force(function, &queries, &documents, 0, 7).unwrap()));
        }
    }
}

/// More documents than a block holds.
fn large() -> SparseMatrix {
    let mut documents = SparseMatrix::new(N_COLS);
    for document in 0..150_000u32 {
        let first = document.wrapping_mul(2_654_435_761) >> 16;
        let mut indices = [first % 40, (first / 40) % 40, (first / 1600) % 40].to_vec();
        indices.sort_unstable();
        indices.dedup();
        let values = indices
            .iter()
            .map(|index| ((index + document) % 7 + 1) as f32)
            .collect();
        documents
            .push_row(SparseVector::new(N_COLS, indices, values).unwrap().as_row())
            .unwrap();
    }
    documents
}

#[test]
fn many_blocks_on_any_number_of_threads_equal_brute_force() {
    let documents = large();
    let queries = documents.select(&(0..150).map(|row| row * 991).collect::<Vec<_>>());
    let index = InvertedIndex::from_matrix(&documents);
    let mut builder = IndexBuilder::new(N_COLS);
    documents
        .rows()
        .for_each(|row| builder.push_row(row).unwrap());
    let streamed = builder.finish();
    assert_eq!(streamed.cost(), index.cost());
    assert_eq!(
        streamed.search(&queries, 9).unwrap(),
        index.search(&queries, 9).unwrap()
    );
    let expected =
        hits(brute_force(SimilarityFunction::Dot, &queries, &documents, 0, 100).unwrap());
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        assert_eq!(
            pool.install(|| index.search(&queries, 100).unwrap()),
            expected
        );
    }
}

#[test]
fn a_saved_index_answers_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.index");
    let documents = large();
    let ids = DocumentIds::new((0..documents.n_rows()).map(|document| format!("dök-{document}")));
    let metadata = serde_json::json!({ "model": "tiny" });
    let written = IndexFile::new(
        InvertedIndex::from_matrix(&documents),
        ids,
        metadata.clone(),
    )
    .unwrap();
    written.save(&path).unwrap();

    let read = IndexFile::open(&path).unwrap();
    read.verify().unwrap();
    assert_eq!(read.metadata, metadata);
    assert_eq!(
        (read.ids.len(), read.ids.get(149_999), read.ids.get(150_000)),
        (150_000, Some("dök-149999"), None)
    );
    assert_eq!(read.index.cost(), written.index.cost());
    let queries = documents.select(&[5, 77, 149_999]);
    assert_eq!(
        read.index.search(&queries, 20).unwrap(),
        written.index.search(&queries, 20).unwrap()
    );
    let named = read.search(&queries, 20).unwrap();
    let expected = read.index.search(&queries, 20).unwrap();
    for (named, expected) in named.iter().flatten().zip(expected.iter().flatten()) {
        assert_eq!(
            *named,
            (
                format!("dök-{}", expected.document).as_str(),
                expected.score
            )
        );
    }
    let unrelated = SparseMatrix::from_dense(&[0.0; N_COLS], 1, N_COLS).unwrap();
    assert_eq!(read.search(&unrelated, 20).unwrap(), [vec![]]);
    let names = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect::<Vec<_>>();
    assert_eq!(names, ["corpus.index"]);
}

#[test]
fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.index");
    let documents = large().select(&[1, 2, 3]);
    let ids = DocumentIds::new(["a", "b", "c"]);
    IndexFile::new(
        InvertedIndex::from_matrix(&documents),
        ids,
        serde_json::Value::Null,
    )
    .unwrap()
    .save(&path)
    .unwrap();
    let whole = std::fs::read(&path).unwrap();
    let reason = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let result = IndexFile::open(&path).and_then(|file| file.verify());
        let message = result.unwrap_err().to_string();
        message
            .split("file: ")
            .nth(1)
            .unwrap_or(&message)
            .to_owned()
    };

    assert_eq!(reason(b""), "it does not begin as one");
    assert_eq!(reason(&whole[..100]), "it is cut off");
    assert_eq!(reason(&whole[..whole.len() - 100]), "it is cut off");
    let mut damaged = whole.clone();
    damaged[70] ^= 1;
    assert_eq!(reason(&damaged), "the checksum of its description differs");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(reason(&damaged), "the checksum of its arrays differs");
    let mut damaged = whole;
    damaged[8] = 9;
    assert_eq!(reason(&damaged), "expected version 2, got 9");

    let missing = IndexFile::open(&folder.path().join("none")).unwrap_err();
    assert!(
        missing.is_user_error() && missing.to_string().starts_with("failed to open index file")
    );
}

#[test]
fn as_many_ids_as_documents() {
    let index = InvertedIndex::from_matrix(&large().select(&[1, 2]));
    let error =
        IndexFile::new(index, DocumentIds::new(["a"]), serde_json::Value::Null).unwrap_err();
    assert_eq!(error.to_string(), "document ids: expected 2, got 1");
}
