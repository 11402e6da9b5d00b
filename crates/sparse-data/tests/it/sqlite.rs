//! Data sets out of SQLite.

use std::path::Path;

use datafusion_table_providers_common::sql::db_connection_pool::dbconnection::AsyncDbConnection;
use datafusion_table_providers_common::sql::db_connection_pool::{JoinPushDown, Mode};
use datafusion_table_providers_sqlite::conn::SqliteConnection;
use datafusion_table_providers_sqlite::pool::SqliteConnectionPool;
use sparse_data::{Dataset, DatasetConfig};

use crate::{failure, load, streaming, texts, write};

/// A database that is held open, and made if it is not there.
struct Held {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
}

impl Held {
    fn open(path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let path = path.display().to_string();
        let wait = std::time::Duration::from_secs(5);
        let pool =
            SqliteConnectionPool::new(&path, Mode::File, JoinPushDown::Disallow, Vec::new(), wait);
        let pool = runtime.block_on(pool).unwrap();
        let connection = pool.connect_sync();
        let connection = connection.as_any().downcast_ref::<SqliteConnection>();
        let connection = SqliteConnection::new(connection.unwrap().conn.clone());
        Self {
            runtime,
            connection,
        }
    }

    fn execute(&self, sql: &str) {
        let sql = sql.to_owned();
        let executed = self.connection.conn.call_raw(move |sqlite| {
            sqlite
                .execute_batch(&sql)
                .map_err(|error| error.to_string())
        });
        self.runtime.block_on(executed).unwrap().unwrap();
    }
}

/// Runs statements in a database, which is made if it is not there.
fn execute(path: &Path, sql: &str) {
    Held::open(path).execute(sql);
}

const PAIRS: &str = "
    create table pairs (id integer primary key, query text, answer text, score real);
    insert into pairs values
        (7, 'seven', 'g', 0.7), (3, 'three', 'c', 1), (5, 'five', 'e', 0.5), (4, 'four', 'd', 0.4);
    create table \"with space\" (text);
    create view short as select query, answer from pairs where score < 0.6;";

fn folder(sql: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    execute(&folder.path().join("pairs.db"), sql);
    folder
}

#[test]
fn a_table_is_read_in_the_order_of_its_key() {
    let folder = folder(PAIRS);
    let root = folder.path();
    let before = std::fs::read(root.join("pairs.db")).unwrap();
    let table = load(
        root,
        "database = 'sqlite:{}/pairs.db'\ntable = 'pairs'\ncolumns = ['query', 'answer', 'score']",
    )
    .unwrap();
    assert_eq!(texts(&table, "query"), ["three", "four", "five", "seven"]);
    assert_eq!(texts(&table, "answer"), ["c", "d", "e", "g"]);
    let roles = table.roles().unwrap();
    assert_eq!(roles.label.as_deref(), Some("score"));
    let labels = table.batch(&roles, &[0, 3]).unwrap().labels.unwrap();
    assert_eq!(labels.values, [1.0, 0.7]);

    let sliced = load(
        root,
        "database = 'sqlite:{}/pairs.db'\ntable = 'PAIRS'\nsplit = 'train[1:3]'\nname = 'some'",
    )
    .unwrap();
    assert_eq!(sliced.name(), Some("some"));
    assert_eq!(sliced.column_names(), ["id", "query", "answer", "score"]);
    assert_eq!(texts(&sliced, "query"), ["four", "five"]);

    // Views have no key: their rows are ordered by what they hold.
    let view = load(root, "database = 'sqlite:{}/pairs.db'\ntable = 'short'").unwrap();
    assert_eq!(texts(&view, "query"), ["five", "four"]);

    // Nothing was written, neither into the file nor beside it.
    assert_eq!(std::fs::read(root.join("pairs.db")).unwrap(), before);
    assert_eq!(std::fs::read_dir(root).unwrap().count(), 1);
}

