//! Inputs larger than what is held of them: equal results in every format, bounded memory, limits.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use sparse_encoder::SparseEncoder;
use sparse_encoder::data::Table;
use sparse_encoder::model::EncodeOptions;

use crate::support::{Workshop, binary, model, run, stdout};

const ROWS: usize = 2500;

fn text(row: usize) -> String {
    let animals = ["cat", "dog", "cow", "hen", "fox"];
    format!(
        "the {} {} is an animal",
        animals[row % 5],
        animals[row / 5 % 5]
    )
}

/// The vectors of rows that are all in memory, as `encode` writes them.
fn encoded_at_once(path: &Path) -> String {
    let table = Table::read(path.to_str().unwrap()).unwrap();
    let device = sparse_encoder::device("cpu").unwrap();
    let encoder = SparseEncoder::from_pretrained(model().to_str().unwrap(), &device).unwrap();
    let rows = 0..table.num_rows();
    let texts: Vec<String> = rows
        .clone()
        .map(|row| table.text("text", row).unwrap().unwrap().to_owned())
        .collect();
    let vectors = encoder
        .encode_document(&texts, &EncodeOptions::default())
        .unwrap();
    let mut lines = String::new();
    for row in rows {
        let id = table.text("_id", row).unwrap().unwrap();
        let vector = vectors.row(row);
        let record = json!({ "id": id, "indices": vector.indices(), "values": vector.values() });
        writeln!(lines, "{record}").unwrap();
    }
    lines
}

fn gzip(path: &Path) {
    let status = Command::new("gzip").arg("-k").arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn every_format_gives_the_bytes_of_rows_that_are_all_in_memory() {
    let workshop = Workshop::new();
    let object = |row: usize| format!("{{\"_id\": \"d{row}\", \"text\": \"{}\"}}", text(row));
    let objects: Vec<String> = (0..ROWS).map(object).collect();
    let cells = |between: &str| -> String {
        let rows = (0..ROWS).map(|row| format!("d{row}{between}{}\n", text(row)));
        format!("_id{between}text\n{}", rows.collect::<String>())
    };
    workshop.write("a.jsonl", objects.join("\n").as_bytes());
    workshop.write("a.json", format!("[{}]", objects.join(",")).as_bytes());
    workshop.write("a.csv", cells(",").as_bytes());
    workshop.write("a.tsv", cells("\t").as_bytes());
    for (part, rows) in objects.chunks(ROWS / 3).enumerate() {
        workshop.write(&format!("parts/{part}.jsonl"), rows.join("\n").as_bytes());
    }
    gzip(&workshop.path("a.csv"));
    gzip(&workshop.path("a.jsonl"));
    let table = Table::read(workshop.path("a.csv").to_str().unwrap()).unwrap();
    table.write_parquet(&workshop.path("a.parquet")).unwrap();
    let expected = encoded_at_once(&workshop.path("a.jsonl"));
    assert_eq!(expected.lines().count(), ROWS);
    let model = model();
    let model = model.to_str().unwrap();
    let parts = format!("{}/*.jsonl", workshop.path("parts").display());
    let files = [
        "a.jsonl",
        "a.json",
        "a.csv",
        "a.tsv",
        "a.csv.gz",
        "a.jsonl.gz",
        "a.parquet",
        "parts",
    ];
    let files = files.map(|name| workshop.path(name).display().to_string());
    let (mut indexes, mut tables) = (Vec::new(), Vec::new());
    for input in files.iter().chain([&parts]) {
        let output = workshop.path("vectors.jsonl");
        let output = output.to_str().unwrap();
        stdout(&run(&[
            "encode", "--model", model, "--input", input, "--output", output,
        ]));
        let found = std::fs::read_to_string(output).unwrap();
        assert!(found == expected, "{input}");
        let (index, table) = (workshop.path("index"), workshop.path("idf.json"));
        let (index, table) = (index.to_str().unwrap(), table.to_str().unwrap());
        stdout(&run(&[
            "index", "--model", model, "--input", input, "--output", index,
        ]));
        stdout(&run(&[
            "idf", "--model", model, "--input", input, "--table", table,
        ]));
        indexes.push(std::fs::read(index).unwrap());
        tables.push(std::fs::read(table).unwrap());
    }
    assert!(indexes.iter().all(|index| *index == indexes[0]));
    assert!(tables.iter().all(|table| *table == tables[0]));
}

/// Runs a command and reads how much memory it had at most.
#[cfg(target_os = "linux")]
fn peak_of(arguments: &[&str]) -> u64 {
    let mut child = binary()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) << 10);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    stdout(&child.wait_with_output().unwrap());
    peak
}

