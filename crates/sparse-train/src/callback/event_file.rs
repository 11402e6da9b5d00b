//! Event files of TensorBoard: records of protocol buffers.
//!
//! A record is, in little endian,
//!
//! ```text
//! u64 length, u32 masked_crc(length), payload, u32 masked_crc(payload)
//! masked_crc(x) = rotate_right(crc32c(x), 15) + 0xa282ead8
//! ```
//!
//! and the payload an `Event` of TensorFlow's `event.proto`: `wall_time` (1, double), `step` (2, int64), and one of
//! `file_version` (3), `summary` (5) and `session_log` (7).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes events.
#[derive(Debug)]
pub(crate) struct EventFile {
    file: File,
}

/// What an event holds beside its time and step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// A figure.
    Scalar { tag: &'a str, value: f32 },
    /// A text, shown as Markdown.
    Text { tag: &'a str, text: &'a str },
    /// A run goes on from here: figures of later steps in older files don't count any more.
    Restart,
}

impl EventFile {
    /// Begins a file.
    pub(crate) fn create(path: &Path, wall_time: f64) -> io::Result<Self> {
        let mut writer = Self {
            file: File::create_new(path)?,
        };
        let mut event = double(1, wall_time);
        event.extend(bytes(3, b"brain.Event:2"));
        writer.file.write_all(&record(&event))?;
        Ok(writer)
    }

    /// Appends events of one step in one write.
    pub(crate) fn write(
        &mut self,
        wall_time: f64,
        step: usize,
        contents: &[Content<'_>],
    ) -> io::Result<()> {
        let records = contents.iter().flat_map(|content| {
            let mut event = double(1, wall_time);
            event.extend(number(2, step as u64));
            event.extend(match content {
                Content::Scalar { tag, value } => scalar(tag, *value),
                Content::Text { tag, text: content } => text(tag, content),
                // SessionLog { status: START }
                Content::Restart => bytes(7, &number(1, 1)),
            });
            record(&event)
        });
        self.file.write_all(&records.collect::<Vec<u8>>())
    }
}

/// `Event.summary` with one `Summary.Value`: tag (1), and a number as simple_value (2).
fn scalar(tag: &str, number: f32) -> Vec<u8> {
    let mut value = bytes(1, tag.as_bytes());
    value.extend(float(2, number));
    bytes(5, &bytes(1, &value))
}

/// The same with a tensor (8) instead, and metadata (9) naming the plugin that shows it.
fn text(tag: &str, text: &str) -> Vec<u8> {
    let mut value = bytes(1, tag.as_bytes());
    value.extend(bytes(8, &text_tensor(text)));
    value.extend(bytes(9, &bytes(1, &bytes(1, b"text"))));
    bytes(5, &bytes(1, &value))
}

/// `TensorProto` of one string: dtype (1) DT_STRING, shape (2) of one dimension of size 1, string_val (8).
fn text_tensor(text: &str) -> Vec<u8> {
    let mut tensor = number(1, 7);
    tensor.extend(bytes(2, &bytes(2, &number(1, 1))));
    tensor.extend(bytes(8, text.as_bytes()));
    tensor
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(payload);
    record.extend(masked_crc(payload).to_le_bytes());
    record
}

/// A field of wire type 0.
fn number(field: u64, value: u64) -> Vec<u8> {
    let mut encoded = varint(field << 3);
    encoded.extend(varint(value));
    encoded
}

/// A field of wire type 1.
fn double(field: u64, value: f64) -> Vec<u8> {
    let mut encoded = varint(field << 3 | 1);
    encoded.extend(value.to_le_bytes());
    encoded
}

/// A field of wire type 5.
fn float(field: u64, value: f32) -> Vec<u8> {
    let mut encoded = varint(field << 3 | 5);
    encoded.extend(value.to_le_bytes());
    encoded
}

/// A field of wire type 2.
fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut encoded = varint(field << 3 | 2);
    encoded.extend(varint(value.len() as u64));
    encoded.extend(value);
    encoded
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    while value >= 0x80 {
        encoded.push(value as u8 | 0x80);
        value >>= 7;
    }
    encoded.push(value as u8);
    encoded
}

fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: logs are small.
fn crc32c(data: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ POLYNOMIAL
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        assert_eq!(number(2, 300), [0x10, 0xac, 0x02]);
    }
}
