//! Data sets out of PostgreSQL.

use std::process::Command;

use sparse_data::{Dataset, DatasetConfig, Result, Table};

use crate::postgres_server::{PostgresServer, closed_port};
use crate::{streaming, texts};

fn config(url: &str, toml: &str) -> DatasetConfig {
    DatasetConfig {
        database: Some(url.into()),
        ..toml::from_str(toml).unwrap()
    }
}

fn load(url: &str, toml: &str) -> Result<Table> {
    Table::load(&config(url, toml))
}

/// The message of a failed load, with a name for the port, which differs from run to run.
fn refusal(url: &str, toml: &str, user_error: bool) -> String {
    let error = load(url, toml).unwrap_err();
    assert_eq!(error.is_user_error(), user_error, "{error:?}");
    let text = error.to_string();
    assert!(!format!("{text}{error:?}").contains("s3cret"), "{error:?}");
    let start = text.find("127.0.0.1:").map(|at| at + "127.0.0.1:".len());
    let port = start.map(|start| {
        text[start..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    });
    port.map_or(text.clone(), |port| text.replace(&port, "PORT"))
}

#[test]
fn a_server_gives_tables_and_answers() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    server.execute(
        "create type mood as enum ('good', 'bad');
         create table pairs (id serial primary key, query text, answer varchar(20), score numeric(6, 3), scores float4[],
            mood mood, number smallint, tags text[], seen timestamp, document json);
         insert into pairs (id, query, answer, score, scores, mood, number, tags, seen, document) values
            (9, 'nine', 'i', 0.125, '{1.5,2}', 'bad', 9, '{a,b}', '2026-01-02', '{\"a\": 1}'),
            (2, null, 'b', 1.5, '{0.5,3}', 'good', null, '{}', null, null),
            (4, 'four', null, null, null, null, 4, null, null, null);
         update pairs set answer = 'z' where id = 2;
         create schema other;
         create table other.\"Texts\" (text text);
         insert into other.\"Texts\" values ('b'), ('B'), ('ä'), ('a');",
    );
    let url = server.url();
    let table = load(&url, "table = 'pairs'").unwrap();
    assert_eq!(
        format!("{table:?}").split_once("columns: ").unwrap().1,
        "[\"id: whole numbers\", \"query: text\", \"answer: text\", \"score: numbers\", \"scores: lists of numbers\", \
         \"mood: text\", \"number: whole numbers\", \"tags: lists of text\", \"seen: text\", \"document: text\"], num_rows: 3 }"
    );
    let query = |row| table.text("query", row).unwrap();
    assert_eq!(
        [query(0), query(1), query(2)],
        [None, Some("four"), Some("nine")],
        "by the key"
    );
    assert_eq!(table.text("mood", 2).unwrap(), Some("bad"));
    assert_eq!(table.text("document", 2).unwrap(), Some("{\"a\": 1}"));
    assert_eq!(table.value_as_text("scores", 2).unwrap(), "[1.5, 2.0]");
    assert_eq!(table.value_as_text("score", 0).unwrap(), "1.5");

    let few = load(
        &url,
        "table = 'public.pairs'\ncolumns = ['query', 'answer', 'score']",
    )
    .unwrap();
    let error = few.check(&few.roles().unwrap()).unwrap_err().to_string();
    let place = format!(
        "table public.pairs of postgres://owner@127.0.0.1:{}/shop",
        server.port()
    );
    assert!(
        error.starts_with(&format!("`{place}`, row 1, column `query`: has no text")),
        "{error}"
    );

    // Without a key rows are ordered byte by byte, whatever the server's locale and their place in its files.
    let texts_of = |toml| texts(&load(&url, toml).unwrap(), "text");
    assert_eq!(texts_of("table = 'other.Texts'"), ["B", "a", "b", "ä"]);
    server.execute("update other.\"Texts\" set text = 'B' where text = 'B'");
    assert_eq!(
        texts_of("table = 'other.Texts'\nsplit = 'train[1:]'"),
        ["a", "b", "ä"]
    );
    assert_eq!(
        texts_of("query = 'select text from other.\"Texts\" order by text desc limit 2'"),
        ["ä", "b"]
    );
    let sql = "table = 'pairs'\nsql = \"select query as text, scores from data where number > 5 or mood = 'good'\"";
    let table = load(&server.socket_url(), sql).unwrap();
    assert_eq!(
        (table.num_rows(), table.text("text", 1).unwrap()),
        (2, Some("nine"))
    );
    let joined = "query = \"\"\"select p.query as text from pairs p join other.\"Texts\" t on t.text = p.answer -- none\n\"\"\"";
    assert!(
        load(&url, joined)
            .unwrap_err()
            .to_string()
            .ends_with("is empty: it has no rows")
    );
}

