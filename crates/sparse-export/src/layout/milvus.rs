//! Milvus: the schema, and the rows as one JSON array, which bulk import reads.

use std::fmt::Write;

use serde_json::json;

use super::{Entry, Layout, json, json_indices, pretty};
use crate::options::Options;

pub(crate) struct Milvus;

impl Layout for Milvus {
    fn files(&self) -> [&'static str; 2] {
        ["rows.json", "queries.jsonl"]
    }

    fn frame(&self) -> [&'static str; 3] {
        ["[\n", ",\n", "\n]\n"]
    }

    fn document(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(out, "{{\"id\":{},{}:", json(id), json(&options.field));
        json_indices(out, entries);
        out.push('}');
    }

    fn query(&self, out: &mut String, _options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(out, "{{\"id\":{},\"data\":", json(id));
        json_indices(out, entries);
        out.push('}');
    }

    fn load(&self, options: &Options, _most_active: usize) -> Option<(&'static str, String)> {
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
        Some(("collection.json", pretty(&schema)))
    }
}
