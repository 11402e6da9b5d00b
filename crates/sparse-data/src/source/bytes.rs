//! The bytes of a file: decompressed, without a byte order mark, in lines of bounded length.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use super::{ReadLimits, compression, io_error, malformed};
use crate::error::Result;

const BUFFER_BYTES: usize = 1 << 18;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(crate) type Reader = BufReader<Box<dyn Read + Send>>;

/// Opens a file and decompresses it on the way.
pub(super) fn open_bytes(path: &Path) -> Result<Reader> {
    if super::pipe::is_standard_input(path) {
        return Ok(BufReader::with_capacity(
            BUFFER_BYTES,
            Box::new(std::io::stdin()),
        ));
    }
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let reader = compression(path)
        .convert_read(BufReader::with_capacity(BUFFER_BYTES, file))
        .map_err(|error| malformed(path, error.to_string()))?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, reader))
}

/// Opens a file of text, decompresses it, and passes over a byte order mark.
pub(crate) fn open_text(path: &Path) -> Result<Reader> {
    Ok(open_after_mark(path)?.0)
}

/// As [`open_text`]; says also how many bytes were passed over.
pub(super) fn open_after_mark(path: &Path) -> Result<(Reader, u64)> {
    let reader = open_bytes(path)?;
    let mut start = Vec::new();
    let mut reader = reader.take(BYTE_ORDER_MARK.len() as u64);
    reader
        .read_to_end(&mut start)
        .map_err(|source| io_error(path, source))?;
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        return Err(malformed(
            path,
            "is UTF-16; convert the file, for example with `iconv -f utf-16 -t utf-8`".to_owned(),
        ));
    }
    let mark = if start == BYTE_ORDER_MARK {
        start.clear();
        BYTE_ORDER_MARK.len() as u64
    } else {
        0
    };
    let whole: Box<dyn Read + Send> = Box::new(Cursor::new(start).chain(reader.into_inner()));
    Ok((BufReader::with_capacity(BUFFER_BYTES, whole), mark))
}

/// Reads line number `line` with its end into an empty buffer; false at the end of the file.
pub(crate) fn read_line(
    path: &Path,
    reader: &mut impl BufRead,
    line: u64,
    buffer: &mut Vec<u8>,
    limits: &ReadLimits,
) -> Result<bool> {
    // A buffer that held a long line once would hold its room for all the others.
    const KEPT_BYTES: usize = 1 << 20;
    buffer.clear();
    buffer.shrink_to(KEPT_BYTES);
    let n = reader
        .take(limits.max_line_bytes as u64 + 1)
        .read_until(b'\n', buffer)
        .map_err(|source| io_error(path, source))?;
    if n > limits.max_line_bytes {
        return Err(limits.too_long(path, None, line));
    }
    Ok(n > 0)
}

/// The lines of a text file, one at a time: decompressed as its name says, without byte order mark and line ends.
///
/// For readers of formats that this crate doesn't know: they get the same limits and messages as its own.
///
/// # Example
///
/// ```no_run
/// let mut lines = sparse_data::Lines::open("run.trec".as_ref())?;
/// while let Some((number, line)) = lines.next_line()? {
///     println!("{number}: {line}");
/// }
/// # Ok::<(), sparse_data::Error>(())
/// ```
pub struct Lines {
    path: std::path::PathBuf,
    reader: Reader,
    number: u64,
    buffer: Vec<u8>,
    limits: ReadLimits,
}

impl Lines {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// If it is missing, a device, or UTF-16.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, ReadLimits::default())
    }

    /// As [`open`](Self::open), with other limits than the usual ones.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path, limits: ReadLimits) -> Result<Self> {
        super::require(path)?;
        Ok(Self {
            path: path.to_owned(),
            reader: open_text(path)?,
            number: 0,
            buffer: Vec::new(),
            limits,
        })
    }

    /// The next line and its number, from 1; none at the end.
    ///
    /// # Errors
    ///
    /// If the file can't be read, or the line is not UTF-8 or longer than the limit.
    pub fn next_line(&mut self) -> Result<Option<(u64, &str)>> {
        self.number += 1;
        if !read_line(
            &self.path,
            &mut self.reader,
            self.number,
            &mut self.buffer,
            &self.limits,
        )? {
            return Ok(None);
        }
        let bytes = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes)
            .map_err(|_| super::text::invalid_utf8(&self.path, 0, self.number, None))?;
        Ok(Some((self.number, text)))
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("path", &self.path)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Result<Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Lines::open(&path)?;
        let mut all = Vec::new();
        while let Some((_, line)) = lines.next_line()? {
            all.push(line.to_owned());
        }
        Ok(all)
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_data() {
        assert_eq!(lines(b"\xef\xbb\xbfone\r\ntwo").unwrap(), ["one", "two"]);
        assert!(lines(b"\xef\xbb\xbf").unwrap().is_empty());
        assert_eq!(lines(b"\n").unwrap(), [""]);
    }

    #[test]
    fn utf_16_is_named() {
        for bytes in [&b"\xff\xfea\0\n\0"[..], &b"\xfe\xff\0a\0\n"[..]] {
            let error = lines(bytes).unwrap_err().to_string();
            assert!(error.contains("a.txt`: is UTF-16; convert"), "{error}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut endless = BufReader::new(std::io::repeat(0));
        let mut buffer = Vec::new();
        let limits = ReadLimits::default();
        let error = read_line(Path::new("zeros"), &mut endless, 3, &mut buffer, &limits);
        assert_eq!(
            error.unwrap_err().to_string(),
            "`zeros`, line 3: is longer than 64 MiB; a row must be shorter, or `limits.max_line_bytes` (--max-line-bytes) higher"
        );
    }
}