#[test]
fn refusals_are_explained_and_hold_no_password() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    server.execute("create table pairs (id int primary key, query text); create table words (word text); insert into pairs values (1, 'a')");
    let url = server.url();
    let place = "postgres://owner@127.0.0.1:PORT/shop";
    assert_eq!(
        refusal(
            &server.url_of("owner:wrong-s3cret", "shop"),
            "table = 'pairs'",
            true
        ),
        format!("`{place}`: the server refuses the user or the password")
    );
    assert_eq!(
        refusal(&server.url_of("owner", "shop"), "table = 'pairs'", true),
        format!(
            "`{place}`: the server asks for a password; write it into the address, as in \
             postgres://user:password@host/database, or set PGPASSWORD"
        )
    );
    assert_eq!(
        refusal(&url.replace("/shop", "/shpo"), "table = 'pairs'", true),
        format!(
            "`{}`: the server refuses: database \"shpo\" does not exist",
            place.replace("shop", "shpo")
        )
    );
    assert_eq!(
        refusal(&format!("{url}?sslmode=require"), "table = 'pairs'", false),
        format!("`{place}`: the server can't be reached: server does not support TLS")
    );
    assert_eq!(
        refusal(
            &format!("postgres://owner:s3cret@127.0.0.1:{}/shop", closed_port()),
            "table = 'pairs'",
            false
        ),
        format!("`{place}`: no server answers at 127.0.0.1, port PORT")
    );
    assert_eq!(
        refusal(&url, "table = 'pair'", true),
        format!("`{place}` has no table `pair`; did you mean `pairs`?; it has `pairs`, `words`")
    );
    assert_eq!(
        refusal(&url, "", true),
        format!(
            "`table` is missing: `{place}` has the tables `pairs`, `words`; name one, or ask a `query`"
        )
    );
    assert_eq!(
        refusal(&url, "table = 'pairs'\ncolumns = ['quer']", true),
        format!(
            "`table pairs of {place}` has no column `quer`; did you mean `query`?; it has `id`, `query`"
        )
    );
    assert_eq!(
        refusal(&url, "query = 'select quer from pairs'", true),
        format!(
            "`query = \"select quer from pairs\"` on `{place}` failed: column \"quer\" does not exist; \
             HINT: Perhaps you meant to reference the column \"pairs.query\"."
        )
    );
    assert_eq!(
        refusal(&url, "query = 'delete from pairs'", true),
        format!(
            "`query = \"delete from pairs\"` on `{place}` failed: it gives no columns; only a `select` can be read"
        )
    );
    assert_eq!(
        refusal(&url, "query = 'select 1 / (id - 1) as a from pairs'", true),
        format!("`query of {place}`: division by zero")
    );
}

/// Runs itself again with the password in the environment, which a test can't change for itself.
#[test]
fn the_password_may_stand_in_the_environment() {
    const URL: &str = "SPARSE_DATA_TEST_URL";
    if let Ok(url) = std::env::var(URL) {
        assert_eq!(
            texts(&load(&url, "table = 'pairs'").unwrap(), "query"),
            ["a"]
        );
        return;
    }
    let Some(server) = PostgresServer::start() else {
        return;
    };
    server.execute("create table pairs (query text); insert into pairs values ('a')");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "postgres::the_password_may_stand_in_the_environment",
        ])
        .env(URL, server.url_of("owner", "shop"))
        .env("PGPASSWORD", "s3cret/@:")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}

#[test]
fn a_table_is_streamed_by_its_key() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    server.execute(
        "create table rows (half text, number int, query text, score float8, primary key (half, number));
         insert into rows select case when i < 9000 then 'a''b' else 'c' end, i, 'q' || i, i / 2.0 from generate_series(0, 20000) i
            order by md5(i::text);
         create view shown as select * from rows;",
    );
    let open = |toml: &str| {
        Dataset::load(&config(
            &server.url(),
            &format!("name = 'large'\nstreaming = true\n{toml}"),
        ))
    };
    let Dataset::Stream(stream) = open("table = 'rows'\ncolumns = ['query', 'score']").unwrap()
    else {
        panic!("it is streamed");
    };
    streaming::check(&stream, 20_001);
    let text = open("table = 'shown'").unwrap_err().to_string();
    assert!(
        text.starts_with("`streaming` needs a table with a primary key"),
        "{text}"
    );
}
