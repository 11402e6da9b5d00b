//! Exact search: how its time grows with the corpus, the terms of a query and the number of results.
//!
//! Documents of 200 active dimensions of 30,522, as an expanding encoder makes them; dimensions are drawn by a power law, as
//! words are: a few are in most documents.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sparse_encoder::index::{InvertedIndex, SparseMatrix};

const N_DIMS: usize = 30_522;
const ACTIVE: usize = 200;

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn uniform(state: &mut u64) -> f64 {
    (next(state) >> 11) as f64 / (1u64 << 53) as f64
}

/// Rows of `active` distinct dimensions, dimension `j` with a density that falls as `1 / √j`.
fn rows(n_rows: usize, active: usize, seed: u64) -> SparseMatrix {
    let mut state = seed;
    let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for _ in 0..n_rows {
        let mut row = std::collections::BTreeSet::new();
        while row.len() < active {
            row.insert((uniform(&mut state).powi(2) * N_DIMS as f64) as u32);
        }
        values.extend(row.iter().map(|_| 0.1 + uniform(&mut state) as f32));
        indices.extend(row);
        offsets.push(indices.len());
    }
    SparseMatrix::from_csr(N_DIMS, offsets, indices, values).expect("rows are in order")
}

fn search(criterion: &mut Criterion) {
    const N_QUERIES: usize = 64;
    let corpus = rows(100_000, ACTIVE, 1);
    let mut group = criterion.benchmark_group("search");
    group.throughput(Throughput::Elements(N_QUERIES as u64));
    group.sample_size(10);
    let whole = InvertedIndex::from_matrix(&corpus);

    for n_documents in [10_000, 30_000, 100_000] {
        let part = corpus.select(&(0..n_documents).collect::<Vec<_>>());
        let index = InvertedIndex::from_matrix(&part);
        let queries = rows(N_QUERIES, 30, 2);
        group.bench_function(BenchmarkId::new("documents", n_documents), |bencher| {
            bencher.iter(|| black_box(index.search(&queries, 10)));
        });
    }
    for terms in [5, 15, 50, 150] {
        let queries = rows(N_QUERIES, terms, 3);
        group.bench_function(BenchmarkId::new("query_terms", terms), |bencher| {
            bencher.iter(|| black_box(whole.search(&queries, 10)));
        });
    }
    let queries = rows(N_QUERIES, 30, 4);
    for k in [1, 10, 100, 1000] {
        group.bench_function(BenchmarkId::new("k", k), |bencher| {
            bencher.iter(|| black_box(whole.search(&queries, k)));
        });
    }
    group.finish();
}

fn build(criterion: &mut Criterion) {
    let corpus = rows(100_000, ACTIVE, 1);
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(corpus.n_rows() as u64));
    group.sample_size(10);
    group.bench_function("build/100000", |bencher| {
        bencher.iter(|| black_box(InvertedIndex::from_matrix(&corpus)));
    });
    group.finish();
}

criterion_group!(benches, search, build);
criterion_main!(benches);
