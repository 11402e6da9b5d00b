//! Vespa: a schema with a mapped tensor, documents for `vespa feed`, a query a line.

use std::fmt::Write;

use super::{Entry, Layout, json, json_tokens};
use crate::options::Options;

pub(crate) struct Vespa;

impl Layout for Vespa {
    fn files(&self) -> [&'static str; 2] {
        ["feed.jsonl", "queries.jsonl"]
    }

    fn document(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        let name = &options.collection;
        let _ = write!(
            out,
            "{{\"put\":{},\"fields\":{{\"id\":{},{}:",
            json(&format!("id:{name}:{name}::{id}")),
            json(id),
            json(&options.field)
        );
        json_tokens(out, entries);
        out.push_str("}}");
    }

    fn query(&self, out: &mut String, options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(
            out,
            "{{\"id\":{},\"request\":{{\"yql\":{},\"hits\":{},\"ranking\":\"sparse\",\"input.query(q)\":",
            json(id),
            json(&format!("select * from {} where true", options.collection)),
            options.k
        );
        json_tokens(out, entries);
        out.push_str("}}");
    }

    fn load(&self, options: &Options, _most_active: usize) -> Option<(&'static str, String)> {
        let Options {
            collection, field, ..
        } = options;
        let schema = format!(
            "schema {collection} {{\n    document {collection} {{\n        field id type string {{\n            \
             indexing: attribute | summary\n        }}\n        field {field} type tensor<float>(token{{}}) {{\n            \
             indexing: attribute\n        }}\n    }}\n    rank-profile sparse {{\n        inputs {{\n            \
             query(q) tensor<float>(token{{}})\n        }}\n        first-phase {{\n            \
             expression: sum(query(q) * attribute({field}))\n        }}\n    }}\n}}\n"
        );
        Some(("schema.sd", schema))
    }
}
