//! Milvus: the schema, and the rows as one JSON array, which bulk import reads.

use std::fmt::Write;

use serde_json::json;

use super::{Entry, Extent, Layout, json, json_indices, pretty};
use crate::options::{Options, Side};

pub(crate) struct Milvus;

impl Layout for Milvus {
    fn file(&self, side: Side) -> &'static str {
        match side {
            Side::Document => "rows.json",
            Side::Query => "queries.jsonl",
        }
    }

    fn frame(&self, side: Side) -> [&'static str; 3] {
        match side {
            Side::Document => ["[\n", ",\n", "\n]\n"],
            Side::Query => ["", "\n", "\n"],
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
        let _ = match side {
            Side::Document => write!(out, "{{\"id\":{},{}:", json(id), json(&options.field)),
            Side::Query => write!(out, "{{\"id\":{},\"data\":", json(id)),
        };
        json_indices(out, entries);
        out.push('}');
    }

    fn statements(
        &self,
        side: Side,
        options: &Options,
        _extent: Extent,
    ) -> Vec<(&'static str, String)> {
        if side == Side::Query {
            return Vec::new();
        }
        let schema = json!({
            "collectionName": options.collection,
            "schema": {
                "autoId": false,
                "fields": [
                    {
                        "fieldName": "id",
                        "dataType": "VarChar",
                        "isPrimary": true,
                        "elementTypeParams": { "max_length": 65_535 }
                    },
                    { "fieldName": options.field, "dataType": "SparseFloatVector" }
                ]
            },
            "indexParams": [{
                "fieldName": options.field,
                "indexType": "SPARSE_INVERTED_INDEX",
                "metricType": "IP"
            }]
        });
        vec![("collection.json", pretty(&schema))]
    }
}
