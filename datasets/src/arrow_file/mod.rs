//! Arrow IPC: the file format (`.arrow`, `.feather`) and the stream format, lz4 and zstd inside, gzip and zstd
//! around a stream.
//!
//! A file is read like the stream that it contains, in the order of its footer. All messages are looked at when it
//! is opened, so that the number of rows is known; bodies are read batch by batch.
//!
//! Memory   one batch, as the writer cut it; a batch beyond the budget is refused.
//! Types    as in the file; texts in view form become Utf8.
//! Absent   tensors, big-endian files, files whose footer lists batches of another schema.

mod messages;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{read_dictionary, read_record_batch};

use crate::fence::fenced;
use crate::format::Packing;
use crate::input::InputFile;
use crate::table::{Part, Rows, Wanted};
use crate::{ReadError, Scan, Sink};

use messages::{Kind, Message, Messages};

const MAGIC: &[u8; 6] = b"ARROW1";

/// An Arrow file or stream whose messages were looked at.
pub(crate) struct ArrowFile {
    file: InputFile,
    packing: Packing,
    /// Places of dictionaries and batches of the file format, dictionaries first; a stream has them in its order.
    blocks: Option<Vec<u64>>,
    schema: SchemaRef,
    rows: Option<u64>,
}

/// Reads the schema, and the heads of all messages where they can be skipped through.
pub(crate) fn open(file: InputFile, packing: Packing) -> Result<ArrowFile, ReadError> {
    if packing != Packing::None {
        let mut messages = Messages::new(file.clone(), crate::text::unpack_file(&file, packing)?, None);
        let schema = fenced(&file.path, None, || read_schema(&file, &mut messages))?;
        return Ok(ArrowFile { file, packing, blocks: None, schema, rows: None });
    }
    let path = file.path.clone();
    fenced(&path, None, || {
        let mut handle = file.open()?;
        let mut magic = Vec::new();
        handle.by_ref().take(6).read_to_end(&mut magic).map_err(|error| ReadError::io(&path, error))?;
        if magic == MAGIC { open_file(file, handle) } else { open_stream(file, handle) }
    })
}

fn open_stream(file: InputFile, handle: File) -> Result<ArrowFile, ReadError> {
    let mut messages = at(&file, handle, 0)?;
    let schema = read_schema(&file, &mut messages)?;
    let mut rows = 0u64;
    while let Some((kind, body_bytes)) = messages.peek()? {
        if let Kind::Batch { n_rows } = kind {
            rows = rows.saturating_add(n_rows);
        }
        pass(&file, &mut messages, body_bytes)?;
    }
    Ok(ArrowFile { file, packing: Packing::None, blocks: None, schema, rows: Some(rows) })
}

fn open_file(file: InputFile, mut handle: File) -> Result<ArrowFile, ReadError> {
    let footer = read_footer(&file, &mut handle)?;
    let footer =
        arrow::ipc::root_as_footer(&footer).map_err(|error| file.corrupt(None, format!("its footer is not readable: {error:?}")))?;
    let schema = footer.schema().ok_or_else(|| file.corrupt(None, "its footer has no schema"))?;
    let schema = schema_of(&file, schema)?;
    let mut blocks = Vec::new();
    let mut rows = 0u64;
    let mut messages = at(&file, handle, 0)?;
    let (dictionaries, batches) = (footer.dictionaries(), footer.recordBatches());
    for block in dictionaries.into_iter().flatten().chain(batches.into_iter().flatten()) {
        let offset =
            u64::try_from(block.offset()).map_err(|_| file.corrupt(None, format!("its footer names a batch at {}", block.offset())))?;
        go(&file, &mut messages, offset)?;
        match messages.peek()? {
            Some((Kind::Batch { n_rows }, _)) => rows = rows.saturating_add(n_rows),
            Some((Kind::Dictionary, _)) => {}
            Some((Kind::Schema, _)) | None => return Err(file.corrupt(None, "its footer names a batch that is none")),
        }
        blocks.push(offset);
    }
    let (blocks, rows) = (Some(blocks), Some(rows));
    Ok(ArrowFile { file, packing: Packing::None, blocks, schema: Arc::new(schema), rows })
}

