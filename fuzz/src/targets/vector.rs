//! Files of vectors, and indexes of them.

use std::path::Path;

use sparse_encoder::data::{VectorFile, VectorReader};
use sparse_encoder::eval::{CorpusIndex, CorpusIndexBuilder, IndexDescription};
use sparse_encoder::index::{InvertedIndex, SimilarityFunction, SparseMatrix};

use super::{Reading, Target, only_file};
use crate::Result;
use crate::files::{self, Files};
use crate::random::Random;

pub(super) const INDEX: Target = Target {
    name: "index",
    batch: 2000,
    seeds: || {
        let mut seeds = Vec::new();
        for (similarity, rows) in [
            (SimilarityFunction::Dot, 12),
            (SimilarityFunction::Cosine, 300),
        ] {
            index(similarity, rows)?.save(Path::new("corpus.index"))?;
            seeds.push(files::read(Path::new("."))?);
        }
        Ok(seeds)
    },
    may_change: |_| true,
    read: read_index,
};

pub(super) const VECTORS: Target = Target {
    name: "vectors",
    batch: 2000,
    seeds: vector_files,
    may_change: |_| true,
    read: read_vectors,
};

/// Dimensions of all vectors here.
const DIMS: usize = 50;

fn rows(n: usize) -> Result<SparseMatrix> {
    let mut random = Random::new("rows", 1);
    let values: Vec<f32> = (0..n * DIMS)
        .map(|_| match random.below(5) {
            0 => 0.25 + random.below(64) as f32 / 16.0,
            _ => 0.0,
        })
        .collect();
    Ok(SparseMatrix::from_dense(&values, n, DIMS)?)
}

fn ids(n: usize) -> Vec<String> {
    (0..n).map(|row| format!("doc-{row}")).collect()
}

fn index(similarity: SimilarityFunction, n: usize) -> Result<CorpusIndex> {
    let mut builder = CorpusIndexBuilder::new(DIMS, IndexDescription::new(similarity))?;
    builder.push(ids(n), &rows(n)?)?;
    Ok(builder.finish()?)
}

fn vector_files() -> Result<Vec<Files>> {
    let rows = rows(8)?;
    let mut parquet = VectorFile::create("rows.parquet")?;
    parquet.append(
        &ids(8),
        rows.rows().map(|row| (row.indices(), row.values())),
    )?;
    parquet.finish()?;
    let lines: String = rows
        .rows()
        .zip(ids(8))
        .map(|(row, id)| {
            let (indices, values) = (row.indices(), row.values());
            format!("{{\"id\": \"{id}\", \"indices\": {indices:?}, \"values\": {values:?}}}\n")
        })
        .collect();
    Ok(vec![
        files::read(Path::new("."))?,
        [("rows.jsonl".to_owned(), lines.into_bytes())].into(),
    ])
}

fn read_index(reading: &mut Reading) {
    let Some(index) = reading.read(CorpusIndex::open(Path::new("corpus.index"))) else {
        return;
    };
    index.cost();
    // Of the dimensions that the file says it has.
    let dims = index.n_dims();
    let queries = if dims <= 1 << 20 {
        SparseMatrix::from_dense(&vec![1.0; dims], 1, dims)
    } else {
        Ok(SparseMatrix::new(dims))
    };
    let found = match reading.used(queries) {
        Some(queries) => reading.used(index.search(&queries, 5)),
        None => None,
    };
    // Damage that searching doesn't see is seen here.
    if reading.read(index.verify()).is_some() {
        let ranked = found.is_some_and(|found| {
            found
                .iter()
                .all(|hits| hits.is_sorted_by(|a, b| a.1 >= b.1))
        });
        reading.require(ranked, || {
            "the index passes verification and can't be searched".to_owned()
        });
    }
}

fn read_vectors(reading: &mut Reading) {
    let Some(path) = only_file() else {
        return;
    };
    let Some(batches) = reading.read(VectorReader::open(&path, DIMS)) else {
        return;
    };
    for batch in batches {
        let Some(batch) = reading.read(batch) else {
            return;
        };
        let n = batch.ids.len();
        let rows = SparseMatrix::from_csr(DIMS, batch.offsets, batch.indices, batch.values);
        let fits = rows.as_ref().is_ok_and(|rows| rows.n_rows() == n);
        reading.require(fits, || "what was read is no matrix".to_owned());
        if let Some(rows) = reading.used(rows) {
            let finite = rows.values().iter().all(|value| value.is_finite());
            reading.require(finite, || "a value isn't finite".to_owned());
            reading.used(InvertedIndex::from_matrix(&rows).search(&rows, 3));
        }
    }
}
