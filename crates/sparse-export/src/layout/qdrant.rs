//! Qdrant: the body that creates the collection, a point a line, a query a line.

use std::fmt::Write;

use serde_json::json;
use sha1::{Digest, Sha1};

use super::{Entry, Layout, json, list, pretty};
use crate::options::Options;

pub(crate) struct Qdrant;

impl Layout for Qdrant {
    fn files(&self) -> [&'static str; 2] {
        ["points.jsonl", "queries.jsonl"]
    }

    fn document(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(
            out,
            "{{\"id\":\"{}\",\"vector\":{{{}:",
            uuid(id),
            json(&options.field)
        );
        vector(out, entries);
        let _ = write!(out, "}},\"payload\":{{\"_id\":{}}}}}", json(id));
    }

    fn query(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(out, "{{\"id\":{},\"request\":{{\"query\":", json(id));
        vector(out, entries);
        let _ = write!(
            out,
            ",\"using\":{},\"limit\":{},\"with_payload\":true}}}}",
            json(&options.field),
            options.k
        );
    }

    fn load(&self, options: &Options, _most_active: usize) -> Option<(&'static str, String)> {
        let body = json!({ "sparse_vectors": { options.field.as_str(): {} } });
        Some(("collection.json", pretty(&body)))
    }
}

fn vector(out: &mut String, entries: &[Entry<'_>]) {
    out.push_str("{\"indices\":[");
    list(out, entries, |entry| entry.index);
    out.push_str("],\"values\":[");
    list(out, entries, |entry| entry.weight);
    out.push_str("]}");
}

/// Qdrant takes UUIDs and unsigned integers for ids: the UUID that RFC 9562 (version 5) makes of a name. The same id gives the
/// same point in every export.
fn uuid(id: &str) -> String {
    /// The namespace of names that are URLs, as good as any.
    const NAMESPACE: [u8; 16] = [
        0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30,
        0xc8,
    ];
    let mut hash = Sha1::new();
    hash.update(NAMESPACE);
    hash.update(id.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&position) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python: `uuid.uuid5(uuid.NAMESPACE_URL, "doc-1")`.
    #[test]
    fn an_id_becomes_its_uuid() {
        assert_eq!(uuid("doc-1"), "3f622591-baa6-5888-8a4f-6b3813e16a44");
    }
}
