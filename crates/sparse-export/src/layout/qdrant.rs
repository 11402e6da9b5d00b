//! Qdrant: the body that creates the collection, a point a line, a query a line.

use std::fmt::Write;

use serde_json::json;
use sha1::{Digest, Sha1};

use super::{Entry, Extent, Layout, json, pretty};
use crate::options::{Options, Side};

pub(crate) struct Qdrant;

impl Layout for Qdrant {
    fn file(&self, side: Side) -> &'static str {
        match side {
            Side::Document => "points.jsonl",
            Side::Query => "queries.jsonl",
        }
    }

    fn record(
        &self,
        out: &mut String,
        side: Side,
        options: &Options,
        id: &str,
        entries: &[Entry<'_>],
    ) {
        let mut vector = "{\"indices\":[".to_owned();
        for (position, entry) in entries.iter().enumerate() {
            let separator = if position > 0 { "," } else { "" };
            let _ = write!(vector, "{separator}{}", entry.index);
        }
        vector.push_str("],\"values\":[");
        for (position, entry) in entries.iter().enumerate() {
            let separator = if position > 0 { "," } else { "" };
            let _ = write!(vector, "{separator}{}", entry.weight);
        }
        vector.push_str("]}");
        let field = json(&options.field);
        let _ = match side {
            Side::Document => write!(
                out,
                "{{\"id\":\"{}\",\"vector\":{{{field}:{vector}}},\"payload\":{{\"_id\":{}}}}}",
                uuid(id),
                json(id)
            ),
            Side::Query => write!(
                out,
                "{{\"id\":{},\"request\":{{\"query\":{vector},\"using\":{field},\"limit\":{},\"with_payload\":true}}}}",
                json(id),
                options.k
            ),
        };
    }

    fn statements(
        &self,
        side: Side,
        options: &Options,
        _extent: Extent,
    ) -> Vec<(&'static str, String)> {
        match side {
            Side::Query => Vec::new(),
            Side::Document => {
                let body = json!({ "sparse_vectors": { options.field.as_str(): {} } });
                vec![("collection.json", pretty(&body))]
            }
        }
    }
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
