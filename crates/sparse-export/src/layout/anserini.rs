//! Anserini: a `JsonVectorCollection`, and topics that repeat a token as often as its impact says.

use std::fmt::Write;

use super::{Entry, Extent, Layout, json, json_map};
use crate::options::{Options, Side};

pub(crate) struct Anserini;

impl Layout for Anserini {
    fn file(&self, side: Side) -> &'static str {
        match side {
            Side::Document => "corpus/documents.jsonl",
            Side::Query => "topics.tsv",
        }
    }

    fn record(
        &self,
        out: &mut String,
        side: Side,
        _options: &Options,
        id: &str,
        entries: &[Entry<'_>],
    ) {
        if side == Side::Document {
            let _ = write!(out, "{{\"id\":{},\"contents\":\"\",\"vector\":", json(id));
            json_map(
                out,
                entries,
                |entry| json(entry.token),
                |entry| entry.impact,
            );
            out.push('}');
            return;
        }
        out.push_str(id);
        let mut separator = '\t';
        for entry in entries {
            for _ in 0..entry.impact {
                out.push(separator);
                out.push_str(entry.token);
                separator = ' ';
            }
        }
    }

    fn statements(
        &self,
        side: Side,
        _options: &Options,
        _extent: Extent,
    ) -> Vec<(&'static str, String)> {
        let command = match side {
            Side::Document => {
                "io.anserini.index.IndexCollection -collection JsonVectorCollection -input corpus -index index \
                 -generator DefaultLuceneDocumentGenerator -impact -pretokenized\n"
            }
            Side::Query => {
                "io.anserini.search.SearchCollection -index index -topics topics.tsv -topicReader TsvString \
                 -output run.txt -impact -pretokenized\n"
            }
        };
        vec![("anserini.txt", command.to_owned())]
    }
}
