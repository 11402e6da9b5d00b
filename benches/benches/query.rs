//! A query of an inference-free encoder: ten words through the tokenizer and the table, no transformer.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sparse_encoder::prelude::*;

const MODEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/data/splade-tiny-bert"
);

fn query(criterion: &mut Criterion) {
    let device = device("cpu").expect("the default backend");
    let encoder = SparseEncoder::from_pretrained(MODEL, &device).expect("the example's model");
    let weights = vec![1.5; encoder.embedding_dimension()];
    let encoder = encoder
        .with_static_queries(weights, true)
        .expect("a weight for each token");
    let text = ["how does a small program play music in a terminal"];
    let options = EncodeOptions::default();
    criterion.bench_function("inference-free query", |bencher| {
        bencher.iter(|| black_box(encoder.encode_query(&text, &options)));
    });
}

criterion_group!(benches, query);
criterion_main!(benches);
