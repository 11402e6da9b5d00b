//! The operations that a training step of a SPLADE model is made of, at real sizes: 16 pairs of 16 and 64 tokens, 384 wide.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sparse_encoder::Device;
use sparse_encoder::burn::tensor::{Distribution, Tensor};
use sparse_encoder::kernels::{
    Activation, AttentionOptions, InstructionSet, PoolingStrategy, Precision, RowOffsets,
    Screening, autocast, lexical_head, linear, packed_attention, screening,
};

const D_MODEL: usize = 384;
const N_HEADS: usize = 12;
const VOCAB_SIZE: usize = 30_522;

fn rows() -> RowOffsets {
    let lengths: Vec<usize> = [16; 16].into_iter().chain([64; 16]).collect();
    RowOffsets::from_lengths(&lengths)
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.1), device)
}

fn head(criterion: &mut Criterion) {
    let rows = rows();
    let device = Device::flex().autodiff();
    device.seed(0);
    let mut group = criterion.benchmark_group("lexical_head");
    // 2 operations for each multiplication and addition of the logits.
    group.throughput(Throughput::Elements(
        2 * (rows.total() * D_MODEL * VOCAB_SIZE) as u64,
    ));
    let hidden = random([rows.total(), D_MODEL], &device).require_grad();
    let weight = random([VOCAB_SIZE, D_MODEL], &device).require_grad();
    for pooling in [PoolingStrategy::Max, PoolingStrategy::Sum] {
        let forward = || {
            lexical_head(
                hidden.clone(),
                weight.clone(),
                None,
                &rows,
                pooling,
                Activation::Relu,
            )
        };
        let name = format!("{pooling:?}").to_lowercase();
        group.bench_function(BenchmarkId::new("forward", &name), |bencher| {
            bencher.iter(|| black_box(forward()))
        });
        group.bench_function(BenchmarkId::new("forward_backward", &name), |bencher| {
            bencher.iter(|| black_box(forward().sum().backward()));
        });
    }
    group.finish();
}

/// The forward pass of texts whose vectors are sparse, as in life, with every way of leaving out the other logits; and of
/// one that isn't. Elements are operations of the whole product.
fn sparse_head(criterion: &mut Criterion) {
    const ACTIVE: usize = 250;
    let device = Device::flex();
    device.seed(0);
    for (width, vocab_size) in [(128, 30_522), (384, 30_522), (768, 30_522), (256, 250_002)] {
        let weight = random([vocab_size, width], &device);
        let mut group = criterion.benchmark_group(format!("sparse_head/{width}x{vocab_size}"));
        group.sample_size(10);
        for tokens in [8, 256, 2048] {
            let hidden = random([tokens, width], &device);
            let rows = RowOffsets::from_lengths(&[tokens]);
            let head = |bias: f64| {
                let bias = Tensor::<1>::full([vocab_size], bias, &device);
                let (hidden, weight) = (hidden.clone(), weight.clone());
                lexical_head(
                    hidden,
                    weight,
                    Some(bias),
                    &rows,
                    PoolingStrategy::Max,
                    Activation::Relu,
                )
            };
            let bias = -kth_largest_logit(head(100.0), ACTIVE, 100.0);
            group.throughput(Throughput::Elements(
                2 * (tokens * width * vocab_size) as u64,
            ));
            let sets = InstructionSet::available().filter(|&set| set != InstructionSet::Portable);
            let ways = sets.map(Screening::With).chain([Screening::Off]);
            for way in ways {
                let name = match way {
                    Screening::With(set) => set.to_string(),
                    _ => "off".to_owned(),
                };
                group.bench_function(BenchmarkId::new(name, tokens), |bencher| {
                    bencher.iter(|| screening(way, || black_box(head(bias))));
                });
            }
            for (name, way) in [
                ("dense", Screening::Fastest),
                ("dense, off", Screening::Off),
            ] {
                group.bench_function(BenchmarkId::new(name, tokens), |bencher| {
                    bencher.iter(|| screening(way, || black_box(head(0.0))));
                });
            }
        }
        group.finish();
    }
}

/// The `k`-th largest logit of a vector of `ln(1 + z + shift)`.
fn kth_largest_logit(vector: Tensor<2>, k: usize, shift: f64) -> f64 {
    let mut values = vector.into_data().try_to_vec::<f32>().expect("f32");
    values.sort_by(|a, b| b.total_cmp(a));
    f64::from(values[k]).exp() - 1.0 - shift
}

fn encoder_layers(criterion: &mut Criterion) {
    let rows = rows();
    let device = Device::flex().autodiff();
    device.seed(0);
    let x = random([rows.total(), D_MODEL], &device).require_grad();
    let wide = random([4 * D_MODEL, D_MODEL], &device).require_grad();
    let mut group = criterion.benchmark_group("encoder");
    group.bench_function("linear/forward_backward/384x1536", |bencher| {
        bencher.iter(|| black_box(linear(x.clone(), wide.clone(), None).sum().backward()));
    });
    let options = AttentionOptions::new(((D_MODEL / N_HEADS) as f32).sqrt().recip());
    group.bench_function("packed_attention/forward_backward/12x32", |bencher| {
        bencher.iter(|| {
            let attended =
                packed_attention(x.clone(), x.clone(), x.clone(), N_HEADS, &rows, &options);
            black_box(attended.sum().backward())
        });
    });
    group.finish();
}

/// Products in both precisions of the CPU; elements are operations.
fn products(criterion: &mut Criterion) {
    const TOKENS: usize = 1200;
    let device = Device::flex();
    device.seed(0);
    let x = random([TOKENS, 2 * D_MODEL], &device);
    let weight = random([2 * D_MODEL, 2 * D_MODEL], &device);
    let mut group = criterion.benchmark_group("linear/1200x768x768");
    group.throughput(Throughput::Elements(
        (2 * TOKENS * 2 * D_MODEL * 2 * D_MODEL) as u64,
    ));
    for (name, precision) in [("f32", Precision::F32), ("bf16", Precision::Bf16)] {
        group.bench_function(name, |bencher| {
            let product = || linear(x.clone(), weight.clone(), None);
            bencher.iter(|| black_box(autocast(precision, product)));
        });
    }
    group.finish();
}

criterion_group!(benches, head, sparse_head, encoder_layers, products);
criterion_main!(benches);