#[test]
fn a_database_that_others_write_is_read() {
    let folder = folder(PAIRS);
    let path = folder.path().join("pairs.db");
    execute(
        &path,
        "pragma journal_mode = wal; insert into pairs values (8, 'eight', 'h', 0.8)",
    );
    let source = "database = 'sqlite:{}/pairs.db'\ntable = 'pairs'\nsplit = 'train[-1:]'";
    assert_eq!(
        texts(&load(folder.path(), source).unwrap(), "query"),
        ["eight"]
    );
    // Another process holds the file open: what it committed still stands in the log beside it.
    let writer = Held::open(&path);
    writer.execute("begin; insert into pairs values (9, 'nine', 'i', 0.9); commit; begin immediate; insert into pairs values (10, 'ten', 'j', 1)");
    assert_eq!(
        texts(&load(folder.path(), source).unwrap(), "query"),
        ["nine"]
    );
}

#[test]
fn sql_sees_the_table_of_a_database() {
    let folder = folder(PAIRS);
    let root = folder.path();
    let source = "database = 'sqlite:{}/pairs.db'\ntable = 'pairs'\n";
    for split in ["", "split = 'train'\n"] {
        let sql = "sql = \"select upper(query) as query, answer from data where score >= 0.5 and query like '%e%'\"";
        let table = load(root, &format!("{source}{split}{sql}")).unwrap();
        assert_eq!(texts(&table, "query"), ["THREE", "FIVE", "SEVEN"]);
        // In SQLite `like` takes no notice of case; in `sql` it does, whatever the source.
        let sql = "sql = \"select query from data where query like 'T%' or answer = 'e'\"";
        let table = load(root, &format!("{source}{split}{sql}")).unwrap();
        assert_eq!(texts(&table, "query"), ["five"]);
        let sql = "sql = 'select cast(count(*) as text) as n from data'";
        let table = load(root, &format!("{source}{split}{sql}")).unwrap();
        assert_eq!(texts(&table, "n"), ["4"]);
        let sql = "sql = 'select a.query, b.answer from data a join data b on a.id < b.id limit 3'";
        assert_eq!(
            load(root, &format!("{source}{split}{sql}"))
                .unwrap()
                .num_rows(),
            3
        );
    }
}

#[test]
fn a_query_is_answered_by_the_database_in_an_order_that_stays() {
    let folder = folder(PAIRS);
    let root = folder.path();
    let ask = |query: &str| {
        let toml = format!("database = 'sqlite:{{}}/pairs.db'\nquery = \"\"\"{query}\"\"\"");
        texts(&load(root, &toml).unwrap(), "query")
    };
    assert_eq!(
        ask("select query, answer from pairs where query not like 'F%';"),
        ["seven", "three"]
    );
    assert_eq!(
        ask("select query, answer from pairs order by score desc -- best first"),
        ["three", "seven", "five", "four"]
    );
    assert_eq!(
        ask("with best as (select * from pairs order by score) select query from best limit 2")
            .len(),
        2
    );
    let table = load(
        root,
        "database = 'sqlite:{}/pairs.db'\nquery = 'select * from pairs order by id'\nsplit = 'train[:2]'\nsql = 'select answer from data'",
    )
    .unwrap();
    assert_eq!(texts(&table, "answer"), ["c", "d"]);
}

