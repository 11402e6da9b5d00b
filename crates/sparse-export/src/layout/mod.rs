//! How each engine's files look. One engine per file.

mod anserini;
pub(crate) mod ciff;
mod lucene;
mod milvus;
mod pgvector;
mod qdrant;
mod seismic;
mod vespa;

use std::fmt::Write;

use serde_json::Value;

use crate::engine::Engine;
use crate::options::Options;

/// An active dimension as an engine stores it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Its number, counted as the engine counts.
    pub(crate) index: u32,
    /// Its token; empty where numbers stand for dimensions.
    pub(crate) token: &'a str,
    /// Its weight.
    pub(crate) weight: f32,
    /// Its weight as a whole number; 0 where the engine stores floating-point numbers.
    pub(crate) impact: u32,
}

/// The files of an engine in which each vector is a record of its own.
pub(crate) trait Layout: Sync {
    /// Names of the files of documents and of queries.
    fn files(&self) -> [&'static str; 2];

    /// What stands before the first document, between two, and after the last.
    fn frame(&self) -> [&'static str; 3] {
        LINES
    }

    /// Appends a document.
    fn document(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]);

    /// Appends a query.
    fn query(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]);

    /// A file beside the documents: its name and text. `most_active` is the most active dimensions of a document.
    fn load(&self, _options: &Options, _most_active: usize) -> Option<(&'static str, String)> {
        None
    }

    /// A file beside the queries.
    fn search(&self, _options: &Options) -> Option<(&'static str, String)> {
        None
    }
}

/// A record a line.
pub(crate) const LINES: [&str; 3] = ["", "\n", "\n"];

/// The layout of an engine; none where the whole export is one structure.
pub(crate) fn layout(engine: Engine) -> Option<&'static dyn Layout> {
    match engine {
        Engine::Qdrant => Some(&qdrant::Qdrant),
        Engine::Elasticsearch => Some(&lucene::ELASTICSEARCH),
        Engine::ElasticsearchRankFeatures | Engine::Opensearch => Some(&lucene::RANK_FEATURES),
        Engine::OpensearchSparseVector => Some(&lucene::OPENSEARCH_SPARSE_VECTOR),
        Engine::Milvus => Some(&milvus::Milvus),
        Engine::Pgvector => Some(&pgvector::Pgvector),
        Engine::Vespa => Some(&vespa::Vespa),
        Engine::Seismic => Some(&seismic::Seismic),
        Engine::Anserini => Some(&anserini::Anserini),
        Engine::Ciff | Engine::Bmp => None,
    }
}

/// A text as JSON.
fn json(text: &str) -> String {
    Value::from(text).to_string()
}

/// JSON with line breaks.
fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The entries, separated by commas.
fn list<T: std::fmt::Display>(
    out: &mut String,
    entries: &[Entry<'_>],
    item: impl Fn(&Entry<'_>) -> T,
) {
    for (position, entry) in entries.iter().enumerate() {
        let separator = if position > 0 { "," } else { "" };
        let _ = write!(out, "{separator}{}", item(entry));
    }
}

/// `{"token": weight, …}`.
fn json_tokens(out: &mut String, entries: &[Entry<'_>]) {
    out.push('{');
    list(out, entries, |entry| {
        format!("{}:{}", json(entry.token), entry.weight)
    });
    out.push('}');
}

/// `{"7": weight, …}`.
fn json_indices(out: &mut String, entries: &[Entry<'_>]) {
    out.push('{');
    list(out, entries, |entry| {
        format!("\"{}\":{}", entry.index, entry.weight)
    });
    out.push('}');
}
