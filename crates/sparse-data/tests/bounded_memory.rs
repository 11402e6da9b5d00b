//! A stream holds its buffer and no more, however large the file.

use std::io::Write;

use sparse_data::{DatasetConfig, StreamConfig, StreamingTable};

/// The most memory that this process has ever held, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[test]
fn a_file_ten_times_the_allowance_streams() {
    const ALLOWANCE: u64 = 16 << 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let text = "some words of a document ".repeat(40);
    let mut bytes = 0;
    let mut rows = 0;
    while bytes < 10 * ALLOWANCE {
        let line = format!("{{\"query\": \"q{rows}\", \"document\": \"{text}\"}}\n");
        file.write_all(line.as_bytes()).unwrap();
        bytes += line.len() as u64;
        rows += 1;
    }
    file.flush().unwrap();
    let Some(before) = peak_bytes() else {
        return;
    };
    let config = DatasetConfig {
        path: Some(path.to_str().unwrap().into()),
        ..DatasetConfig::default()
    };
    let stream = StreamingTable::open(&config).unwrap();
    let settings = StreamConfig {
        batch_size: 32,
        buffer_rows: 2048, // about 2 MB of text
        ..StreamConfig::default()
    };
    let batches = stream
        .batches(&stream.roles().unwrap(), &settings, 0)
        .unwrap();
    let delivered: usize = batches.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(delivered, rows);
    let grown = peak_bytes().unwrap() - before;
    assert!(
        grown < ALLOWANCE,
        "{grown} bytes more for a file of {bytes} bytes"
    );
}
