//! Tables in each format.

use sparse_encoder::Table;
use sparse_encoder::data::{Dataset, DatasetConfig};

use super::{Reading, Target, only_file};
use crate::files::Files;
use crate::seeds;

pub(super) const CSV: Target = Target {
    name: "csv",
    batch: 2000,
    seeds: || {
        Ok(vec![
            one("pairs.csv", seeds::CSV),
            one("quoted.csv", seeds::QUOTED_CSV),
            one("numbers.csv", seeds::NUMBERS_CSV),
            one("pairs.tsv", &seeds::CSV.replace(',', "\t")),
        ])
    },
    may_change: any,
    read,
};

pub(super) const JSON: Target = Target {
    name: "json",
    batch: 2000,
    seeds: || Ok(vec![one("rows.json", &seeds::json_array())]),
    may_change: any,
    read,
};

pub(super) const JSONL: Target = Target {
    name: "jsonl",
    batch: 2000,
    seeds: || {
        Ok(vec![
            one("rows.jsonl", seeds::JSON_LINES),
            one("nested.jsonl", seeds::NESTED_JSON_LINES),
        ])
    },
    may_change: any,
    read,
};

pub(super) const PARQUET: Target = Target {
    name: "parquet",
    batch: 2000,
    seeds: || seeds::shipped(&["fuzz/seeds/rows.parquet"]),
    may_change: any,
    read,
};

pub(super) const ARROW: Target = Target {
    name: "arrow",
    batch: 2000,
    seeds: || seeds::shipped(&["fuzz/seeds/rows.arrow", "fuzz/seeds/stream.arrow"]),
    may_change: any,
    read,
};

pub(super) const COMPRESSED: Target = Target {
    name: "compressed",
    batch: 2000,
    seeds: || {
        seeds::shipped(&[
            "crates/sparse-data/tests/fixtures/pairs.csv.gz",
            "crates/sparse-data/tests/fixtures/pairs.csv.xz",
            "crates/sparse-data/tests/fixtures/pairs.jsonl.bz2",
            "crates/sparse-data/tests/fixtures/pairs.jsonl.zst",
        ])
    },
    may_change: any,
    read,
};

fn one(name: &str, text: &str) -> Files {
    [(name.to_owned(), text.as_bytes().to_vec())].into()
}

fn any(_: &str) -> bool {
    true
}

fn read(reading: &mut Reading) {
    let Some(path) = only_file() else {
        return;
    };
    let whole = reading.read(Table::load(&DatasetConfig::from_path(&path)));
    if let Some(table) = &whole {
        use_table(reading, table);
    }
    // Other formats are never streamed.
    if !["jsonl", "parquet"]
        .iter()
        .any(|&ending| path.extension().is_some_and(|own| own == ending))
    {
        return;
    }
    let streaming = DatasetConfig {
        streaming: true,
        ..DatasetConfig::from_path(&path)
    };
    let Some(stream) = reading.read(Dataset::load(&streaming)) else {
        return;
    };
    let head = reading.read(stream.head(3));
    if let (Some(table), Some(head)) = (whole, head) {
        let rows = table.num_rows().min(3);
        reading.require(head.num_rows() == rows, || {
            format!("{} rows when streamed, {rows} otherwise", head.num_rows())
        });
    }
}

/// Looks at every cell, then takes a batch as training does. A table of numbers is no training data, which is said.
fn use_table(reading: &mut Reading, table: &Table) {
    const ROWS: usize = 100;
    let rows: Vec<usize> = (0..table.num_rows().min(ROWS)).collect();
    for column in table.column_names().into_iter().take(ROWS) {
        for &row in &rows {
            let _ = table.value_as_text(column, row);
        }
    }
    if let Ok(roles) = table.roles()
        && table.check(&roles).is_ok()
    {
        let batch = table.batch(&roles, &rows);
        let complete = batch.is_ok_and(|batch| batch.num_rows() == rows.len());
        reading.require(complete, || "a checked table gives no batch".to_owned());
    }
}
