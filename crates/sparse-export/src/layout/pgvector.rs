//! pgvector: rows for COPY, and the statements around them.

use std::fmt::Write;

use super::{Entry, Extent, Layout};
use crate::options::{Options, Side};

/// Most active dimensions of a vector in an HNSW index.
const MOST_ACTIVE_IN_HNSW: usize = 1000;

pub(crate) struct Pgvector;

impl Layout for Pgvector {
    fn file(&self, side: Side) -> &'static str {
        match side {
            Side::Document => "documents.tsv",
            Side::Query => "queries.tsv",
        }
    }

    fn record(
        &self,
        out: &mut String,
        _side: Side,
        options: &Options,
        id: &str,
        entries: &[Entry<'_>],
    ) {
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
        for (position, entry) in entries.iter().enumerate() {
            let separator = if position > 0 { "," } else { "" };
            let _ = write!(out, "{separator}{}:{}", entry.index, entry.weight);
        }
        let _ = write!(out, "}}/{}", options.n_dims);
    }

    fn statements(
        &self,
        side: Side,
        options: &Options,
        extent: Extent,
    ) -> Vec<(&'static str, String)> {
        let Options {
            collection,
            field,
            n_dims,
            k,
            ..
        } = options;
        if side == Side::Query {
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
            return vec![("search.sql", statement)];
        }
        let index = if *n_dims > 1_000_000_000 || extent.most_active > MOST_ACTIVE_IN_HNSW {
            format!(
                "-- No HNSW index: a vector has {} active dimensions, the index takes at most {MOST_ACTIVE_IN_HNSW}.\n",
                extent.most_active
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
        vec![("load.sql", statement)]
    }
}
