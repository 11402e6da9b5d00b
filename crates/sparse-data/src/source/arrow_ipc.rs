//! Arrow IPC, as a file or as a stream.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::{FileReader, StreamReader};

use super::bytes::open_bytes;
use super::{Choice, compression, io_error, malformed};
use crate::error::Result;
use crate::table::{Table, number_chunks};

/// First bytes of the file form; what begins otherwise is a stream.
const FILE_MAGIC: &[u8] = b"ARROW1";

/// Reads the chosen columns of a file or a stream.
pub(super) fn read(path: &Path, choice: &Choice) -> Result<Table> {
    let error = |error: ArrowError| {
        malformed(
            path,
            format!("is not a whole Arrow IPC file or stream: {error}"),
        )
    };
    let mut reader = open_bytes(path)?;
    let is_file = reader
        .fill_buf()
        .map_err(|source| io_error(path, source))?
        .starts_with(FILE_MAGIC);
    let (schema, batches): (_, Result<Vec<RecordBatch>, ArrowError>) = if is_file {
        if compression(path).is_compressed() {
            return Err(malformed(
                path,
                "is a compressed Arrow IPC file; decompress it, or write it as an Arrow stream"
                    .to_owned(),
            ));
        }
        let file = File::open(path).map_err(|source| io_error(path, source))?;
        let reader = FileReader::try_new(BufReader::new(file), None).map_err(error)?;
        (reader.schema(), reader.collect())
    } else {
        let reader = StreamReader::try_new(reader, None).map_err(error)?;
        (reader.schema(), reader.collect())
    };
    let place = path.display().to_string();
    let positions = choice.positions(&place, &schema)?;
    let batches = batches.map_err(error)?;
    let chosen = batches
        .iter()
        .map(|batch| batch.project(&positions))
        .collect::<Result<Vec<_>, _>>()
        .map_err(error)?;
    let schema = schema.project(&positions).map_err(error)?;
    Table::from_chunks(&schema, number_chunks(&place, chosen))
}
