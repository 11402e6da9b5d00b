//! Seismic: a vector a line.

use std::fmt::Write;

use super::{Entry, Layout, json, json_tokens};
use crate::options::Options;

pub(crate) struct Seismic;

impl Layout for Seismic {
    fn files(&self) -> [&'static str; 2] {
        ["documents.jsonl", "queries.jsonl"]
    }

    fn document(&self, out: &mut String, _options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(out, "{{\"id\":{},\"vector\":", json(id));
        json_tokens(out, entries);
        out.push('}');
    }

    fn query(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        self.document(out, options, id, entries);
    }
}
