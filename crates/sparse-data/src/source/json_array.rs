//! The elements of a JSON array, one behind the other, as decoders of JSON lines take them.

use std::io::{self, Read};

use super::ReadLimits;

/// Reads an array of objects and measures its elements; without its brackets and commas, if these are to be left out. The text
/// must be JSON, or else what comes out isn't either.
pub(super) struct Elements<R> {
    reader: R,
    /// Whether spaces stand for the brackets and commas of the array.
    bare: bool,
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// Bytes of the element so far, and of the longest.
    length: usize,
    longest: usize,
    limits: ReadLimits,
}

impl<R: Read> Elements<R> {
    /// The array as it stands.
    pub(super) fn measured(reader: R, limits: &ReadLimits) -> Self {
        Self {
            reader,
            bare: false,
            depth: 0,
            in_text: false,
            escaped: false,
            length: 0,
            longest: 0,
            limits: *limits,
        }
    }

    /// The elements alone.
    pub(super) fn bare(reader: R, limits: &ReadLimits) -> Self {
        Self {
            bare: true,
            ..Self::measured(reader, limits)
        }
    }

    /// Bytes of the longest element so far.
    pub(super) fn longest(&self) -> usize {
        self.longest.max(self.length)
    }

    fn pass(&mut self, byte: &mut u8) {
        self.length += 1;
        if self.in_text {
            match *byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        let is_frame = match *byte {
            b'"' => {
                self.in_text = true;
                false
            }
            b'[' | b'{' => {
                self.depth += 1;
                self.depth == 1
            }
            b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                self.depth == 0
            }
            b',' => self.depth == 1,
            _ => false,
        };
        if is_frame {
            self.longest = self.longest();
            self.length = 0;
            if self.bare {
                *byte = b' ';
            }
        }
    }
}

impl<R: Read> Read for Elements<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        for byte in &mut buffer[..n] {
            self.pass(byte);
        }
        if self.length > self.limits.max_line_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("an element of the array {}", self.limits.line_problem()),
            ));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_frame_of_the_array_goes() {
        let array = r#" [{"a": "x, [\"y\\"}, {"b": [1, {"c": 2}]}] "#;
        let mut elements = Elements::bare(array.as_bytes(), &ReadLimits::default());
        let mut text = String::new();
        elements.read_to_string(&mut text).unwrap();
        assert_eq!(text.trim(), r#"{"a": "x, [\"y\\"}  {"b": [1, {"c": 2}]}"#);
        assert_eq!(elements.longest(), r#" {"b": [1, {"c": 2}]}]"#.len());
        let mut same = String::new();
        Elements::measured(array.as_bytes(), &ReadLimits::default())
            .read_to_string(&mut same)
            .unwrap();
        assert_eq!(same, array);
    }

    #[test]
    fn an_element_without_end_is_refused() {
        let endless = b"[\"".chain(io::repeat(b'z'));
        let error = io::copy(
            &mut Elements::bare(endless, &ReadLimits::default()),
            &mut io::sink(),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "an element of the array is longer than 64 MiB; a row must be shorter, or `limits.max_line_bytes` (--max-line-bytes) higher"
        );
    }
}