#[test]
fn types_come_from_the_values() {
    // The first row says nothing about the others: SQLite keeps what it is given.
    let folder = folder(
        "create table t (query, answer text, label, all_null text);
         insert into t values (null, 'a', 1, null), ('b', null, 2.5, null), ('c', 'c', 3, null);
         create table mixed (query, other);
         insert into mixed values ('a', 1), ('b', 2), (3, 'c');
         create table bytes (query text, image blob);
         insert into bytes values ('a', x'00ff');
         create table broken (query text);
         insert into broken values (cast(x'ff' as text));",
    );
    let root = folder.path();
    let table = load(root, "database = 'sqlite:{}/pairs.db'\ntable = 't'").unwrap();
    assert_eq!(
        format!("{table:?}").split_once("columns: ").unwrap().1,
        "[\"query: text\", \"answer: text\", \"label: numbers\", \"all_null: text\"], num_rows: 3 }"
    );
    let query = |row| table.text("query", row).unwrap();
    assert_eq!([query(0), query(1), query(2)], [None, Some("b"), Some("c")]);
    let error = table.check(&table.roles().unwrap()).unwrap_err();
    let text = error
        .to_string()
        .replace(&format!("{}/", root.display()), "");
    assert!(
        text.starts_with("`table t of sqlite:pairs.db`, row 1, column `query`: has no text"),
        "{text}"
    );
    assert_eq!(
        failure(
            root,
            "database = 'sqlite:{}/pairs.db'\ntable = 'mixed'\ncolumns = ['query']"
        ),
        "`table mixed of sqlite:pairs.db`, row 3, column `query`: holds a number, and other rows hold text; give all rows one \
         type in a `query`, for example with `cast(... as text)`"
    );
    assert_eq!(
        failure(root, "database = 'sqlite:{}/pairs.db'\ntable = 'broken'"),
        "`table broken of sqlite:pairs.db`, row 1, column `query`: is not UTF-8"
    );
    let table = load(root, "database = 'sqlite:{}/pairs.db'\ntable = 'bytes'").unwrap();
    let text = table
        .check(&table.roles().unwrap())
        .unwrap_err()
        .to_string();
    assert!(text.contains("column `image` holds Binary"), "{text}");
    let one = load(
        root,
        "database = 'sqlite:{}/pairs.db'\ntable = 'bytes'\ncolumns = ['query']",
    );
    assert_eq!(texts(&one.unwrap(), "query"), ["a"]);
}

#[test]
fn what_is_wrong_is_said_in_one_sentence() {
    let folder = folder(PAIRS);
    let root = folder.path();
    execute(&root.join("empty.db"), "create table bare (query text)");
    write(
        root,
        "text.db",
        "this is no database, however long it goes on".repeat(100),
    );
    let known = "`pairs`, `short`, `with space`";
    let cases = [
        (
            "database = 'sqlite:{}/pair.db'\ntable = 'pairs'",
            "`pair.db` does not exist; did you mean `pairs.db`?".to_owned(),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\ntable = 'pair'",
            format!("`sqlite:pairs.db` has no table `pair`; did you mean `pairs`?; it has {known}"),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\ntable = 'x'",
            format!("`sqlite:pairs.db` has no table `x`; it has {known}"),
        ),
        (
            "database = 'sqlite:{}/pairs.db'",
            format!("`table` is missing: `sqlite:pairs.db` has the tables {known}; name one, or ask a `query`"),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\ntable = 'pairs'\ncolumns = ['qeury']",
            "`table pairs of sqlite:pairs.db` has no column `qeury`; did you mean `query`?; it has `id`, `query`, `answer`, `score`".to_owned(),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\ntable = 'pairs'\nsplit = 'test'",
            "`table pairs of sqlite:pairs.db` has no split `test`; it has `train`".to_owned(),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\nquery = 'select qeury from pairs'",
            "`query = \"select qeury from pairs\"` on `sqlite:pairs.db` failed: no such column: qeury".to_owned(),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\nquery = 'delete from pairs'",
            "`query = \"delete from pairs\"` on `sqlite:pairs.db` failed: it gives no columns; only a `select` can be read".to_owned(),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\nquery = 'select query, answer as query from pairs'",
            "`query of sqlite:pairs.db`: columns 1 and 2 are both named `query`".to_owned(),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\ntable = 'pairs'\nsql = 'select x from data'",
            "`sql = \"select x from data\"` on `table pairs of sqlite:pairs.db` failed: Schema error: No field named x.".to_owned(),
        ),
        (
            "database = 'sqlite:{}/empty.db'\ntable = 'bare'",
            "`table bare of sqlite:empty.db` is empty: it has no rows".to_owned(),
        ),
        (
            "database = 'sqlite:{}/text.db'\ntable = 'pairs'",
            "`sqlite:text.db`: file is not a database".to_owned(),
        ),
        (
            "database = 'sqlite:{}/pairs.db'\ntable = 'pairs'\nquery = 'select 1'",
            "`query` and `table` can't both be given".to_owned(),
        ),
        ("path = 'a.csv'\ntable = 'pairs'", "`table` belongs to `database`".to_owned()),
        ("path = 'a.csv'\nquery = 'select 1'", "`query` belongs to `database`".to_owned()),
        (
            "database = 'sqlite:a'\ntable = 'b'\nformat = 'csv'",
            "`format` and `delimiter` belong to `path`, not to `database`".to_owned(),
        ),
        (
            "path = 'a'\ndatabase = 'sqlite:a'",
            "`path` is one way to name a data set; `path` and `database` can't both be given".to_owned(),
        ),
    ];
    for (toml, message) in cases {
        let text = failure(root, toml);
        assert!(text.starts_with(&message), "{text}\n{message}");
    }
    let text = failure(root, "database = 'sqlite:{}'\ntable = 'pairs'");
    assert!(text.ends_with("is a directory, not a database"), "{text}");
    assert!(
        !root.join("pair.db").exists(),
        "a missing file is not created"
    );
}

