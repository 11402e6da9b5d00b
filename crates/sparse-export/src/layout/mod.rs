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
use crate::options::{Options, Side};

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

/// What the vectors of an export turned out to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    /// Most active dimensions of a vector.
    pub(crate) most_active: usize,
}

/// The files of an engine in which each vector is a record of its own.
pub(crate) trait Layout: Sync {
    /// Name of the file of the vectors.
    fn file(&self, side: Side) -> &'static str;

    /// What stands before the first record, between two, and after the last.
    fn frame(&self, _side: Side) -> [&'static str; 3] {
        ["", "\n", "\n"]
    }

    /// Appends a vector.
    fn record(
        &self,
        out: &mut String,
        side: Side,
        options: &Options,
        id: &str,
        entries: &[Entry<'_>],
    );

    /// Further files: names and texts.
    fn statements(
        &self,
        side: Side,
        options: &Options,
        extent: Extent,
    ) -> Vec<(&'static str, String)>;
}

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

/// `{"key": weight, …}`.
fn json_map<T: std::fmt::Display>(
    out: &mut String,
    entries: &[Entry<'_>],
    key: impl Fn(&Entry<'_>) -> String,
    value: impl Fn(&Entry<'_>) -> T,
) {
    out.push('{');
    for (position, entry) in entries.iter().enumerate() {
        let separator = if position > 0 { "," } else { "" };
        let _ = write!(out, "{separator}{}:{}", key(entry), value(entry));
    }
    out.push('}');
}

/// `{"token": weight, …}`.
fn json_tokens(out: &mut String, entries: &[Entry<'_>]) {
    json_map(
        out,
        entries,
        |entry| json(entry.token),
        |entry| entry.weight,
    );
}

/// `{"7": weight, …}`.
fn json_indices(out: &mut String, entries: &[Entry<'_>]) {
    json_map(
        out,
        entries,
        |entry| format!("\"{}\"", entry.index),
        |entry| entry.weight,
    );
}
