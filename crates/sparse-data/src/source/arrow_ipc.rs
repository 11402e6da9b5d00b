//! Arrow IPC, as a file or as a stream.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::{FileReader, StreamReader, read_footer_length};
use datafusion::arrow::ipc::{Block, root_as_footer, root_as_message};

use super::bytes::open_bytes;
use super::table_file::{Batches, Layout};
use super::{compression, io_error, malformed};
use crate::error::{Error, Result};

/// First bytes of the file form; what begins otherwise is a stream.
const FILE_MAGIC: &[u8] = b"ARROW1";

/// The two forms of Arrow IPC.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    File,
    Stream,
}

/// Checks the lengths in a file or a stream, and finds its columns.
pub(super) fn open(path: &Path) -> Result<(Layout, Schema)> {
    let error = |error: ArrowError| damaged(path, &error.to_string());
    let mut reader = open_bytes(path)?;
    let is_file = reader
        .fill_buf()
        .map_err(|source| io_error(path, source))?
        .starts_with(FILE_MAGIC);
    let (form, schema) = if is_file {
        if compression(path).is_compressed() {
            return Err(malformed(
                path,
                "is a compressed Arrow IPC file; decompress it, or write it as an Arrow stream"
                    .to_owned(),
            ));
        }
        let mut file = File::open(path).map_err(|source| io_error(path, source))?;
        check_file(path, &mut file)?;
        let reader = FileReader::try_new(BufReader::new(file), None).map_err(error)?;
        (Form::File, reader.schema())
    } else {
        check_stream(path, reader)?;
        let reader = StreamReader::try_new(open_bytes(path)?, None).map_err(error)?;
        (Form::Stream, reader.schema())
    };
    Ok((Layout::Arrow(form), schema.as_ref().clone()))
}

/// The rows, as many at a time as were written together.
pub(super) fn batches(path: &Path, form: Form, names: &[&str]) -> Result<Batches> {
    let error = |error: ArrowError| damaged(path, &error.to_string());
    let positions = |schema: &Schema| -> Vec<usize> {
        let known = names.iter().filter_map(|name| schema.index_of(name).ok());
        known.collect()
    };
    let owned = path.to_owned();
    let read = move |batch: Result<_, ArrowError>| {
        batch.map_err(|error| damaged(&owned, &error.to_string()))
    };
    Ok(match form {
        Form::File => {
            let file = File::open(path).map_err(|source| io_error(path, source))?;
            let reader = FileReader::try_new(BufReader::new(file), None).map_err(error)?;
            let positions = positions(&reader.schema());
            let projected = reader.map(move |batch| batch?.project(&positions));
            Box::new(projected.map(read))
        }
        Form::Stream => {
            let reader = StreamReader::try_new(open_bytes(path)?, None).map_err(error)?;
            let positions = positions(&reader.schema());
            let projected = reader.map(move |batch| batch?.project(&positions));
            Box::new(projected.map(read))
        }
    })
}

fn damaged(path: &Path, problem: &str) -> Error {
    malformed(
        path,
        format!("is not a whole Arrow IPC file or stream: {problem}"),
    )
}

/// Compares the lengths that a file claims with its own: the decoder takes memory for what it is told, and a damaged length
/// may ask for more than there is.
fn check_file(path: &Path, file: &mut File) -> Result<()> {
    const TRAILER_BYTES: u64 = 10;
    let failed = |source| io_error(path, source);
    let end = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let Some(footer_end) = end.checked_sub(TRAILER_BYTES) else {
        return Err(damaged(path, "it is too short"));
    };
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.seek(SeekFrom::Start(footer_end)).map_err(failed)?;
    file.read_exact(&mut trailer).map_err(failed)?;
    let length = read_footer_length(trailer).map_err(|error| damaged(path, &error.to_string()))?;
    let Some(footer_start) = footer_end.checked_sub(length as u64) else {
        return Err(damaged(path, "its footer is longer than the file"));
    };
    let mut footer = vec![0; length];
    file.seek(SeekFrom::Start(footer_start)).map_err(failed)?;
    file.read_exact(&mut footer).map_err(failed)?;
    let footer = root_as_footer(&footer).map_err(|error| damaged(path, &error.to_string()))?;
    let blocks = footer
        .dictionaries()
        .into_iter()
        .chain(footer.recordBatches());
    for block in blocks.flat_map(|blocks| blocks.iter().copied().collect::<Vec<Block>>()) {
        let parts = [
            block.offset(),
            i64::from(block.metaDataLength()),
            block.bodyLength(),
        ];
        let sum = parts.into_iter().try_fold(0_u64, |sum, part| {
            sum.checked_add(u64::try_from(part).ok()?)
        });
        if sum.is_none_or(|sum| sum > end) {
            return Err(damaged(path, "a batch lies outside of the file"));
        }
    }
    file.rewind().map_err(failed)?;
    Ok(())
}

/// As [`check_file`], for the messages of a stream.
fn check_stream(path: &Path, mut reader: impl Read) -> Result<()> {
    const CONTINUATION: [u8; 4] = [0xff; 4];
    let failed = |source| io_error(path, source);
    let mut word = [0; 4];
    loop {
        match reader.read_exact(&mut word) {
            // A stream may end without saying so, and then nobody can tell whether it is whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::warn!(
                    "`{}` has no mark at its end; it may have been cut",
                    path.display()
                );
                return Ok(());
            }
            read => read.map_err(failed)?,
        }
        if word == CONTINUATION {
            reader.read_exact(&mut word).map_err(failed)?;
        }
        let length = u64::try_from(i32::from_le_bytes(word))
            .map_err(|_| damaged(path, "a message has a negative length"))?;
        if length == 0 {
            return Ok(());
        }
        let mut message = Vec::new();
        let n = reader
            .by_ref()
            .take(length)
            .read_to_end(&mut message)
            .map_err(failed)?;
        if n as u64 != length {
            return Err(damaged(path, "it ends within a message"));
        }
        let message =
            root_as_message(&message).map_err(|error| damaged(path, &error.to_string()))?;
        let body = u64::try_from(message.bodyLength())
            .map_err(|_| damaged(path, "a message has a body of negative length"))?;
        let skipped = io::copy(&mut reader.by_ref().take(body), &mut io::sink()).map_err(failed)?;
        if skipped != body {
            return Err(damaged(path, "it ends within a batch"));
        }
    }
}