/// Opens a streamed table.
fn stream(root: &Path, table: &str, columns: &[&str]) -> sparse_data::Result<Dataset> {
    Dataset::load(&DatasetConfig {
        name: Some("large".to_owned()),
        database: Some(format!("sqlite:{}/pairs.db", root.display()).into()),
        table: Some(table.to_owned()),
        columns: Some(columns.iter().map(|&column| column.to_owned()).collect()),
        streaming: true,
        ..DatasetConfig::default()
    })
}

#[test]
fn a_table_is_streamed_by_its_key() {
    const NUMBERS: &str = "with recursive numbers(i) as (select 0 union all select i + 1 from numbers where i < 20000)";
    let folder = folder(&format!(
        "create table rows (query text, score real);
         insert into rows {NUMBERS} select 'q' || i, i / 2.0 from numbers;
         create table keyed (half text, \"a key\" int, query text, score real, primary key (half, \"a key\")) without rowid;
         insert into keyed {NUMBERS} select case when i < 9000 then 'a''b' else 'c' end, i, 'q' || i, i / 2.0 from numbers;
         create view shown as select * from rows;"
    ));
    for table in ["rows", "keyed"] {
        let Dataset::Stream(stream) = stream(folder.path(), table, &["query", "score"]).unwrap()
        else {
            panic!("it is streamed");
        };
        streaming::check(&stream, 20_001);
    }
    let text = stream(folder.path(), "shown", &["query"])
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("`streaming` needs a table with a primary key"),
        "{text}"
    );

    let Dataset::Stream(stream) = stream(folder.path(), "rows", &["query"]).unwrap() else {
        panic!("it is streamed");
    };
    execute(
        &folder.path().join("pairs.db"),
        "delete from rows where rowid = 5000",
    );
    let batches = stream.batches(
        &stream.roles().unwrap(),
        &sparse_data::StreamConfig::default(),
        0,
    );
    let error = batches.unwrap().find_map(Result::err).unwrap().to_string();
    assert!(
        error.ends_with("rows were added or removed while it was streamed: of the 1024 from row 4097 on there are 1023"),
        "{error}"
    );
    for (key, line) in [
        ("query", "query = 'select query from rows'"),
        ("sql", "table = 'rows'\nsql = 'select 1'"),
    ] {
        let url = format!("sqlite:{}/pairs.db", folder.path().display());
        let config: DatasetConfig =
            toml::from_str(&format!("streaming = true\ndatabase = '{url}'\n{line}")).unwrap();
        let text = Dataset::load(&config).unwrap_err().to_string();
        assert_eq!(
            text,
            format!("`{key}` needs the whole table in memory and can't be streamed")
        );
    }
}
