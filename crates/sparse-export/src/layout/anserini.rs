//! Anserini: a `JsonVectorCollection`, and topics that repeat a token as often as its impact says.

use std::fmt::Write;

use super::{Entry, Layout, json, list};
use crate::options::Options;

pub(crate) struct Anserini;

impl Layout for Anserini {
    fn files(&self) -> [&'static str; 2] {
        ["corpus/documents.jsonl", "topics.tsv"]
    }

    fn document(&self, out: &mut String, _options: &Options, id: &str, entries: &[Entry<'_>]) {
        let _ = write!(out, "{{\"id\":{},\"contents\":\"\",\"vector\":{{", json(id));
        list(out, entries, |entry| {
            format!("{}:{}", json(entry.token), entry.impact)
        });
        out.push_str("}}");
    }

    fn query(&self, out: &mut String, _options: &Options, id: &str, entries: &[Entry<'_>]) {
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

    fn load(&self, _options: &Options, _most_active: usize) -> Option<(&'static str, String)> {
        let command = "io.anserini.index.IndexCollection -collection JsonVectorCollection -input corpus -index index \
                       -generator DefaultLuceneDocumentGenerator -impact -pretokenized\n";
        Some(("index.txt", command.to_owned()))
    }

    fn search(&self, _options: &Options) -> Option<(&'static str, String)> {
        let command = "io.anserini.search.SearchCollection -index index -topics topics.tsv -topicReader TsvString \
                       -output run.txt -impact -pretokenized\n";
        Some(("search.txt", command.to_owned()))
    }
}
