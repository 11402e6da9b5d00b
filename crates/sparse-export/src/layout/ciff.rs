//! The Common Index File Format (Lin et al., "Supporting Interoperability Between Open-Source Search Engines with the Common
//! Index File Format", SIGIR 2020): protocol-buffer messages, each behind its length.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// Collects postings, since the format goes by terms.
#[derive(Debug, Default)]
pub(crate) struct Ciff {
    /// By term: documents and impacts.
    lists: BTreeMap<String, Vec<(u32, u32)>>,
    documents: Vec<(String, u64)>,
}

impl Ciff {
    /// Adds a document: its id, and terms with their impacts.
    pub(crate) fn push(&mut self, id: &str, entries: impl IntoIterator<Item = (u32, u32)>) {
        let document = self.documents.len() as u32;
        let mut length = 0;
        for (index, impact) in entries {
            length += u64::from(impact);
            let list = self.lists.entry(index.to_string()).or_default();
            list.push((document, impact));
        }
        self.documents.push((id.to_owned(), length));
    }

    /// Writes the header, the lists by term, the documents.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let total: u64 = self.documents.iter().map(|(_, length)| length).sum();
        let n_documents = self.documents.len() as u64;
        let mut message = Message::default();
        message.number(1, 1);
        message.number(2, self.lists.len() as u64);
        message.number(3, n_documents);
        message.number(4, self.lists.len() as u64);
        message.number(5, n_documents);
        message.number(6, total);
        message.double(7, total as f64 / n_documents.max(1) as f64);
        message.bytes(8, b"impacts of a learned sparse encoder");
        message.finish(out)?;
        for (term, postings) in &self.lists {
            let mut message = Message::default();
            message.bytes(1, term.as_bytes());
            message.number(2, postings.len() as u64);
            message.number(
                3,
                postings.iter().map(|(_, impact)| u64::from(*impact)).sum(),
            );
            let mut last = 0;
            for (document, impact) in postings {
                let mut posting = Message::default();
                // The distance from the document before.
                posting.number(1, u64::from(document - last));
                posting.number(2, u64::from(*impact));
                message.bytes(4, &posting.bytes);
                last = *document;
            }
            message.finish(out)?;
        }
        for (number, (id, length)) in (0..).zip(&self.documents) {
            let mut message = Message::default();
            message.number(1, number);
            message.bytes(2, id.as_bytes());
            message.number(3, *length);
            message.finish(out)?;
        }
        Ok(())
    }
}

/// A protocol-buffer message.
#[derive(Debug, Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn varint(out: &mut Vec<u8>, mut number: u64) {
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }

    /// 0 is what a missing field is read as.
    fn number(&mut self, field: u8, number: u64) {
        if number > 0 {
            self.bytes.push(field << 3);
            Self::varint(&mut self.bytes, number);
        }
    }

    fn double(&mut self, field: u8, number: f64) {
        self.bytes.push((field << 3) | 1);
        self.bytes.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        self.bytes.push((field << 3) | 2);
        Self::varint(&mut self.bytes, bytes.len() as u64);
        self.bytes.extend(bytes);
    }

    fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        let mut length = Vec::new();
        Self::varint(&mut length, self.bytes.len() as u64);
        out.write_all(&length)?;
        out.write_all(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand from the format's description.
    #[test]
    fn messages_are_as_described() {
        let mut ciff = Ciff::default();
        ciff.push("a", [(7, 300), (10, 1)]);
        ciff.push("b", []);
        ciff.push("c", [(7, 2)]);
        let mut bytes = Vec::new();
        ciff.write(&mut bytes).unwrap();
        let header = usize::from(bytes[0]);
        assert_eq!(&bytes[1..13], [8, 1, 16, 2, 24, 3, 32, 2, 40, 3, 48, 0xaf]);
        let lists = &bytes[1 + header..];
        // "10" comes before "7": terms are ordered as texts.
        let ten = [12, 10, 2, b'1', b'0', 16, 1, 24, 1, 34, 2, 16, 1];
        assert_eq!(&lists[..13], ten);
        let seven = [
            19, 10, 1, b'7', 16, 2, 24, 0xae, 2, 34, 3, 16, 0xac, 2, 34, 4, 8, 2, 16, 2,
        ];
        assert_eq!(&lists[13..33], seven);
        let documents = [
            6, 18, 1, b'a', 24, 0xad, 2, 5, 8, 1, 18, 1, b'b', 7, 8, 2, 18, 1, b'c', 24, 2,
        ];
        assert_eq!(&lists[33..], documents);
    }
}
