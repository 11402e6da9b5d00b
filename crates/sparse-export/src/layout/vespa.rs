//! Vespa: a schema with a mapped tensor, documents for `vespa feed`, a query a line.

use std::fmt::Write;

use super::{Entry, Extent, Layout, json, json_tokens};
use crate::options::{Options, Side};

pub(crate) struct Vespa;

impl Layout for Vespa {
    fn file(&self, side: Side) -> &'static str {
        match side {
            Side::Document => "feed.jsonl",
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
        let (name, field) = (&options.collection, json(&options.field));
        if side == Side::Query {
            let _ = write!(
                out,
                "{{\"id\":{},\"request\":{{\"yql\":{},\"hits\":{},\"ranking\":\"sparse\",\"input.query(q)\":",
                json(id),
                json(&format!("select * from {name} where true")),
                options.k
            );
            json_tokens(out, entries);
            out.push_str("}}");
            return;
        }
        let _ = write!(
            out,
            "{{\"put\":{},\"fields\":{{\"id\":{},{field}:",
            json(&format!("id:{name}:{name}::{id}")),
            json(id)
        );
        json_tokens(out, entries);
        out.push_str("}}");
    }

    fn statements(
        &self,
        side: Side,
        options: &Options,
        _extent: Extent,
    ) -> Vec<(&'static str, String)> {
        let Options {
            collection, field, ..
        } = options;
        if side == Side::Query {
            return Vec::new();
        }
        let schema = format!(
            "schema {collection} {{\n    document {collection} {{\n        field id type string {{\n            \
             indexing: attribute | summary\n        }}\n        field {field} type tensor<float>(token{{}}) {{\n            \
             indexing: attribute\n        }}\n    }}\n    rank-profile sparse {{\n        inputs {{\n            \
             query(q) tensor<float>(token{{}})\n        }}\n        first-phase {{\n            \
             expression: sum(query(q) * attribute({field}))\n        }}\n    }}\n}}\n"
        );
        vec![("schema.sd", schema)]
    }
}