fn read_footer(file: &InputFile, handle: &mut File) -> Result<Vec<u8>, ReadError> {
    let io = |error| ReadError::io(&file.path, error);
    // Magic and padding at the start; length and magic at the end.
    let (head, tail) = (8u64, 10u64);
    if file.bytes < head + tail {
        return Err(file.corrupt(None, format!("{} bytes are too few for an Arrow file", file.bytes)));
    }
    let mut end = [0u8; 10];
    handle.seek(SeekFrom::Start(file.bytes - tail)).map_err(io)?;
    handle.read_exact(&mut end).map_err(io)?;
    if &end[4..] != MAGIC {
        return Err(file.corrupt(None, "an Arrow file ends in `ARROW1`, this one does not; it may be cut off"));
    }
    let claimed = i32::from_le_bytes([end[0], end[1], end[2], end[3]]);
    let length = u64::try_from(claimed).ok().filter(|length| *length <= file.bytes - head - tail);
    let length = length.ok_or_else(|| file.corrupt(None, format!("its footer claims {claimed} bytes, the file has {}", file.bytes)))?;
    file.reserve(None, length)?;
    let mut footer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    handle.seek(SeekFrom::Start(file.bytes - tail - length)).map_err(io)?;
    handle.read_exact(&mut footer).map_err(io)?;
    Ok(footer)
}

type PlainMessages = Messages<BufReader<File>>;

fn at(file: &InputFile, handle: File, offset: u64) -> Result<PlainMessages, ReadError> {
    let mut messages = Messages::new(file.clone(), BufReader::new(handle), None);
    go(file, &mut messages, offset)?;
    Ok(messages)
}

fn go(file: &InputFile, messages: &mut PlainMessages, offset: u64) -> Result<(), ReadError> {
    let left = file
        .bytes
        .checked_sub(offset)
        .ok_or_else(|| file.corrupt(None, format!("a batch at {offset} lies beyond its {} bytes", file.bytes)))?;
    messages.inner().seek(SeekFrom::Start(offset)).map_err(|error| ReadError::io(&file.path, error))?;
    messages.moved(left);
    Ok(())
}

fn pass(file: &InputFile, messages: &mut PlainMessages, n: u64) -> Result<(), ReadError> {
    let n_signed = i64::try_from(n).map_err(|_| file.corrupt(None, "a message is too long"))?;
    messages.inner().seek_relative(n_signed).map_err(|error| ReadError::io(&file.path, error))?;
    messages.passed(n);
    Ok(())
}

fn read_schema<R: Read>(file: &InputFile, messages: &mut Messages<R>) -> Result<SchemaRef, ReadError> {
    let Some((message, Kind::Schema)) = messages.next()? else {
        return Err(file.corrupt(None, "an Arrow stream begins with its schema, this one does not"));
    };
    let parsed = message.parsed(&file.path)?;
    let schema = parsed.header_as_schema().ok_or_else(|| file.corrupt(None, "its schema is empty"))?;
    schema_of(file, schema).map(Arc::new)
}

fn schema_of(file: &InputFile, schema: arrow::ipc::Schema<'_>) -> Result<Schema, ReadError> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(file.unsupported(None, "its numbers are in the byte order of another machine"));
    }
    Ok(fb_to_schema(schema))
}

impl Part for ArrowFile {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> Option<u64> {
        self.rows
    }

    fn scan(self: Arc<Self>, columns: &[Wanted]) -> Result<Box<dyn Scan>, ReadError> {
        let from: Box<dyn Stream> = match self.packing {
            Packing::None => Box::new(PlainStream {
                messages: at(&self.file, self.file.open()?, 0)?,
                file: self.file.clone(),
                blocks: self.blocks.clone().map(Vec::into_iter),
            }),
            packing => Box::new(Messages::new(self.file.clone(), crate::text::unpack_file(&self.file, packing)?, None)),
        };
        let projection: Vec<usize> = columns.iter().map(|wanted| wanted.column).collect();
        Ok(Box::new(ArrowScan { file: self, from, projection, dictionaries: HashMap::new(), rows: Rows::default(), failed: false }))
    }
}

