//! pgvector: rows for COPY, and the statements around them.

use std::fmt::Write;

use super::{Entry, Layout, list};
use crate::options::Options;

/// Most active dimensions of a vector in an HNSW index.
const MOST_ACTIVE_IN_HNSW: usize = 1000;

pub(crate) struct Pgvector;

impl Layout for Pgvector {
    fn files(&self) -> [&'static str; 2] {
        ["documents.tsv", "queries.tsv"]
    }

    fn document(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        for character in id.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                other => out.push(other),
            }
        }
        out.push_str("\t{");
        list(out, entries, |entry| {
            format!("{}:{}", entry.index, entry.weight)
        });
        let _ = write!(out, "}}/{}", options.n_dims);
    }

    fn query(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        self.document(out, options, id, entries);
    }

    fn load(&self, options: &Options, most_active: usize) -> Option<(&'static str, String)> {
        let Options {
            collection,
            field,
            n_dims,
            ..
        } = options;
        let index = if most_active > MOST_ACTIVE_IN_HNSW {
            format!(
                "-- No HNSW index: a vector has {most_active} active dimensions, the index takes at most {MOST_ACTIVE_IN_HNSW}.\n"
            )
        } else {
            format!(
                "-- Approximate; without it, searching is exact.\n\
                 -- CREATE INDEX ON {collection} USING hnsw ({field} sparsevec_ip_ops);\n"
            )
        };
        let statement = format!(
            "CREATE EXTENSION IF NOT EXISTS vector;\n\
             CREATE TABLE {collection} (id text PRIMARY KEY, {field} sparsevec({n_dims}) NOT NULL);\n\
             \\copy {collection} FROM 'documents.tsv'\n{index}"
        );
        Some(("load.sql", statement))
    }

    fn search(&self, options: &Options) -> Option<(&'static str, String)> {
        let Options {
            collection,
            field,
            n_dims,
            k,
            ..
        } = options;
        let statement = format!(
            "CREATE TABLE queries (id text PRIMARY KEY, {field} sparsevec({n_dims}) NOT NULL);\n\
             \\copy queries FROM 'queries.tsv'\n\
             -- `<#>` is the negated inner product.\n\
             SELECT queries.id AS query, found.id AS document, found.score\n\
             FROM queries CROSS JOIN LATERAL (\n    \
             SELECT id, -({collection}.{field} <#> queries.{field}) AS score\n    \
             FROM {collection} ORDER BY {collection}.{field} <#> queries.{field} LIMIT {k}\n\
             ) AS found;\n"
        );
        Some(("search.sql", statement))
    }
}
