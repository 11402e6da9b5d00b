//! Files in object stores, on a server of the loopback address.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;

use datafusion::parquet::arrow::ArrowWriter;
use sparse_data::{Column, DatasetConfig, Result, StreamConfig, StreamingTable, Table};

use crate::server::{Response, Server, error, file, multi_status};
use crate::texts;

pub(crate) fn parquet(rows: std::ops::Range<usize>) -> Vec<u8> {
    let texts: Vec<String> = rows.map(|row| format!("q{row}")).collect();
    let table = Table::from_columns([("query", Column::from(texts))]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, table.schema().clone(), None).unwrap();
    for batch in table.to_batches().unwrap() {
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn files() -> BTreeMap<String, Vec<u8>> {
    [
        ("nq/train-0.parquet", parquet(0..3)),
        ("nq/train-1.parquet", parquet(3..5)),
        ("nq/deep/train-2.parquet", parquet(5..6)),
        (
            "nq/dev.jsonl",
            b"{\"query\": \"d0\"}\n{\"query\": \"d1\"}\n".to_vec(),
        ),
        ("nq/README.md", b"hello".to_vec()),
        ("nq/.hidden.csv", b"query\nx\n".to_vec()),
        ("a name.csv", b"query\n\"a, b\"\n".to_vec()),
        (
            "broken.jsonl",
            b"{\"query\": \"a\"}\n{\"query\": 1}\n".to_vec(),
        ),
    ]
    .map(|(name, content)| (name.to_owned(), content))
    .into()
}

fn config(path: &str, options: &[(&str, &str)]) -> DatasetConfig {
    DatasetConfig {
        path: Some(path.into()),
        storage_options: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..DatasetConfig::default()
    }
}

/// Settings that lead to the server instead of the real store.
fn s3(server: &Server) -> Vec<(&str, &str)> {
    vec![
        ("aws_endpoint", server.url.as_str()),
        ("aws_allow_http", "true"),
        ("aws_access_key_id", "somebody"),
        ("aws_secret_access_key", "secret"),
        ("aws_region", "eu-west-1"),
    ]
}

fn queries(config: &DatasetConfig) -> Result<Vec<String>> {
    Ok(texts(&Table::load(config)?, "query"))
}

fn failure(config: &DatasetConfig) -> String {
    let error = Table::load(config).unwrap_err();
    assert!(error.is_user_error(), "{error:?}");
    error.to_string()
}

#[test]
fn a_bucket_is_read_by_name_pattern_and_folder() {
    let server = Server::with_bucket("data", files());
    let options = s3(&server);
    let read = |path: &str| queries(&config(path, &options)).unwrap();
    assert_eq!(read("s3://data/nq/train-1.parquet"), ["q3", "q4"]);
    assert_eq!(read("s3://data/a name.csv"), ["a, b"]);
    assert_eq!(
        read("s3://data/nq/train-*.parquet"),
        ["q0", "q1", "q2", "q3", "q4"]
    );
    assert_eq!(read("s3://data/nq/*/train-?.parquet"), ["q5"]);
    let split = |path: &str, split: &str| {
        let config = DatasetConfig {
            split: Some(split.to_owned()),
            ..config(path, &options)
        };
        queries(&config).unwrap()
    };
    for folder in ["s3://data/nq", "s3://data/nq/"] {
        assert_eq!(split(folder, "dev+train[-2:]"), ["d0", "d1", "q3", "q4"]);
        assert!(
            failure(&config(folder, &options)).ends_with("has the splits `train`, `validation`")
        );
    }
    assert!(server.requests().iter().all(|request| {
        request.headers["authorization"].starts_with("AWS4-HMAC-SHA256 Credential=somebody/")
    }));

    let several = DatasetConfig {
        path: Some(sparse_data::Paths::Many(vec![
            "s3://data/nq/dev.jsonl".to_owned(),
            "s3://data/nq/train-1.parquet".to_owned(),
        ])),
        ..config("", &options)
    };
    assert_eq!(queries(&several).unwrap(), ["d0", "d1", "q3", "q4"]);
    let stream = StreamingTable::open(&DatasetConfig {
        streaming: true,
        ..several
    })
    .unwrap();
    let batches = stream.batches(&stream.roles().unwrap(), &StreamConfig::default(), 0);
    let rows: usize = batches
        .unwrap()
        .map(|batch| batch.unwrap().num_rows())
        .sum();
    assert_eq!(rows, 4);
}

#[test]
fn what_a_store_refuses_is_named() {
    let server = Server::with_bucket("data", files());
    let options = s3(&server);
    let message = |path: &str| failure(&config(path, &options));
    assert_eq!(
        message("s3://data/nq/tarin-0.parquet"),
        "`s3://data/nq/tarin-0.parquet`: does not exist; did you mean `train-0.parquet`?"
    );
    assert_eq!(
        message("s3://dada/nq/train-0.parquet"),
        "`s3://dada/nq/train-0.parquet`: there is no such bucket"
    );
    assert!(message("s3://data/nq/*.csv").starts_with("no data file matches `s3://data/nq/*.csv`"));
    assert_eq!(
        message("s3://data/broken.jsonl"),
        "`s3://data/broken.jsonl`, row 2 (line 2), column `query`: is a whole number, and a text in an earlier row"
    );
    assert_eq!(
        message("ftp://data/a.csv"),
        "`path` = \"ftp://data/a.csv\" is no address: `ftp` is none of s3, gs, http, https"
    );
    assert!(message("s3:///a.csv").ends_with("it names no bucket"));

    let mut unknown = options.clone();
    unknown.push(("aws_endpiont", "x"));
    assert!(
        failure(&config("s3://data/a.csv", &unknown))
            .starts_with("`storage_options` has no setting `aws_endpiont` for this store")
    );
    let local = failure(&config("pairs.csv", &options));
    assert_eq!(
        local,
        "`storage_options` belong to a `path` in an object store"
    );

    let closed = Server::start(|_| error(403, "<Error><Code>AccessDenied</Code></Error>"));
    let denied = failure(&config("s3://data/a.csv", &s3(&closed)));
    assert!(
        denied.starts_with("`s3://data/a.csv`: access is denied with these credentials: they come from AWS_ACCESS_KEY_ID"),
        "{denied}"
    );
    let mut plain = options.clone();
    plain.retain(|(key, _)| *key != "aws_allow_http");
    let plain = failure(&config("s3://data/a.csv", &plain));
    assert!(
        plain.contains("allow it with AWS_ALLOW_HTTP=true"),
        "{plain}"
    );

    // A port on which nobody listens: not the user's fault, perhaps.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut nobody = options.clone();
    nobody[0].1 = &address;
    let error = Table::load(&config("s3://data/a.csv", &nobody)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`s3://data/a.csv`: the server can't be reached: "),
        "{error}"
    );
    assert!(!error.is_user_error());
}

#[test]
fn a_google_bucket_is_read() {
    let server = Server::with_bucket("data", files());
    let options = [
        ("google_base_url", server.url.as_str()),
        ("google_skip_signature", "true"),
        ("allow_http", "true"),
    ];
    assert_eq!(
        queries(&config("gs://data/nq/train-*.parquet", &options)).unwrap(),
        ["q0", "q1", "q2", "q3", "q4"]
    );
    assert_eq!(
        failure(&config("gs://data/zzzz.parquet", &options)),
        "`gs://data/zzzz.parquet`: does not exist"
    );
}

#[test]
fn a_web_server_gives_files_and_a_broken_connection_is_taken_up_again() {
    let content = parquet(0..5000);
    let broken = Mutex::new(false);
    let server = Server::start(move |request| match request.path.as_str() {
        "files/a b.parquet" if request.method == "GET" => {
            assert_eq!(request.query["signature"], "xyz");
            let mut answer = file(request, &content);
            if !std::mem::replace(&mut *broken.lock().unwrap(), true) {
                answer.break_after = Some(1000);
            }
            answer
        }
        "secret.csv" => error(403, "no"),
        _ if request.method == "PROPFIND" => error(405, ""),
        _ => error(404, ""),
    });
    let read = |path: &str| config(&format!("{}/{path}", server.url), &[]);
    let rows = queries(&read("files/a%20b.parquet?signature=xyz")).unwrap();
    assert_eq!((rows.len(), rows[4999].as_str()), (5000, "q4999"));
    let ranges: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges.len(), 2);
    assert!(
        ranges[1].as_ref().unwrap().starts_with("bytes=1000-"),
        "{ranges:?}"
    );

    let message = |path: &str| failure(&read(path)).replace(&server.url, "");
    assert_eq!(message("no.csv?signature=xyz"), "`/no.csv`: does not exist");
    assert_eq!(
        message("secret.csv"),
        "`/secret.csv`: access is denied with these credentials: write an address that carries them, such as a signed one"
    );
    assert_eq!(
        message("files/*.csv"),
        "`/files`: this server can't list its files; name each file instead of a pattern"
    );
}

#[test]
fn a_web_server_that_lists_takes_patterns() {
    let server = Server::start(move |request| {
        if request.method == "PROPFIND" {
            return multi_status(&files());
        }
        files()
            .get(&request.path)
            .map_or_else(|| error(404, ""), |content| file(request, content))
    });
    let read = config(&format!("{}/nq/train-*.parquet", server.url), &[]);
    assert_eq!(queries(&read).unwrap(), ["q0", "q1", "q2", "q3", "q4"]);
}

#[test]
fn less_than_was_promised_is_an_error() {
    let server = Server::start(|request| Response {
        break_after: Some(5),
        headers: Vec::new(),
        ..file(request, b"query\nabcdefg\n")
    });
    let error = queries(&config(&format!("{}/a.csv", server.url), &[])).unwrap_err();
    assert!(error.to_string().contains("/a.csv`: "), "{error}");
    assert!(!error.is_user_error(), "{error:?}");
}

#[test]
fn credentials_come_from_the_environment() {
    const MARK: &str = "SPARSE_DATA_STORE_TEST";
    if std::env::var_os(MARK).is_some() {
        // The process that the test below started.
        let rows = queries(&config("s3://data/nq/train-1.parquet", &[])).unwrap();
        assert_eq!(rows, ["q3", "q4"]);
        return;
    }
    let server = Server::with_bucket("data", files());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "remote::credentials_come_from_the_environment"])
        .env(MARK, "1")
        .env("AWS_ENDPOINT", &server.url)
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "environment")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].headers["authorization"].contains("Credential=environment/"));
}
