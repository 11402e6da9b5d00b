//! A million rows of pairs with a label: loading them from Parquet, in time and memory, and the batches of an epoch by
//! every sampler.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::fs::File;
use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use datafusion::parquet::arrow::ArrowWriter;
use sparse_encoder::data::{BatchSamplerKind, Column, SamplerConfig, Table};

const ROWS: usize = 1_000_000;
/// Rows that are written at once.
const PART: usize = 10_000;
const WORDS: [&str; 10] = [
    "sparse",
    "vector",
    "retrieval",
    "query",
    "document",
    "index",
    "token",
    "weight",
    "model",
    "loss",
];

fn text(row: usize, length: usize) -> String {
    let word =
        |i: usize| WORDS[(row.wrapping_mul(2_654_435_761).wrapping_add(i * 40_503) >> 7) % 10];
    let mut text = format!("{row} ");
    text.extend((0..length).flat_map(|i| [word(i), " "]));
    text
}

/// Queries of 6 words, every twentieth of them asked twice, documents of 40 words, a thousand labels. Returns the bytes of
/// all texts.
fn write(path: &Path) -> usize {
    let mut writer = None;
    let mut text_bytes = 0;
    for start in (0..ROWS).step_by(PART) {
        let rows = start..start + PART;
        let queries: Vec<String> = rows
            .clone()
            .map(|row| text(row - usize::from(row % 20 == 1), 6))
            .collect();
        let documents: Vec<String> = rows.clone().map(|row| text(row + ROWS, 40)).collect();
        let labels: Vec<i64> = rows.map(|row| (row % 1000) as i64).collect();
        let texts = queries.iter().chain(&documents);
        text_bytes += texts.map(String::len).sum::<usize>();
        let table = Table::from_columns([
            ("query", Column::from(queries)),
            ("document", Column::from(documents)),
            ("label", Column::from(labels)),
        ])
        .expect("the columns are equally long");
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(path).expect("the temporary directory can be written");
            ArrowWriter::try_new(file, table.schema().clone(), None).expect("the schema is plain")
        });
        for batch in table.to_batches().expect("the batches are small") {
            writer.write(&batch).expect("the disk has room");
        }
    }
    if let Some(writer) = writer {
        writer.close().expect("the disk has room");
    }
    text_bytes
}

/// The most memory that this process has held since it was last asked, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(kilobytes * 1024)
}

/// Prints what the table takes, and what the whole process held while it was read.
fn report_memory(path: &str, text_bytes: usize) {
    let _before = peak_bytes();
    let table = Table::read(path).expect("the file was just written");
    let peak = peak_bytes();
    let times = |bytes: u64| bytes as f64 / text_bytes as f64;
    eprintln!(
        "{:.0} MB of text; the table takes {:.2} times that",
        text_bytes as f64 / 1e6,
        times(table.memory_bytes() as u64)
    );
    if let Some(peak) = peak {
        eprintln!(
            "the process held at most {:.2} times the text while it was read",
            times(peak)
        );
    }
}

fn million_rows(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let path = directory.path().join("million.parquet");
    let text_bytes = write(&path);
    let path = path.display().to_string();
    report_memory(&path, text_bytes);
    let mut group = criterion.benchmark_group("data");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("load_parquet/1000000", |bencher| {
        bencher.iter(|| black_box(Table::read(&path)));
    });
    let table = Table::read(&path).expect("the file was just written");
    let roles = table.roles().expect("there are inputs");
    use BatchSamplerKind::{BatchSampler, GroupByLabel, NoDuplicates, TokenBudget};
    for batch_sampler in [BatchSampler, NoDuplicates, GroupByLabel, TokenBudget] {
        let config = SamplerConfig {
            batch_sampler,
            batch_size: 32,
            token_budget: Some(4096),
            ..SamplerConfig::default()
        };
        let sampler = config
            .init(&table, &roles)
            .expect("the table suits every sampler");
        let mut epoch = 0;
        group.bench_function(
            BenchmarkId::new("epoch", format!("{batch_sampler:?}")),
            |bencher| {
                bencher.iter(|| {
                    epoch += 1;
                    black_box(sampler.epoch(epoch))
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, million_rows);
criterion_main!(benches);
