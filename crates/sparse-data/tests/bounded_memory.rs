//! A stream holds its buffer and no more, and texts one part, however large the file.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::io::Write;
use std::sync::Mutex;

use sparse_data::{DatasetConfig, StreamConfig, StreamingTable, Texts};

/// Tests of one process measure one after the other.
static ALONE: Mutex<()> = Mutex::new(());

const ALLOWANCE: u64 = 32 << 20;

/// The most memory that this process has ever held, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Streams an epoch of about ten times the allowance.
fn check(config: &DatasetConfig, rows: usize) {
    let Some(before) = peak_bytes() else {
        return;
    };
    let stream = StreamingTable::open(config).unwrap();
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
        "{grown} bytes more for {rows} rows of a kilobyte"
    );
}

#[test]
fn a_file_ten_times_the_allowance_streams() {
    let _alone = ALONE.lock();
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
    check(&DatasetConfig::from_path(&path), rows);
}

#[test]
#[cfg(feature = "databases")]
fn a_table_ten_times_the_allowance_streams() {
    use datafusion_table_providers_common::sql::db_connection_pool::{JoinPushDown, Mode};
    use datafusion_table_providers_sqlite::conn::SqliteConnection;
    use datafusion_table_providers_sqlite::pool::SqliteConnectionPool;

    const ROWS: usize = 340_000;
    let _alone = ALONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.db").display().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let wait = std::time::Duration::from_secs(5);
        let pool =
            SqliteConnectionPool::new(&path, Mode::File, JoinPushDown::Disallow, Vec::new(), wait);
        let connection = pool.await.unwrap().connect_sync();
        let connection = connection.as_any().downcast_ref::<SqliteConnection>();
        let sql = format!(
            "create table pairs (query text, document text);
             with recursive numbers(i) as (select 1 union all select i + 1 from numbers where i < {ROWS})
             insert into pairs select 'q' || i, '{}' from numbers;",
            "some words of a document ".repeat(40)
        );
        let written = connection
            .unwrap()
            .conn
            .call_raw(move |sqlite| sqlite.execute_batch(&sql).map_err(|error| error.to_string()));
        written.await.unwrap().unwrap();
    });
    let config = DatasetConfig {
        database: Some(format!("sqlite:{path}").into()),
        table: Some("pairs".to_owned()),
        ..DatasetConfig::default()
    };
    check(&config, ROWS);
}

/// A compressed file is read as [`Texts`], its ids checked, its texts taken one at a time.
#[test]
#[cfg(unix)]
fn texts_ten_times_the_allowance_are_read_in_parts() {
    let _alone = ALONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.jsonl.gz");
    let mut gzip = std::process::Command::new("gzip")
        .args(["-1", "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::fs::File::create(&path).unwrap())
        .spawn()
        .unwrap();
    let text = "some words of a document ".repeat(400);
    let (mut bytes, mut rows) = (0, 0);
    {
        let mut lines = std::io::BufWriter::new(gzip.stdin.take().unwrap());
        while bytes < 10 * ALLOWANCE {
            let line = format!("{{\"_id\": {rows}, \"text\": \"{text}{rows}\"}}\n");
            lines.write_all(line.as_bytes()).unwrap();
            bytes += line.len() as u64;
            rows += 1;
        }
        lines.flush().unwrap();
    }
    assert!(gzip.wait().unwrap().success());
    let Some(before) = peak_bytes() else {
        return;
    };
    let texts = Texts::open(&path, None, &[]).unwrap();
    texts.check_ids().unwrap();
    assert_eq!(texts.len(), rows);
    for (row, found) in texts.rows().enumerate() {
        let found = found.unwrap();
        assert_eq!(found.id, Some(row.to_string()));
        assert!(found.text.ends_with(&format!("document {row}")));
    }
    let grown = peak_bytes().unwrap() - before;
    assert!(
        grown < ALLOWANCE,
        "{grown} bytes more for {bytes} bytes of text"
    );
}