/// Messages from a stream, or from the places that a footer names.
trait Stream: Send {
    fn next_message(&mut self) -> Result<Option<(Message, Kind)>, ReadError>;
}

impl<R: Read + Send> Stream for Messages<R> {
    fn next_message(&mut self) -> Result<Option<(Message, Kind)>, ReadError> {
        self.next()
    }
}

struct PlainStream {
    file: InputFile,
    messages: PlainMessages,
    blocks: Option<std::vec::IntoIter<u64>>,
}

impl Stream for PlainStream {
    fn next_message(&mut self) -> Result<Option<(Message, Kind)>, ReadError> {
        if let Some(blocks) = &mut self.blocks {
            let Some(offset) = blocks.next() else { return Ok(None) };
            go(&self.file, &mut self.messages, offset)?;
        }
        self.messages.next()
    }
}

struct ArrowScan {
    file: Arc<ArrowFile>,
    from: Box<dyn Stream>,
    projection: Vec<usize>,
    dictionaries: HashMap<i64, ArrayRef>,
    rows: Rows,
    failed: bool,
}

impl ArrowScan {
    fn advance(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        while self.rows.is_empty() {
            let file = Arc::clone(&self.file);
            let Some(rows) = fenced(&file.file.path, None, || self.read())? else { return Ok(0) };
            self.rows = rows;
        }
        Ok(self.rows.give(max_rows, sink))
    }

    /// Reads on to the next batch; none at the end.
    fn read(&mut self) -> Result<Option<Rows>, ReadError> {
        while let Some((message, kind)) = self.from.next_message()? {
            match kind {
                // A stream that was cut in two and joined repeats its schema.
                Kind::Schema => {}
                Kind::Dictionary => self.read_dictionary(&message)?,
                Kind::Batch { n_rows } => return self.read_batch(&message, n_rows).map(Some),
            }
        }
        Ok(None)
    }

    fn read_dictionary(&mut self, message: &Message) -> Result<(), ReadError> {
        let input = &self.file.file;
        let parsed = message.parsed(&input.path)?;
        let dictionary = parsed.header_as_dictionary_batch().ok_or_else(|| input.corrupt(None, "a dictionary is empty"))?;
        let version = parsed.version();
        read_dictionary(&message.body, dictionary, &self.file.schema, &mut self.dictionaries, &version)
            .map_err(|error| input.corrupt(None, strip(&error)))
    }

    fn read_batch(&self, message: &Message, n_rows: u64) -> Result<Rows, ReadError> {
        let input = &self.file.file;
        let n_rows = usize::try_from(n_rows).map_err(|_| input.corrupt(None, "a batch has too many rows"))?;
        if self.projection.is_empty() {
            return Ok(Rows::new(Vec::new(), n_rows));
        }
        let parsed = message.parsed(&input.path)?;
        let batch = parsed.header_as_record_batch().ok_or_else(|| input.corrupt(None, "a batch is empty"))?;
        let version = parsed.version();
        let schema = Arc::clone(&self.file.schema);
        let projection = Some(self.projection.as_slice());
        let batch = read_record_batch(&message.body, batch, schema, &self.dictionaries, projection, &version)
            .map_err(|error| input.corrupt(None, strip(&error)))?;
        if batch.num_rows() != n_rows {
            let detail = format!("a batch of {n_rows} rows has columns of {}", batch.num_rows());
            return Err(input.corrupt(None, detail));
        }
        Ok(Rows::new(batch.columns().to_vec(), n_rows))
    }
}

impl Scan for ArrowScan {
    fn next(&mut self, max_rows: usize, sink: &Sink<'_>) -> Result<usize, ReadError> {
        if self.failed {
            return Err(self.file.file.corrupt(None, "reading it failed before"));
        }
        let result = self.advance(max_rows.max(1), sink);
        self.failed = result.is_err();
        result
    }
}

fn strip(error: &ArrowError) -> String {
    match error {
        ArrowError::IpcError(message) | ArrowError::ParseError(message) => message.clone(),
        other => other.to_string(),
    }
}
