//! Seismic: a vector a line.

use std::fmt::Write;

use super::{Entry, Extent, Layout, json, json_tokens};
use crate::options::{Options, Side};

pub(crate) struct Seismic;

impl Layout for Seismic {
    fn file(&self, side: Side) -> &'static str {
        match side {
            Side::Document => "documents.jsonl",
            Side::Query => "queries.jsonl",
        }
    }

    fn record(
        &self,
        out: &mut String,
        _side: Side,
        _options: &Options,
        id: &str,
        entries: &[Entry<'_>],
    ) {
        let _ = write!(out, "{{\"id\":{},\"vector\":", json(id));
        json_tokens(out, entries);
        out.push('}');
    }

    fn statements(
        &self,
        _side: Side,
        _options: &Options,
        _extent: Extent,
    ) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