#[test]
#[cfg(target_os = "linux")]
fn a_compressed_corpus_takes_the_memory_of_a_few_of_its_rows() {
    // Enough for as many to be in memory as ever are.
    const FEW: usize = 300;
    const MANY: usize = 2000;
    const ROW_BYTES: usize = 64 << 10;
    let workshop = Workshop::new();
    let long = "the cat is an animal ".repeat(ROW_BYTES / 21);
    for (name, rows) in [("few.jsonl", FEW), ("many.jsonl", MANY)] {
        let mut file = std::fs::File::create(workshop.path(name)).unwrap();
        for row in 0..rows {
            writeln!(file, "{{\"_id\": \"d{row}\", \"text\": \"{long}\"}}").unwrap();
        }
        gzip(&workshop.path(name));
        std::fs::remove_file(workshop.path(name)).unwrap();
    }
    let model = model();
    for command in ["encode", "index"] {
        let peak = |name: &str| {
            let input = workshop.path(&format!("{name}.jsonl.gz"));
            let output = workshop.path("output");
            let paths = [input.to_str().unwrap(), output.to_str().unwrap()];
            peak_of(&[
                command,
                "--model",
                model.to_str().unwrap(),
                "--input",
                paths[0],
                "--output",
                paths[1],
            ])
        };
        let (few, many) = (peak("few"), peak("many"));
        let grown = many.saturating_sub(few) >> 20;
        let whole = ((MANY - FEW) * ROW_BYTES) >> 20;
        assert!(
            grown < 16,
            "{command}: {grown} MiB more for {whole} MiB of rows"
        );
    }
}

#[test]
fn limits_are_options_and_keys_of_a_training_file() {
    let workshop = Workshop::new();
    workshop.write("a.csv", b"id,text\nd1,the cat\nd2,the dog is an animal\n");
    let (model, input) = (model(), workshop.path("a.csv"));
    let encode = |option: &[&str]| {
        let all = [
            &["encode", "--model", model.to_str().unwrap(), "--input"],
            &[input.to_str().unwrap()][..],
            option,
        ];
        run(&all.concat())
    };
    let refused = |option: &[&str]| {
        let output = encode(option);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let message = refused(&["--max-line-bytes", "16"]);
    assert!(
        message.contains("row 2 (line 3): is longer than 16 bytes")
            && message.contains("--max-line-bytes"),
        "{message}"
    );
    assert!(encode(&["--max-line-bytes", "32"]).status.success());
    let message = refused(&["--max-columns", "1"]);
    assert!(
        message.contains("more than 1 columns") && message.contains("--max-columns"),
        "{message}"
    );
    assert!(refused(&["--max-batch-bytes", "0"]).contains("`max_batch_bytes` must be from 1"));
    let mut child = binary()
        .args(["encode", "--model", model.to_str().unwrap(), "--input", "-"])
        .args(["--format", "csv", "--max-pipe-bytes", "20"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&std::fs::read(&input).unwrap()).unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("gave more than 20 bytes") && message.contains("--max-pipe-bytes"),
        "{message}"
    );

    let train = |setting: &str| workshop.train(&["--set", setting]);
    let output = train("train_dataset.0.limits.max_line_bytes=20");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("is longer than 20 bytes") && message.contains("`limits.max_line_bytes`"),
        "{message}"
    );
    let output = train("train_dataset.0.limits.max_line_byte=20");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("did you mean `max_line_bytes`?"),
        "{message}"
    );
    assert!(
        train("train_dataset.0.limits.max_line_bytes=80")
            .status
            .success()
    );
}
