//! Elasticsearch and OpenSearch: the body that creates the index, lines for `_bulk`, a search a line.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Entry, Layout, json, json_indices, json_tokens, list, pretty};
use crate::options::Options;

/// A type of field.
pub(crate) struct Lucene {
    mapping: fn() -> Value,
    settings: fn() -> Option<Value>,
    has_indices: bool,
    query: fn(&mut String, &Options, &[Entry<'_>]),
}

/// Elasticsearch's `sparse_vector`.
pub(crate) const ELASTICSEARCH: Lucene = Lucene {
    // Newer versions drop the lightest tokens of a query unless told not to.
    mapping: || json!({ "type": "sparse_vector", "index_options": { "prune": false } }),
    settings: || None,
    has_indices: false,
    query: |out, options, entries| {
        let _ = write!(
            out,
            "{{\"sparse_vector\":{{\"field\":{},\"query_vector\":",
            json(&options.field)
        );
        json_tokens(out, entries);
        out.push_str(",\"prune\":false}}");
    },
};

/// `rank_features` of both.
pub(crate) const RANK_FEATURES: Lucene = Lucene {
    mapping: || json!({ "type": "rank_features" }),
    settings: || None,
    has_indices: false,
    // A clause for each token, which both know; its weight times the feature is the score.
    query: |out, options, entries| {
        out.push_str("{\"bool\":{\"should\":[");
        list(out, entries, |entry| {
            format!(
                "{{\"rank_feature\":{{\"field\":{},\"linear\":{{}},\"boost\":{}}}}}",
                json(&format!("{}.{}", options.field, entry.token)),
                entry.weight
            )
        });
        out.push_str("]}}");
    },
};

/// `sparse_vector` of OpenSearch's neural-search plugin.
pub(crate) const OPENSEARCH_SPARSE_VECTOR: Lucene = Lucene {
    mapping: || json!({ "type": "sparse_vector", "method": { "name": "seismic" } }),
    settings: || Some(json!({ "index": { "sparse": true } })),
    has_indices: true,
    query: |out, options, entries| {
        let _ = write!(
            out,
            "{{\"neural_sparse\":{{{}:{{\"query_tokens\":",
            json(&options.field)
        );
        json_indices(out, entries);
        let _ = write!(out, ",\"method_parameters\":{{\"k\":{}}}}}}}}}", options.k);
    },
};

impl Layout for Lucene {
    fn files(&self) -> [&'static str; 2] {
        ["bulk.ndjson", "queries.jsonl"]
    }

    fn document(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(
            out,
            "{{\"index\":{{\"_index\":{},\"_id\":{}}}}}\n{{{}:",
            json(&options.collection),
            json(id),
            json(&options.field)
        );
        if self.has_indices {
            json_indices(out, entries);
        } else {
            json_tokens(out, entries);
        }
        out.push('}');
    }

    fn query(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(out, "{{\"id\":{},\"request\":{{\"query\":", json(id));
        (self.query)(out, options, entries);
        let _ = write!(out, ",\"size\":{},\"_source\":false}}}}", options.k);
    }

    fn load(&self, options: &Options, _most_active: usize) -> Option<(&'static str, String)> {
        let mut body = json!({
            "mappings": { "properties": { options.field.as_str(): (self.mapping)() } }
        });
        if let Some(settings) = (self.settings)() {
            body["settings"] = settings;
        }
        Some(("index.json", pretty(&body)))
    }
}
