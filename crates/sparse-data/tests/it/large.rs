//! A million rows: prints how long loading and an epoch take. Run with `--run-ignored all --no-capture`.

use std::fs::File;
use std::time::Instant;

use datafusion::parquet::arrow::ArrowWriter;
use sparse_data::{BatchSamplerKind, Column, SamplerConfig, Table};

#[test]
#[ignore = "takes a minute and 700 MB: a million rows"]
fn a_million_rows() {
    const ROWS: usize = 1_000_000;
    let words = [
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
    let text = |row: usize, length: usize| -> String {
        let word = |i: usize| {
            words[(row.wrapping_mul(2_654_435_761).wrapping_add(i * 40_503) >> 7) % words.len()]
        };
        let mut text = format!("{row} ");
        text.extend((0..length).flat_map(|i| [word(i), " "]));
        text
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("million.parquet");
    let mut writer = None;
    let mut text_bytes = 0;
    for start in (0..ROWS).step_by(10_000) {
        // Every twentieth query is asked twice.
        let queries: Vec<String> = (start..start + 10_000)
            .map(|row| text(row - usize::from(row % 20 == 1), 6))
            .collect();
        let documents: Vec<String> = (start..start + 10_000)
            .map(|row| text(row + ROWS, 40))
            .collect();
        let labels: Vec<i64> = (start..start + 10_000)
            .map(|row| (row % 1000) as i64)
            .collect();
        text_bytes += queries
            .iter()
            .chain(&documents)
            .map(String::len)
            .sum::<usize>();
        let table = Table::from_columns([
            ("query", Column::from(queries)),
            ("document", Column::from(documents)),
            ("label", Column::from(labels)),
        ])
        .unwrap();
        let writer = writer.get_or_insert_with(|| {
            ArrowWriter::try_new(File::create(&path).unwrap(), table.schema().clone(), None)
                .unwrap()
        });
        for batch in table.to_batches().unwrap() {
            writer.write(&batch).unwrap();
        }
    }
    writer.unwrap().close().unwrap();

    let _before = peak_bytes();
    let clock = Instant::now();
    let table = Table::read(path.to_str().unwrap()).unwrap();
    println!("load: {:?}", clock.elapsed());
    if let Some(peak) = peak_bytes() {
        let held = peak as f64 / text_bytes as f64;
        println!("the process held at most {held:.3} times the text");
        assert!(held < 1.5);
    }
    let memory = table.memory_bytes() as f64 / text_bytes as f64;
    println!(
        "{} MB of text, table {memory:.3} times that",
        text_bytes / 1_000_000
    );
    assert!(memory < 1.5);
    let roles = table.roles().unwrap();
    let clock = Instant::now();
    table.check(&roles).unwrap();
    println!("check: {:?}", clock.elapsed());
    use BatchSamplerKind::{BatchSampler, GroupByLabel, NoDuplicates, TokenBudget};
    for batch_sampler in [BatchSampler, NoDuplicates, GroupByLabel, TokenBudget] {
        let config = SamplerConfig {
            batch_sampler,
            batch_size: 32,
            token_budget: Some(4096),
            ..SamplerConfig::default()
        };
        let clock = Instant::now();
        let sampler = config.init(&table, &roles).unwrap();
        let built = clock.elapsed();
        let clock = Instant::now();
        let epoch = sampler.epoch(0).unwrap();
        println!(
            "{batch_sampler:?}: built in {built:?}, {} batches in {:?}",
            epoch.len(),
            clock.elapsed()
        );
        let clock = Instant::now();
        for rows in &epoch[..1000] {
            table.batch(&roles, rows).unwrap();
        }
        println!("    a batch of texts: {:?}", clock.elapsed() / 1000);
    }
    let clock = Instant::now();
    assert_eq!(table.shuffle(42).num_rows(), ROWS);
    println!("shuffle: {:?}", clock.elapsed());
}

/// The most memory that this process has held since it was last asked, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(kilobytes * 1024)
}
